"""Hindsight: how near its search is to the optimum, and what admission and a start change.

python benchmarks/hindsight.py --json

Small windows are compared with the exact programme, whole traces with policies. PAR does not depend
on the machine; times do, and compiling is not a part of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as count_from
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
import tyro

from mlsys_ray.cli.console import print_json, print_table
from mlsys_ray.fireplace.hindsight.exact import exact_placement, mean_peak
from mlsys_ray.fireplace.hindsight.local_search import hindsight_search
from mlsys_ray.fireplace.metrics import score
from mlsys_ray.fireplace.policies.base import Policy
from mlsys_ray.fireplace.policies.certainty_equivalent import CertaintyEquivalentPolicy
from mlsys_ray.fireplace.policies.mixture import MixturePolicy
from mlsys_ray.fireplace.simulator import simulate
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.trace import Trace
from mlsys_ray.fireplace.traces.microvm import microvm

FREE = 8
"""VMs of a window that are to be placed."""
PMS_OF_A_WINDOW = 3
BACKGROUND = 24
"""VMs that stay where they are, in windows with a background."""
LEAST_TICKS = 10
"""Of a window [ticks]."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Compare."""

    num_windows: int = 20
    """Windows of each kind."""
    num_vms: int = 100_000
    """VMs of the trace [VMs]."""
    num_pms: int = 50
    """Its PMs [machines]."""
    json: bool = False
    """Print the tables as JSON on stdout, too."""


def main(benchmark: Benchmark) -> None:
    """Run it."""
    count = benchmark.num_windows
    windows = [
        _windows("all fit", count, size=1.5),
        _windows("some are refused", count, size=0.8),
        _windows("some are refused, 10% overcommitted", count, size=0.8, overcommit=1.1),
        _windows("around a background", count, size=1.5, background=BACKGROUND),
    ]
    print_table(windows, title=f"{FREE} VMs on {PMS_OF_A_WINDOW} PMs: search against optimum")
    traces = list(_traces(benchmark))
    title = f"microvm, {benchmark.num_vms} VMs on {benchmark.num_pms} PMs"
    print_table(traces, title=title)
    if benchmark.json:
        print_json({"windows": windows, "traces": traces})


def _machines(trace: Trace, num_pms: int, size: float) -> np.ndarray:
    """Equal PMs that together are `size` times what is requested at the peak.

    They are larger where the largest VM would not fit on one.
    """
    one = np.maximum(size * trace.peak_request / num_pms, trace.request.max(axis=0))
    return np.tile(one, (num_pms, 1))


def _windows(
    kind: str, count: int, *, size: float, overcommit: float = 1.0, background: int = 0
) -> dict[str, Any]:
    """Search and exact programme on windows of one kind, by the fewest refused, then the peak."""
    ratios, as_few, seconds, refused = [], 0, [], 0
    for trace in islice(_spread_windows(FREE + background), count):
        capacity = _machines(trace, PMS_OF_A_WINDOW, size)
        searched = hindsight_search(trace, capacity, overcommit=overcommit).placement
        fixed = np.where(np.arange(trace.num_vms) < background, searched, -1)
        begin = perf_counter()
        best = exact_placement(trace, capacity, overcommit=overcommit, fixed=fixed)
        seconds.append(perf_counter() - begin)
        assert best.exact
        refused += int((best.placement < 0).sum())
        if (searched < 0).sum() == (best.placement < 0).sum():
            as_few += 1
            ratios.append(mean_peak(trace, searched, capacity) / best.mean_peak)
    return {
        "window": kind,
        "refused_by_optimum": refused,
        "search_refuses_as_few": f"{as_few} of {count}",
        "search_finds_optimum": f"{sum(ratio < 1 + 1e-6 for ratio in ratios)} of {len(ratios)}",
        "mean_ratio": float(np.mean(ratios)),
        "largest_ratio": float(np.max(ratios)),
        "exact_ms": 1000 * float(np.median(seconds)),
    }


def _spread_windows(num_vms: int) -> Iterator[Trace]:
    """Windows of the generator, but for those that are little more than a burst."""
    for seed in count_from(0):
        trace = microvm(num_vms=num_vms, alive=FREE * 0.75, num_functions=8, seed=seed)
        if trace.num_ticks >= LEAST_TICKS:
            yield trace


def _traces(benchmark: Benchmark) -> Iterator[dict[str, Any]]:
    """Whole traces: PMs of several sizes, and a search that begins where a policy has ended."""
    alive = 45.0 * benchmark.num_pms
    trace = microvm(num_vms=benchmark.num_vms, alive=alive, seed=0)
    history = Statistics.learn(microvm(num_vms=benchmark.num_vms, alive=alive, seed=1))
    hindsight_search(trace.slice(0, 200), _machines(trace, benchmark.num_pms, 2.0))
    rules: tuple[Policy, ...] = (
        MixturePolicy("least_requested", {"requested": 1.0}, largest=True),
        CertaintyEquivalentPolicy(history),
    )
    for policy in rules:
        simulate(trace.slice(0, 200), _machines(trace, benchmark.num_pms, 2.0), policy)
    for size, overcommit in ((1.25, 1.0), (1.0, 1.0), (0.9, 1.0), (0.9, 1.2)):
        capacity = _machines(trace, benchmark.num_pms, size)
        common = {"size": size, "overcommit": overcommit}
        runs = {}
        for policy in rules:
            run = simulate(trace, capacity, policy, overcommit=overcommit)
            runs[policy.name] = run.placement
            refused = int((run.placement < 0).sum())
            yield _row(common, policy.name, score(run.load).par, refused, run.seconds)
        for name, start in (("greedy", None), ("CE's run", runs["certainty_equivalent"])):
            begin = perf_counter()
            found = hindsight_search(trace, capacity, overcommit=overcommit, start=start)
            title = f"hindsight from {name}"
            yield _row(common, title, found.par, found.refused, perf_counter() - begin)


def _row(
    common: dict[str, float], placed_by: str, par: float, refused: int, seconds: float
) -> dict[str, Any]:
    return {
        **common,
        "placed_by": placed_by,
        "par": par,
        "refused": refused,
        "seconds": seconds,
    }


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
