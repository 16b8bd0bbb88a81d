"""Sizes of a network, as a command line gives them: `gru:4x512` is four GRU layers of 512, `p256` after it a projection."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeseq.errors import UsageError

CELLS = ("gru", "lstm", "rnn")
LARGEST_LAYERS = 64
LARGEST_SIZE = 8192
PATTERN = re.compile(r"(?P<cell>[a-z]+):(?P<layers>[0-9]{1,5})x(?P<size>[0-9]{1,5})(?:p(?P<projection>[0-9]{1,5}))?")


@dataclass(frozen=True)
class Shape:
    """The recurrent layers of a network."""

    cell: str
    """one of `CELLS`"""
    num_layers: int
    hidden_size: int
    projection_size: int | None = None
    """to which the outputs of each layer are narrowed"""

    def __str__(self) -> str:
        """Write it as it is read."""
        projection = "" if self.projection_size is None else f"p{self.projection_size}"
        return f"{self.cell}:{self.num_layers}x{self.hidden_size}{projection}"


def parse_shape(text: str) -> Shape:
    """Read `CELL:LAYERSxSIZE` or `CELL:LAYERSxSIZEpPROJECTION`. Raises UsageError when it is not a shape.

    >>> parse_shape("gru:4x512p256")
    Shape(cell='gru', num_layers=4, hidden_size=512, projection_size=256)
    """
    found = PATTERN.fullmatch(text)
    if found is None:
        raise UsageError(f"--shape {text}: wanted CELL:LAYERSxSIZE, such as gru:4x512, or gru:4x512p256 with a projection.")
    projection = None if found["projection"] is None else int(found["projection"])
    shape = Shape(found["cell"], int(found["layers"]), int(found["size"]), projection)
    if shape.cell not in CELLS:
        raise UsageError(f"--shape {text}: there is no cell '{shape.cell}'; wanted {', '.join(CELLS)}.")
    sizes = (shape.hidden_size, 1 if projection is None else projection)
    if not (1 <= shape.num_layers <= LARGEST_LAYERS and all(1 <= size <= LARGEST_SIZE for size in sizes)):
        raise UsageError(f"--shape {text}: wanted 1 to {LARGEST_LAYERS} layers of 1 to {LARGEST_SIZE}.")
    return shape


def parse_numbers(option: str, text: str, largest: int) -> list[int]:
    """Read numbers between commas, each from 1 to `largest`, in the order given, each once. Raises UsageError.

    >>> parse_numbers("--streams", "1,4,16", 100)
    [1, 4, 16]
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= len(str(largest)) for part in parts):
        raise UsageError(f"{option} {text}: wanted whole numbers between commas, such as 1,4.")
    numbers = list(dict.fromkeys(map(int, parts)))
    if not all(1 <= number <= largest for number in numbers):
        raise UsageError(f"{option} {text}: wanted numbers from 1 to {largest}.")
    return numbers
