"""Faster and slower, higher and lower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import soxr
import torch

from edgeseq.training.augmentation.level import Waveform
from edgeseq.training.torchaudio_import import torchaudio

PITCH_WINDOW_SECONDS = 0.064
"""Window of the phase vocoder: holds several periods of a low voice, and is a power of two at 8 and 16 kHz."""


def change_speed(samples: Waveform, factor: float, sample_rate: int) -> Waveform:
    """Play faster by `factor`; pitch and formants rise with it."""
    return np.asarray(soxr.resample(samples, sample_rate * factor, sample_rate, quality="MQ"), dtype=np.float32)


def change_pitch(samples: Waveform, semitones: float, sample_rate: int) -> Waveform:
    """Raise the pitch, formants with it, at the same pace and length: stretched by a phase vocoder, then played faster.

    The phase vocoder (Flanagan and Golden 1966; Dolson 1986) is torchaudio's.
    """
    factor = 2.0 ** (semitones / 12)
    n_fft = round(PITCH_WINDOW_SECONDS * sample_rate)
    hop = n_fft // 4
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(torch.from_numpy(samples), n_fft, hop, window=window, return_complex=True, pad_mode="constant")
    advance = torch.linspace(0, torch.pi * hop, n_fft // 2 + 1)[:, None]
    stretched = torchaudio.functional.phase_vocoder(spectrum, 1 / factor, advance)
    slow = torch.istft(stretched, n_fft, hop, window=window, length=round(len(samples) * factor)).numpy()
    changed = change_speed(slow, factor, sample_rate)[: len(samples)]
    return np.pad(changed, (0, len(samples) - len(changed)))


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


@dataclass(frozen=True)
class Pitch:
    """Pitch and formants at the same pace."""

    key: ClassVar[str] = "pitch"
    semitones: float

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        """Raise or lower the pitch."""
        return change_pitch(samples, self.semitones, sample_rate)

    def __str__(self) -> str:
        """Tell the shift."""
        return f"{self.semitones:+.1f} semitones"
