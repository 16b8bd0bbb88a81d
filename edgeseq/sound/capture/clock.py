"""Was sound lost? The time at which each block entered the machine, against the samples that came before it.

Counting samples alone would take a clock that runs 100 ppm slow for nine lost seconds a day; overflow flags never come through
a sound server. So the offset between the two is followed as slowly as clocks drift, and what jumps ahead of it is a loss.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

MAX_DRIFT = 500e-6
"""seconds a second; clocks of sound cards are within 100 ppm, poor ones within 300"""
MIN_LOSS_SECONDS = 0.05
"""Times jump by less without any loss: PulseAudio's by 30 ms, always back, now and then."""
N_WITNESSES = 3
"""blocks that must agree, for a busy machine notes a time late once in a while"""


@dataclass(frozen=True)
class InputClock:
    """What is remembered of a device's clock. A value: `step` gives the next one."""

    rate: int
    """samples a second, as the device says"""
    offset: float | None = None
    """seconds: time of sample 0, by what came so far; None before the first blocks"""
    sample: int = 0
    """first one of the block before"""
    recent: tuple[float, ...] = ()
    """offsets of the newest blocks"""

    def step(self, time: float, sample: int) -> tuple[float, InputClock]:
        """Take the next block: its first sample's number, and the time in seconds at which that was recorded.

        Returns the seconds that were lost before it, mostly 0, and reported once `N_WITNESSES` blocks agree.
        """
        recent = (*self.recent, time - sample / self.rate)[-N_WITNESSES:]
        if len(recent) < N_WITNESSES:
            return 0.0, replace(self, sample=sample, recent=recent)
        middle = sorted(recent)[N_WITNESSES // 2]
        if self.offset is None:
            return 0.0, replace(self, offset=middle, sample=sample, recent=recent)
        if min(recent) - self.offset > MIN_LOSS_SECONDS:
            return middle - self.offset, replace(self, offset=middle, sample=sample, recent=recent)
        if max(recent) - self.offset < -MIN_LOSS_SECONDS:  # the first times were late ones
            return 0.0, replace(self, offset=middle, sample=sample, recent=recent)
        most = MAX_DRIFT * (sample - self.sample) / self.rate
        offset = self.offset + min(max(middle - self.offset, -most), most)
        return 0.0, replace(self, offset=offset, sample=sample, recent=recent)
