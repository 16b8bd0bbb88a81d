"""Sound to measure on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeseq.data.clips import Samples

MICROPHONE_RATE = 48_000
"""Hz; what USB microphones give"""
CHUNK_SECONDS = 0.08


def make_sound(seconds: float, source: Path | None = None) -> Samples:
    """Give `seconds` of sound, float32 [n_samples], 48 kHz: a file, repeated, or bursts of noise.

    Raises AudioError for a file that cannot be used.
    """
    if source is None:
        return noise_bursts(seconds, MICROPHONE_RATE)
    from edgeseq.sound.audio import read_blocks

    once = np.concatenate(list(read_blocks(source, MICROPHONE_RATE)))
    return np.resize(once, round(seconds * MICROPHONE_RATE))


def noise_bursts(seconds: float, sample_rate: int) -> Samples:
    """Draw noise, loud for 0.4 s and soft for 0.2 s in turns; always the same."""
    n_samples = round(seconds * sample_rate)
    noise = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    spoken = np.arange(n_samples) / sample_rate % 0.6 < 0.4
    return np.where(spoken, 0.1 * noise, 1e-3 * noise).astype(np.float32)
