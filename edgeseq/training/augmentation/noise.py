"""Noise under speech: coloured, drawn from nothing, and recorded, drawn from a folder or manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import numpy as np
from scipy import fft

from edgeseq.training.augment_recipe import NoiseRecipe, RecordedNoiseRecipe
from edgeseq.training.augmentation.level import CLIP_LEVEL_DB, Waveform, db_to_gain, loud_rms, rms
from edgeseq.training.augmentation.sound_library import SoundLibrary

COLORS = (0.0, 2.0)
"""Exponents of the fall of power with frequency: 0 white, 1 pink, 2 brown."""


def colored_noise(n_samples: int, color: float, rng: np.random.Generator) -> Waveform:
    """Noise whose power falls with frequency to the power of `color`, at an RMS of 1; drawn as a spectrum."""
    n_fft = fft.next_fast_len(n_samples, real=True)
    n_bins = n_fft // 2 + 1
    spectrum = rng.standard_normal(2 * n_bins, dtype=np.float32).view(np.complex64)
    spectrum *= np.exp(np.float32(-color / 2) * _log_bins(n_bins))
    noise = fft.irfft(spectrum, n_fft)[:n_samples]
    return np.asarray(noise / np.float32(rms(noise)), dtype=np.float32)


@lru_cache(maxsize=64)
def _log_bins(n_bins: int) -> Waveform:
    return np.log(np.maximum(np.arange(n_bins, dtype=np.float32), 1))


def add_noise(samples: Waveform, noise: Waveform, snr_db: float, level: float | None = None) -> Waveform:
    """Add `noise`, of an RMS of 1, `snr_db` under `level`, by default the RMS of what is not silent in `samples`."""
    return samples + np.float32((level or loud_rms(samples)) * db_to_gain(-snr_db)) * noise


@dataclass(frozen=True)
class ColoredNoise:
    """Noise of a colour under a whole row."""

    key: ClassVar[str] = "noise"
    snr_db: float
    color: float
    noise: Waveform = field(repr=False)

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        """Add it."""
        return add_noise(samples, self.noise, self.snr_db)

    def __str__(self) -> str:
        """Tell ratio and colour."""
        return f"{self.snr_db:.1f} dB under the speech, power falling with frequency to the {self.color:.1f}"


@dataclass(frozen=True)
class RecordedNoise:
    """Recordings under a whole row."""

    key: ClassVar[str] = "recorded_noise"
    snr_db: float
    places: str
    """which recordings from where"""
    noise: Waveform = field(repr=False)

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        """Add it; to a row of silence as if speech of the common level were in it."""
        silent = not samples.any()
        return add_noise(samples, self.noise, self.snr_db, db_to_gain(CLIP_LEVEL_DB) if silent else None)

    def __str__(self) -> str:
        """Tell ratio and recordings."""
        return f"{self.snr_db:.1f} dB under the speech: {self.places}"


def draw_colored_noise(recipe: NoiseRecipe, n_samples: int, rng: np.random.Generator) -> ColoredNoise:
    """Draw ratio, colour and the noise itself."""
    snr_db, color = rng.uniform(*recipe.snr_db), rng.uniform(*COLORS)
    return ColoredNoise(snr_db, color, colored_noise(n_samples, color, rng))


def draw_recorded_noise(
    recipe: RecordedNoiseRecipe, sounds: SoundLibrary, n_samples: int, rng: np.random.Generator
) -> RecordedNoise:
    """Draw the ratio, and stretches of recordings until the row is full."""
    snr_db = rng.uniform(*recipe.snr_db)
    noise, places = sounds.draw(n_samples, rng)
    return RecordedNoise(snr_db, places, noise)
