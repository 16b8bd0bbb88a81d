"""In which order sound is changed: a clip by itself, then the row into which clips were joined."""

from __future__ import annotations

import numpy as np

from edgeseq.training.augment_recipe import AugmentRecipe
from edgeseq.training.augmentation.acoustics import Acoustics, Rooms, draw_microphone
from edgeseq.training.augmentation.effect import Effect, happens
from edgeseq.training.augmentation.level import ClipLevel, Clipping, RowLevel
from edgeseq.training.augmentation.noise import draw_colored_noise, draw_recorded_noise
from edgeseq.training.augmentation.sound_library import SoundLibrary
from edgeseq.training.augmentation.speed import Speed
from edgeseq.training.augmentation.telephone import draw_band, draw_telephone


def draw_clip(recipe: AugmentRecipe, speed: float, hardness: float, rng: np.random.Generator) -> tuple[Effect, ...]:
    """Draw what is done to one clip, whose `speed` was drawn before; all of it the less, the easier."""
    return Speed(speed), ClipLevel(rng.uniform(*recipe.clip_level_db), hardness)


class RowChain:
    """Draws what is done to a row: into a room, before a microphone, into noise, at a level, through a line."""

    def __init__(self, recipe: AugmentRecipe, sample_rate: int) -> None:
        """List the recordings that `recipe` names; raises ManifestError where one cannot be had."""
        self.recipe, self.sample_rate = recipe, sample_rate
        self.rooms = Rooms(recipe.room, sample_rate)
        self.noises = SoundLibrary(recipe.recorded_noise.sounds, sample_rate) if recipe.recorded_noise.sounds else None

    def draw(self, n_samples: int, rng: np.random.Generator) -> tuple[Effect, ...]:
        """Draw the effects on a row of `n_samples`, in the order in which they are applied."""
        recipe = self.recipe
        effects: list[Effect] = []
        room = self.rooms.draw(rng) if rng.random() < recipe.room.probability else None
        microphone = draw_microphone(recipe.microphone, rng) if rng.random() < recipe.microphone.probability else None
        if room or microphone:
            effects.append(Acoustics(room, microphone))
        if rng.random() < recipe.noise.probability:
            effects.append(draw_colored_noise(recipe.noise, n_samples, rng))
        if self.noises and happens(recipe.recorded_noise.probability, rng):
            effects.append(draw_recorded_noise(recipe.recorded_noise, self.noises, n_samples, rng))
        if happens(recipe.clipping.probability, rng):
            effects.append(Clipping(rng.uniform(*recipe.clipping.below_peak_db)))
        effects.append(RowLevel(rng.uniform(*recipe.level_db)))
        if happens(recipe.band.probability, rng):
            effects.append(draw_band(recipe.band, rng))
        if happens(recipe.telephone.probability, rng):
            effects.append(draw_telephone(recipe.telephone, rng))
        return tuple(effects)
