"""Does the machine keep up? Time spent on sound against the time the sound lasts."""

from __future__ import annotations

import time
from collections import deque

WINDOW_SECONDS = 5.0
"""of sound that is judged"""


class Load:
    """Compares how long the consumer of blocks is busy with how long the blocks last."""

    def __init__(self) -> None:
        """Nothing has been taken yet."""
        self._spans: deque[tuple[float, float]] = deque()
        """seconds of sound, seconds busy with it"""
        self._given: float | None = None

    def give(self) -> None:
        """Note that a block is handed over now."""
        self._given = time.monotonic()

    def take_back(self, seconds: float) -> None:
        """Note that the next block is wanted, and that the one before held that many seconds of sound."""
        if self._given is None:
            return
        self._spans.append((seconds, time.monotonic() - self._given))
        while len(self._spans) > 1 and sum(sound for sound, _ in self._spans) - self._spans[0][0] >= WINDOW_SECONDS:
            self._spans.popleft()

    @property
    def seconds(self) -> float:
        """Seconds of sound that is judged."""
        return sum(sound for sound, _ in self._spans)

    @property
    def busy_seconds(self) -> float:
        """Spent on it."""
        return sum(busy for _, busy in self._spans)

    @property
    def factor(self) -> float:
        """Time spent by time of sound: above 1 the machine falls behind."""
        return self.busy_seconds / self.seconds if self.seconds else 0.0
