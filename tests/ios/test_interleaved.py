from collections import Counter
from itertools import pairwise

import pytest

from mlsys_ray.ios import interleaved
from mlsys_ray.ios.interleaved import Timing, measure


class Clock:
    """Stands in for the module `time`: calls take the time they say, and nothing else does."""

    def __init__(self):
        self.now = 0.0
        self.calls = []
        self.slowdown = 1.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.calls.append("pause")
        self.now += seconds

    def work(self, name, seconds):
        def call():
            self.calls.append(name)
            self.now += seconds * self.slowdown

        return call


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(interleaved, "time", clock)
    return clock


def test_each_round_times_each_alternative_once(clock):
    alternatives = {"a": clock.work("a", 0.002), "b": clock.work("b", 0.003)}
    timings = measure(alternatives, rounds=4, warmups=2)
    assert list(timings) == ["a", "b"]
    assert timings["a"].samples == pytest.approx([2.0] * 4)
    assert timings["b"].samples == pytest.approx([3.0] * 4)
    assert Counter(clock.calls) == {"a": 12, "b": 12, "pause": 8}


def test_pauses_and_warmups_are_not_timed(clock):
    costs = iter([5.0, 0.1, 0.001] * 2)

    def call():
        clock.now += next(costs)

    assert measure({"a": call}, rounds=2, pause=7)["a"].samples == pytest.approx([1.0, 1.0])


def test_orders_change_from_round_to_round_and_repeat_themselves(clock):
    names = ["a", "b", "c", "d"]
    alternatives = {name: clock.work(name, 0.001) for name in names}

    def turns():
        clock.calls.clear()
        measure(alternatives, rounds=8, warmups=0)
        done = [name for name in clock.calls if name != "pause"]
        return [done[i : i + 4] for i in range(0, len(done), 4)]

    orders = turns()
    assert all(sorted(order) == names for order in orders)
    assert Counter(order[0] for order in orders) == dict.fromkeys(names, 2)
    before = {pair for order in orders for pair in pairwise(order)}
    assert all({(a, b), (b, a)} <= before for a, b in ("ab", "bc", "cd"))
    assert turns() == orders


def test_of_two_each_comes_first_as_often(clock):
    measure({name: clock.work(name, 0.001) for name in "ab"}, rounds=4, warmups=0)
    assert "".join(name for name in clock.calls if name != "pause") == "abbabaab"


def test_drift_of_the_machine_leaves_ratios_as_they_are(clock):
    def drifting(name, seconds):
        work = clock.work(name, seconds)

        def call():
            clock.slowdown *= 1.001
            work()

        return call

    timings = measure({"a": drifting("a", 0.002), "b": drifting("b", 0.001)}, rounds=9)
    assert timings["a"].samples[-1] > 1.04 * timings["a"].samples[0]
    assert timings["a"].ratios(timings["b"]) == pytest.approx([2.0] * 9, rel=0.01)


def test_a_budget_ends_it_after_a_whole_round(clock):
    alternatives = {"a": clock.work("a", 1.0), "b": clock.work("b", 2.0)}
    timings = measure(alternatives, warmups=0, pause=0, budget_seconds=5)
    assert [len(timing.samples) for timing in timings.values()] == [2, 2]
    timings = measure(alternatives, warmups=0, pause=0, budget_seconds=0)
    assert [len(timing.samples) for timing in timings.values()] == [1, 1]


def test_minimum_and_median():
    timing = Timing(samples=(3.0, 1.0, 2.5))
    assert (timing.min_ms, timing.median_ms) == (1.0, 2.5)
    with pytest.raises(ValueError, match="shorter"):
        timing.ratios(Timing(samples=(1.0,)))


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"warmups": -1}, {"pause": -0.1}, {"alternatives": {}}]
)
def test_what_cannot_be_measured_is_refused(wrong):
    with pytest.raises(ValueError, match="measuring needs"):
        measure(**{"alternatives": {"a": int}, **wrong})


def test_an_error_comes_out():
    def broken():
        raise RuntimeError("no kernel")

    with pytest.raises(RuntimeError, match="no kernel"):
        measure({"a": int, "b": broken}, pause=0)
