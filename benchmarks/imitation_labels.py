"""What FirePlace's network is taught: regrets, best choices, or myopic regrets.

python benchmarks/imitation_labels.py --json

Each kind of label is trained on the same traces, upon the shipped certainty-equivalent weights,
and judged on held-out traces. PAR does not depend on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import tyro

from mlsys_ray.cli.console import print_json, print_table, say
from mlsys_ray.fireplace.config import Labels, WorkloadConfig
from mlsys_ray.fireplace.evaluation import excess_reduction
from mlsys_ray.fireplace.imitation import ImitationConfig, imitate
from mlsys_ray.fireplace.model import shipped_model
from mlsys_ray.fireplace.policies.certainty_equivalent import CertaintyEquivalentPolicy
from mlsys_ray.fireplace.training import IMITATION_TRACES, VALIDATION_TRACES, history_of
from mlsys_ray.fireplace.workload import make_workload


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Train with each kind of label and evaluate."""

    trace: str = "microvm"
    """A workload that a model is shipped for."""
    tuning_vms: int = 40_000
    """VMs of the traces of training and validation [VMs]."""
    rounds: int = 8
    """Rounds of imitation."""
    num_seeds: int = 4
    """Held-out traces of 100,000 VMs."""
    json: bool = False
    """Print the table as JSON on stdout, too."""


def main(benchmark: Benchmark) -> None:
    """Run it."""
    config = WorkloadConfig(trace=benchmark.trace)
    statistics = history_of(config)
    potential = shipped_model(benchmark.trace).potential
    training = [
        make_workload(config, "train", 1 + number, benchmark.tuning_vms)
        for number in range(IMITATION_TRACES)
    ]
    validation = [
        make_workload(config, "validation", number, benchmark.tuning_vms)
        for number in range(VALIDATION_TRACES)
    ]
    held_out = [make_workload(config, "test", seed) for seed in range(benchmark.num_seeds)]
    plain = CertaintyEquivalentPolicy(statistics, potential)
    reference = [workload.par(plain) for workload in held_out]
    rows: list[dict[str, Any]] = [
        {
            "labels": "none: certainty_equivalent",
            "par": round(float(np.mean(reference)), 4),
            "less_excess_than_ce_percent": None,
            "half_width": None,
            "last_validation_par": None,
            "best_validation_par": None,
        }
    ]
    for labels in get_args(Labels):
        found = imitate(
            statistics,
            potential,
            training,
            validation,
            ImitationConfig(rounds=benchmark.rounds, labels=labels),
            lambda number, par, labels=labels: say(f"{labels}: round {number}, PAR {par:.4f}"),  # type: ignore[misc]
        )
        pars = [workload.par(found.policy) for workload in held_out]
        less = excess_reduction(pars, reference)
        rows.append(
            {
                "labels": labels,
                "par": round(float(np.mean(pars)), 4),
                "less_excess_than_ce_percent": round(less.mean, 2),
                "half_width": less.half_width and round(less.half_width, 2),
                "last_validation_par": round(found.validation_par[-1], 4),
                "best_validation_par": round(min(found.validation_par), 4),
            }
        )
    print_table(rows, title=f"{benchmark.trace}, {benchmark.num_seeds} held-out traces")
    if benchmark.json:
        print_json(rows)


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
