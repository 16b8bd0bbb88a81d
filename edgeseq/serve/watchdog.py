"""Whether the event loop stands still, for how long, and in whose code.

The loop notes its own pulse; a thread looks whether it comes. When it does not, the thread looks at what the loop is doing:
the innermost module of `edgeseq.serve` tells the protocol. So the one request that stops everybody can be named. Time in which
other programs had the processor does not count.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import FrameType

from edgeseq.serve.metrics import Metrics

log = logging.getLogger(__name__)

PULSE_SECONDS = 0.02
STALL_SECONDS = 0.1
"""from which a stall is counted and reported"""
LOOK_SECONDS = 0.05
PROTOCOLS = {
    "vosk": "vosk",
    "sherpa": "sherpa",
    "page": "page",
    "wyoming_server": "wyoming",
    "wyoming_events": "wyoming",
    "wake": "wyoming",
    "realtime": "openai-realtime",
    "realtime_session": "openai-realtime",
    "transcriptions": "openai",
    "multipart": "openai",
    "health": "http",
    "access": "http",
}
"""Modules of `edgeseq.serve`, and whose they are."""
OTHER = "other"
SCHEDULE = "/proc/thread-self/schedstat"
"""Linux tells there how long a thread has computed, and waited for a processor (Documentation/scheduler/sched-stats)."""


class Watchdog:
    """Watches over one loop. Start it within the loop."""

    def __init__(self, metrics: Metrics) -> None:
        """Count in `metrics`."""
        self._metrics = metrics
        self._beat_at = self._cpu_at = self._queued_at = 0.0
        self._schedule: FileIO | None = None
        self._seen: tuple[str, str] | None = None
        """protocol, and place in the code, of a stall that lasts"""
        self._timer: asyncio.TimerHandle | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="edgeseq-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch the running loop; call it in the loop's thread."""
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        with suppress(OSError):
            self._schedule = Path(SCHEDULE).open("rb", buffering=0)  # noqa: SIM115  # closed by stop
        self._beat_at, self._cpu_at, self._queued_at = time.monotonic(), time.thread_time(), self._queued_seconds()
        self._timer = self._loop.call_later(PULSE_SECONDS, self._beat)
        self._thread.start()

    def stop(self) -> None:
        """End; does not wait."""
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._schedule is not None:
            self._schedule.close()
            self._schedule = None

    def _beat(self) -> None:
        now, cpu, queued = time.monotonic(), time.thread_time(), self._queued_seconds()
        waited, computed = queued - self._queued_at, cpu - self._cpu_at
        stalled = max(0.0, now - self._beat_at - PULSE_SECONDS - waited)
        self._beat_at, self._cpu_at, self._queued_at = now, cpu, queued
        protocol, place = self._seen or (OTHER, "")
        self._seen = None
        self._metrics.pulse(stalled, computed, protocol if stalled >= STALL_SECONDS else None)
        if stalled >= STALL_SECONDS:
            log.warning(
                "the event loop stood still for %.2f s (%.2f s of them computing) in %s%s", stalled, computed, protocol, place
            )
        self._timer = self._loop.call_later(PULSE_SECONDS, self._beat)

    def _queued_seconds(self) -> float:
        """Tell for how long the loop's thread has waited for a processor, which others had; 0 where the system does not say."""
        if self._schedule is None:
            return 0.0
        fields = os.pread(self._schedule.fileno(), 100, 0).split()
        return int(fields[1]) / 1e9 if len(fields) > 1 else 0.0

    def _look(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            if self._seen is None and time.monotonic() - self._beat_at > STALL_SECONDS:
                self._seen = culprit(sys._current_frames().get(self._loop_thread))


def culprit(frame: FrameType | None) -> tuple[str, str]:
    """Name the protocol whose code a thread runs, and where that is.

    >>> culprit(None)
    ('other', '')
    """
    place = ""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        place = place or f" ({path.name}: {frame.f_code.co_name})"
        if path.parent.name == "serve" and path.stem in PROTOCOLS:
            return PROTOCOLS[path.stem], place
        frame = frame.f_back
    return OTHER, place
