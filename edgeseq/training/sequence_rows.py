"""Rows of symbols and of values: pieces of sequences, each followed from row to row to its end.

Nothing is joined, as there is no silence between: a row holds a piece of one sequence, and begins a new stream where the
piece begins the sequence. Shorter rows are filled up, which no task counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeseq.data.manifest import Recording
from edgeseq.data.sequences import read_sequence
from edgeseq.model.signature import DTYPES, Array
from edgeseq.training.plan import BatchPlan, PlannedClip, PlannedRow, difficulty
from edgeseq.training.recipe import Recipe
from edgeseq.training.sources import Source

FOLLOWED_STEPS = 8
"""For this many steps a stream follows sequences, one after the other, before it begins elsewhere."""
KEPT_SEQUENCES = 4096
"""in memory; a row after the other asks for the same one"""


class SequenceReader:
    """Reads sequences, keeping those that were read last."""

    def __init__(self, recipe: Recipe) -> None:
        """Read what the recipe's input takes."""
        self.port = recipe.input.port(1)
        self._kept: dict[Recording, Array] = {}

    def read(self, recording: Recording) -> Array:
        """Give int64 `[n_units]` or float32 `[n_units, n_channels]`. Raises ManifestError for what cannot be read."""
        if recording not in self._kept:
            if len(self._kept) == KEPT_SEQUENCES:
                self._kept.clear()
            self._kept[recording] = read_sequence(recording, self.port)
        return self._kept[recording]


@dataclass(frozen=True)
class Place:
    """Where a stream is in what it follows."""

    source: int
    recording: int
    begin: int
    """units"""
    is_new: bool
    """it has just begun to follow"""


class SequenceRows:
    """Plans and makes rows of one piece each."""

    def __init__(self, sources: Sequence[Source], recipe: Recipe) -> None:
        """Draw from `sources` as `recipe` says: each sequence as often as another of its source."""
        self.sources, self.recipe = sources, recipe
        self.reader = SequenceReader(recipe)
        weights = np.array([source.weight for source in sources])
        self._shares = weights / weights.sum()

    def plan(self, step: int) -> BatchPlan:
        """Say which pieces `step` takes: a function of seed and step alone; nothing is read."""
        train = self.recipe.train
        rows = tuple(self._plan_row(step, row) for row in range(train.batch_size))
        longest = max(row.n_units for row in rows)
        hardness = difficulty(step, train.easy_steps, train.ramp_steps)
        return BatchPlan(rows, hardness, -(-longest // self.recipe.step_units) * self.recipe.step_units)

    def length(self, plan: BatchPlan, number: int) -> int:
        """Count the units of a row that are not of filling."""
        return plan.rows[number].n_units

    def render(self, plan: BatchPlan, step: int, number: int) -> Array:
        """Read one row and fill it up with zeros."""
        (clip,) = plan.rows[number].clips
        units = self.reader.read(self.sources[clip.source].recordings[clip.recording])[clip.begin : clip.begin + clip.n_units]
        row: NDArray[np.generic] = np.zeros((plan.n_units, *self.reader.port.shape), DTYPES[self.reader.port.dtype])
        row[: len(units)] = units
        return row

    def _plan_row(self, step: int, row: int) -> PlannedRow:
        """Follow sequences for some steps from a drawn place."""
        block, turn = divmod(step, FOLLOWED_STEPS)
        rng = np.random.default_rng([self.recipe.train.seed, block, row])
        place = self._draw(rng)
        for _ in range(turn):
            place = self._next(place, rng)
        n_units = min(self.recipe.joining.row_length, self._n_units(place) - place.begin)
        clip = PlannedClip(place.source, place.recording, 1.0, 0, n_units, place.begin)
        return PlannedRow((clip,), place.is_new)

    def _draw(self, rng: np.random.Generator) -> Place:
        """Draw a sequence, and where to begin in it: anywhere, in whole steps, so that a whole row is left."""
        source = int(rng.choice(len(self._shares), p=self._shares))
        recording = int(rng.integers(len(self.sources[source].durations)))
        place = Place(source, recording, 0, True)
        spare = max(0, self._n_units(place) - self.recipe.joining.row_length) // self.recipe.step_units
        return Place(source, recording, int(rng.integers(spare + 1)) * self.recipe.step_units, True)

    def _next(self, place: Place, rng: np.random.Generator) -> Place:
        """Advance by a row, or begin another sequence at the end of one."""
        begin = place.begin + self.recipe.joining.row_length
        if begin >= self._n_units(place):
            return self._draw(rng)
        return Place(place.source, place.recording, begin, False)

    def _n_units(self, place: Place) -> int:
        return max(1, round(float(self.sources[place.source].durations[place.recording]) * self.recipe.input.rate))
