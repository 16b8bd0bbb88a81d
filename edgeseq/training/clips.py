"""Recordings as samples at one rate, decoded once and kept while memory allows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeseq.data import clips
from edgeseq.data.manifest import Recording
from edgeseq.errors import AudioError, ManifestError
from edgeseq.training.augmentation.level import Waveform

CACHE_SAMPLES = 500_000_000
"""Decoded clips are kept in memory, as 16 bit, where all of them are no more samples (17 hours at 8 kHz)."""

Key = tuple[Path, tuple[int, int] | None, float, float]


class ClipReader:
    """Reads recordings at one rate, keeping the decoded samples."""

    def __init__(self, sample_rate: int, corpus_seconds: float = 0.0) -> None:
        """Read at `sample_rate` in Hz; clips of a corpus that fits into memory, by its seconds, are kept."""
        self.sample_rate = sample_rate
        self._keeps = corpus_seconds * sample_rate <= CACHE_SAMPLES
        self._cache: dict[Key, NDArray[np.int16]] = {}
        self._cached_samples = 0

    def read(self, recording: Recording) -> Waveform:
        """Decode, or take from memory; float32 `[n_samples]`. Raises ManifestError for a file that is not sound."""
        key = (recording.path, recording.within, recording.offset, recording.duration)
        kept = self._cache.get(key)
        if kept is None:
            samples = read_clip(recording, self.sample_rate)
            kept = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
            if self._keeps and self._cached_samples + len(kept) <= CACHE_SAMPLES:
                self._cache[key] = kept
                self._cached_samples += len(kept)
        return kept.astype(np.float32) / np.float32(32767)

    def read_stretch(self, first: Recording, last: Recording) -> Waveform:
        """Read one file from the start of one recording to the end of another."""
        return self.read(replace(first, duration=last.offset + last.duration - first.offset))


def read_clip(recording: Recording, sample_rate: int) -> Waveform:
    """Decode a recording's stretch of its file, mono, at `sample_rate`; float32 `[n_samples]`."""
    try:
        return clips.read_clip(recording, sample_rate)
    except AudioError as fault:
        reason = str(fault).splitlines()[0].removeprefix(f"{recording.where}: ")
        raise ManifestError(f"{recording.where}: {reason}\n  Take its line out of the manifest or replace the file.") from fault
