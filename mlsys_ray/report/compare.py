"""Compare runs: medians over seeds, their spread, ratios, and what is inside the noise.

Runs form a group when they have the same experiment and the same config but for the seed and the
place (`PLACE_FIELDS`). The first run given makes the first group, to which the others are compared.

- The spread of a group is half the range of its values over its runs.
- A difference is *inside the noise* when the ranges of the two groups overlap, *outside* when they
  do not, *unknown* when a group has one run, or a value is not finite. `chance` says how often two
  groups of these sizes separate although they are drawn from one distribution,
  `2 * n! * m! / (n + m)!`: a third of the time with 2 and 2 runs, a tenth with 3 and 3, three in a
  hundred with 4 and 4.
- The geometric mean is over improvements: the ratio where higher is better, its inverse where lower
  is (`better_direction`). Above 1 is better than the first group. Metrics without a known
  direction, or with a median that is not positive, are not in it.

Only runs with status "done" count.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mlsys_ray.cluster import plain_json
from mlsys_ray.cluster.run_directory import PLACE_FIELDS, flatten
from mlsys_ray.cluster.run_reader import Run, load_run
from mlsys_ray.report.direction import Direction, better_direction

Noise = Literal["inside", "outside", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that differ in their seed only.

    Attributes:
        name: the config fields by which the group differs from the others.
        experiment: name of the experiment.
        config: its parameters, flat, without seed and place.
        seeds: one a run, None where the config has none.
        runs: their directories.
        improvement: geometric mean of the improvements over the first group.
        num_improvements: metrics in that mean.
    """

    name: str
    experiment: str
    config: dict[str, Any]
    seeds: list[Any]
    runs: list[str]
    improvement: float | None
    num_improvements: int


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One metric in one group; `ratio`, `noise` and `chance` are against the first group.

    Attributes:
        values: one a run.
        median: median of the values.
        minimum: least value.
        half_range: half the distance of least and greatest value; None with one run.
        ratio: median over that of the first group; None if one is missing or not positive.
        noise: whether the difference is inside the noise; None in the first group.
        chance: how often equal groups would separate by luck; None where `noise` is not known.
    """

    values: list[float]
    median: float
    minimum: float
    half_range: float | None
    ratio: float | None = None
    noise: Noise | None = None
    chance: float | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric of the summaries; `cells` has one entry a group, None where it is missing."""

    name: str
    better: Direction | None
    cells: list[Cell | None]

    def improvement(self, group: int) -> float | None:
        """How many times better group number `group` is than the first; None if not known."""
        cell = self.cells[group]
        if cell is None or cell.ratio is None or self.better is None:
            return None
        return cell.ratio if self.better == "higher" else 1 / cell.ratio


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Groups of runs side by side.

    Attributes:
        groups: in the order in which their first runs were given.
        metrics: all numeric metrics of the summaries.
        left_out: reason by run, for runs that do not count.
    """

    groups: list[Group]
    metrics: list[Metric]
    left_out: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists."""
        return asdict(self)


def compare(paths: Iterable[Path]) -> Comparison:
    """Group the runs and compare each group with the first."""
    members: dict[str, list[Run]] = {}
    left_out = {}
    for path in dict.fromkeys(paths):
        try:
            run = load_run(path)
        except (OSError, ValueError) as error:
            left_out[str(path)] = str(error)
            continue
        if run.status != "done":
            left_out[str(path)] = f"its status is {run.status}"
            continue
        members.setdefault(plain_json.dumps(_identity(run)), []).append(run)
    groups = list(members.values())
    metrics = [_metric(name, groups) for name in _numeric_names(groups)]
    names = _group_names([_identity(runs[0]) for runs in groups])
    return Comparison(
        groups=[
            _group(name, runs, [metric.improvement(index) for metric in metrics])
            for index, (name, runs) in enumerate(zip(names, groups, strict=True))
        ],
        metrics=metrics,
        left_out=left_out,
    )


def _identity(run: Run) -> dict[str, Any]:
    """What a run computes, its seed apart."""
    flat = flatten(run.config)
    same = {
        name: value
        for name, value in flat.items()
        if name not in PLACE_FIELDS and name.rpartition(".")[2] != "seed"
    }
    return {"experiment": run.experiment, **dict(sorted(same.items()))}


def _numeric_names(groups: Sequence[Sequence[Run]]) -> list[str]:
    names = (
        name
        for runs in groups
        for run in runs
        for name, value in run.summary.items()
        if _is_number(value)
    )
    # The wall time is in every summary; what the experiment measured comes first.
    return sorted(dict.fromkeys(names), key=lambda name: name == "wall_seconds")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _metric(name: str, groups: Sequence[Sequence[Run]]) -> Metric:
    values = [
        [float(run.summary[name]) for run in runs if _is_number(run.summary.get(name))]
        for runs in groups
    ]
    first = values[0]
    cells = [
        _cell(mine, None if index == 0 else first) if mine else None
        for index, mine in enumerate(values)
    ]
    return Metric(name=name, better=better_direction(name), cells=cells)


def _cell(values: list[float], first: list[float] | None) -> Cell:
    finite = all(math.isfinite(value) for value in values)
    median = statistics.median(values) if finite else math.nan
    spread = (max(values) - min(values)) / 2 if finite and len(values) > 1 else None
    cell = Cell(
        values=values,
        median=median,
        minimum=min(values) if finite else math.nan,
        half_range=spread,
    )
    if not first:
        return cell
    comparable = finite and all(math.isfinite(value) for value in first)
    base = statistics.median(first) if comparable else math.nan
    noise = _noise(values, first) if comparable else "unknown"
    return replace(
        cell,
        ratio=median / base if median > 0 and base > 0 else None,
        noise=noise,
        chance=None if noise == "unknown" else chance_of_separation(len(values), len(first)),
    )


def _noise(values: Sequence[float], first: Sequence[float]) -> Noise:
    if min(len(values), len(first)) < 2:
        return "unknown"
    overlap = min(values) <= max(first) and min(first) <= max(values)
    return "inside" if overlap else "outside"


def chance_of_separation(num_values: int, num_others: int) -> float:
    """How often the ranges of two samples of one continuous distribution do not overlap.

    >>> chance_of_separation(3, 3)
    0.1
    """
    return min(1.0, 2 / math.comb(num_values + num_others, num_values))


def _group(name: str, runs: Sequence[Run], improvements: Iterable[float | None]) -> Group:
    known = [value for value in improvements if value is not None]
    return Group(
        name=name,
        experiment=runs[0].experiment,
        config={key: value for key, value in _identity(runs[0]).items() if key != "experiment"},
        seeds=[flatten(run.config).get("seed") for run in runs],
        runs=[str(run.path) for run in runs],
        improvement=statistics.geometric_mean(known) if known else None,
        num_improvements=len(known),
    )


def _group_names(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    fields = dict.fromkeys(name for identity in identities for name in identity)
    differing = [
        name for name in fields if len({repr(identity.get(name)) for identity in identities}) > 1
    ]
    if not differing:
        return [identity["experiment"] for identity in identities]
    return [
        ", ".join(f"{name}={identity[name]}" for name in differing if name in identity)
        for identity in identities
    ]
