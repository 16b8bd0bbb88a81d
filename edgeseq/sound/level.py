"""How loud is it? Peak and mean level of blocks, and whether they are cut off at full scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeseq.sound.blocks import Floats

FULL_SCALE = 0.9985
"""Samples from here on count as clipped: 16 bits end at 0.99997, and some devices a little below."""
SILENT_DB = -120.0
"""of full scale: what nothing but zeros is shown as"""


@dataclass(frozen=True)
class Level:
    """Levels of a stretch of sound."""

    peak_db: float
    """largest sample, dB of full scale"""
    rms_db: float
    """root mean square, dB of full scale (a full sine: -3)"""
    clipped: int
    """samples at full scale"""
    is_zero: bool
    """Not one sample differs from zero: no microphone is that quiet."""


def level(samples: Floats) -> Level:
    """Measure float32 samples of any shape.

    >>> level(np.array([0.5, -0.5], np.float32))
    Level(peak_db=-6.02, rms_db=-6.02, clipped=0, is_zero=False)
    """
    if not samples.size:
        return Level(SILENT_DB, SILENT_DB, 0, True)
    peak = float(np.abs(samples).max())
    mean_square = float(np.mean(np.square(samples, dtype=np.float64)))
    return Level(_decibels(peak), _decibels(math.sqrt(mean_square)), int((np.abs(samples) >= FULL_SCALE).sum()), peak == 0)


def _decibels(amplitude: float) -> float:
    return max(SILENT_DB, round(20 * math.log10(amplitude), 2)) if amplitude > 0 else SILENT_DB


def bar(value_db: float, columns: int, lowest_db: float = -60.0) -> str:
    """Draw a level.

    >>> bar(-30.0, 8)
    '####....'
    """
    n_full = round(columns * min(max(1 - value_db / lowest_db, 0.0), 1.0))
    return "#" * n_full + "." * (columns - n_full)
