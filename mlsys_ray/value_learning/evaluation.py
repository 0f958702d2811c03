"""How fast schedules that a value network finds are beside others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsys_ray.value_learning.baselines.autoscheduler import DEFAULT_BEAM
from mlsys_ray.value_learning.baselines.base import Baseline
from mlsys_ray.value_learning.baselines.compare import Row, compare
from mlsys_ray.value_learning.baselines.fixed import FixedSchedule
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.scheduling import search_schedule
from mlsys_ray.value_learning.search.beam import BeamConfig
from mlsys_ray.value_learning.target import Target
from mlsys_ray.value_learning.value_network.model import ValueNetwork

AT_ONCE = ("mullapudi2016", "li2018", "adams2019_beam1", "adams2019_retrained")
"""Autoschedulers that take seconds."""
VALUE = "value"
"""Name of the schedule that the network thinks best, in comparisons."""
PLANAR = " planar"


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

    And what its search took there [s]. A contender that failed in all layouts is text,
    `failed: why`.
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
        **{
            f"{title}_search_seconds": row.search_seconds
            for title, row in best.items()
            if title != VALUE and not row.failed
        },
    }


def summarise(
    records: Sequence[Mapping[str, Any]], statistic: str = "ms"
) -> dict[str, float | int | None]:
    """Geometric means of other contenders' times over ours: above 1, ours are faster.

    None for those that were not there. The best autoscheduler, layer by layer, is one of those that
    answer at once: Adams2019 at its default beam may take minutes.

    Args:
        records: of `as_record`.
        statistic: "ms" for minima, "median_ms" for medians.
    """
    return {
        "geomean_vs_best_autoscheduler": _geomean(records, AT_ONCE, statistic),
        **{
            f"geomean_vs_{name}": _geomean(records, (name,), statistic)
            for name in (*AT_ONCE, DEFAULT_BEAM, "torch")
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
