"""What is done to training sound on the fly: numpy for waveforms, torch for log-mel.

Every function takes its own generator, so that a batch is a pure function of (seed, step). Waveforms are float32
`[n_samples]` in [-1, 1].
"""

from __future__ import annotations

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from scipy import fft
from torch import Tensor

from edgeseq.recipe import AugmentRecipe, MicrophoneRecipe, NoiseRecipe, RoomRecipe, SpecAugmentRecipe
from edgeseq.training.chance import RowChance

Waveform = NDArray[np.float32]

MICROPHONE_KNOTS_HZ = (60, 150, 400, 1000, 2000, 4000, 8000)
"""Where a microphone's random response is drawn; straight lines between, over the logarithm of frequency."""


def rms(samples: Waveform) -> float:
    """Root mean square, never zero."""
    return float(np.sqrt(np.mean(np.square(samples)) + 1e-12)) if len(samples) else 1e-6


def db_to_gain(db: float) -> float:
    """Amplitude factor of a level in decibels."""
    return float(10.0 ** (db / 20))


def change_speed(samples: Waveform, factor: float, sample_rate: int) -> Waveform:
    """Play faster by `factor`; pitch and formants rise with it."""
    return np.asarray(soxr.resample(samples, sample_rate * factor, sample_rate, quality="MQ"), dtype=np.float32)


def colored_noise(n_samples: int, color: float, rng: np.random.Generator) -> Waveform:
    """Noise whose power falls with frequency to the power of `color`, at an RMS of 1."""
    n_fft = fft.next_fast_len(n_samples, real=True)
    spectrum = fft.rfft(rng.standard_normal(n_fft, dtype=np.float32))
    spectrum *= np.maximum(np.arange(len(spectrum), dtype=np.float32), 1) ** np.float32(-color / 2)
    noise = fft.irfft(spectrum, n_fft)[:n_samples]
    return np.asarray(noise / np.float32(rms(noise)), dtype=np.float32)


def room_response(recipe: RoomRecipe, sample_rate: int, rng: np.random.Generator) -> Waveform:
    """Draw an impulse response: the direct sound, then noise that decays by 60 dB in t60 (Polack's model)."""
    t60 = rng.uniform(*recipe.t60_seconds)
    n_samples = int(t60 * sample_rate)
    decay = np.exp(-np.log(1000.0) * np.arange(n_samples) / n_samples)
    tail = rng.standard_normal(n_samples) * decay
    tail *= db_to_gain(-rng.uniform(*recipe.direct_db)) / np.sqrt(np.sum(np.square(tail)))
    return np.concatenate([[1.0], tail]).astype(np.float32)


def microphone_gains(n_bins: int, sample_rate: int, recipe: MicrophoneRecipe, rng: np.random.Generator) -> Waveform:
    """Draw a smooth frequency response: an amplitude factor for each bin of a spectrum, `[n_bins]`."""
    frequencies = np.linspace(1.0, sample_rate / 2, n_bins)
    knots_db = rng.uniform(*recipe.gain_db, len(MICROPHONE_KNOTS_HZ))
    gains_db = np.interp(np.log(frequencies), np.log(MICROPHONE_KNOTS_HZ), knots_db)
    return (10.0 ** (gains_db / 20)).astype(np.float32)


def add_noise(samples: Waveform, recipe: NoiseRecipe, rng: np.random.Generator) -> Waveform:
    """Add coloured noise at a ratio drawn from the recipe, against the RMS of what is not silent."""
    loud = samples[np.abs(samples) > 0.1 * np.abs(samples).max(initial=0.0)]
    level = rms(loud) * db_to_gain(-rng.uniform(*recipe.snr_db))
    return samples + np.float32(level) * colored_noise(len(samples), rng.uniform(*recipe.color), rng)


def augment_row(samples: Waveform, recipe: AugmentRecipe, sample_rate: int, rng: np.random.Generator) -> Waveform:
    """Put a joined row into a room, before a microphone, into noise and at a level; same length."""
    response = np.ones(1, dtype=np.float32)
    if rng.random() < recipe.room.probability:
        response = room_response(recipe.room, sample_rate, rng)
    n_fft = fft.next_fast_len(len(samples) + len(response), real=True)
    spectrum = fft.rfft(samples, n_fft) * fft.rfft(response, n_fft)
    if rng.random() < recipe.microphone.probability:
        spectrum *= microphone_gains(len(spectrum), sample_rate, recipe.microphone, rng)
    heard = fft.irfft(spectrum, n_fft)[: len(samples)]
    if rng.random() < recipe.noise.probability:
        heard = add_noise(heard, recipe.noise, rng)
    return np.clip(heard * np.float32(db_to_gain(rng.uniform(*recipe.level_db))), -1.0, 1.0)


def spec_augment(log_mel: Tensor, recipe: SpecAugmentRecipe, strength: float, chance: RowChance) -> Tensor:
    """Warp and mask normalized log-mel `[batch, n_frames, n_mels]`; `strength` in [0, 1] scales widths and warp."""
    warped = warp_mels(log_mel, recipe.mel_warp * strength, chance)
    for axis, count, width in (
        (2, recipe.mel_masks, recipe.mel_width),
        (1, recipe.time_masks, recipe.time_width),
    ):
        for _ in range(count):
            warped = mask(warped, axis, width * strength, chance)
    return warped


def mask(frames: Tensor, axis: int, width: float, chance: RowChance) -> Tensor:
    """Take a stretch of up to `width` bins along `axis` 1 or 2 down to the row's quietest, drawn for each row.

    The quietest, for a stretch at the mean would sound loud in a pause.
    """
    size = frames.shape[axis]
    draws = chance.uniform(2)
    widths = draws[:, :1] * min(width, size)
    starts = draws[:, 1:] * (size - widths)
    bins = torch.arange(size, device=frames.device)[None]
    masked = (bins >= starts) & (bins < starts + widths)
    masked = masked[:, :, None] if axis == 1 else masked[:, None, :]
    return torch.where(masked, frames.amin(dim=1, keepdim=True), frames)


def warp_mels(frames: Tensor, warp: float, chance: RowChance) -> Tensor:
    """Stretch the mel axis of each row by 1 plus or minus at most `warp`, as another vocal tract would."""
    n_mels = frames.shape[2]
    factors = 1 + warp * (2 * chance.uniform(1) - 1)
    at = (torch.arange(n_mels, device=frames.device)[None] * factors).clamp(max=n_mels - 1)  # [batch, n_mels]
    low = at.floor().long()
    high = (low + 1).clamp(max=n_mels - 1)
    weight = (at - low)[:, None, :]
    expand = (-1, frames.shape[1], -1)
    below = frames.gather(2, low[:, None, :].expand(expand))
    above = frames.gather(2, high[:, None, :].expand(expand))
    return torch.lerp(below, above, weight)
