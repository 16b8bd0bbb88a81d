"""Recordings as samples at one rate, decoded once and kept while memory allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeseq.data import clips
from edgeseq.data.manifest import Recording
from edgeseq.errors import AudioError, ManifestError
from edgeseq.training.augmentation.level import Waveform
from edgeseq.training.memory import share_left

LEFT_TO_OTHERS = 0.5
"""Decoded clips are kept in memory, as 16 bit, while this share of it is left, whichever program uses the rest."""
ASKED_SAMPLES = 16_000_000
"""Samples after which the trainer asks again how much memory is left."""

Key = tuple[Path, tuple[int, int] | None, float, float]


class ClipReader:
    """Reads recordings at one rate, keeping the decoded samples."""

    def __init__(self, sample_rate: int) -> None:
        """Read at `sample_rate` in Hz."""
        self.sample_rate = sample_rate
        self._cache: dict[Key, NDArray[np.int16]] = {}
        self._room = 0  # samples that may be kept before it is asked again

    def read(self, recording: Recording) -> Waveform:
        """Decode, or take from memory; float32 `[n_samples]`. Raises ManifestError for a file that is not sound."""
        key = (recording.path, recording.within, recording.offset, recording.duration)
        kept = self._cache.get(key)
        if kept is None:
            samples = read_clip(recording, self.sample_rate)
            kept = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
            if self._has_room(len(kept)):
                self._cache[key] = kept
        return kept.astype(np.float32) / np.float32(32767)

    def _has_room(self, n_samples: int) -> bool:
        """Whether `n_samples` more may be kept; once memory is short, nothing more is."""
        if 0 <= self._room < n_samples:
            left = share_left()
            self._room = ASKED_SAMPLES + n_samples if left is not None and left > LEFT_TO_OTHERS else -1
        self._room -= n_samples if self._room >= 0 else 0
        return self._room >= 0


def read_clip(recording: Recording, sample_rate: int) -> Waveform:
    """Decode a recording's stretch of its file, mono, at `sample_rate`; float32 `[n_samples]`."""
    try:
        return clips.read_clip(recording, sample_rate)
    except AudioError as fault:
        reason = str(fault).splitlines()[0].removeprefix(f"{recording.where}: ")
        raise ManifestError(f"{recording.where}: {reason}\n  Take its line out of the manifest or replace the file.") from fault
