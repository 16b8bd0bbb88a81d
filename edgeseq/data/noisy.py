"""Speech with recorded noise under it, at a ratio that is measured where there is speech: for evaluating in a kitchen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseq.data.clips import Samples
from edgeseq.errors import AudioError
from edgeseq.sound.audio import read_blocks

SEED = 0
"""For the places where excerpts begin."""
FRAME_SECONDS = 0.02
ACTIVE_DB = 30.0
"""Frames no more than so far below the loudest are active: speech, without the pauses around it."""
USUAL_LEVEL = 0.05
"""RMS of speech (-26 dB of full scale), for a silent clip in which noise is to be heard anyway."""


@dataclass(frozen=True)
class Noise:
    """A recording of noise, and how it is mixed in."""

    path: Path
    snr_db: float
    """level of the speech over that of the noise"""

    def under(self, samples: Samples, sample_rate: int, number: int) -> Samples:
        """Put an excerpt under a clip, float32 [n_samples]; `number` chooses where it begins, always at the same place.

        Noise that is shorter than the clip is repeated. Raises AudioError when it cannot be read, or is silent.
        """
        noise = read_noise(self.path, sample_rate)
        begin = int(np.random.default_rng((SEED, number)).integers(max(1, len(noise) - len(samples) + 1)))
        excerpt = np.take(noise, np.arange(begin, begin + len(samples)), mode="wrap")
        level = _rms(excerpt)
        if not level:
            return samples
        gain = active_level(samples, sample_rate) / level * 10 ** (-self.snr_db / 20)
        return np.asarray(samples + gain * excerpt, dtype=np.float32)


def active_level(samples: Samples, sample_rate: int) -> float:
    """Measure the RMS of the frames that are not silent; `USUAL_LEVEL` where all are."""
    n_frame = round(FRAME_SECONDS * sample_rate)
    n_frames = -(-len(samples) // n_frame)
    padded = np.pad(samples.astype(np.float64), (0, n_frames * n_frame - len(samples)))
    power = np.square(padded).reshape(n_frames, n_frame).mean(axis=1)
    if not power.max(initial=0.0) > 0:
        return USUAL_LEVEL
    return float(np.sqrt(power[power >= power.max() * 10 ** (-ACTIVE_DB / 10)].mean()))


@lru_cache(maxsize=2)
def read_noise(path: Path, sample_rate: int) -> Samples:
    """Read a recording of noise: float32 [n_samples], mono. Raises AudioError when it cannot be read, or is silent."""
    noise = np.concatenate([np.zeros(0, np.float32), *read_blocks(path, sample_rate)])
    if not np.abs(noise).max(initial=0.0) > 0:
        raise AudioError(f"{path}: holds no sound; wanted a recording of noise.")
    return noise


def _rms(samples: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(samples.astype(np.float64)).mean())) if len(samples) else 0.0
