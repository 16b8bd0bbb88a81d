"""Is this tone higher than the one before? Rows are labelled `higher` as long as such a tone sounds.

The manifest's segments are tones, each labelled with its pitch in Hz. Put into edgeseq/training/tasks, this file is a task;
docs/tasks.md says what each part is for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Literal

from edgeseq.data.manifest import Recording, Segment
from edgeseq.errors import ManifestError
from edgeseq.training.tasks import frames

HIGHER = "higher"


class Settings(frames.Settings):
    """What a recipe may say under `task`: all that `frames` knows, and one label unless it says otherwise."""

    kind: Literal["last_tone"] = "last_tone"  # type: ignore[assignment]
    labels: tuple[str, ...] = (HIGHER,)


class Task(frames.Task):
    """Loss, measure, proof and what a device does with the rows are those of `frames`; the targets are not."""

    def accepts(self, recording: Recording) -> bool:
        """Take recordings whose tones have pitches. Raises ManifestError for others."""
        if recording.segments is None or not all(tone.label.isdecimal() for tone in recording.segments):
            raise ManifestError("has no pitches. The task 'last_tone' wants segments [{start, end, label: pitch in Hz}, ...]")
        return True

    def labels_of(self, segments: Iterator[Segment], n_rows: int) -> frames.Labels:
        """Label the rows of tones that are higher than the one before."""
        tones = sorted(segments, key=lambda tone: tone.start)
        rising = [replace(tone, label=HIGHER) for before, tone in pairwise(tones) if int(tone.label) > int(before.label)]
        return super().labels_of(iter(rising), n_rows)
