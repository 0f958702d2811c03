from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from test_store import PIPELINE, TARGET, sample, schedules

from mlsys_ray.value_learning import accuracy as accuracy_module
from mlsys_ray.value_learning.accuracy import (
    accuracy,
    measure_prefixes,
    order_of_prefixes,
    partial_accuracy,
    random_prefixes,
    remeasure,
    spread,
)
from mlsys_ray.value_learning.measuring import Measurement
from mlsys_ray.value_learning.operators import Activate, Conv2d, Pipeline, chain
from mlsys_ray.value_learning.search.base import complete_plainly
from mlsys_ray.value_learning.space import Schedule, State, legal_actions
from mlsys_ray.value_learning.space.action import Action
from mlsys_ray.value_learning.store import Sample
from mlsys_ray.value_learning.value_network.model import Prediction

CONV = chain((16, 12, 12, 1), Conv2d(out_channels=16, kernel=3, padding=1))
ONE_STAGE = chain((16, 12), Activate(activation="relu"))


def ms(action: Action) -> float:
    """A runtime that the first stage's schedule decides alone."""
    return 1.0 + sum(n * 31**k for k, n in enumerate(action.tile)) + action.vector / 100


def ok(ms: float) -> Measurement:
    return Measurement(status="ok", min_ms=ms, median_ms=ms, repetitions=3)


def knowing(log_ms: Callable[[State], float], monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A network that predicts states by a formula instead of their features."""
    monkeypatch.setattr(accuracy_module, "featurise", lambda states: states)
    return SimpleNamespace(
        predict=lambda states: Prediction(np.array([[log_ms(state) for state in states]]))
    )


@pytest.fixture
def ranked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict]:
    """Correlations of values that are exact up to a sign, and how often measured."""

    def evaluate(measure: Callable[[int, Schedule], Measurement], sign: int = 1) -> dict:
        network = knowing(lambda state: sign * math.log(ms(state.actions[0])), monkeypatch)
        calls = 0

        def counted(pipeline: Pipeline, schedule: Schedule) -> Measurement:
            nonlocal calls
            calls += 1
            return measure(calls, schedule)

        rows = measure_prefixes(network, CONV, TARGET, counted, prefixes=8, found=2)
        return {**order_of_prefixes(rows), "calls": calls}

    return evaluate


def test_prefixes_are_different_of_all_lengths_and_can_be_completed() -> None:
    prefixes = random_prefixes(CONV, TARGET, 10, seed=3)
    assert len(set(prefixes)) == len(prefixes) > 5
    assert {len(state.actions) for state in prefixes} == {1, 2}
    assert len({state.pipeline.key for state in prefixes}) > 1, "weights in panels, too"
    assert all(complete_plainly(state, legal_actions) for state in prefixes)
    assert random_prefixes(CONV, TARGET, 10, seed=3) == prefixes
    assert random_prefixes(ONE_STAGE, TARGET, 10, seed=3) == []


@pytest.mark.parametrize("sign", [1, -1])
def test_exact_values_order_partial_schedules_exactly(ranked, sign: int) -> None:
    found = ranked(lambda call, schedule: ok(ms(schedule.actions[0])), sign)
    assert found["rank_correlation"] == pytest.approx(sign)
    assert found["measured_twice"] == pytest.approx(1)
    assert found["calls"] == 2 * 2 * found["prefixes"]


def test_runtimes_that_do_not_repeat_are_told(ranked) -> None:
    """In the second pass the order is turned around."""
    half = 2 * len(random_prefixes(CONV, TARGET, 8, seed=0))

    def measure(call: int, schedule: Schedule) -> Measurement:
        time = ms(schedule.actions[0])
        return ok(time if call <= half else 1 / time)

    assert ranked(measure)["measured_twice"] == pytest.approx(-1)


def test_partial_schedules_that_cannot_be_measured_are_left_out(ranked) -> None:
    found = ranked(lambda call, schedule: Measurement(status="refused"))
    assert found["prefixes"] == 0
    assert found["rank_correlation"] is None
    assert found["measured_twice"] is None


def prefix_rows(predicted: list[float], first: list[float], second: list[float]) -> list[dict]:
    return [
        {"predicted_ms": p, "first_ms": a, "second_ms": b}
        for p, a, b in zip(predicted, first, second, strict=True)
    ]


def test_the_shorter_one_of_two_runtimes_is_the_best_known() -> None:
    rows = prefix_rows([1, 2, 3, 4, 5], [9, 9, 9, 9, 5], [1, 2, 3, 4, 9])
    assert order_of_prefixes(rows)["rank_correlation"] == pytest.approx(1)


def test_layers_are_ordered_together_and_each_by_itself() -> None:
    """Within each of two layers the order is wrong, between them right."""
    up, down = [1.0, 2, 3, 4, 5], [5.0, 4, 3, 2, 1]
    small = prefix_rows(up, down, down)
    large = prefix_rows([100 * p for p in up], [100 * t for t in down], [100 * t for t in down])
    found = partial_accuracy({"small": small, "large": large, "none": []})
    assert found["rank_correlation_partial_within"] == pytest.approx(-1)
    assert found["rank_correlation_partial"] > 0.5
    assert found["rank_correlation_partial_measured_twice"] == pytest.approx(1)
    assert set(partial_accuracy({"none": small[:4]}).values()) == {None}


def test_too_few_prefixes_are_refused() -> None:
    with pytest.raises(ValueError, match="prefixes is 4, must be at least 5"):
        measure_prefixes(None, CONV, TARGET, None, prefixes=4)


def test_errors_are_of_complete_schedules_alone() -> None:
    """Predictions are 0, 1 ms, for three schedules of 1, 1 and e ms."""
    found = schedules(4)
    samples = [sample(s, time) for s, time in zip(found[:3], (1, 1, math.e), strict=True)]
    predict = lambda features: SimpleNamespace(log_ms=np.zeros(len(features.lengths)))  # noqa: E731
    errors = accuracy(
        SimpleNamespace(predict=predict), [*samples, sample(found[3], status="wrong")]
    )
    assert errors["samples"] == 3
    assert errors["msle"] == pytest.approx(1 / 3)
    assert errors["mape"] == pytest.approx(100 * (1 - 1 / math.e) / 3)
    assert errors["r2_log"] == pytest.approx(1 - (1 / 3) / (2 / 9))


def test_stored_schedules_are_measured_again() -> None:
    found = schedules(6)
    samples = [sample(s, 2.0 + n) for n, s in enumerate(found[:5])]
    asked = []

    def measure(pipeline: Pipeline, schedule: Schedule) -> Measurement:
        asked.append(schedule)
        assert pipeline == PIPELINE
        place = found.index(schedule)
        return Measurement(status="timeout") if place == 4 else ok((2 + place) * math.e**place)

    rows = list(remeasure([*samples, sample(found[5], status="wrong")], measure, 80, seed=0))
    assert set(asked) == set(found[:5])
    assert [row["first_ms"] for row in rows] == [2.0 + found.index(s) for s in asked]
    apart = spread(rows)
    assert apart["failed"] == 1
    assert apart["samples"] == 4
    assert apart["median_log_ratio"] == pytest.approx(1.5)
    assert apart["p90_log_ratio"] == pytest.approx(2.7)
    assert apart["msle"] == pytest.approx((0 + 1 + 4 + 9) / 4)
    assert len(list(remeasure(samples, measure, 2, seed=0))) == 2


def test_what_took_longest_by_a_prediction_is_measured_again_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = schedules(5)
    samples = [sample(s, 1.0 + n % 3) for n, s in enumerate(found)]
    network = knowing(lambda state: 0.0, monkeypatch)
    told: list[Sample] = []
    rows = list(remeasure(samples, lambda *_: ok(0.5), 2, 0, network, told.append))
    assert sorted(row["first_ms"] for row in rows) == [2.0, 3.0]
    assert [s.key for s in told] == [row["key"] for row in rows]
    assert {s.min_ms for s in told} == {0.5}


def test_nothing_to_measure_again_is_told() -> None:
    with pytest.raises(ValueError, match="none of 1 samples could be measured"):
        list(remeasure([sample(schedules(1)[0], status="wrong")], None, 3, seed=0))
    with pytest.raises(ValueError, match="number is 0, must be at least 1"):
        list(remeasure([], None, 0, seed=0))
