"""Planned rows put together to what one training step takes; sound is one source of rows among others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from edgeseq.model.signature import DTYPES
from edgeseq.training.batch import Batch
from edgeseq.training.plan import BatchPlan, PlannedRow
from edgeseq.training.recipe import Recipe
from edgeseq.training.sequence_rows import SequenceRows
from edgeseq.training.sound_rows import SoundRows
from edgeseq.training.sources import Source
from edgeseq.training.tasks.task import PlacedClip, Task

REUSED_TOGETHER = 64
"""This many batches are augmented, then used in turn, before the next are."""


class JoinedBatches(Dataset[Batch]):
    """`batches[step]` is what the streams `rows` hear in that training step."""

    def __init__(self, sources: Sequence[Source], recipe: Recipe, task: Task, rows: range | None = None) -> None:
        """Draw from `sources` as `recipe` says; `rows` are the streams of this process, by default all."""
        self.sources, self.recipe, self.task = tuple(sources), recipe, task
        self.rows = rows or range(recipe.train.batch_size)
        self.made = rows_of(self.sources, recipe)
        self.reader = self.made.reader

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
        return self.made.plan(drawn_step(step, self.recipe.augment.uses))

    def clip_names(self, step: int) -> list[str]:
        """List the files that this process reads for `step`, for messages."""
        plan = self.plan(step)
        clips = (clip for number in self._active(plan) for clip in plan.rows[number].clips)
        return [self.sources[clip.source].recordings[clip.recording].where for clip in clips]

    def _active(self, plan: BatchPlan) -> list[int]:
        """Rows of this process that are in the batch."""
        return [number for number in plan.active if number in self.rows]

    def _make(self, step: int) -> Batch:
        plan = self.made.plan(step)
        rows, port = self._active(plan), self.recipe.input.port(plan.n_units)
        units = [self.made.render(plan, step, number) for number in rows]
        lengths = {number: self.made.length(plan, number) for number in plan.active}
        targets = {
            number: self.task.target(self._place(plan.rows[number]), -(-lengths[number] // self.recipe.row_units))
            for number in plan.active
        }
        none = np.zeros((0, *port.sizes), DTYPES[port.dtype])
        return Batch(
            {port.name: torch.from_numpy(np.stack(units) if units else none)},
            self.task.collate([targets[number] for number in rows]),
            torch.tensor(rows, dtype=torch.int64),
            torch.tensor([plan.rows[number].restart for number in rows], dtype=torch.bool),
            torch.tensor([lengths[number] for number in rows], dtype=torch.int64),
            torch.tensor(sum(map(self.task.count, targets.values()))),
        )

    def _place(self, row: PlannedRow) -> list[PlacedClip]:
        """Say which recordings a row holds, and where."""
        placed, end = [], 0
        for clip in row.clips:
            recording = self.sources[clip.source].recordings[clip.recording]
            begin = (end + clip.gap_units - clip.begin) / self.recipe.input.rate
            placed.append(PlacedClip(recording, begin, clip.speed))
            end += clip.gap_units + clip.n_units
        return placed


def rows_of(sources: Sequence[Source], recipe: Recipe) -> SoundRows | SequenceRows:
    """Give what plans and makes rows of a recipe's input."""
    return SoundRows(sources, recipe) if recipe.input.is_sound else SequenceRows(sources, recipe)


def drawn_step(step: int, uses: int) -> int:
    """Give the step whose sound `step` uses: groups of batches are gone through `uses` times.

    >>> [drawn_step(step, 2) for step in (0, 63, 64, 127, 128, 192)]
    [0, 63, 0, 63, 128, 128]
    """
    if uses == 1:
        return step
    group, place = divmod(step, REUSED_TOGETHER * uses)
    return group * REUSED_TOGETHER * uses + place % REUSED_TOGETHER
