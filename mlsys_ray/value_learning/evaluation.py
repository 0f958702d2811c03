"""How well a value network predicts, and how fast its schedules are beside others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsys_ray.value_learning.baselines.base import Baseline
from mlsys_ray.value_learning.baselines.compare import Row, compare
from mlsys_ray.value_learning.baselines.fixed import FixedSchedule
from mlsys_ray.value_learning.features import featurise
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.scheduling import search_schedule
from mlsys_ray.value_learning.search.beam import BeamConfig, beam_search
from mlsys_ray.value_learning.space import Schedule, initial, legal_actions, schedule_of
from mlsys_ray.value_learning.store import Sample, best_known
from mlsys_ray.value_learning.target import Target
from mlsys_ray.value_learning.value_network.model import ValueNetwork, value_of

VALUE = "value"
"""Name of the schedule that the network thinks best, in comparisons."""
PLANAR = " planar"


def accuracy(network: ValueNetwork, samples: Iterable[Sample]) -> dict[str, float | int | None]:
    """Errors of predicted runtimes on measured schedules that the network was not trained on.

    Returns:
        On complete schedules: `r2_log`, R2 of the logarithm of runtime; `mape`, mean absolute
        percentage error; `msle`, mean squared error of the logarithm; `samples`. On partial ones:
        `rank_correlation_partial`, Spearman's, with the best known completion, mean over the
        pipelines with at least 5 different partial states; None where there is none.

    Raises:
        ValueError: no sample could be measured.
    """
    from scipy.stats import spearmanr

    known = best_known(samples)
    if not known.states:
        raise ValueError("no measured schedules to compare with")
    predicted = network.predict(featurise(known.states)).log_ms
    complete = known.complete
    errors = (predicted - known.log_ms)[complete]
    groups = np.array(known.groups)
    correlations = []
    for group in dict.fromkeys(known.groups):
        rows = (groups == group) & ~complete
        if rows.sum() >= 5 and np.ptp(known.log_ms[rows]) > 0:
            correlations.append(spearmanr(predicted[rows], known.log_ms[rows]).statistic)
    return {
        "r2_log": float(1 - np.mean(errors**2) / known.log_ms[complete].var()),
        "mape": float(100 * np.mean(np.abs(np.expm1(errors)))),
        "msle": float(np.mean(errors**2)),
        "samples": int(complete.sum()),
        "rank_correlation_partial": float(np.mean(correlations)) if correlations else None,
    }


def partial_rank_correlation(
    network: ValueNetwork,
    pipeline: Pipeline,
    target: Target,
    measure: Callable[[Pipeline, Schedule], float | None],
    *,
    prefixes: int = 10,
    found: int = 3,
    seed: int = 0,
) -> float | None:
    """How well the network orders partial schedules by the best completion known of each.

    Partial schedules are drawn at random; the completions are those that a beam search from each
    thinks best, measured.

    Args:
        network: the value function.
        pipeline: what is scheduled.
        target: the machine.
        measure: runtime of a schedule [ms], None where it failed.
        prefixes: partial schedules, of different lengths.
        found: completions measured of each.
        seed: of the draws.

    Returns:
        Spearman's correlation; None where fewer than five partial schedules could be completed.
    """
    from scipy.stats import spearmanr

    rng = np.random.default_rng(seed)
    value = value_of(network, featurise)
    states, best = [], []
    for number in range(prefixes):
        state = initial(pipeline, target)
        for _ in range(1 + number % max(1, len(pipeline.stages) - 1)):
            options = legal_actions(state)
            state = state.take(options[int(rng.integers(len(options)))])
        if state.is_complete:
            continue
        completions = beam_search(state, legal_actions, value, BeamConfig(keep=found)).candidates
        times = [measure(pipeline, schedule_of(candidate.state)) for candidate in completions]
        known = [time for time in times if time is not None]
        if known:
            states.append(state)
            best.append(min(known))
    if len(states) < 5:
        return None
    return float(spearmanr(value(states), best).statistic)


@dataclass(frozen=True, eq=False)
class LayerResult:
    """A layer's comparison.

    Attributes:
        layer: its name.
        operations: floating-point operations of one call.
        predicted_ms: by the network, of its schedule.
        search_seconds: of the search.
        rows: of all contenders, the schedule found first.
    """

    layer: str
    operations: int
    predicted_ms: float
    search_seconds: float
    rows: tuple[Row, ...]


def compare_layer(
    name: str,
    pipeline: Pipeline,
    target: Target,
    network: ValueNetwork,
    config: BeamConfig,
    baselines: Sequence[Baseline],
    *,
    rounds: int = 10,
    limit: float = 60.0,
) -> LayerResult:
    """Find a schedule and time it beside others; the search runs nothing on the target."""
    found = search_schedule(pipeline, target, network, config)
    ours = FixedSchedule(VALUE, found.schedules[0], found.seconds)
    rows = compare(pipeline, target, [ours, *baselines], rounds=rounds, limit=limit)
    return LayerResult(name, pipeline.operations, found.predicted_ms[0], found.seconds, tuple(rows))


def as_record(result: LayerResult) -> dict[str, Any]:
    """One line of a table: each contender's shortest time in the better of its layouts [ms].

    A contender that failed in all layouts is text, `failed: why`.
    """
    best: dict[str, Row] = {}
    for row in result.rows:
        title = row.name.removesuffix(PLANAR)
        if title not in best or _time(row) < _time(best[title]):
            best[title] = row
    return {
        "layer": result.layer,
        "predicted_ms": result.predicted_ms,
        **{f"{title}_ms": _cell(row) for title, row in best.items()},
        **{f"{title}_median_ms": row.median_ms for title, row in best.items() if not row.failed},
        "search_seconds": result.search_seconds,
    }


def summarise(
    records: Sequence[Mapping[str, Any]], statistic: str = "ms"
) -> dict[str, float | int | None]:
    """Geometric means of other contenders' times over ours: above 1, ours are faster.

    Args:
        records: of `as_record`.
        statistic: "ms" for minima, "median_ms" for medians.
    """
    autoschedulers = ("mullapudi2016", "li2018", "adams2019_beam1", "adams2019_retrained")
    return {
        "geomean_vs_best_autoscheduler": _geomean(records, autoschedulers, statistic),
        **{
            f"geomean_vs_{name}": _geomean(records, (name,), statistic)
            for name in (*autoschedulers, "torch")
        },
        "layers": len(records),
    }


def _geomean(
    records: Sequence[Mapping[str, Any]], names: Sequence[str], statistic: str
) -> float | None:
    """Over the layers on which ours and at least one of the others worked."""
    ratios = []
    for record in records:
        ours = record.get(f"{VALUE}_{statistic}")
        others = [record.get(f"{name}_{statistic}") for name in names]
        times = [time for time in others if isinstance(time, float)]
        if isinstance(ours, float) and times:
            ratios.append(min(times) / ours)
    return float(np.exp(np.mean(np.log(ratios)))) if ratios else None


def _time(row: Row) -> float:
    return float("inf") if row.failed else row.min_ms


def _cell(row: Row) -> float | str:
    return f"failed: {row.failed}" if row.failed else row.min_ms


Progress = Callable[[LayerResult], None]


def compare_layers(
    layers: Mapping[str, Pipeline],
    target: Target,
    network: ValueNetwork,
    config: BeamConfig,
    baselines: Sequence[Baseline],
    on_layer: Progress = lambda result: None,
    *,
    rounds: int = 10,
) -> list[dict[str, Any]]:
    """`compare_layer` of each, as records."""
    records = []
    for name, pipeline in layers.items():
        result = compare_layer(name, pipeline, target, network, config, baselines, rounds=rounds)
        on_layer(result)
        records.append(as_record(result))
    return records
