"""How loud sound is, and what happens to it where it is too loud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]

CLIP_LEVEL_DB = -25.0
"""RMS to which clips are brought, against full scale, before the recipe's levels; corpora differ by 25 dB."""


def rms(samples: Waveform) -> float:
    """Root mean square, never zero."""
    return float(np.sqrt(np.dot(samples, samples) / len(samples) + 1e-12)) if len(samples) else 1e-6


def loud_rms(samples: Waveform) -> float:
    """Root mean square of what is not silent: no more than 20 dB below the largest sample."""
    size = np.abs(samples)
    loud = size > 0.1 * size.max(initial=0.0)
    n_loud = int(np.count_nonzero(loud))
    return rms(np.where(loud, samples, np.float32(0))) * float(np.sqrt(len(samples) / n_loud)) if n_loud else 1e-6


def db_to_gain(db: float) -> float:
    """Amplitude factor of a level in decibels."""
    return float(10.0 ** (db / 20))


@dataclass(frozen=True)
class ClipLevel:
    """A clip brought to the common level and `db` more; `strength` in [0, 1] is how far it is brought there."""

    key: ClassVar[str] = "clip_level_db"
    db: float
    strength: float = 1.0

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        """Scale `samples`."""
        gain_db = CLIP_LEVEL_DB - 20 * np.log10(rms(samples)) + self.db
        return samples * np.float32(db_to_gain(gain_db * self.strength))

    def __str__(self) -> str:
        """Tell the level."""
        return f"brought to {CLIP_LEVEL_DB + self.db:.1f} dB of full scale (RMS)"


@dataclass(frozen=True)
class RowLevel:
    """A row made louder or softer; what leaves full scale is cut off."""

    key: ClassVar[str] = "level_db"
    db: float

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        """Scale `samples`."""
        return np.clip(samples * np.float32(db_to_gain(self.db)), -1.0, 1.0)

    def __str__(self) -> str:
        """Tell the gain."""
        return f"{self.db:+.1f} dB"


@dataclass(frozen=True)
class Clipping:
    """An input driven too hard: what rises above `below_peak_db` under the largest sample is cut off."""

    key: ClassVar[str] = "clipping"
    below_peak_db: float

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        """Cut `samples` off, above and below."""
        top = np.abs(samples).max(initial=0.0) * np.float32(db_to_gain(-self.below_peak_db))
        return np.clip(samples, -top, top)

    def __str__(self) -> str:
        """Tell where it is cut."""
        return f"cut off {self.below_peak_db:.1f} dB under the peak"
