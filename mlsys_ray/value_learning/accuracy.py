"""How well a value network predicts runtimes, and how well they repeat, which bounds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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


def partial_rank_correlation(
    network: ValueNetwork,
    pipeline: Pipeline,
    target: Target,
    measure: Measure,
    *,
    prefixes: int = 10,
    found: int = 3,
    seed: int = 0,
) -> dict[str, float | int | None]:
    """How well the network orders partial schedules by the best runtime reachable from them.

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
        `prefixes` that could be completed; Spearman's `rank_correlation` of predictions with
        either pass, the mean; and `measured_twice`, that of the passes with each other, whose
        square root is about what exact values would get. Both correlations are None where fewer
        than five could be completed.

    Raises:
        ValueError: so few are asked for.
    """
    from scipy.stats import spearmanr

    if prefixes < MIN_PREFIXES:
        raise ValueError(f"prefixes is {prefixes}, must be at least {MIN_PREFIXES}")
    states = random_prefixes(pipeline, target, prefixes, seed)
    value = value_of(network, featurise)
    config = BeamConfig(budget=COMPLETION_SECONDS, keep=found)
    completions = [beam_search(s, legal_actions, value, config).candidates for s in states]

    def shortest() -> list[float]:
        return [
            _shortest(measure(c.state.pipeline, schedule_of(c.state)) for c in candidates)
            for candidates in completions
        ]

    passes = np.array([shortest(), shortest()])
    usable = np.isfinite(passes).all(0)
    count = int(usable.sum())
    if count < MIN_PREFIXES:
        return {"prefixes": count, "rank_correlation": None, "measured_twice": None}
    first, second = passes[:, usable]
    predicted = value(states)[usable]
    of_passes = [spearmanr(predicted, times).statistic for times in (first, second)]
    return {
        "prefixes": count,
        "rank_correlation": float(np.mean(of_passes)),
        "measured_twice": float(spearmanr(first, second).statistic),
    }


def _shortest(measurements: Iterable[Measurement]) -> float:
    return min((m.min_ms for m in measurements if m.status == "ok"), default=np.nan)


def mean_rank_correlations(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Means over layers of what `partial_rank_correlation` gives, without those that have none."""
    names = {
        "rank_correlation_partial": "rank_correlation",
        "rank_correlation_partial_measured_twice": "measured_twice",
    }
    found = {name: [r[key] for r in rows if r[key] is not None] for name, key in names.items()}
    return {name: float(np.mean(known)) if known else None for name, known in found.items()}


def remeasure(
    samples: Sequence[Sample], measure: Measure, number: int, seed: int
) -> Iterable[dict[str, Any]]:
    """Measure some stored schedules again.

    Args:
        samples: to draw from; those that could not be measured are left out.
        measure: times a schedule, on the target of the samples.
        number: of different samples drawn, all if there are not so many.
        seed: of the draw.

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
    rng = np.random.default_rng(seed)
    for place in rng.permutation(len(able))[:number]:
        sample = able[place]
        *_, state = sample.states()
        again = measure(state.pipeline, schedule_of(state))
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
