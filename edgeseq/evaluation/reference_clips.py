"""Sound whose words, or whose meaning, are known: single recordings, strings of words, and either with noise under it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edgeseq.data.clips import Samples, read_clip
from edgeseq.data.connected import WordString, connect
from edgeseq.data.manifest import Recording, Segment
from edgeseq.data.noisy import Noise
from edgeseq.data.sequences import read_sequence
from edgeseq.evaluation.understanding import Meaning, meaning_of
from edgeseq.evaluation.word_times import TimedString
from edgeseq.model.signature import AUDIO, Array, Port


class Clip(Protocol):
    """Something to be heard, whose text is known."""

    @property
    def text(self) -> str:
        """What is said."""

    @property
    def meaning(self) -> Meaning | None:
        """What is meant, where that is known."""

    @property
    def segments(self) -> tuple[Segment, ...] | None:
        """Stretches with labels, where these are known."""

    def read(self, sample_rate: int) -> Samples:
        """Give its sound: float32 [n_samples], mono. Raises AudioError."""


@dataclass(frozen=True)
class SingleClip:
    """One recording as it is."""

    recording: Recording

    @property
    def text(self) -> str:
        """What is said."""
        return self.recording.text

    @property
    def meaning(self) -> Meaning | None:
        """What is meant, where the manifest says so. Raises ManifestError when it says it wrongly."""
        return meaning_of(self.recording)

    @property
    def segments(self) -> tuple[Segment, ...] | None:
        """Stretches with labels, where the manifest has them."""
        return self.recording.segments

    def read(self, sample_rate: int) -> Samples:
        """Read the sound: float32 [n_samples], mono, at `sample_rate`."""
        return read_clip(self.recording, sample_rate)


@dataclass(frozen=True)
class NoisyClip:
    """A clip with noise under it."""

    clip: Clip
    noise: Noise
    number: int
    """of the clip; it chooses the excerpt"""

    @property
    def text(self) -> str:
        """What is said."""
        return self.clip.text

    @property
    def meaning(self) -> Meaning | None:
        """What is meant, where that is known."""
        return self.clip.meaning

    @property
    def segments(self) -> tuple[Segment, ...] | None:
        """Stretches with labels, where these are known."""
        return self.clip.segments

    def read(self, sample_rate: int) -> Samples:
        """Mix the sound: float32 [n_samples], mono, at `sample_rate`. Raises AudioError."""
        return self.noise.under(self.clip.read(sample_rate), sample_rate, self.number)


def read_units(clip: Clip, port: Port) -> Array:
    """Read what a network takes at `port`, `[n_units, ...]`: sound, or symbols or values of single recordings.

    Raises AudioError or ManifestError.
    """
    if port.name != AUDIO and isinstance(clip, SingleClip):
        return read_sequence(clip.recording, port)
    return clip.read(int(port.rate or 0))


def single_clips(recordings: Iterable[Recording]) -> list[Clip]:
    """Hear each recording by itself."""
    return [SingleClip(recording) for recording in recordings]


def connected_clips(recordings: Sequence[Recording], seeds: Iterable[int]) -> list[Clip]:
    """Hear recordings of single words as strings, in one pass over all of them for each seed."""
    strings: list[WordString] = [string for seed in seeds for string in connect(recordings, seed)]
    return list(strings)


def timed_clips(recordings: Sequence[Recording], seeds: Iterable[int]) -> list[Clip]:
    """Hear recordings of single words as strings whose word times are known; see word_times.py."""
    return [TimedString(string) for seed in seeds for string in connect(recordings, seed)]


def noisy_clips(clips: Iterable[Clip], noise: Noise) -> list[Clip]:
    """Put noise under clips, an excerpt of its own under each."""
    return [NoisyClip(clip, noise, number) for number, clip in enumerate(clips)]
