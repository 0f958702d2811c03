"""A model trained on few PMs against one trained on as many as it is used on.

python benchmarks/transfer.py --json

The one of few PMs is the shipped one. The other begins from its weights, so that it is the harder
peer, but gets fewer vectors in its search, as one run on 1,000 PMs takes seconds. Both use what the
training segment on many PMs says of the functions. PAR does not depend on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import tyro

from mlsys_ray.cli.console import print_json, print_table, say
from mlsys_ray.fireplace.config import WorkloadConfig
from mlsys_ray.fireplace.evaluation import excess_reduction
from mlsys_ray.fireplace.imitation import ImitationConfig, imitate
from mlsys_ray.fireplace.model import shipped_model
from mlsys_ray.fireplace.policies.base import Policy
from mlsys_ray.fireplace.policies.certainty_equivalent import (
    CertaintyEquivalentPolicy,
    PotentialWeights,
)
from mlsys_ray.fireplace.policies.fireplace import FirePlacePolicy
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.training import history_of
from mlsys_ray.fireplace.tuning import tune
from mlsys_ray.fireplace.workload import make_workload


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Train on many PMs, and evaluate both there."""

    trace: str = "microvm"
    """A workload that a model is shipped for."""
    num_pms: int = 1000
    """PMs that both are evaluated on, and the new one is trained on [machines]."""
    num_vms: int = 200_000
    """VMs of every trace [VMs]."""
    evaluations: int = 25
    """Parameter vectors that the search tries, from the shipped ones on."""
    tuning_traces: int = 1
    """Traces that each vector is tried on."""
    rounds: int = 3
    """Rounds of imitation."""
    num_seeds: int = 4
    """Held-out traces."""
    json: bool = False
    """Print the table as JSON on stdout, too."""


def main(benchmark: Benchmark) -> None:
    """Run it."""
    few = WorkloadConfig(trace=benchmark.trace)
    many = replace(few, num_pms=benchmark.num_pms, num_vms=benchmark.num_vms)
    shipped = shipped_model(benchmark.trace)
    statistics = history_of(many)
    trained, seconds = _train(benchmark, many, statistics, shipped.potential)
    policies: dict[str, Policy] = {
        f"CE of {few.num_pms} PMs": CertaintyEquivalentPolicy(statistics, shipped.potential),
        f"CE of {many.num_pms} PMs": CertaintyEquivalentPolicy(statistics, trained.weights),
        f"FirePlace of {few.num_pms} PMs": FirePlacePolicy(
            statistics, shipped.potential, shipped.network
        ),
        f"FirePlace of {many.num_pms} PMs": trained,
    }
    held_out = [make_workload(many, "test", seed) for seed in range(benchmark.num_seeds)]
    pars = {}
    for name, policy in policies.items():
        pars[name] = [workload.par(policy) for workload in held_out]
        say(f"{name}: {pars[name]}")
    rows: list[dict[str, Any]] = []
    for name, values in pars.items():
        peer = f"{name.split(' of ')[0]} of {many.num_pms} PMs"
        less = excess_reduction(values, pars[peer])
        rows.append(
            {
                "trained": name,
                "par": float(np.mean(values)),
                "less_excess_than_trained_there_percent": less.mean,
                "plus_or_minus": less.half_width,
            }
        )
    print_table(rows, title=f"{benchmark.trace} on {many.num_pms} PMs; training {seconds:.0f} s")
    if benchmark.json:
        print_json({"rows": rows, "training_seconds": seconds})


def _train(
    benchmark: Benchmark,
    config: WorkloadConfig,
    statistics: Statistics,
    start: PotentialWeights,
) -> tuple[FirePlacePolicy, float]:
    """The policy trained on the many PMs, and how long that took [s]."""
    begin = perf_counter()
    training = [
        make_workload(config, "train", 1 + number)
        for number in range(max(benchmark.tuning_traces, benchmark.rounds))
    ]
    validation = [make_workload(config, "validation", 0)]
    num_resources = len(training[0].trace.resources)
    tuned = tune(
        lambda vector: CertaintyEquivalentPolicy(statistics, PotentialWeights.from_vector(vector)),
        start.to_vector(num_resources),
        training[: benchmark.tuning_traces],
        step=0.15,
        evaluations=benchmark.evaluations,
        on_generation=lambda done, par: say(f"CE {done} of {benchmark.evaluations}: {par:.4f}"),
    )
    # The shipped vector is a candidate, too: a search that found nothing better keeps it.
    weights = min(
        (start, PotentialWeights.from_vector(tuned.vector)),
        key=lambda found: validation[0].par(CertaintyEquivalentPolicy(statistics, found)),
    )
    imitated = imitate(
        statistics,
        weights,
        training,
        validation,
        ImitationConfig(rounds=benchmark.rounds),
        lambda number, par: say(f"FirePlace round {number} of {benchmark.rounds}: {par:.4f}"),
    )
    return imitated.policy, perf_counter() - begin


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
