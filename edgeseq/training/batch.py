"""What one training step takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from edgeseq.model.signature import AUDIO


@dataclass(frozen=True)
class Batch:
    """The rows of one process."""

    inputs: dict[str, Tensor]
    """one, by its name, a whole number of steps: `audio` float32 `[n_rows, n_samples]`, `ids` int64 `[n_rows, n_units]`, or
    `values` float32 `[n_rows, n_units, n_channels]`"""
    targets: dict[str, Tensor]
    """as the task's `collate` gives them"""
    rows: Tensor
    """numbers of these rows among all streams, int64 `[n_rows]`"""
    restart: Tensor
    """bool `[n_rows]`: the row begins a new stream"""
    lengths: Tensor
    """units of each row before those that only fill it up, int64 `[n_rows]`; sound is never filled up, silence is sound"""
    count: Tensor
    """what the loss is a sum over (tokens, rows ...), of all processes' rows together, int64 scalar"""

    @property
    def units(self) -> Tensor:
        """The input of the rows, `[n_rows, n_units, ...]`."""
        return next(iter(self.inputs.values()))

    @property
    def audio(self) -> Tensor:
        """The sound of the rows, float32 `[n_rows, n_samples]`."""
        return self.inputs[AUDIO]

    def whole_rows(self) -> Iterator[Tensor]:
        """Give each row without what fills it up."""
        return (row[:length] for row, length in zip(self.units, self.lengths.tolist(), strict=True))
