"""How well a value network predicts runtimes, and how well they repeat, which bounds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from mlsys_ray.value_learning.features import featurise
from mlsys_ray.value_learning.measuring import Limits, Measurement
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.search.beam import BeamConfig, beam_search
from mlsys_ray.value_learning.space import Schedule, State, initial, legal_actions, schedule_of
from mlsys_ray.value_learning.store import Sample, best_known
from mlsys_ray.value_learning.target import Target
from mlsys_ray.value_learning.value_iteration import random_jobs
from mlsys_ray.value_learning.value_network.model import ValueNetwork, value_of

MIN_PREFIXES = 5
"""Partial schedules of a layer, below which their order says nothing."""
COMPLETION_SECONDS = 20.0
"""For the search from one of them: more than it takes, so that the load does not change it."""

COMPLETIONS_TIMED = Limits(run_seconds=0.1, asserts=False)
"""Longer than schedules to learn from, as many completions of a layer are nearly as fast."""

Measure = Callable[[Pipeline, Schedule], Measurement]


def accuracy(network: ValueNetwork, samples: Iterable[Sample]) -> dict[str, float | int]:
    """Errors of predicted runtimes on measured schedules that the network was not trained on.

    Returns:
        `r2_log`, R2 of the logarithm of runtime; `mape`, mean absolute percentage error; `msle`,
        mean squared error of the logarithm; `samples`.

    Raises:
        ValueError: no sample could be measured.
    """
    known = best_known(samples)
    if not known.states:
        raise ValueError("no measured schedules to compare with")
    complete = [state for state in known.states if state.is_complete]
    log_ms = known.log_ms[known.complete]
    errors = network.predict(featurise(complete)).log_ms - log_ms
    return {
        "r2_log": float(1 - np.mean(errors**2) / log_ms.var()),
        "mape": float(100 * np.mean(np.abs(np.expm1(errors)))),
        "msle": float(np.mean(errors**2)),
        "samples": len(complete),
    }


def random_prefixes(pipeline: Pipeline, target: Target, count: int, seed: int) -> list[State]:
    """Different partial schedules, `count` at most: beginnings of random complete ones.

    The complete ones are drawn as those to train on are, see `random_jobs`; each number of
    scheduled stages has its turn. A pipeline of one stage has no partial schedules.
    """
    prefixes: dict[State, None] = {}
    for number, job in enumerate(random_jobs([pipeline], target, count, seed)):
        actions = job.schedule.actions
        if len(actions) == 1:
            break
        state = initial(job.pipeline, target)
        for action in actions[: 1 + number % (len(actions) - 1)]:
            state = state.take(action)
        prefixes[state] = None
    return list(prefixes)


def measure_prefixes(
    network: ValueNetwork,
    pipeline: Pipeline,
    target: Target,
    measure: Measure,
    *,
    prefixes: int = 10,
    found: int = 3,
    seed: int = 0,
) -> list[dict[str, float | int]]:
    """What the network expects of partial schedules, and the best runtimes found from them.

    The best runtime reachable is taken to be that of the fastest of the completions which a beam
    search thinks best. All are measured in two passes, one after the other, as many are nearly as
    fast as others: their order in one pass is partly chance, which no prediction can know.

    Args:
        network: the value function.
        pipeline: what is scheduled.
        target: the machine.
        measure: times a schedule, best by `COMPLETIONS_TIMED`.
        prefixes: partial schedules, see `random_prefixes`.
        found: completions of each that are measured.
        seed: of the draws.

    Returns:
        For each that could be completed and measured `scheduled`, its stages that are scheduled;
        `predicted_ms`; `first_ms` and `second_ms`, the shortest runtime of each pass.

    Raises:
        ValueError: so few are asked for that their order says nothing.
    """
    if prefixes < MIN_PREFIXES:
        raise ValueError(f"prefixes is {prefixes}, must be at least {MIN_PREFIXES}")
    states = random_prefixes(pipeline, target, prefixes, seed)
    if not states:
        return []
    value = value_of(network, featurise)
    config = BeamConfig(budget=COMPLETION_SECONDS, keep=found)
    completions = [beam_search(s, legal_actions, value, config).candidates for s in states]

    def shortest() -> list[float]:
        return [
            _shortest(measure(c.state.pipeline, schedule_of(c.state)) for c in candidates)
            for candidates in completions
        ]

    rows = [
        {
            "scheduled": len(state.actions),
            "predicted_ms": predicted,
            "first_ms": first,
            "second_ms": second,
        }
        for state, predicted, first, second in zip(
            states,
            network.predict(featurise(states)).ms.tolist(),
            shortest(),
            shortest(),
            strict=True,
        )
    ]
    return [row for row in rows if math.isfinite(row["first_ms"] + row["second_ms"])]


def _shortest(measurements: Iterable[Measurement]) -> float:
    return min((m.min_ms for m in measurements if m.status == "ok"), default=math.nan)


def order_of_prefixes(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | int | None]:
    """How well predictions order the rows of `measure_prefixes`.

    Returns:
        `prefixes`, their number; Spearman's `rank_correlation` of predictions with the best
        runtime known, the shorter one of the two passes; and `measured_twice`, that of the passes
        with each other, which tells how much of the order is chance. Both are None for fewer than
        five.
    """
    from scipy.stats import spearmanr

    if len(rows) < MIN_PREFIXES:
        return {"prefixes": len(rows), "rank_correlation": None, "measured_twice": None}
    predicted, first, second = (
        np.array([row[name] for row in rows]) for name in ("predicted_ms", "first_ms", "second_ms")
    )
    return {
        "prefixes": len(rows),
        "rank_correlation": float(spearmanr(predicted, np.minimum(first, second)).statistic),
        "measured_twice": float(spearmanr(first, second).statistic),
    }


def partial_accuracy(layers: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, float | None]:
    """Order of partial schedules, from rows of `measure_prefixes` of each layer.

    Returns:
        `rank_correlation_partial` of all of them together, as a value function is asked for
        runtimes and not for an order within one layer alone; `rank_correlation_partial_within`,
        the mean over layers, where sizes of layers tell nothing; and the mean of what two passes of
        measuring agree on, `rank_correlation_partial_measured_twice`. None where too few are known.
    """
    orders = [order_of_prefixes(rows) for rows in layers.values()]
    together = order_of_prefixes([row for rows in layers.values() for row in rows])
    return {
        "rank_correlation_partial": together["rank_correlation"],
        "rank_correlation_partial_within": _mean(o["rank_correlation"] for o in orders),
        "rank_correlation_partial_measured_twice": _mean(o["measured_twice"] for o in orders),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def remeasure(
    samples: Sequence[Sample],
    measure: Measure,
    number: int,
    seed: int,
    network: ValueNetwork | None = None,
    on_sample: Callable[[Sample], None] = lambda sample: None,
) -> Iterator[dict[str, Any]]:
    """Measure some stored schedules again.

    Args:
        samples: to draw from; those that could not be measured are left out.
        measure: times a schedule, on the target of the samples.
        number: of different samples drawn, all if there are not so many.
        seed: of the draw.
        network: takes the place of the draw: those come first whose runtimes exceed most what it
            expects of them.
        on_sample: told of each sample with what was measured this time.

    Yields:
        `key`, `source`, `first_ms` and `second_ms` of each, NaN where it failed this time.

    Raises:
        ValueError: none could be measured, or none is wanted.
    """
    if number < 1:
        raise ValueError(f"number is {number}, must be at least 1")
    able = [sample for sample in samples if sample.status == "ok"]
    if not able:
        raise ValueError(f"none of {len(samples)} samples could be measured")
    states = [tuple(sample.states())[-1] for sample in able]
    order = np.random.default_rng(seed).permutation(len(able))
    if network is not None:
        log_ms = np.log([sample.min_ms for sample in able])
        order = np.argsort(network.predict(featurise(states)).log_ms - log_ms)
    for place in order[:number]:
        sample, state = able[place], states[place]
        again = measure(state.pipeline, schedule_of(state))
        on_sample(replace(sample, **asdict(again)))
        yield {
            "key": sample.key,
            "source": sample.source,
            "first_ms": sample.min_ms,
            "second_ms": again.min_ms,
        }


def spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | int | None]:
    """How far the two runtimes in rows of `remeasure` lie apart.

    Returns:
        Of the absolute logarithm of their ratio `median_log_ratio` and `p90_log_ratio`, the 90th
        percentile; of the logarithm the mean square, `msle`; None without rows. The error of a
        prediction is that of one measurement at least, half of this `msle`. `samples`; `failed`,
        which could not be measured the second time.
    """
    ratios = np.array([row["second_ms"] / row["first_ms"] for row in rows])
    logs = np.abs(np.log(ratios[np.isfinite(ratios)]))
    known = len(logs) > 0
    return {
        "median_log_ratio": float(np.median(logs)) if known else None,
        "p90_log_ratio": float(np.quantile(logs, 0.9)) if known else None,
        "msle": float(np.mean(logs**2)) if known else None,
        "samples": len(logs),
        "failed": len(rows) - len(logs),
    }
