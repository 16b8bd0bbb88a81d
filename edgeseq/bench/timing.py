"""Times of competitors, taken in turns, and what is said of them: medians, quartiles, ratios paired by round.

Another program on the machine slows the one that is running at the moment. So each runs in short bursts, in a new random order
each round, and competitors are compared within a round, where they met the same weather.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Clock = Callable[[], float]
"""Seconds, from any beginning."""

Progress = Callable[[int, int], None]
"""Called with the number of measurements done and to do."""

BURST_SECONDS = 0.04
WARM_UP_CALLS = 2
"""At the start of a burst, not counted: the competitor before has filled the caches with its own weights."""
FEWEST_CALLS = 3
"""Counted in a burst, however long they take."""


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Describe values.

        >>> Spread.of([5.0, 1.0, 2.0, 4.0, 3.0])
        Spread(median=3.0, low=2.0, high=4.0)
        """
        return cls(median(values), percentile(values, 25), percentile(values, 75))

    def scaled(self, factor: float) -> Spread:
        """Change the unit."""
        return Spread(self.median * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Bursts:
    """Seconds of each counted call, by round."""

    rounds: tuple[tuple[float, ...], ...]

    def medians(self) -> list[float]:
        """Give a figure a round: the median of its calls."""
        return [median(calls) for calls in self.rounds]

    def spread(self) -> Spread:
        """Describe a call: median and quartiles of the rounds."""
        return Spread.of(self.medians())

    def percentile(self, percent: float) -> float:
        """Over all calls of all rounds."""
        return percentile([call for calls in self.rounds for call in calls], percent)


def interleave(
    competitors: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    burst_seconds: float = BURST_SECONDS,
    seed: int = 0,
    clock: Clock = time.perf_counter,
    on_progress: Progress = lambda done, total: None,
) -> dict[str, Bursts]:
    """Time each competitor in a burst of calls a round, in an order drawn afresh each round."""
    drawn = random.Random(seed)
    taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in competitors}
    for done in range(rounds):
        for name in drawn.sample(list(competitors), len(competitors)):
            taken[name].append(_burst(competitors[name], burst_seconds, clock))
        on_progress(done + 1, rounds)
    return {name: Bursts(tuple(bursts)) for name, bursts in taken.items()}


def _burst(call: Callable[[], object], seconds: float, clock: Clock) -> tuple[float, ...]:
    for _ in range(WARM_UP_CALLS):
        call()
    times: list[float] = []
    began = clock()
    while len(times) < FEWEST_CALLS or began + seconds > clock():
        before = clock()
        call()
        times.append(clock() - before)
    return tuple(times)


def paired_ratio(of: Bursts, to: Bursts) -> Spread:
    """Say how many times longer `of` takes than `to`: median and quartiles of the ratios within each round."""
    return Spread.of([a / b for a, b in zip(of.medians(), to.medians(), strict=True)])


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the value that `percent` of the values do not exceed.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 50)
    2.0
    """
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]
