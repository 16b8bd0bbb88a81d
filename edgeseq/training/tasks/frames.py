"""A label for each row: what is heard there, and when it begins and ends. Targets are `segments` of the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, model_validator
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, nll_loss

from edgeseq.data.manifest import Recording, Segment
from edgeseq.errors import ManifestError
from edgeseq.evaluation.clip_results import ClipResult
from edgeseq.evaluation.reference_clips import Clip
from edgeseq.model.frames import FramesDetails
from edgeseq.model.metadata import ModelMetadata
from edgeseq.training.manifest_index import ManifestIndex
from edgeseq.training.metric import F1, ROW_ERRORS, Metric
from edgeseq.training.metrics import ValidReport
from edgeseq.training.recipe import Recipe, TaskRecipe
from edgeseq.training.sequence_model import SequenceModel, signature_of
from edgeseq.training.tasks.task import PlacedClip, Reader, Rows
from edgeseq.training.valid import hear_clips

LEAST_PROBABILITY = 1e-12
DECISION = 0.5
"""From this probability on a row has a label, when rows are counted in training and proof."""

Labels = NDArray[np.bool_]
"""Which labels rows have, `[n_rows, n_labels]`."""


class Settings(TaskRecipe):
    """Labels of rows, and how a device reports them."""

    kind: Literal["frames"] = "frames"
    labels: tuple[str, ...] = Field(min_length=1)
    """what `segments` of the manifests may be called"""
    activation: Literal["sigmoid", "softmax"] = "sigmoid"
    """`sigmoid`: labels may overlap; `softmax`: one label a row, or none"""
    background: str = "none"
    """softmax: the name of rows without a label"""
    threshold: float | dict[str, float] = 0.5
    """probability from which on a label begins, for all or by label"""
    release: float = 0.3
    """probability below which it ends"""
    refractory_seconds: NonNegativeFloat = 0.0
    """after its end, in which it cannot begin"""
    min_seconds: NonNegativeFloat = 0.0
    """shorter ones are not reported"""
    delay_seconds: NonNegativeFloat = 0.0
    """by which rows come later than what they describe; subtracted from reported times"""

    @model_validator(mode="after")
    def _can_be_reported(self) -> Settings:
        if self.activation == "softmax" and self.background in self.labels:
            raise ValueError(f"'background' ({self.background}) is among the labels; name it otherwise")
        self.on_device(1.0)
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """What the outputs stand for."""
        return (self.background, *self.labels) if self.activation == "softmax" else self.labels

    def on_device(self, row_seconds: float) -> FramesDetails:
        """Give what a device needs to know. Raises ValueError where thresholds make no sense."""
        by_label = self.threshold if isinstance(self.threshold, dict) else dict.fromkeys(self.labels, self.threshold)
        parts = self.model_dump(include={"activation", "release", "refractory_seconds", "min_seconds", "delay_seconds"})
        return FramesDetails.from_dict(
            {**parts, "labels": list(self.columns), "row_seconds": row_seconds, "threshold": by_label}
        )


class Task:
    """Rows of probabilities over labels."""

    reader = "frames"

    def __init__(self, settings: Settings, row_seconds: float) -> None:
        """Label rows of `row_seconds`."""
        self.settings, self.row_seconds = settings, row_seconds
        self.symbols, self.activation = settings.columns, settings.activation
        self.n_outputs = len(self.symbols)

    @classmethod
    def prepare(cls, recipe: Recipe, _manifests: Sequence[ManifestIndex]) -> Task:
        """Take the labels of the recipe."""
        return cls.restore(recipe, {})

    @classmethod
    def restore(cls, recipe: Recipe, _details: Mapping[str, Any]) -> Task:
        """Take the labels of the recipe, which holds all there is to know."""
        assert isinstance(recipe.task, Settings)
        return cls(recipe.task, recipe.row_seconds)

    @property
    def details(self) -> dict[str, Any]:
        """Nothing that the recipe does not say."""
        return {}

    def describe(self) -> str:
        """List the labels."""
        return f"{self.n_outputs} labels: {' '.join(self.symbols)}"

    def changes(self, _wanted: Task) -> list[str]:
        """Nothing: labels are in the recipe, which is compared."""
        return []

    def accepts(self, recording: Recording) -> bool:
        """Take all recordings. Raises ManifestError for one without segments, or with labels that the recipe lacks."""
        if recording.segments is None:
            raise ManifestError(
                "has no 'segments'. The task 'frames' wants [{start, end, label}, ...] in each line, [] where there are none"
            )
        unknown = sorted({segment.label for segment in recording.segments} - set(self.settings.labels))
        if unknown:
            raise ManifestError(
                f"has the labels {', '.join(unknown)}; task.labels of the recipe holds {', '.join(self.settings.labels)}"
            )
        return True

    def why_none(self) -> str:
        """Say what keeps all recordings from being used."""
        return "no recording can be used."

    def labels_of(self, segments: Iterator[Segment], n_rows: int) -> Labels:
        """Label the rows whose middle lies in a segment, seconds from the start of the first row.

        A segment too short to hold a row's middle labels the row that holds its own.
        """
        labels = np.zeros((n_rows, len(self.settings.labels)), dtype=bool)
        for segment in segments:
            first, last = (int(np.ceil(time / self.row_seconds - 0.5 - 1e-9)) for time in (segment.start, segment.end))
            if first == last:
                first = int((segment.start + segment.end) / 2 / self.row_seconds)
                last = first + 1
            labels[max(0, first) : max(0, last), self.settings.labels.index(segment.label)] = True
        return labels

    def target(self, clips: Sequence[PlacedClip], n_rows: int) -> Labels:
        """Label the rows of a row of clips."""
        return self.labels_of(_placed_segments(clips), n_rows)

    def count(self, target: Labels) -> int:
        """Count the rows."""
        return len(target)

    def collate(self, targets: Sequence[Labels]) -> dict[str, Tensor]:
        """Put labels side by side: bool `[batch, n_rows, n_labels]`, and how many rows of each count, int64 `[batch]`."""
        labels = np.zeros((len(targets), max(map(len, targets), default=0), len(self.settings.labels)), dtype=bool)
        for row, target in zip(labels, targets, strict=True):
            row[: len(target)] = target
        lengths = torch.tensor([len(target) for target in targets], dtype=torch.int64)
        return {"labels": torch.from_numpy(labels), "lengths": lengths}

    def loss(self, rows: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Sum the cross entropy of all rows, given probabilities `[batch, n_rows, n_outputs]`."""
        labels = targets["labels"].to(rows.dtype)
        counted = torch.arange(labels.shape[1], device=rows.device) < targets["lengths"][:, None]
        rows, labels = rows[:, : labels.shape[1]][counted], labels[counted]
        if self.activation == "sigmoid":
            return binary_cross_entropy(rows, labels, reduction="sum")
        classes = torch.cat([1 - labels.amax(dim=-1, keepdim=True), labels], dim=-1).argmax(dim=-1)
        return nll_loss(rows.clamp_min(LEAST_PROBABILITY).log(), classes, reduction="sum")

    def decide(self, rows: Rows) -> Labels:
        """Say which labels rows have, given probabilities `[n_rows, n_outputs]`."""
        if self.activation == "sigmoid":
            return rows >= DECISION
        return np.asarray(rows.argmax(axis=1)[:, None] == np.arange(1, self.n_outputs))

    def validator(self, recipe: Recipe, valid: Mapping[str, Sequence[Recording]], reader: Reader) -> FramesValidator:
        """Measure rows. Raises ManifestError for recordings that cannot be compared."""
        for recordings in valid.values():
            for recording in recordings:
                try:
                    self.accepts(recording)
                except ManifestError as fault:
                    raise ManifestError(f"{recording.where}: {fault}") from None
        return FramesValidator(self, recipe, valid, reader)

    def flush_seconds(self, _trained: Any) -> float:
        """None: a row is labelled when it has been heard."""
        return 0.0

    def metadata(self, trained: Any, common: Mapping[str, Any]) -> ModelMetadata:
        """Say what a file's rows stand for, and how they are reported."""
        recipe = trained.recipe
        signature = signature_of(trained.model, recipe.input.port(recipe.chunk_units))
        return ModelMetadata(**common, signature=signature, details=self.settings.on_device(self.row_seconds).to_dict())

    def judge(self, _metadata: ModelMetadata) -> RowJudge:
        """Compare rows."""
        return RowJudge(self)


class FramesValidator:
    """Counts rows whose labels are wrong."""

    metric: Metric = ROW_ERRORS

    def __init__(self, task: Task, recipe: Recipe, valid: Mapping[str, Sequence[Recording]], reader: Reader) -> None:
        """Measure on `valid`, recordings by manifest."""
        self.task, self.recipe, self.valid, self.reader = task, recipe, valid, reader

    def measure(self, model: SequenceModel, step: int) -> ValidReport:
        """Measure all manifests with a model after that many steps."""
        report = ValidReport(step, self.metric, {ROW_ERRORS: {}, F1: {}})
        for name, recordings in self.valid.items():
            heard = hear_clips(model, recordings, self.reader, self.recipe.row_units, self.recipe.tail_units)
            pairs = [(self.task.decide(rows), self._wanted(recordings[n], len(rows))) for n, rows in heard]
            found, wanted = (np.concatenate(part) for part in zip(*pairs, strict=True))
            report.values[ROW_ERRORS][name] = 100 * float((found != wanted).any(axis=1).mean())
            report.values[F1][name] = 100 * f1(found, wanted)
        return report

    def _wanted(self, recording: Recording, n_rows: int) -> Labels:
        return self.task.labels_of(iter(recording.segments or ()), n_rows)

    def describe(self, name: str) -> str:
        """Say what there is to measure on in a manifest."""
        return f"{len(self.valid[name]):,} recordings to measure on"


class RowJudge:
    """Counts the rows of a clip whose labels are wrong."""

    units = ("row",)

    def __init__(self, task: Task) -> None:
        """Compare as `task` decides."""
        self.task = task

    def __call__(self, clip: Clip, rows: Rows, seconds: float) -> list[ClipResult]:
        """Compare with the clip's segments."""
        wanted = self.task.labels_of(iter(clip.segments or ()), len(rows))
        n_errors = int((self.task.decide(rows) != wanted).any(axis=1).sum())
        return [ClipResult("", "", n_errors, len(rows), (), seconds, 0.0)]


def f1(found: Labels, wanted: Labels) -> float:
    """Mean over labels of the harmonic mean of precision and recall; of labels that are neither found nor wanted 1.

    >>> found, wanted = np.array([[True], [True], [False]]), np.array([[True], [False], [False]])
    >>> round(f1(found, wanted), 3)
    0.667
    """
    both, either = (found & wanted).sum(axis=0), found.sum(axis=0) + wanted.sum(axis=0)
    return float(np.where(either > 0, 2 * both / np.maximum(either, 1), 1.0).mean())


def _placed_segments(clips: Sequence[PlacedClip]) -> Iterator[Segment]:
    """Give the segments of a row's clips, seconds from its start, as they are heard at the clips' speed."""
    for clip in clips:
        for segment in clip.recording.segments or ():
            start, end = (time / clip.speed + clip.begin for time in (segment.start, segment.end))
            yield Segment(start, end, segment.label)
