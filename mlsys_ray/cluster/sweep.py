"""Many ByzShield training runs on a cluster, over all combinations of some axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.server import Row
from mlsys_ray.cluster import plain_json
from mlsys_ray.cluster.place import Place
from mlsys_ray.cluster.run_reader import load_run
from mlsys_ray.cluster.storage import Home
from mlsys_ray.cluster.training import Training
from mlsys_ray.cluster.trials import (
    Objective,
    Settled,
    report,
    run_missing,
    run_search,
    settled_runs,
    trial_path,
)

ACCURACY = "final_accuracy"
"""Of the summary; in reports the accuracy by then."""
RATE = "learning_rate"


def expand(
    base: TrainConfig, axes: dict[str, Sequence[Any]]
) -> tuple[list[TrainConfig], list[tuple[dict[str, Any], str]]]:
    """All combinations of the axes' values around a base point.

    A baseline has as many workers as the codes beside it, and no replication or load. An attack
    may carry its strength: `alie:1.0`.

    Returns:
        (valid configs, combinations that are refused with the reason why).
    """
    configs, refused = [], []
    for values in product(*axes.values()):
        point: dict[str, Any] = dict(zip(axes, values, strict=True))
        if point.get("scheme") == "baseline":
            point |= {"replication": None, "load": None}
        if ":" in (point.get("attack") or ""):
            point["attack"], _, strength = point["attack"].partition(":")
            point["attack_strength"] = float(strength)
        try:
            configs.append(replace(base, **point))
        except ValueError as error:
            refused.append((point, str(error)))
    return list(dict.fromkeys(configs)), refused


def sweep_path(folder: Path, config: TrainConfig) -> Path:
    """The run directory of a trial."""
    return trial_path(folder, f"{config.scheme}-{config.rule}-{config.attack}", config)


def run_trials(
    configs: Sequence[TrainConfig],
    folder: Path,
    data_dir: Path | None,
    *,
    home: Home | None = None,
    stop_early: bool = False,
) -> None:
    """Run the trials that are not recorded yet; one that was cut off goes on from its checkpoint.

    Args:
        configs: the trials, of equal length where they are stopped early.
        folder: for their run directories; on several nodes a folder that all of them share, or
            below a `home` in a storage.
        data_dir: see `Place`.
        home: see `run_missing`.
        stop_early: stop trials whose accuracy falls behind, by ASHA.
    """
    trials = {sweep_path(folder, config): config for config in configs}
    early = _objective(configs[0]) if stop_early else None
    run_missing(trials, partial(_train, data_dir=data_dir), home=home, stop_early=early)


def search_rates(
    config: TrainConfig,
    rates: tuple[float, float],
    num_trials: int,
    folder: Path,
    data_dir: Path | None,
    *,
    home: Home | None = None,
    stop_early: bool = False,
) -> list[Settled]:
    """Search the learning rate of a run with Optuna; trials that are recorded count.

    Args:
        config: the run.
        rates: lowest and highest.
        num_trials: rates tried.
        folder: see `run_trials`.
        data_dir: see `Place`.
        home: see `run_missing`.
        stop_early: see `run_trials`.

    Returns:
        The recorded trials.
    """

    def make(point: Mapping[str, Any]) -> tuple[Path, TrainConfig]:
        trial = replace(config, learning_rate=float(point[RATE]))
        return sweep_path(folder, trial), trial

    run_search(
        config,
        {RATE: rates},
        make,
        partial(_train, data_dir=data_dir),
        folder=folder,
        num_trials=num_trials,
        objective=_objective(config),
        seed=config.seed,
        home=home,
        stop_early=stop_early,
    )
    return settled_runs(folder, plain_json.to_plain(config), [RATE])


def _objective(config: TrainConfig) -> Objective:
    return Objective(metric=ACCURACY, mode="max", time="iteration", until=config.iterations)


def _train(config: TrainConfig, path: Path, data_dir: Path | None) -> dict[str, Any]:
    place = Place(
        run_dir=path,
        resume=(path / "config.json").exists(),
        data_dir=data_dir,
        in_process=True,
        share_replicas=True,
    )
    with Training.open(config, place) as training:
        training.train(_Reporting(config.iterations))
    return {"iteration": config.iterations, ACCURACY: load_run(path).summary[ACCURACY]}


class _Reporting:
    """A listener that tells the study of each evaluation but the last, of which the trial does."""

    def __init__(self, iterations: int) -> None:
        self._iterations = iterations

    def say(self, text: str) -> None:
        """See `Listener.say`; Tune reports on the trials."""

    def row(self, row: Row) -> None:
        """See `Listener.row`."""
        if row["test_accuracy"] is not None and row["iteration"] < self._iterations:
            report(iteration=row["iteration"], **{ACCURACY: row["test_accuracy"]})
