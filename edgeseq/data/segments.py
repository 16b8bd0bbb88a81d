"""Stretches of a recording that have labels, as a line of a manifest says them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SEGMENT_TOLERANCE = 0.005
"""Seconds by which a segment may end behind its recording, whose duration is rounded."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording that has a label."""

    start: float
    """seconds from the beginning of the recording (of the stretch, where `offset` makes it one)"""
    end: float
    label: str


def faults_of(entry: dict[str, Any]) -> Iterator[str]:
    """Say what is wrong with a line's segments."""
    segments, duration = entry.get("segments"), entry.get("duration")
    if segments is None:
        return
    if not isinstance(segments, list):
        yield f"'segments' is {json.dumps(segments)[:60]}; a list of {{start, end, label}} is wanted"
        return
    latest = (duration if isinstance(duration, int | float) else float("inf")) + SEGMENT_TOLERANCE
    for one in segments:
        if not isinstance(one, dict) or not isinstance(one.get("label"), str) or not _is_stretch(one, latest):
            yield (
                f"'segments' holds {json.dumps(one)[:80]}; {{start, end, label}} is wanted: seconds within the recording, "
                "start before end, and a string"
            )


def _is_stretch(segment: dict[str, Any], latest: float) -> bool:
    start, end = segment.get("start"), segment.get("end")
    if isinstance(start, bool) or isinstance(end, bool):
        return False
    return isinstance(start, int | float) and isinstance(end, int | float) and 0 <= start < end <= latest


def segments_of(value: list[dict[str, Any]] | None) -> tuple[Segment, ...] | None:
    """Read a line's segments, which have no fault."""
    if value is None:
        return None
    return tuple(Segment(float(one["start"]), float(one["end"]), one["label"]) for one in value)
