"""What every task gives the trainer, the exporter and the proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edgeseq.data.manifest import Recording
from edgeseq.evaluation.clip_results import ClipResult
from edgeseq.evaluation.reference_clips import Clip
from edgeseq.model.metadata import ModelMetadata
from edgeseq.training.metric import Metric
from edgeseq.training.recipe import Recipe

Rows = NDArray[np.float32]
"""What a network says of a clip, `[n_rows, n_outputs]`."""


class Reader(Protocol):
    """Reads what a network takes."""

    def read(self, recording: Recording) -> NDArray[Any]:
        """Give a recording's units `[n_units, ...]`, such as samples. Raises ManifestError."""
        ...


@dataclass(frozen=True)
class PlacedClip:
    """A recording, and where it is in a row."""

    recording: Recording
    begin: float
    """seconds from the start of the row; negative where the row continues what a row before began"""
    speed: float
    """by which it is played faster"""


class Judge(Protocol):
    """Compares what a network says of a clip with what is known of it."""

    @property
    def units(self) -> Sequence[str]:
        """What is counted, such as `word`, the surest first."""

    def __call__(self, clip: Clip, rows: Rows, seconds: float) -> Sequence[ClipResult]:
        """Count the errors of a clip, once for each unit; `seconds` is how long computing took."""
        ...


class Validator(Protocol):
    """Measures a network on the way."""

    @property
    def metric(self) -> Metric:
        """What picks the best weights."""

    def measure(self, model: Any, step: int) -> Any:
        """Measure all manifests; returns a ValidReport."""
        ...

    def describe(self, name: str) -> str:
        """Say what there is to measure on in a manifest."""
        ...


class Task(Protocol):
    """How targets become a loss and a measure."""

    @property
    def reader(self) -> str:
        """The task that exported files name: what reads the rows on a device."""

    @property
    def activation(self) -> str:
        """The head's: one of `head.ACTIVATIONS`."""

    @property
    def n_outputs(self) -> int:
        """Values in a row."""

    @property
    def symbols(self) -> Sequence[str]:
        """What each output stands for; outputs of the same name keep their weights in fine-tuning."""

    @property
    def details(self) -> dict[str, Any]:
        """What checkpoints and weights keep of the task, as JSON holds it."""

    def describe(self) -> str:
        """Say in short what the outputs stand for."""

    def changes(self, wanted: Any) -> list[str]:
        """Say in what a saved task differs from the one `wanted`, so that a training may not resume."""

    def accepts(self, recording: Recording) -> bool:
        """Whether a recording can be trained on. Raises ManifestError where its targets are wrong."""

    def why_none(self) -> str:
        """Say why `accepts` would refuse all recordings of a manifest, and what to do."""

    def target(self, clips: Sequence[PlacedClip], n_rows: int) -> Any:
        """Make the target of a row of a batch; rows of outputs behind `n_rows` stand for filling, and must not count."""

    def count(self, target: Any) -> int:
        """Count what a row's loss is a sum over."""

    def collate(self, targets: Sequence[Any]) -> dict[str, Tensor]:
        """Put the targets of a batch's rows together."""

    def loss(self, rows: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Sum the loss of `rows`, float32 `[batch, n_rows, n_outputs]`, as the head gives them in training."""

    def validator(self, recipe: Recipe, valid: Mapping[str, Sequence[Recording]], reader: Any) -> Validator:
        """Make what measures `valid`, recordings by manifest."""

    def flush_seconds(self, trained: Any) -> float:
        """Measure how much silence must follow the last sample."""

    def metadata(self, trained: Any, common: Mapping[str, Any]) -> ModelMetadata:
        """Make the metadata of a file of what all tasks have in `common` and what this one adds."""

    def judge(self, metadata: ModelMetadata) -> Judge:
        """Make what compares networks before release."""
