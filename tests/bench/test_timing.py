"""The arithmetic of measuring, on a clock that goes when it is told to."""

import doctest

import pytest

from edgeseq.bench import timing
from edgeseq.bench.timing import (
    BURST_SECONDS,
    FEWEST_CALLS,
    WARM_UP_CALLS,
    Bursts,
    Spread,
    interleave,
    paired_ratio,
    percentile,
)


class FakeClock:
    """Time that passes only while a competitor runs."""

    def __init__(self):
        self.now, self.weather, self.called = 100.0, 1.0, []

    def __call__(self):
        return self.now

    def competitor(self, name, seconds):
        """A call that takes so long in fair weather; `seconds` may be a function of how often it has run."""

        def call():
            self.called.append(name)
            passed = seconds(self.called.count(name)) if callable(seconds) else seconds
            self.now += passed * self.weather

        return call


def test_doctests():
    assert doctest.testmod(timing).failed == 0


def test_a_median_with_its_quartiles():
    assert Spread.of([7.0, 1.0, 3.0]) == Spread(3.0, 1.0, 7.0)
    assert Spread.of([1.0, 2.0, 3.0, 100.0]).median == 2.5
    assert Spread.of([2.0]) == Spread(2.0, 2.0, 2.0)
    assert Spread(2.0, 1.0, 4.0).scaled(1000) == Spread(2000.0, 1000.0, 4000.0)


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
def test_percentiles_of_a_hundred(percent, value):
    assert percentile(list(range(100, 0, -1)), percent) == value


def test_times_are_those_of_the_clock():
    clock = FakeClock()
    bursts = interleave({"a": clock.competitor("a", 0.001), "b": clock.competitor("b", 0.004)}, 5, clock=clock)
    assert bursts["a"].medians() == pytest.approx([0.001] * 5) and bursts["b"].medians() == pytest.approx([0.004] * 5)
    assert bursts["b"].percentile(99) == pytest.approx(0.004)
    ratio = paired_ratio(bursts["b"], bursts["a"])
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((4.0, 4.0, 4.0))


def test_everybody_gets_one_burst_a_round_in_an_order_drawn_anew():
    clock = FakeClock()
    names = ["a", "b", "c", "d"]
    interleave({name: clock.competitor(name, 0.01) for name in names}, 12, burst_seconds=0.02, clock=clock)
    turns = [name for name, before in zip(clock.called, [None, *clock.called], strict=False) if name != before]
    per_burst = WARM_UP_CALLS + FEWEST_CALLS
    rounds = [clock.called[i : i + 4 * per_burst : per_burst] for i in range(0, len(clock.called), 4 * per_burst)]
    assert len(rounds) == 12 and all(sorted(order) == names for order in rounds)
    assert len({tuple(order) for order in rounds}) > 4 and len(turns) > 12
    again = FakeClock()
    interleave({name: again.competitor(name, 0.01) for name in names}, 12, burst_seconds=0.02, clock=again)
    assert again.called == clock.called


def test_the_first_calls_of_a_burst_do_not_count():
    clock = FakeClock()
    cold = {1: 0.9, 2: 0.5}
    bursts = interleave({"a": clock.competitor("a", lambda n: cold.get(n, 0.002))}, 1, clock=clock)
    assert max(bursts["a"].rounds[0]) == pytest.approx(0.002)


def test_a_burst_is_as_long_as_wanted_and_has_its_fewest_calls():
    clock = FakeClock()
    quick = interleave({"a": clock.competitor("a", 0.001)}, 1, burst_seconds=0.0205, clock=clock)
    assert len(quick["a"].rounds[0]) == 21
    slow = interleave({"a": clock.competitor("a", 10 * BURST_SECONDS)}, 1, clock=clock)
    assert len(slow["a"].rounds[0]) == FEWEST_CALLS


def test_ratios_are_paired_by_round():
    """Bad weather, which lasts for some rounds, changes times but no ratio."""
    clock = FakeClock()

    def change(done, _):
        clock.weather = 5.0 if done % 3 == 0 else 1.0

    bursts = interleave(
        {"a": clock.competitor("a", 0.003), "b": clock.competitor("b", 0.002)}, 10, clock=clock, on_progress=change
    )
    spread = bursts["a"].spread()
    assert spread.high > 4 * spread.low
    ratio = paired_ratio(bursts["a"], bursts["b"])
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((1.5, 1.5, 1.5))


def test_a_ratio_has_the_quartiles_of_its_rounds():
    of = Bursts(((2.0,), (4.0, 4.0, 9.0), (6.0,), (8.0,)))
    ratio = paired_ratio(of, Bursts(((2.0,), (2.0,), (2.0,), (1.0,))))
    assert ratio == Spread(2.5, 1.0, 3.0)
    with pytest.raises(ValueError):
        paired_ratio(of, Bursts(((1.0,),)))
