"""The sound of planned rows: clips read, joined and augmented, rows put together to what one training step takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from edgeseq.model.signature import AUDIO
from edgeseq.training.augmentation.chain import RowChain, draw_clip
from edgeseq.training.augmentation.effect import apply_all
from edgeseq.training.augmentation.level import Waveform
from edgeseq.training.clips import ClipReader
from edgeseq.training.plan import BatchPlan, PlannedClip, PlannedRow, plan_batch
from edgeseq.training.recipe import Recipe
from edgeseq.training.sources import Source
from edgeseq.training.tasks.task import PlacedClip, Task

SOUND_KEY = 1
"""Tells the random numbers of a row's sound from those of its plan."""

REUSED_TOGETHER = 64
"""This many batches are augmented, then used in turn, before the next are."""


@dataclass(frozen=True)
class Batch:
    """What one training step takes: the rows of one process."""

    inputs: dict[str, Tensor]
    """by name; `audio` is float32 `[n_rows, n_samples]`, a whole number of steps"""
    targets: dict[str, Tensor]
    """as the task's `collate` gives them"""
    rows: Tensor
    """numbers of these rows among all streams, int64 `[n_rows]`"""
    restart: Tensor
    """bool `[n_rows]`: the row begins a new stream"""
    count: Tensor
    """what the loss is a sum over (tokens, rows ...), of all processes' rows together, int64 scalar"""

    @property
    def audio(self) -> Tensor:
        """The sound of the rows, float32 `[n_rows, n_samples]`."""
        return self.inputs[AUDIO]


class JoinedBatches(Dataset[Batch]):
    """`batches[step]` is what the streams `rows` hear in that training step."""

    def __init__(self, sources: Sequence[Source], recipe: Recipe, task: Task, rows: range | None = None) -> None:
        """Draw from `sources` as `recipe` says; `rows` are the streams of this process, by default all."""
        self.sources, self.recipe, self.task = tuple(sources), recipe, task
        self.rows = rows or range(recipe.train.batch_size)
        self.reader = ClipReader(recipe.frontend.sample_rate)
        self.chain = RowChain(recipe.augment, recipe.frontend.sample_rate, recipe.train.seed)

    def of_rows(self, rows: range) -> JoinedBatches:
        """The same batches as another process sees them."""
        return JoinedBatches(self.sources, self.recipe, self.task, rows)

    def __len__(self) -> int:
        """Count the steps of the recipe."""
        return self.recipe.train.steps

    def __getitem__(self, step: int) -> Batch:
        """Make the batch of `step`; `load_ahead` makes those once that the recipe uses several times."""
        return self._make(drawn_step(step, self.recipe.augment.uses))

    def plan(self, step: int) -> BatchPlan:
        """Say which clips `step` takes."""
        return plan_batch(self.sources, self.recipe, drawn_step(step, self.recipe.augment.uses))

    def clip_names(self, step: int) -> list[str]:
        """List the files that this process reads for `step`, for messages."""
        plan = self.plan(step)
        clips = (clip for number in self._active(plan) for clip in plan.rows[number].clips)
        return [self.sources[clip.source].recordings[clip.first].where for clip in clips]

    def _active(self, plan: BatchPlan) -> list[int]:
        """Rows of this process that are in the batch."""
        return [number for number in plan.active if number in self.rows]

    def _make(self, step: int) -> Batch:
        plan = plan_batch(self.sources, self.recipe, step)
        rows = self._active(plan)
        sounds = [self._hear(plan, plan.rows[number], step, number) for number in rows]
        n_rows = plan.n_samples // self.recipe.row_samples
        targets = {number: self.task.target(self._place(plan.rows[number]), n_rows) for number in plan.active}
        return Batch(
            {AUDIO: torch.from_numpy(np.stack(sounds)) if sounds else torch.zeros(0, plan.n_samples)},
            self.task.collate([targets[number] for number in rows]),
            torch.tensor(rows, dtype=torch.int64),
            torch.tensor([plan.rows[number].restart for number in rows], dtype=torch.bool),
            torch.tensor(sum(map(self.task.count, targets.values()))),
        )

    def _place(self, row: PlannedRow) -> list[PlacedClip]:
        """Say which recordings a row holds, and where."""
        placed, end = [], 0
        for clip in row.clips:
            recordings = self.sources[clip.source].recordings
            numbers = range(clip.first, clip.first + clip.n_recordings)
            begin = (end + clip.gap_samples) / self.recipe.frontend.sample_rate
            placed.append(PlacedClip([recordings[number] for number in numbers], begin, clip.speed))
            end += clip.gap_samples + clip.n_samples
        return placed

    def _hear(self, plan: BatchPlan, row: PlannedRow, step: int, number: int) -> Waveform:
        """Read, join and augment one row, from random numbers of its own."""
        rng = np.random.default_rng([self.recipe.train.seed, step, number, SOUND_KEY])
        joined = np.zeros(plan.n_samples, dtype=np.float32)
        end = 0
        for clip in row.clips:
            start, end = end + clip.gap_samples, end + clip.gap_samples + clip.n_samples
            heard = self._hear_clip(clip, plan.hardness, rng)
            joined[start : start + len(heard)] = heard
        if rng.random() >= plan.hardness:
            return joined
        return apply_all(self.chain.draw(len(joined), rng), joined, self.reader.sample_rate)

    def _hear_clip(self, clip: PlannedClip, hardness: float, rng: np.random.Generator) -> Waveform:
        """Read one clip, changed in speed and level, no longer than it was planned."""
        recordings = self.sources[clip.source].recordings
        samples = self.reader.read_stretch(recordings[clip.first], recordings[clip.first + clip.n_recordings - 1])
        if hardness > 0:
            effects = draw_clip(self.recipe.augment, clip.speed, hardness, rng)
            samples = apply_all(effects, samples, self.reader.sample_rate)
        return samples[: clip.n_samples]


def drawn_step(step: int, uses: int) -> int:
    """Give the step whose sound `step` uses: groups of batches are gone through `uses` times.

    >>> [drawn_step(step, 2) for step in (0, 63, 64, 127, 128, 192)]
    [0, 63, 0, 63, 128, 128]
    """
    if uses == 1:
        return step
    group, place = divmod(step, REUSED_TOGETHER * uses)
    return group * REUSED_TOGETHER * uses + place % REUSED_TOGETHER
