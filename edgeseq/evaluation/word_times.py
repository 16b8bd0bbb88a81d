"""When words are said to begin and end, against when they do.

Clips of single words are trimmed to where they are loud enough and joined at known samples, so every onset is known. Only words
that were understood are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import numpy as np

from edgeseq.data.clips import Samples, read_clip
from edgeseq.data.connected import GAP_LEVEL, WordString
from edgeseq.events import Word

LEVEL_DB = -30.0
"""A word begins and ends where 10 ms of it are this far below its loudest 10 ms: under a hiss such as that of "six"."""
WINDOW_SECONDS, HOP_SECONDS = 0.01, 0.0025
LEAD_SECONDS = 0.3
"""of faint noise before the first word and after the last"""
WANTED_SECONDS = 0.08

Span = tuple[float, float]
"""start and end, seconds"""


@dataclass(frozen=True)
class TimedString:
    """Words joined so that the onset and the end of each are known."""

    string: WordString

    @property
    def text(self) -> str:
        """What is said."""
        return self.string.text

    @property
    def meaning(self) -> None:
        """As a string of words has none."""
        return None

    @property
    def segments(self) -> None:
        """Nor has it labels."""
        return None

    def read(self, sample_rate: int) -> Samples:
        """Join the sound: float32 [n_samples], mono, at `sample_rate`. Raises AudioError."""
        return self.read_timed(sample_rate)[0]

    def read_timed(self, sample_rate: int) -> tuple[Samples, list[Span]]:
        """Join the sound, and tell when each word begins and ends."""
        noise = np.random.default_rng(self.string.noise_seed)
        pieces, spans, n_samples = list[Samples](), list[Span](), 0
        gaps = (LEAD_SECONDS, *self.string.gaps)
        for recording, gap in zip(self.string.recordings, gaps, strict=True):
            word = trim(read_clip(recording, sample_rate), sample_rate)
            silence = _hiss(noise, gap, sample_rate)
            start = n_samples + len(silence)
            n_samples = start + len(word)
            pieces += [silence, word]
            spans.append((start / sample_rate, n_samples / sample_rate))
        return np.concatenate([*pieces, _hiss(noise, LEAD_SECONDS, sample_rate)]), spans


def trim(samples: Samples, sample_rate: int) -> Samples:
    """Cut a word to its sound: from the first to the last window that is loud enough; [n_samples], mono.

    >>> len(trim(np.concatenate([np.zeros(800), np.ones(400), np.zeros(80)]).astype(np.float32), 8000))
    400
    """
    window, hop = round(WINDOW_SECONDS * sample_rate), max(1, round(HOP_SECONDS * sample_rate))
    if len(samples) < window:
        return samples
    power = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    firsts = np.arange(0, len(samples) - window + 1, hop)
    energy = power[firsts + window] - power[firsts]
    loud = np.flatnonzero(energy > energy.max() * 10 ** (LEVEL_DB / 10))
    if not len(loud):
        return samples
    # The first loud window holds the onset at its end, the last loud one the end at its beginning.
    start = firsts[loud[0]] + window - hop if loud[0] else 0
    end = firsts[loud[-1]] + hop if loud[-1] < len(firsts) - 1 else len(samples)
    return samples[start : max(end, start + window)]


def _hiss(noise: np.random.Generator, seconds: float, sample_rate: int) -> Samples:
    return (GAP_LEVEL * noise.standard_normal(round(seconds * sample_rate))).astype(np.float32)


@dataclass(frozen=True)
class Errors:
    """By how much times are off: reported times less true times, seconds."""

    n_words: int
    bias: float
    """median"""
    spread: float
    """half the distance between the 5 % and the 95 % quantile"""
    within: float
    """share of words at most 80 ms off"""
    within_unbiased: float
    """the same, were the bias subtracted"""

    @classmethod
    def of(cls, errors: Sequence[float]) -> Errors:
        """Sum up errors in seconds; all zero without any.

        >>> Errors.of([0.0, 0.01, 0.02, 0.30])
        Errors(n_words=4, bias=0.015, spread=0.1282, within=0.75, within_unbiased=0.75)
        """
        if not errors:
            return cls(0, 0.0, 0.0, 0.0, 0.0)
        bias = median(errors)
        ordered = quantiles(errors, n=20, method="inclusive") if len(errors) > 1 else [errors[0]]
        return cls(
            n_words=len(errors),
            bias=round(bias, 4),
            spread=round((ordered[-1] - ordered[0]) / 2, 4),
            within=_share_within(errors),
            within_unbiased=_share_within([error - bias for error in errors]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq eval --times --json` prints them."""
        return {
            "words": self.n_words,
            "bias_ms": round(1000 * self.bias, 1),
            "spread_ms": round(1000 * self.spread, 1),
            "within_80_ms": round(self.within, 4),
            "within_80_ms_unbiased": round(self.within_unbiased, 4),
        }


def _share_within(errors: Sequence[float]) -> float:
    return sum(abs(error) <= WANTED_SECONDS for error in errors) / len(errors)


@dataclass(frozen=True)
class TimesReport:
    """Errors of starts and ends."""

    starts: Errors
    ends: Errors

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq eval --times --json` prints them."""
        return {"starts": self.starts.to_dict(), "ends": self.ends.to_dict()}


Timed = tuple[Sequence[Span], Sequence[Word], Iterable[tuple[int, int]]]
"""of one clip: true spans, words reported, and which word is which: (number in the spans, number in the words)"""


def report_times(clips: Iterable[Timed]) -> TimesReport:
    """Compare the words reported with the spans that are true."""
    starts, ends = list[float](), list[float]()
    for spans, words, pairs in clips:
        for said, heard in pairs:
            starts.append(words[heard].start - spans[said][0])
            ends.append(words[heard].end - spans[said][1])
    return TimesReport(Errors.of(starts), Errors.of(ends))
