"""Faster and slower, and so higher and lower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import soxr

from edgeseq.training.augmentation.level import Waveform


def change_speed(samples: Waveform, factor: float, sample_rate: int) -> Waveform:
    """Play faster by `factor`; pitch and formants rise with it."""
    return np.asarray(soxr.resample(samples, sample_rate * factor, sample_rate, quality="MQ"), dtype=np.float32)


@dataclass(frozen=True)
class Speed:
    """Pace, pitch and formants together."""

    key: ClassVar[str] = "speed"
    factor: float

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        """Resample: the length changes."""
        return change_speed(samples, self.factor, sample_rate)

    def __str__(self) -> str:
        """Tell the factor."""
        return f"{self.factor:.2f} times as fast"
