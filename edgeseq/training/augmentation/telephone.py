"""What a line lets through: narrow bands, and the codecs of telephones."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import soundfile
import soxr
from scipy import signal

from edgeseq.training.augment_recipe import BandRecipe, TelephoneRecipe
from edgeseq.training.augmentation.level import Waveform

Codec = Literal["mu-law", "a-law", "gsm"]

FILES: dict[Codec, tuple[str, str]] = {"mu-law": ("AU", "ULAW"), "a-law": ("AU", "ALAW"), "gsm": ("WAV", "GSM610")}
"""libsndfile's names of codecs: ITU-T G.711 (64 kbit/s), GSM 06.10 full rate (13)"""

TELEPHONE_RATE = 8000
FILTER_ORDER = 4


def limit_band(samples: Waveform, low_hz: float, high_hz: float, sample_rate: int) -> Waveform:
    """Let through what lies between two frequencies (Butterworth); a border outside the sound's own band does nothing."""
    sections = [signal.butter(FILTER_ORDER, low_hz, "highpass", fs=sample_rate, output="sos")]
    if high_hz < 0.49 * sample_rate:
        sections.append(signal.butter(FILTER_ORDER, high_hz, "lowpass", fs=sample_rate, output="sos"))
    filtered = signal.sosfilt(np.concatenate(sections), samples)
    return np.clip(filtered, -1.0, 1.0).astype(np.float32)


def through_codec(samples: Waveform, codec: Codec, sample_rate: int) -> Waveform:
    """Encode at 8 kHz and decode again by libsndfile; same length."""
    file = io.BytesIO()
    container, encoding = FILES[codec]
    narrow = np.clip(soxr.resample(samples, sample_rate, TELEPHONE_RATE), -1.0, 1.0)
    soundfile.write(file, narrow, TELEPHONE_RATE, format=container, subtype=encoding)
    file.seek(0)
    decoded = soundfile.read(file, dtype="float32")[0]
    heard = np.clip(soxr.resample(decoded, TELEPHONE_RATE, sample_rate)[: len(samples)], -1.0, 1.0)
    return np.pad(heard.astype(np.float32), (0, len(samples) - len(heard)))


@dataclass(frozen=True)
class Band:
    """A band that is let through."""

    key: ClassVar[str] = "band"
    low_hz: float
    high_hz: float

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        """Filter `samples`."""
        return limit_band(samples, self.low_hz, self.high_hz, sample_rate)

    def __str__(self) -> str:
        """Tell the band."""
        return f"{self.low_hz:.0f} to {self.high_hz:.0f} Hz"


@dataclass(frozen=True)
class Telephone:
    """A band, then a codec at 8 kHz."""

    key: ClassVar[str] = "telephone"
    band: Band
    codec: Codec

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        """Send `samples` through."""
        return through_codec(self.band.apply(samples, sample_rate), self.codec, sample_rate)

    def __str__(self) -> str:
        """Tell codec and band."""
        return f"{self.codec}, {self.band}"


def draw_band(recipe: BandRecipe | TelephoneRecipe, rng: np.random.Generator) -> Band:
    """Draw both borders."""
    return Band(rng.uniform(*recipe.low_hz), rng.uniform(*recipe.high_hz))


def draw_telephone(recipe: TelephoneRecipe, rng: np.random.Generator) -> Telephone:
    """Draw band and codec."""
    return Telephone(draw_band(recipe, rng), list(FILES)[int(rng.integers(len(FILES)))])
