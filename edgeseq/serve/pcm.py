"""Bytes of clients to samples: float32 mono in [-1, 1]."""

from __future__ import annotations

import numpy as np

from edgeseq.errors import AudioError
from edgeseq.sound.blocks import Floats

PCM16_SCALE = 32768.0
LOUDEST = 64.0
"""Of float samples; what is above was scaled as integers."""


def from_pcm16(content: bytes) -> Floats:
    """Read 16-bit little-endian samples. Raises AudioError for half a sample."""
    _check_whole(content, 2, "16-bit")
    return np.frombuffer(content, dtype="<i2").astype(np.float32) / np.float32(PCM16_SCALE)


def from_float32(content: bytes) -> Floats:
    """Read 32-bit little-endian floats. Raises AudioError for parts of a sample, NaN, and numbers far from [-1, 1]."""
    _check_whole(content, 4, "32-bit float")
    samples = np.frombuffer(content, dtype="<f4").astype(np.float32)
    loudest = float(np.abs(samples).max(initial=0.0))
    if not loudest <= LOUDEST:  # NaN, too
        raise AudioError(f"the loudest of {len(samples):,} float samples is {loudest:g}; wanted numbers in [-1, 1].")
    return samples


def to_pcm16(samples: Floats) -> bytes:
    """Write 16-bit little-endian samples; what is louder than 1 is clipped."""
    return np.clip(np.rint(samples * PCM16_SCALE), -32768, 32767).astype("<i2").tobytes()


def _check_whole(content: bytes, width: int, kind: str) -> None:
    if len(content) % width:
        raise AudioError(f"{len(content):,} bytes are no whole number of {kind} samples; wanted a multiple of {width}.")
