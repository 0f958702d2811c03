"""Agents compared: one trial is one agent, trained, restored and scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from mlsys_ray.cluster import metrics
from mlsys_ray.cluster.agents.config import OFFLINE, AgentConfig
from mlsys_ray.cluster.agents.training import AgentPolicy, history, make_env, train_agent
from mlsys_ray.cluster.run_directory import RunDirectory
from mlsys_ray.cluster.run_reader import Run, load_run
from mlsys_ray.cluster.storage import Home
from mlsys_ray.cluster.trials import (
    Objective,
    begin_anew,
    recorded,
    report,
    run_missing,
    run_search,
    settled_runs,
    stopped_early,
    trial_path,
)
from mlsys_ray.fireplace.config import flat_config
from mlsys_ray.fireplace.policies.certainty_equivalent import CertaintyEquivalentPolicy
from mlsys_ray.fireplace.policies.mixture import MixturePolicy
from mlsys_ray.fireplace.workload import make_workload

TEST_VMS = 20_000
RETURN = "episode_return"
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
    returns: list[float] = []

    def note(row: dict[str, Any]) -> None:
        log(row)
        if row[RETURN] is not None:
            returns.append(row[RETURN])

    scores = score_agent(config, train_agent(config, run.path, note))
    run.save_table("PAR on a held-out trace", scores)
    pars = {f"par_{row['policy']}": row["par"] for row in scores}
    run.finish({**pars, RETURN: returns[-1] if returns else None})
    return scores


def expand(
    base: AgentConfig, algorithms: Sequence[str], seeds: Sequence[int], rates: Sequence[float]
) -> list[AgentConfig]:
    """All combinations of the axes around a base point; an empty axis keeps the base's value.

    Raises:
        ValueError: a value is not accepted, or an algorithm cannot be a trial: the tasks of Ray
            Data that bc and marwil read with never start inside a trial of Tune, and a trial has
            one CPU, so that its runners would wait for others for ever.
    """
    if base.num_env_runners:
        raise ValueError(
            f"num_env_runners is {base.num_env_runners}; a trial of a study has one CPU and steps"
            " the environment itself, so it must be 0"
        )
    algorithms = algorithms or [base.algorithm]
    if offline := sorted(set(algorithms) & set(OFFLINE)):
        raise ValueError(
            f"algorithms {', '.join(offline)} read recorded episodes by Ray Data, which does not"
            " start inside a study; train each by `mlsys-ray fireplace agent`"
        )
    axes = (algorithms, seeds or [base.seed], rates or [base.learning_rate])
    return [
        replace(base, algorithm=algorithm, seed=seed, learning_rate=rate)
        for algorithm, seed, rate in product(*axes)
    ]


def run_trial(config: AgentConfig, path: Path) -> dict[str, Any]:
    """One trial of a study, in a worker process; one that was cut off begins anew."""
    begin_anew(path)
    with RunDirectory.create(path, flat_config(config), experiment="fireplace-agent") as run:

        def log(row: dict[str, Any]) -> None:
            run.log(row)
            if row[RETURN] is not None and row["seconds"] < config.train_seconds:
                report(seconds=row["seconds"], **{RETURN: row[RETURN]})

        scores = run_agent(run, config, log)
        with metrics.Publisher() as publisher:
            for row in scores:
                publisher.set(metrics.FIREPLACE_PAR, row["par"], policy=row["policy"])
    return {"seconds": config.train_seconds, RETURN: load_run(path).summary[RETURN]}


def study_path(folder: Path, config: AgentConfig) -> Path:
    """The run directory of a trial."""
    return trial_path(folder, f"{config.algorithm}-seed-{config.seed}", config)


def run_study(
    configs: Sequence[AgentConfig],
    folder: Path,
    *,
    rates: tuple[float, float] | None = None,
    num_rates: int = 0,
    home: Home | None = None,
    stop_early: bool = False,
) -> list[dict[str, Any]]:
    """Run the trials that are not recorded yet, on the connected cluster.

    Args:
        configs: the trials; with `rates` without their learning rates.
        folder: of their run directories.
        rates: lowest and highest learning rate that Optuna draws for each config; None for none.
        num_rates: drawn for each config.
        home: see `run_missing`.
        stop_early: stop trials whose return falls behind, by ASHA.

    Returns:
        A row for each trial: algorithm, seed, learning rate and PAR of the agent (None if it
        failed or was stopped) and of the policies beside it.
    """
    # Code is compiled once; numba's cache on disk does not stand several processes that fill it.
    make_env(configs[0]).reset(seed=0)
    objective = _objective(configs[0])
    if rates is None:
        trials = {study_path(folder, config): config for config in configs}
        early = objective if stop_early else None
        run_missing(trials, run_trial, home=home, stop_early=early)
        return [
            _row(config, recorded(path), stopped_early(path) is not None)
            for path, config in trials.items()
        ]
    rows = []
    for config in configs:

        def make(point: Mapping[str, Any], base: AgentConfig = config) -> tuple[Path, AgentConfig]:
            trial = replace(base, learning_rate=float(point["learning_rate"]))
            return study_path(folder, trial), trial

        run_search(
            config,
            {"learning_rate": rates},
            make,
            run_trial,
            folder=folder,
            num_trials=num_rates,
            objective=objective,
            describe=flat_config,
            seed=config.seed,
            home=home,
            stop_early=stop_early,
        )
        settled = settled_runs(folder, flat_config(config), ["learning_rate"])
        rows += [_row(make(trial.point)[1], trial.run, trial.run is None) for trial in settled]
    return rows


def _objective(config: AgentConfig) -> Objective:
    until = max(1, int(config.train_seconds))
    return Objective(metric=RETURN, mode="max", time="seconds", until=until)


def _row(config: AgentConfig, run: Run | None, stopped: bool) -> dict[str, Any]:
    pars = run.summary if run else {}
    return {
        "algorithm": config.algorithm,
        "seed": config.seed,
        "learning_rate": config.learning_rate,
        "par": pars.get(f"par_{config.algorithm}"),
        "stopped_early": stopped,
        **{name: pars.get(f"par_{name}") for name in BESIDE},
    }
