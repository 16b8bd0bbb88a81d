"""From mouth to wire: a room's response and a microphone's, as one filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import numpy as np
from scipy import fft

from edgeseq.training.augment_recipe import MicrophoneRecipe, RoomRecipe
from edgeseq.training.augmentation.level import Waveform, db_to_gain
from edgeseq.training.augmentation.sound_library import ResponseLibrary

MICROPHONE_KNOTS_HZ = (60, 150, 400, 1000, 2000, 4000, 8000)
"""Where a microphone's random response is drawn; straight lines between, over the logarithm of frequency."""

FFT_SAMPLES = 4096
"""Transforms are multiples of this, which are fast and so few that what depends on their length alone is kept."""


@dataclass(frozen=True)
class Room:
    """A room's impulse response."""

    key: ClassVar[str] = "room"
    response: Waveform = field(repr=False)
    """float32 `[n_samples]`"""
    kind: str
    """in words"""

    def __str__(self) -> str:
        """Tell what room it is."""
        return self.kind


@dataclass(frozen=True)
class Microphone:
    """A microphone's smooth random frequency response."""

    key: ClassVar[str] = "microphone"
    knots_db: tuple[float, ...]
    """gain at each of MICROPHONE_KNOTS_HZ"""

    def gains(self, n_bins: int, sample_rate: int) -> Waveform:
        """Give an amplitude factor for each bin of a spectrum, float32 `[n_bins]`."""
        nepers = np.float32(np.log(10) / 20) * np.array(self.knots_db, dtype=np.float32)
        return np.exp(nepers @ _knot_weights(n_bins, sample_rate))

    def __str__(self) -> str:
        """Tell the gains."""
        return ", ".join(f"{db:+.0f} dB at {hz} Hz" for hz, db in zip(MICROPHONE_KNOTS_HZ, self.knots_db, strict=True))


@lru_cache(maxsize=64)
def _knot_weights(n_bins: int, sample_rate: int) -> Waveform:
    """How much each knot counts at each bin of a spectrum, `[n_knots, n_bins]`: straight lines over log frequency."""
    frequencies = np.log(np.linspace(1.0, sample_rate / 2, n_bins))
    knots = np.log(MICROPHONE_KNOTS_HZ)
    return np.array([np.interp(frequencies, knots, one) for one in np.eye(len(knots))], dtype=np.float32)


@dataclass(frozen=True)
class Acoustics:
    """A room and a microphone, or one of them, in one transform."""

    key: ClassVar[str] = "acoustics"
    room: Room | None
    microphone: Microphone | None

    @property
    def parts(self) -> Sequence[Room | Microphone]:
        """Those that there are."""
        return [part for part in (self.room, self.microphone) if part is not None]

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        """Filter `samples`; what rings on after their end is cut."""
        n_response = len(self.room.response) if self.room else 0
        n_fft = -(-(len(samples) + n_response) // FFT_SAMPLES) * FFT_SAMPLES
        spectrum = fft.rfft(samples, n_fft)
        if self.room:
            spectrum *= fft.rfft(self.room.response, n_fft)
        if self.microphone:
            spectrum *= self.microphone.gains(len(spectrum), sample_rate)
        return np.asarray(fft.irfft(spectrum, n_fft)[: len(samples)], dtype=np.float32)

    def __str__(self) -> str:
        """Tell both."""
        return "; ".join(map(str, self.parts))


def decaying_noise(recipe: RoomRecipe, sample_rate: int, rng: np.random.Generator) -> Room:
    """Draw the direct sound, then noise that decays by 60 dB in t60 (Polack's model)."""
    t60 = rng.uniform(*recipe.t60_seconds)
    n_samples = int(t60 * sample_rate)
    decay = np.exp(-np.log(1000.0) * np.arange(n_samples) / n_samples)
    tail = rng.standard_normal(n_samples) * decay
    direct_db = rng.uniform(*recipe.direct_db)
    tail *= db_to_gain(-direct_db) / np.sqrt(np.sum(np.square(tail)))
    response = np.concatenate([[1.0], tail]).astype(np.float32)
    return Room(response, f"decaying noise, t60 {t60:.2f} s, direct sound {direct_db:.1f} dB over it")


def draw_microphone(recipe: MicrophoneRecipe, rng: np.random.Generator) -> Microphone:
    """Draw the gains at all knots."""
    return Microphone(tuple(map(float, rng.uniform(*recipe.gain_db, len(MICROPHONE_KNOTS_HZ)))))


class Rooms:
    """The rooms that a recipe speaks of, of two kinds."""

    def __init__(self, recipe: RoomRecipe, sample_rate: int) -> None:
        """List measured responses, if the recipe names any."""
        self.recipe, self.sample_rate = recipe, sample_rate
        self.measured = ResponseLibrary(recipe.responses, sample_rate) if recipe.responses else None

    def draw(self, rng: np.random.Generator) -> Room:
        """Draw a room of either kind."""
        if self.measured and self.recipe.measured > 0 and rng.random() < self.recipe.measured:
            response, name = self.measured.draw(rng)
            return Room(response, f"measured, {name}")
        return decaying_noise(self.recipe, self.sample_rate, rng)
