"""Strings of words said one after another, made of recordings of single words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgeseq.data.clips import Samples, read_clip
from edgeseq.data.manifest import Recording

LENGTHS = (3, 7)
"""Words in a string: uniform, both included; a speaker's last string is what remains."""
GAP_SECONDS = (0.0, 0.3)
"""Between two words: uniform."""
GAP_LEVEL = 1e-3
"""Root mean square of the noise in gaps: -60 dB of full scale."""


@dataclass(frozen=True)
class WordString:
    """Recordings of one speaker to be heard one after another."""

    recordings: tuple[Recording, ...]
    gaps: tuple[float, ...]
    """seconds between them, one fewer than recordings"""
    noise_seed: tuple[int, int]

    @property
    def text(self) -> str:
        """What is said."""
        return " ".join(recording.text for recording in self.recordings)

    @property
    def meaning(self) -> None:
        """A string of words means nothing that a manifest could say."""
        return None

    @property
    def segments(self) -> None:
        """Nor has it labels."""
        return None

    def read(self, sample_rate: int) -> Samples:
        """Join the sound: float32 [n_samples], mono, at `sample_rate`. Raises AudioError."""
        noise = np.random.default_rng(self.noise_seed)
        pieces = [read_clip(self.recordings[0], sample_rate)]
        for recording, gap in zip(self.recordings[1:], self.gaps, strict=True):
            silence = GAP_LEVEL * noise.standard_normal(round(gap * sample_rate))
            pieces += [silence.astype(np.float32), read_clip(recording, sample_rate)]
        return np.concatenate(pieces)


def connect(recordings: Sequence[Recording], seed: int) -> list[WordString]:
    """Make one pass over `recordings`: each is in one string, and a string has one speaker.

    The same recordings and seed always give the same strings. Recordings without a speaker
    count as one speaker's.
    """
    random = np.random.default_rng(seed)
    by_speaker: dict[str, list[Recording]] = {}
    for recording in recordings:
        by_speaker.setdefault(recording.speaker or "", []).append(recording)
    strings: list[WordString] = []
    for speaker in sorted(by_speaker):
        of_speaker = by_speaker[speaker]
        shuffled = [of_speaker[int(i)] for i in random.permutation(len(of_speaker))]
        for words in _cut(shuffled, random):
            gaps = tuple(float(gap) for gap in random.uniform(*GAP_SECONDS, size=len(words) - 1))
            strings.append(WordString(tuple(words), gaps, noise_seed=(seed, len(strings))))
    return strings


def _cut(recordings: Sequence[Recording], random: np.random.Generator) -> Iterator[Sequence[Recording]]:
    first = 0
    while first < len(recordings):
        length = int(random.integers(LENGTHS[0], LENGTHS[1], endpoint=True))
        yield recordings[first : first + length]
        first += length
