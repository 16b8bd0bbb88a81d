"""All recordings of a training as 16-bit samples in the memory of one device, at several speeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeseq.data.manifest import Recording
from edgeseq.data.stored_sound import open_sound, stretch_of
from edgeseq.training.torchaudio_import import torchaudio

SPEED_STEPS = 20
"""Speeds are multiples of 1 / this, so that resampling has short filters."""
RESAMPLED_TOGETHER = 1 << 24
"""Samples that are resampled at once."""
LEVEL_DB = -25.0
"""Level that clips are brought to, dB of full scale over their louder half."""


@dataclass(frozen=True)
class Store:
    """Clips one behind the other, once for each speed."""

    samples: Tensor
    """int16 `[n_samples]`, all speeds behind each other"""
    starts: NDArray[np.int64]
    """first sample of each clip at each speed, `[n_speeds, n_clips]`"""
    lengths: NDArray[np.int64]
    """samples of each clip at each speed, `[n_speeds, n_clips]`"""
    gains: NDArray[np.float32]
    """factor from int16 to a clip at `LEVEL_DB`, `[n_clips]`"""
    sample_rate: int

    @property
    def n_speeds(self) -> int:
        """Count the speeds."""
        return len(self.starts)


def speeds_between(low: float, high: float) -> list[Fraction]:
    """List the multiples of 1/20 from `low` to `high`; 1 is always among them.

    >>> [float(speed) for speed in speeds_between(0.9, 1.1)]
    [0.9, 0.95, 1.0, 1.05, 1.1]
    """
    first, last = math.ceil(low * SPEED_STEPS - 1e-9), math.floor(high * SPEED_STEPS + 1e-9)
    return [Fraction(number, SPEED_STEPS) for number in sorted({*range(first, last + 1), SPEED_STEPS})]


def decode_all(recordings: Sequence[Recording], sample_rate: int, threads: int) -> list[NDArray[np.int16]]:
    """Decode recordings by several threads, each file once; int16 `[n_samples]` each, in the order given.

    libsndfile lets go of Python's interpreter while it decodes.
    """
    numbered = sorted(enumerate(recordings), key=lambda pair: (str(pair[1].path), pair[1].offset))
    jobs = [list(group) for _, group in groupby(numbered, key=lambda pair: str(pair[1].path))]
    decoded: list[NDArray[np.int16]] = [np.zeros(0, np.int16)] * len(recordings)
    with ThreadPoolExecutor(threads) as pool:
        for found in pool.map(_decode_file, jobs, [sample_rate] * len(jobs)):
            for number, samples in found:
                decoded[number] = samples
    return decoded


def _decode_file(job: list[tuple[int, Recording]], sample_rate: int) -> list[tuple[int, NDArray[np.int16]]]:
    """Decode one file and cut the recordings out of it."""
    found = []
    with open_sound(job[0][1]) as sound:
        for number, recording in job:
            samples = stretch_of(sound, recording).samples
            at_rate = soxr.resample(samples, sound.samplerate, sample_rate) if sound.samplerate != sample_rate else samples
            found.append((number, np.round(np.clip(at_rate, -1, 1) * 32767).astype(np.int16)))
    return found


def fill_store(clips: Sequence[NDArray[np.int16]], speeds: Sequence[Fraction], sample_rate: int, device: torch.device) -> Store:
    """Put `clips` on the device at each of `speeds` (pitch, formants and pace move together, as on tape)."""
    lengths = np.array([len(clip) for clip in clips], dtype=np.int64)
    gains = np.array([_gain(clip) for clip in clips], dtype=np.float32)
    flat = torch.from_numpy(np.concatenate(clips)).to(device)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    parts, all_starts, all_lengths, base = [], [], [], 0
    for speed in speeds:
        part = _at_speed(flat, speed)
        parts.append(part)
        scaled = (starts / float(speed)).astype(np.int64)
        all_starts.append(scaled + base)
        all_lengths.append(np.minimum((lengths / float(speed)).astype(np.int64), len(part) - scaled))
        base += len(part)
    return Store(torch.cat(parts), np.stack(all_starts), np.stack(all_lengths), gains, sample_rate)


def _at_speed(flat: Tensor, speed: Fraction) -> Tensor:
    """Resample int16 `[n_samples]` so that it plays `speed` times as fast."""
    if speed == 1:
        return flat
    stretch = RESAMPLED_TOGETHER // speed.numerator * speed.numerator
    parts = []
    for first in range(0, len(flat), stretch):
        piece = flat[first : first + stretch].to(torch.float32)[None]
        resampled = torchaudio.functional.resample(piece, speed.numerator, speed.denominator)[0]
        parts.append(resampled.round().clamp(-32768, 32767).to(torch.int16))
    return torch.cat(parts)


def _gain(clip: NDArray[np.int16]) -> float:
    """Give the factor that brings a clip to `LEVEL_DB`, by the louder half of its 20 ms stretches."""
    width = 320
    if len(clip) < width:
        return 1 / 32767
    power = (clip[: len(clip) // width * width].reshape(-1, width).astype(np.float32) ** 2).mean(axis=1)
    level = math.sqrt(float(np.sort(power)[len(power) // 2 :].mean()) + 1.0)
    return 10 ** (LEVEL_DB / 20) / level
