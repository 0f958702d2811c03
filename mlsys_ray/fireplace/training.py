"""Training of all that is tuned or learned, on the training segment of one workload."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from time import perf_counter
from typing import Any

import numpy as np

from mlsys_ray.fireplace.config import TrainingConfig, WorkloadConfig
from mlsys_ray.fireplace.imitation import ImitationConfig, imitate
from mlsys_ray.fireplace.model import Model
from mlsys_ray.fireplace.policies.certainty_equivalent import (
    CertaintyEquivalentPolicy,
    PotentialWeights,
)
from mlsys_ray.fireplace.policies.mixture import (
    FEATURES,
    LEARNED_FEATURES,
    LearnedMixturePolicy,
    TunedMixturePolicy,
    weights_of,
)
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.tuning import Tuned, tune
from mlsys_ray.fireplace.workload import make_trace, make_workload

TUNING_TRACES = 3
IMITATION_TRACES = 8
VALIDATION_TRACES = 3


def history_of(workload: WorkloadConfig) -> Statistics:
    """Statistics of the functions, from the VMs of the training segment."""
    return Statistics.learn(make_trace(workload, "train", 0))


def train(
    workload: WorkloadConfig,
    config: TrainingConfig,
    on_progress: Callable[[str, int, int, float], None] = lambda what, done, total, par: None,
) -> Model:
    """Tune the mixtures and the certainty-equivalent policy, and train FirePlace's network.

    Every tuned policy gets the same traces and the same number of evaluations.

    Args:
        workload: whose training and validation segments are used, and never the test segment.
        config: of the training.
        on_progress: called with what is trained, steps done, steps in all and the PAR so far.
    """
    statistics = history_of(workload)
    training = [
        make_workload(workload, "train", 1 + number, config.tuning_vms)
        for number in range(max(TUNING_TRACES, IMITATION_TRACES))
    ]
    num_resources = len(training[0].trace.resources)
    both = FEATURES + LEARNED_FEATURES
    start = np.zeros((len(both), num_resources))
    start[both.index("telemetry")], start[both.index("since")] = 1.0, 0.4
    searches: dict[str, tuple[Callable[[np.ndarray], Any], np.ndarray]] = {
        "telemetry_since": (
            lambda vector: TunedMixturePolicy("telemetry_since", _telemetry_since(vector)),
            np.array([0.4]),
        ),
        "mixture": (
            lambda vector: TunedMixturePolicy("mixture", weights_of(vector, FEATURES)),
            start[: len(FEATURES)].ravel(),
        ),
        "learned_mixture": (
            lambda vector: LearnedMixturePolicy(
                "learned_mixture", weights_of(vector, both), statistics
            ),
            start.ravel(),
        ),
        "certainty_equivalent": (
            lambda vector: CertaintyEquivalentPolicy(
                statistics, PotentialWeights.from_vector(vector)
            ),
            _first_potential(num_resources).to_vector(num_resources),
        ),
    }
    tuned: dict[str, Tuned] = {}
    seconds: dict[str, float] = {}
    for name, (build, vector) in searches.items():
        begin = perf_counter()
        tuned[name] = tune(
            build,
            vector,
            training[:TUNING_TRACES],
            evaluations=config.evaluations,
            seed=config.seed,
            on_generation=lambda done, par, name=name: on_progress(  # type: ignore[misc]
                name, done, config.evaluations, par
            ),
        )
        seconds[name] = perf_counter() - begin
    begin = perf_counter()
    validation = [
        make_workload(workload, "validation", number, config.tuning_vms)
        for number in range(VALIDATION_TRACES)
    ]
    # A search that fits its few traces too well must not be worse than where it started.
    potential = min(
        (_first_potential(num_resources), _potential(tuned["certainty_equivalent"])),
        key=lambda weights: np.mean(
            [trace.par(CertaintyEquivalentPolicy(statistics, weights)) for trace in validation]
        ),
    )
    imitated = imitate(
        statistics,
        potential,
        training[:IMITATION_TRACES],
        validation,
        ImitationConfig(
            rounds=config.rounds,
            decisions=config.decisions,
            labels=config.labels,
            seed=config.seed,
        ),
        lambda number, par: on_progress("fireplace", number, config.rounds, par),
    )
    seconds["fireplace"] = perf_counter() - begin
    first = training[0].trace
    return Model(
        tick=first.tick,
        resources=first.resources,
        telemetry_since=_telemetry_since(tuned["telemetry_since"].vector),
        mixture=weights_of(tuned["mixture"].vector, FEATURES),
        learned_mixture=weights_of(tuned["learned_mixture"].vector, both),
        potential=potential,
        network=imitated.policy.network,
        card={
            "workload": {
                name: value for name, value in asdict(workload).items() if name != "data_dir"
            },
            "training": asdict(config),
            "training_par": {name: result.par for name, result in tuned.items()},
            "validation_par": imitated.validation_par,
            "validation_par_mixture": float(
                np.mean(
                    [w.par(searches["mixture"][0](tuned["mixture"].vector)) for w in validation]
                )
            ),
            "seconds": seconds,
        },
    )


def _first_potential(num_resources: int) -> PotentialWeights:
    """Where the search starts: what varies less from VM to VM than the first resource weighs more.

    The first resource is CPU in all workloads here; memory hardly moves while a VM lives, so its
    excess is small and would not count beside that of CPU.
    """
    return PotentialWeights(resource=(1.0, *(4.0,) * (num_resources - 1)))


def _potential(tuned: Tuned) -> PotentialWeights:
    return PotentialWeights.from_vector(tuned.vector)


def _telemetry_since(vector: np.ndarray) -> dict[str, float | tuple[float, ...]]:
    return {"telemetry": (1.0,), "since": (float(vector[0]),)}
