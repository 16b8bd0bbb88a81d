"""Which clips make which row of which batch: a pure function of seed and step, known before any sound is read.

A training is `batch_size` streams side by side. Each step gives every stream one row of clips, all rows equally long; row `b`
of one batch continues in row `b` of the next, unless the next says `restart`. As the plan needs durations only, every process
can make the whole plan and read the sound of its own rows alone: how many processes there are changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeseq.training.recipe import Recipe
from edgeseq.training.sources import Source

NO_GAP = 0.1
"""Share of gaps that are none: a clip cut closely at the start of a stream, words without a pause."""

FILLED = (0.4, 1.0)
"""Rows of a batch are filled to a length drawn from this range, times the recipe's `row_seconds`."""

EASY_GAP_SECONDS = (0.05, 0.25)
"""Before the only clip of an easy row."""

LONG_GAP = 0.1
"""Share of gaps that are longer, up to half of the recipe's `row_seconds`."""


@dataclass(frozen=True)
class PlannedClip:
    """One clip of a row, and the silence before it."""

    source: int
    recording: int
    """its number in the source"""
    speed: float
    gap_units: int
    n_units: int
    """length once its speed is changed"""
    begin: int = 0
    """units of the recording that are left out before it"""


@dataclass(frozen=True)
class PlannedRow:
    """One row of a batch."""

    clips: tuple[PlannedClip, ...]
    """none: a row of silence"""
    restart: bool
    """begins a new stream"""
    active: bool = True
    """is in the batch; a stream whose row is not waits, its state unchanged"""

    @property
    def n_units(self) -> int:
        """Length of the clips and gaps."""
        return sum(clip.gap_units + clip.n_units for clip in self.clips)


@dataclass(frozen=True)
class BatchPlan:
    """One training step's rows, one a stream."""

    rows: tuple[PlannedRow, ...]
    hardness: float
    n_units: int
    """length to which all rows are brought, in whole steps of the network"""

    @property
    def active(self) -> list[int]:
        """Numbers of the rows that are in the batch."""
        return [number for number, row in enumerate(self.rows) if row.active]


def difficulty(step: int, easy_steps: int, ramp_steps: int) -> float:
    """How hard the rows of `step` are: 0 single clean clips, 1 everything the recipe says."""
    return float(np.clip((step - easy_steps) / max(ramp_steps, 1), 0.0, 1.0))


def ease(factor: float, hardness: float) -> float:
    """Bring a factor towards 1 while the rows are still easy."""
    return 1 + (factor - 1) * hardness


def plan_batch(sources: Sequence[Source], recipe: Recipe, step: int) -> BatchPlan:
    """Draw the rows of `step`; nothing is read."""
    train, joining, rate = recipe.train, recipe.joining, recipe.frontend.sample_rate
    hardness = difficulty(step, train.easy_steps, train.ramp_steps)
    rng = np.random.default_rng([train.seed, step])
    filled = int(joining.row_seconds * rng.uniform(*FILLED) * max(hardness, FILLED[0]) * rate)
    draws = [RowDraw(sources, recipe, step, row, hardness) for row in range(train.batch_size)]
    rows = [draw.begin() for draw in draws]
    chosen = set(_choose_active(rows, recipe, filled if hardness > 0 else 0, rng))
    longest = max(filled, *(rows[number].n_units for number in chosen))
    planned = tuple(
        PlannedRow(draw.fill(clips.clips, longest), clips.restart, number in chosen)
        for number, (draw, clips) in enumerate(zip(draws, rows, strict=True))
    )
    tail = int(joining.tail_seconds * rate)
    longest = tail + max(planned[number].n_units for number in chosen)
    return BatchPlan(planned, hardness, max(1, -(-longest // recipe.step_units)) * recipe.step_units)


def _choose_active(rows: Sequence[PlannedRow], recipe: Recipe, filled: int, rng: np.random.Generator) -> list[int]:
    """Take rows in a drawn order while all of them, brought to the longest, hold no more than `batch_seconds` of sound.

    They will at least be filled to that many samples.
    """
    if recipe.train.batch_seconds is None:
        return list(range(len(rows)))
    most = recipe.train.batch_seconds * recipe.frontend.sample_rate
    tail = int(recipe.joining.tail_seconds * recipe.frontend.sample_rate)
    chosen: list[int] = []
    longest = filled + tail
    for number in map(int, rng.permutation(len(rows))):
        longer = max(longest, rows[number].n_units + tail)
        if not chosen or longer * (len(chosen) + 1) <= most:
            chosen.append(number)
            longest = longer
    return chosen


class RowDraw:
    """Draws one row, from random numbers of its own."""

    def __init__(self, sources: Sequence[Source], recipe: Recipe, step: int, row: int, hardness: float) -> None:
        """Seed by the recipe, the step and the row's number."""
        self.sources, self.recipe, self.step, self.row, self.hardness = sources, recipe, step, row, hardness
        self.rate = recipe.frontend.sample_rate
        self.rng = np.random.default_rng([recipe.train.seed, step, row])

    def begin(self) -> PlannedRow:
        """Draw the first clip, or none for a row of silence, and whether the row begins a stream."""
        joining = self.recipe.joining
        restart = self.hardness == 0 or bool(self.rng.random() < joining.restart)
        if self.rng.random() < joining.silence * self.hardness:
            return PlannedRow((), restart)
        source = self._draw_source()
        gap = self._draw_gap() if self.hardness > 0 else float(self.rng.uniform(*EASY_GAP_SECONDS))
        return PlannedRow((self._draw_clip(source, gap),), restart)

    def fill(self, clips: tuple[PlannedClip, ...], longest: int) -> tuple[PlannedClip, ...]:
        """Append gaps and clips as long as they fit; rows of silence, and easy ones, stay."""
        if not clips or self.hardness == 0:
            return clips
        n_units = clips[0].gap_units + clips[0].n_units
        while True:
            clip = self._draw_clip(self._draw_source(), self._draw_gap())
            n_units += clip.gap_units + clip.n_units
            if n_units > longest:
                return clips
            clips = (*clips, clip)

    def _draw_source(self) -> int:
        """Draw a source by weight; those not easy come in with hardness."""
        weights = np.array([s.weight * (1.0 if s.easy else self.hardness) for s in self.sources])
        return int(self.rng.choice(len(weights), p=weights / weights.sum()))

    def _draw_gap(self) -> float:
        joining = self.recipe.joining
        if self.rng.random() < NO_GAP:
            return 0.0
        if self.rng.random() < LONG_GAP:
            return float(self.rng.uniform(joining.gap_seconds[1], joining.row_seconds / 2))
        return float(self.rng.uniform(*joining.gap_seconds))

    def _draw_speed(self) -> float:
        return ease(float(self.rng.uniform(*self.recipe.augment.speed)), self.hardness) if self.hardness > 0 else 1.0

    def _draw_clip(self, source: int, gap_seconds: float) -> PlannedClip:
        recording = int(self.rng.integers(len(self.sources[source].durations)))
        speed = self._draw_speed()
        n_units = max(1, round(float(self.sources[source].durations[recording]) * self.rate / speed))
        return PlannedClip(source, recording, speed, int(gap_seconds * self.rate), n_units)
