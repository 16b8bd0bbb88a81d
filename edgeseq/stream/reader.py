"""What a reader is: rows of a network's first output in, events out, everything it remembers a value.

`Utterances` makes words of log-probs, `Detector` makes detections of scores. A reader knows nothing of microphones, chunks,
gates and other streams: that is `stepping.py`.
"""

from __future__ import annotations

from typing import Any, Protocol, Self, TypeVar

from edgeseq.model.signature import Array
from edgeseq.sound.blocks import Floats

S = TypeVar("S")


class StreamEvent(Protocol):
    """What a reader tells: something with times."""

    def placed(self, began: float, lasted: float) -> Self:
        """Return it as part of a stream: its times begin `began` seconds into it, and none lies beyond `lasted` seconds."""


E = TypeVar("E", bound=StreamEvent)


class Reader(Protocol[S, E]):
    """Turns the rows of one stream into events. Read-only: streams share it, states differ.

    A state is a frozen dataclass of numpy arrays, numbers, text, None, and tuples and dataclasses of these: it can be saved.
    `step` and `flush` also take a dataclass that adds fields to it, and return one of that kind: they only replace their own.
    Times of events are seconds since `init_state`, a row after the other.
    """

    @property
    def identity(self) -> str:
        """Name the kind of reader and whatever a saved state depends on; a saved state is refused by another one."""

    def init_state(self) -> S:
        """Open a stream, or start afresh in one."""

    def step(self, chunk: Array, rows: Floats, state: S) -> tuple[list[E], S]:
        """Take what the network made of a chunk; `state` is not modified.

        chunk: what the network took, of sound float32 `[chunk_samples]`. rows: float32 `[n_rows, n_columns]`; fewer than the
        chunk has where they end with the stream.
        """

    def flush(self, state: S) -> tuple[list[E], S]:
        """End what is open: no row follows."""

    def is_busy(self, state: S) -> bool:
        """Whether something has begun that has not ended, so that no gate may close."""

    def check(self, state: Any) -> None:
        """Raise UsageError for the state of another reader."""
