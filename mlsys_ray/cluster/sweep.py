"""Many ByzShield training runs on a cluster, over all combinations of some axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.server import Row
from mlsys_ray.cluster.place import Place
from mlsys_ray.cluster.run_reader import load_run
from mlsys_ray.cluster.training import Training
from mlsys_ray.cluster.trials import run_missing, trial_path


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


def run_trials(configs: Sequence[TrainConfig], folder: Path, data_dir: Path | None) -> None:
    """Run the trials that are not recorded yet; one that was cut off goes on from its checkpoint.

    Args:
        configs: the trials.
        folder: for their run directories; on several nodes a folder that all of them share.
        data_dir: see `Place`.
    """
    trials = {sweep_path(folder, config): config for config in configs}
    run_missing(trials, partial(_train, data_dir=data_dir))


def _train(config: TrainConfig, path: Path, data_dir: Path | None) -> dict[str, Any]:
    place = Place(
        run_dir=path,
        resume=(path / "config.json").exists(),
        data_dir=data_dir,
        in_process=True,
        share_replicas=True,
    )
    with Training.open(config, place) as training:
        training.train(_Silent())
    return {"final_accuracy": load_run(path).summary["final_accuracy"]}


class _Silent:
    """A listener that keeps to itself: Tune reports on the trials."""

    def say(self, text: str) -> None:
        """See `Listener.say`."""

    def row(self, row: Row) -> None:
        """See `Listener.row`."""
