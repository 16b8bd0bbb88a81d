"""Rows of sound: clips read, joined and augmented."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeseq.training.augmentation.chain import RowChain, draw_clip
from edgeseq.training.augmentation.effect import apply_all
from edgeseq.training.augmentation.level import Waveform
from edgeseq.training.clips import ClipReader
from edgeseq.training.plan import BatchPlan, PlannedClip, plan_batch
from edgeseq.training.recipe import Recipe
from edgeseq.training.sources import Source

SOUND_KEY = 1
"""Tells the random numbers of a row's sound from those of its plan."""


class SoundRows:
    """Plans and makes rows of sound, all of a batch equally long."""

    def __init__(self, sources: Sequence[Source], recipe: Recipe) -> None:
        """Draw from `sources` as `recipe` says."""
        self.sources, self.recipe = sources, recipe
        self.reader = ClipReader(recipe.frontend.sample_rate)
        self.chain = RowChain(recipe.augment, recipe.frontend.sample_rate)

    def plan(self, step: int) -> BatchPlan:
        """Say which clips `step` takes."""
        return plan_batch(self.sources, self.recipe, step)

    def length(self, plan: BatchPlan, number: int) -> int:
        """Count the samples of a row: silence is sound, too."""
        return plan.n_units

    def render(self, plan: BatchPlan, step: int, number: int) -> Waveform:
        """Read, join and augment one row, from random numbers of its own; float32 `[n_samples]`."""
        rng = np.random.default_rng([self.recipe.train.seed, step, number, SOUND_KEY])
        joined = np.zeros(plan.n_units, dtype=np.float32)
        end = 0
        for clip in plan.rows[number].clips:
            start, end = end + clip.gap_units, end + clip.gap_units + clip.n_units
            heard = self._hear_clip(clip, plan.hardness, rng)
            joined[start : start + len(heard)] = heard
        if rng.random() >= plan.hardness:
            return joined
        return apply_all(self.chain.draw(len(joined), rng), joined, self.reader.sample_rate)

    def _hear_clip(self, clip: PlannedClip, hardness: float, rng: np.random.Generator) -> Waveform:
        """Read one clip, changed in speed and level, no longer than it was planned."""
        samples = self.reader.read(self.sources[clip.source].recordings[clip.recording])
        if hardness > 0:
            effects = draw_clip(self.recipe.augment, clip.speed, hardness, rng)
            samples = apply_all(effects, samples, self.reader.sample_rate)
        return samples[: clip.n_units]
