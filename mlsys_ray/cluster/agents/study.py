"""Agents compared: one trial is one agent, trained, restored and scored."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from mlsys_ray.cluster.agents.config import OFFLINE, AgentConfig
from mlsys_ray.cluster.agents.training import AgentPolicy, history, make_env, train_agent
from mlsys_ray.cluster.run_directory import RunDirectory
from mlsys_ray.cluster.run_reader import Run
from mlsys_ray.cluster.trials import recorded, run_missing, trial_path
from mlsys_ray.fireplace.config import flat_config
from mlsys_ray.fireplace.policies.certainty_equivalent import CertaintyEquivalentPolicy
from mlsys_ray.fireplace.policies.mixture import MixturePolicy
from mlsys_ray.fireplace.workload import make_workload

TEST_VMS = 20_000
BESIDE = ("certainty_equivalent", "telemetry_since", "least_requested")


def score_agent(config: AgentConfig, checkpoint: Path) -> list[dict[str, Any]]:
    """PAR of a trained agent and of two policies on the first trace of the test segment."""
    statistics = history(config)
    workload = make_workload(config.workload, "test", 0, TEST_VMS)
    policies = (
        AgentPolicy(config.algorithm, checkpoint, statistics),
        CertaintyEquivalentPolicy(statistics),
        MixturePolicy("telemetry_since", {"telemetry": 1.0, "since": 0.4}),
        MixturePolicy("least_requested", {"requested": 1.0}, largest=True),
    )
    return [{"policy": policy.name, "par": workload.par(policy)} for policy in policies]


def run_agent(
    run: RunDirectory, config: AgentConfig, log: Callable[[dict[str, Any]], None]
) -> list[dict[str, Any]]:
    """Train an agent in a run directory, restore it from its checkpoint, and score it."""
    scores = score_agent(config, train_agent(config, run.path, log))
    run.save_table("PAR on a held-out trace", scores)
    run.finish({f"par_{row['policy']}": row["par"] for row in scores})
    return scores


def expand(
    base: AgentConfig, algorithms: Sequence[str], seeds: Sequence[int], rates: Sequence[float]
) -> list[AgentConfig]:
    """All combinations of the axes around a base point; an empty axis keeps the base's value.

    Raises:
        ValueError: a value is not accepted, or an algorithm cannot be a trial: the tasks of Ray
            Data that bc and marwil read with never start inside a trial of Tune.
    """
    if offline := sorted({base.algorithm, *algorithms} & set(OFFLINE)):
        raise ValueError(
            f"algorithms {', '.join(offline)} read recorded episodes by Ray Data, which does not"
            " start inside a study; train each by `mlsys-ray fireplace agent`"
        )
    axes = (
        algorithms or [base.algorithm],
        seeds or [base.seed],
        rates or [base.learning_rate],
    )
    return [
        replace(base, algorithm=algorithm, seed=seed, learning_rate=rate)
        for algorithm, seed, rate in product(*axes)
    ]


def run_trial(config: AgentConfig, path: Path) -> dict[str, Any]:
    """One trial of a study, in a worker process; one that was cut off begins anew."""
    if path.exists():
        shutil.rmtree(path)
    with RunDirectory.create(path, flat_config(config), experiment="fireplace-agent") as run:
        scores = run_agent(run, config, run.log)
    return {"par": scores[0]["par"]}


def study_path(folder: Path, config: AgentConfig) -> Path:
    """The run directory of a trial."""
    return trial_path(folder, f"{config.algorithm}-seed-{config.seed}", config)


def run_study(configs: Sequence[AgentConfig], folder: Path) -> list[dict[str, Any]]:
    """Run the trials that are not recorded yet, on the connected cluster.

    Returns:
        A row for each trial: algorithm, seed, learning rate and PAR of the agent (None if it
        failed) and of the policies beside it.
    """
    # Code is compiled once; numba's cache on disk does not stand several processes that fill it.
    make_env(configs[0]).reset(seed=0)
    trials = {study_path(folder, config): config for config in configs}
    run_missing(trials, run_trial)
    return [_row(config, recorded(path)) for path, config in trials.items()]


def _row(config: AgentConfig, run: Run | None) -> dict[str, Any]:
    pars = run.summary if run else {}
    return {
        "algorithm": config.algorithm,
        "seed": config.seed,
        "learning_rate": config.learning_rate,
        "par": pars.get(f"par_{config.algorithm}"),
        **{name: pars.get(f"par_{name}") for name in BESIDE},
    }
