"""Whether a compiled n-gram model's header and arrays hold what the search relies on: types, ranges, places, order.

Files come from anywhere. All that is looked up later (rows of continuations, ends of words, codes of numbers) is checked when
a file is opened, a piece at a time, so that nothing has to be checked while a model is asked: 6 MB take some 10 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.lm.ngrams import MAX_ORDER
from edgeseq.untrusted import Fields

MOST_NGRAMS = 2**32 - 2
"""of one length: rows are unsigned 32 bits"""
MOST_LOG10 = 1000.0
"""No probability or backoff of a model has a larger logarithm; beyond 308 powers of ten overflow."""
CONSTANT = 1.0
"""Step of a section whose values are all one; its codes are 0."""
PIECE = 1 << 18
"""Values that are checked at once."""
SIZES = {"B": 1, "H": 2, "I": 4, "f": 4}
ALIGNMENT = 8

Values = npt.NDArray[Any]


def check_header(header: object) -> None:
    """Raise ValueError for a header with a field that is missing, of another type or out of range."""
    fields = Fields.of(header, "the header")
    fields = Fields(fields.values)
    order = fields.whole("order", 1, MAX_ORDER)
    fields.choice("level", ("word", "char"))
    counts = fields.wholes("counts", order, 0, MOST_NGRAMS)
    bits = fields.choice("bits", (16, 32))
    fields.number("largest_error", 0, MOST_LOG10)
    fields.text("source")
    fields.whole("checksum", 0, 2**32 - 1)
    body_bytes = fields.whole("body_bytes", 0)
    if not counts[0]:
        raise ValueError("counts has no words")
    ids = fields.fields("ids")
    for name in ("begin", "end", "unknown"):
        ids.whole(name, 0, counts[0] - 1)
    coded = {f"prob{n}" for n in range(1, order + 1)} | {f"backoff{n}" for n in range(1, order)}
    _check_scales(fields.fields("scales"), coded if bits == 16 else set())
    _check_places(fields.fields("sections"), counts, bits, body_bytes)


def scale_of(header: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """Give the smallest value and the step of a section's codes; None for one that holds numbers."""
    found = header["scales"].get(name)
    return None if found is None else (found[0], 0.0 if found[1] == CONSTANT else found[1])


def _check_scales(scales: Fields, wanted: set[str]) -> None:
    if set(scales.values) != wanted:
        raise ValueError(f"scales are of {len(scales.values)} sections; wanted those of {len(wanted)}")
    for name in wanted:
        pair = scales.values[name]
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"scales.{name} is not a pair of numbers")
        both = Fields({"low": pair[0], "step": pair[1]}, f"scales.{name}.")
        low, step = both.number("low", -MOST_LOG10, MOST_LOG10), both.number("step", 0, MOST_LOG10)
        if step != CONSTANT and low + step * (2**16 - 1) > MOST_LOG10:
            raise ValueError(f"scales.{name} reaches beyond 10**{MOST_LOG10:g}")


def _check_places(sections: Fields, counts: list[int], bits: int, body_bytes: int) -> None:
    """Check that each section is there, of its type and length, within the body."""
    wanted: dict[str, tuple[str, int | None]] = {"word_ends": ("I", counts[0]), "word_bytes": ("B", None)}
    number = "f" if bits == 32 else "H"
    for n, count in enumerate(counts, start=1):
        wanted[f"prob{n}"] = (number, count)
        if n > 1:
            wanted[f"word{n}"] = ("H" if counts[0] <= 2**16 - 1 else "I", count)
        if n < len(counts):
            wanted |= {f"first{n}": ("I", count + 1), f"backoff{n}": (number, count)}
    if set(sections.values) != set(wanted):
        raise ValueError(f"the sections are not those of {len(counts)} orders")
    for name, (kind, length) in wanted.items():
        place = sections.fields(name)
        place.choice("type", (kind,))
        offset, n_bytes = place.whole("offset", 0, body_bytes), place.whole("bytes", 0, body_bytes)
        if offset % ALIGNMENT or offset + n_bytes > body_bytes:
            raise ValueError(f"sections.{name} lies at {offset:,}, outside the {body_bytes:,} bytes that there are")
        if n_bytes % SIZES[kind] or (length is not None and n_bytes != length * SIZES[kind]):
            raise ValueError(f"sections.{name} has {n_bytes:,} bytes; wanted {(length or 0) * SIZES[kind]:,}")


def check_sections(header: Mapping[str, Any], sections: Mapping[str, memoryview]) -> None:
    """Raise ValueError where arrays lead out of each other, or hold what is not the logarithm of a probability."""
    counts = header["counts"]
    letters = np.asarray(sections["word_bytes"])
    _check_rising("word_ends", np.asarray(sections["word_ends"]), 0, len(letters))
    _check_words(np.asarray(sections["word_ends"]), letters)
    for n in range(1, len(counts)):
        _check_rising(f"first{n}", np.asarray(sections[f"first{n}"]), 0, counts[n])
    for name, view in sections.items():
        if view.format == "f":
            _check_numbers(name, np.asarray(view))


def _check_rising(name: str, values: Values, first: int, last: int) -> None:
    """Check that values never fall, begin at `first` or later and end at `last`."""
    before = first
    for piece in _pieces(values):
        if piece[0] < before or (piece[1:] < piece[:-1]).any():
            raise ValueError(f"{name} is not in order")
        before = piece[-1]
    if before != last:
        raise ValueError(f"{name} ends at {int(before):,}; wanted {last:,}")


def _check_words(ends: Values, letters: Values) -> None:
    """Check that each word is UTF-8: all of them together, and none begins in the middle of a letter."""
    try:
        letters.tobytes().decode()
    except UnicodeDecodeError as fault:
        raise ValueError(f"byte {fault.start:,} of the words is not UTF-8") from None
    for piece in _pieces(ends):
        starts = piece[piece < len(letters)]
        if (letters[starts] & 0xC0 == 0x80).any():
            raise ValueError("a word begins in the middle of a letter")


def _check_numbers(name: str, values: Values) -> None:
    for piece in _pieces(values):
        if not (np.abs(piece) <= MOST_LOG10).all():  # so that NaN is none
            raise ValueError(f"{name} holds what is not the logarithm of a probability")


def _pieces(values: Values) -> Iterator[Values]:
    return (values[at : at + PIECE] for at in range(0, len(values), PIECE))
