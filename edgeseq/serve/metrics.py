"""What a server counts, for /metrics."""

from __future__ import annotations

import time
from collections import Counter

LATE_SECONDS = 0.2
"""A client that has waited longer for its sound to be stepped was kept waiting."""


class Metrics:
    """Counts of one server. Written by several threads, each its own fields; read by anyone."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.started_at = time.time()
        self.open: Counter[str] = Counter()
        """protocol -> streams open now"""
        self.total: Counter[str] = Counter()
        """protocol -> streams opened"""
        self.refusals: Counter[tuple[str, str]] = Counter()
        """protocol, reason -> clients refused"""
        self.sound_seconds = 0.0
        self.step_seconds = 0.0
        """of computing"""
        self.n_steps = 0
        """batches stepped"""
        self.n_chunks = 0
        """network chunks, of all streams"""
        self.n_late = 0
        """times that a client waited longer than 0.2 s"""
        self.latencies: list[float] = []
        """seconds from handing over to answer, the latest 1,000"""

    def opened(self, protocol: str) -> None:
        """Count a stream."""
        self.open[protocol] += 1
        self.total[protocol] += 1

    def closed(self, protocol: str) -> None:
        """Count its end."""
        self.open[protocol] -= 1

    def refused(self, protocol: str, reason: str) -> None:
        """Count a client that was turned away."""
        self.refusals[protocol, reason] += 1

    def heard(self, seconds: float) -> None:
        """Count sound."""
        self.sound_seconds += seconds

    def stepped(self, n_streams: int, seconds: float) -> None:
        """Count a batch."""
        self.n_steps += 1
        self.n_chunks += n_streams
        self.step_seconds += seconds

    def answered(self, seconds: float) -> None:
        """Count how long a client waited for sound to be stepped."""
        self.latencies = [*self.latencies[-999:], seconds]
        self.n_late += seconds > LATE_SECONDS
