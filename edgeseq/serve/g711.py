"""Telephone sound: 8 bits a sample, mu-law and A-law (ITU-T G.711)."""

from __future__ import annotations

import numpy as np

from edgeseq.sound.blocks import Floats

_CODES = np.arange(256)


def _mu_law() -> Floats:
    codes = ~_CODES & 0xFF
    exponent, mantissa = codes >> 4 & 7, codes & 0xF
    magnitude = ((mantissa << 3) + 0x84 << exponent) - 0x84
    return (np.where(codes & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)


def _a_law() -> Floats:
    codes = _CODES ^ 0x55
    exponent, mantissa = codes >> 4 & 7, codes & 0xF
    magnitude = np.where(exponent == 0, (mantissa << 4) + 8, (mantissa << 4) + 0x108 << np.maximum(exponent - 1, 0))
    return (np.where(codes & 0x80, magnitude, -magnitude) / 32768).astype(np.float32)


MU_LAW, A_LAW = _mu_law(), _a_law()
"""what each byte stands for, float32 `[256]`"""


def from_g711(content: bytes, table: Floats) -> Floats:
    """Read bytes as samples in [-1, 1] by MU_LAW or A_LAW."""
    return table[np.frombuffer(content, np.uint8)]
