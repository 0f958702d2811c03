"""Speed of placement: the simulator by policy, the environment, and hindsight.

python benchmarks/placement.py --json

One process, one core; the fastest of the rounds, compilation left out. Trace: microvm.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro

from mlsys_ray.cli.console import print_json, print_table, say
from mlsys_ray.cluster.environment import cpu_model
from mlsys_ray.envs import VMPlacementEnv, VMPlacementVectorEnv
from mlsys_ray.fireplace.config import WorkloadConfig
from mlsys_ray.fireplace.hindsight.rungs import rungs
from mlsys_ray.fireplace.model import shipped_model
from mlsys_ray.fireplace.training import history_of
from mlsys_ray.fireplace.workload import Workload, make_workload

ENV_STEPS = 5000
ENVS = 4


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Time placements, environment steps and hindsight."""

    num_vms: int = 100_000
    """VMs placed [VMs]."""
    num_pms: tuple[int, ...] = (50, 1000)
    """Numbers of machines [machines]."""
    rounds: int = 3
    """Rounds of each."""
    json: bool = False
    """Print the table as JSON on stdout, too."""


def main(benchmark: Benchmark) -> None:
    """Run it."""
    model = shipped_model("microvm")
    rows = []
    for num_pms in benchmark.num_pms:
        config = WorkloadConfig(num_vms=benchmark.num_vms, num_pms=num_pms)
        workload = make_workload(config, "test", 0)
        policies = model.policies(history_of(WorkloadConfig()))
        small = Workload(workload.trace.slice(0, 200), workload.capacity)
        for policy in policies:
            small.run(policy)
            seconds = min(workload.run(policy).seconds for _ in range(benchmark.rounds))
            rows.append(_row(policy.name, num_pms, "placements/s", benchmark.num_vms / seconds))
    _single_env()
    steps = _fastest(_single_env, benchmark.rounds)
    rows.append(_row("environment, single", 100, "steps/s", ENV_STEPS / steps))
    steps = _fastest(_vector_env, benchmark.rounds)
    rows.append(_row(f"environment, vector of {ENVS}", 100, "steps/s", ENV_STEPS / steps))
    config = WorkloadConfig(num_vms=benchmark.num_vms, num_pms=benchmark.num_pms[0])
    workload = make_workload(config, "test", 0)
    rungs(workload.trace.slice(0, 200), workload.capacity)
    begin = time.perf_counter()
    rungs(workload.trace, workload.capacity)
    seconds = time.perf_counter() - begin
    rows.append(_row("hindsight, both rungs", benchmark.num_pms[0], "s", seconds))
    print_table(rows, title=f"{cpu_model()}, one core, {benchmark.num_vms} VMs")
    say("placements/s and steps/s: the fastest of the rounds")
    if benchmark.json:
        print_json(rows)


def _row(what: str, num_pms: int, unit: str, value: float) -> dict[str, Any]:
    return {"what": what, "pms": num_pms, "unit": unit, "value": float(f"{value:.3g}")}


def _fastest(run: Callable[[], float], rounds: int) -> float:
    return min(run() for _ in range(rounds))


def _single_env() -> float:
    env = VMPlacementEnv(num_pms=100, num_vms=20_000)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(100, size=ENV_STEPS)
    begin = time.perf_counter()
    for action in actions:
        env.step(action)
    return time.perf_counter() - begin


def _vector_env() -> float:
    env = VMPlacementVectorEnv(ENVS, num_pms=100, num_vms=20_000)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(100, size=(ENV_STEPS // ENVS, ENVS))
    begin = time.perf_counter()
    for action in actions:
        env.step(action)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
