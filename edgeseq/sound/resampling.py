"""Changing the sample rate of live sound without holding any back.

soxr, which files go through, works in transforms of its own length: from 48 to 8 kHz it gives 145 ms at a time, whatever it
is given. Here each block comes out at once, as long as it went in, later by half a filter: 1 ms. The filter is a sinc under
a Kaiser window (Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.5), one set of taps for each phase.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edgeseq.sound.blocks import Floats

STOP_DB = 50.0
"""What would fold back is weaker by this. A better filter is longer, and the sound later."""
KEPT = 8
"""Pairs of rates whose filters are remembered; those of odd rates take 50 ms to make, and a megabyte."""
PHASES = 32
"""of a filter that are computed at once"""
PASS_BAND = 0.85
"""of the lower rate's half is passed on; what lies as far above it folds back into the rest"""


class LiveResampler:
    """One stream's rates and what it heard last. Blocks of any lengths give the same samples as the whole."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        """Prepare the taps for two rates in Hz."""
        common = math.gcd(from_rate, to_rate)
        self._up, self._down = to_rate // common, from_rate // common
        self._taps = _taps(from_rate, to_rate, self._up)
        self.delay_seconds = (self._taps.shape[1] // 2) / from_rate
        """that samples come late"""
        self._rest: Floats = np.zeros(self._taps.shape[1] - 1, np.float32)
        self._n_in = self._n_out = 0
        """samples since the stream opened"""

    def step(self, samples: Floats) -> Floats:
        """Resample the next block, float32 `[n_samples]`."""
        heard = np.concatenate([self._rest, samples])
        before, self._n_in = self._n_in, self._n_in + len(samples)
        n_after = -(-self._n_in * self._up // self._down)
        # Output n is made of input samples up to n * down / up.
        at = np.arange(self._n_out, n_after, dtype=np.int64) * self._down
        self._n_out, self._rest = n_after, heard[len(samples) :]
        if not len(at):
            return np.zeros(0, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(heard, self._taps.shape[1])[at // self._up - before]
        if self._up == 1:
            return windows @ self._taps[0]
        return np.einsum("ij,ij->i", windows, self._taps[at % self._up])


@lru_cache(KEPT)
def _taps(from_rate: int, to_rate: int, n_phases: int) -> npt.NDArray[np.float32]:
    """Make the filters `[n_phases, n_taps]`: row p gives the signal p / n_phases samples later than row 0."""
    half_band = min(from_rate, to_rate) / 2
    width = 2 * math.pi * 2 * (1 - PASS_BAND) * half_band / from_rate  # radians a sample, from pass band to stop band
    n_half = math.ceil((STOP_DB - 8) / (2.285 * width) / 2) + 1
    beta = 0.1102 * (STOP_DB - 8.7)
    filters = np.empty((n_phases, 2 * n_half), np.float32)
    for first in range(0, n_phases, PHASES):  # in parts, for the sake of memory
        phases = np.arange(first, min(first + PHASES, n_phases))[:, None]
        lags = np.arange(2 * n_half) - (n_half - 1) - phases / n_phases
        window = np.i0(beta * np.sqrt(np.maximum(0.0, 1 - (lags / n_half) ** 2))) / np.i0(beta)
        taps = np.sinc(2 * half_band / from_rate * lags) * window
        filters[first : first + PHASES] = taps / taps.sum(axis=1, keepdims=True)
    filters.flags.writeable = False  # it is kept, and shared
    return filters
