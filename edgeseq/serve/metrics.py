"""What a server counts, for /metrics (see `exposition.py`)."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from itertools import accumulate

LATE_SECONDS = 0.2
"""A client that has waited longer for its sound to be stepped was kept waiting."""
LATENCY_BOUNDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
"""seconds"""
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 48, 64)
"""streams"""
RECENT_SECONDS = 60.0
PULSE_SECONDS, PULSES = 5.0, 1000
"""for which stalls are remembered one by one; the largest number of them"""


class Distribution:
    """How often values fell below bounds; one thread writes."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Count values up to each of `bounds`, and above the last."""
        self.bounds = bounds
        self.total = 0.0
        """of all values"""
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulated(self) -> list[int]:
        """Count the values up to each bound, and finally all."""
        return list(accumulate(self._counts))

    def __len__(self) -> int:
        """Count all values."""
        return sum(self._counts)


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
        self.latencies = Distribution(LATENCY_BOUNDS)
        """seconds from handing over to answer"""
        self.batches = Distribution(BATCH_BOUNDS)
        """streams stepped together"""
        self.longest_stall = 0.0
        """seconds that the event loop stood still at most, since the start"""
        self.longest_work = 0.0
        """seconds that it computed at once at most"""
        self._pulses: deque[tuple[float, float, float]] = deque(maxlen=PULSES)
        """of late: when, how long the loop stood still, how long it computed"""
        self.stalls: Counter[str] = Counter()
        """protocol -> times that the loop stood still for 0.1 s or more"""
        self._recent: deque[tuple[int, float]] = deque(maxlen=round(RECENT_SECONDS))
        """whole second of the clock, seconds of computing in it"""

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing for a second of sound, since the start; 0 before any."""
        return self.step_seconds / self.sound_seconds if self.sound_seconds else 0.0

    def busy_ratio(self) -> float:
        """Share of the last minute in which batches were computed."""
        first = time.monotonic() - RECENT_SECONDS
        return sum(seconds for second, seconds in list(self._recent) if second >= first) / RECENT_SECONDS

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
        self.batches.add(n_streams)
        second = int(time.monotonic())
        before = self._recent.pop()[1] if self._recent and self._recent[-1][0] == second else 0.0
        self._recent.append((second, before + seconds))

    def pulse(self, stalled: float, computed: float, protocol: str | None) -> None:
        """Note how long the loop stood still, how long it computed, and in whose code, if that was long."""
        self.longest_stall = max(self.longest_stall, stalled)
        self.longest_work = max(self.longest_work, computed)
        self._pulses.append((time.monotonic(), stalled, computed))
        if protocol is not None:
            self.stalls[protocol] += 1

    def recent_stall(self) -> tuple[float, float]:
        """Give the longest time of the last seconds that the loop stood still, and that it computed at once."""
        first = time.monotonic() - PULSE_SECONDS
        recent = [(stalled, computed) for at, stalled, computed in list(self._pulses) if at >= first]
        return max((stalled for stalled, _ in recent), default=0.0), max((computed for _, computed in recent), default=0.0)

    def answered(self, seconds: float) -> None:
        """Count how long a client waited for sound to be stepped."""
        self.latencies.add(seconds)
        self.n_late += seconds > LATE_SECONDS
