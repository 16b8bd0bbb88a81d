"""Rows of scores to detections: where each label begins and where it ends.

A label begins in the first row whose score reaches its threshold, and ends before the first whose score is below the release
threshold: a score that wavers between the two changes nothing (hysteresis). It is reported when it has lasted as long as the
shortest may, and again when it has ended. After its end comes a refractory time, in which it cannot begin.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from edgeseq.errors import UsageError
from edgeseq.events import Detection
from edgeseq.model.frames import TOLERANCE_SECONDS, FramesDetails
from edgeseq.model.signature import Array
from edgeseq.sound.blocks import Floats


@dataclass(frozen=True)
class Track:
    """One label that lasts, or may not begin yet."""

    start: int = -1
    """row in which it began; -1: it has ended"""
    peak: float = 0.0
    """highest score since"""
    is_told: bool = False
    """it has lasted long enough"""
    free_row: int = 0
    """of a label that has ended: first row in which the next may begin"""


@dataclass(frozen=True, kw_only=True)
class DetectorState:
    """What is remembered of labels."""

    n_rows: int = 0
    """since the stream opened or started afresh"""
    tracks: Mapping[str, Track] = field(default_factory=dict)
    """label -> what is known of it; those of which nothing is are left out"""


S = TypeVar("S", bound=DetectorState)


@dataclass(frozen=True)
class Detector:
    """A `Reader` of the scores of a model of the task `frames`. Read-only: streams share it, states differ."""

    details: FramesDetails

    @property
    def identity(self) -> str:
        """Name it by all that its states depend on."""
        settings = json.dumps(self.details.to_dict(), sort_keys=True)
        return f"detector {hashlib.sha256(settings.encode()).hexdigest()[:12]}"

    def init_state(self) -> DetectorState:
        """Open a stream: nothing there."""
        return DetectorState()

    def step(self, chunk: Array, rows: Floats, state: S) -> tuple[list[Detection], S]:
        """Take the next rows, probabilities `[n_rows, n_labels]`; any way of cutting rows gives the same events."""
        reaching = rows >= self._thresholds  # False for NaN
        tracks, events = dict(state.tracks), list[Detection]()
        for i in range(len(rows)):
            open_columns = {self._columns[label] for label, track in tracks.items() if track.start >= 0}
            for column in sorted({*np.flatnonzero(reaching[i]).tolist(), *open_columns}):
                label = self.details.labels[column]
                event, track = self._follow(label, float(rows[i, column]), state.n_rows + i, tracks.get(label, Track()))
                tracks[label] = track
                events += [] if event is None else [event]
        n_rows = state.n_rows + len(rows)
        kept = {label: track for label, track in tracks.items() if track.start >= 0 or track.free_row > n_rows}
        return events, replace(state, n_rows=n_rows, tracks=kept)

    def flush(self, state: S) -> tuple[list[Detection], S]:
        """End what lasts at the last row."""
        lasting = {label: state.tracks[label] for label in self.details.labels if label in state.tracks}
        events = [self._tell(label, track, state.n_rows) for label, track in lasting.items() if track.is_told]
        ended = {label: self._ended(track, state.n_rows) for label, track in lasting.items()}
        return events, replace(state, tracks=ended)

    def is_busy(self, state: DetectorState) -> bool:
        """Whether a label lasts, or may not begin yet."""
        return bool(state.tracks)

    def check(self, state: DetectorState) -> None:
        """Raise UsageError for the state of a detector of other labels."""
        unknown = sorted(state.tracks.keys() - self._columns.keys())
        if unknown:
            raise UsageError(
                f"the stream's state knows of {', '.join(unknown)[:100]}; this detector's labels are "
                f"{', '.join(self.details.labels)[:200]}.\n  Begin with its own init_state()."
            )

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {label: column for column, label in enumerate(self.details.labels)}

    @cached_property
    def _thresholds(self) -> Floats:
        """By column; what is not reported never reaches its own."""
        return np.array([self.details.threshold.get(label, np.inf) for label in self.details.labels], dtype=np.float32)

    def _rows(self, seconds: float) -> int:
        """Rows that last so long, or longer."""
        return math.ceil((seconds - TOLERANCE_SECONDS) / self.details.row_seconds)

    def _follow(self, label: str, score: float, row: int, track: Track) -> tuple[Detection | None, Track]:
        """Take a label's score in a row in which it lasts, or in which it may begin."""
        if track.start < 0:
            if row < track.free_row:
                return None, track
            track = Track(start=row, peak=score)
        elif not score >= self._release:
            return (self._tell(label, track, row) if track.is_told else None), self._ended(track, row)
        else:
            track = replace(track, peak=max(track.peak, score))
        if track.is_told or row + 1 - track.start < self._rows(self.details.min_seconds):
            return None, track
        return self._tell(label, track), replace(track, is_told=True)

    @cached_property
    def _release(self) -> float:
        return float(np.float32(self.details.release))  # as scores are

    def _ended(self, track: Track, row: int) -> Track:
        """Close a track at a row; what was too short to be reported does not keep others away."""
        if track.start < 0:
            return track
        return Track(free_row=row + max(0, self._rows(self.details.refractory_seconds)) if track.is_told else row)

    def _tell(self, label: str, track: Track, end: int | None = None) -> Detection:
        return Detection(label, self._seconds(track.start), None if end is None else self._seconds(end), track.peak)

    def _seconds(self, row: int) -> float:
        return max(0.0, row * self.details.row_seconds - self.details.delay_seconds)
