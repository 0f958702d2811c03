"""Many training runs on a cluster with Ray Tune; each leaves a run directory of its own.

The run directories are the records of the study: a trial whose run is done is not run again, one
that was cut off goes on from its checkpoint. So resuming is starting again over the same folder,
which loses less than Tune's own state: its snapshots miss the last seconds, and a crash while one
is written leaves none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.server import Row
from mlsys_ray.cluster import plain_json
from mlsys_ray.cluster.place import Place
from mlsys_ray.cluster.run_reader import Run, load_run
from mlsys_ray.cluster.training import Training


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


def trial_path(folder: Path, config: TrainConfig) -> Path:
    """The run directory of a trial, named by what it runs."""
    digest = hashlib.sha256(plain_json.dumps(plain_json.to_plain(config)).encode()).hexdigest()
    return folder / f"{config.scheme}-{config.rule}-{config.attack}-{digest[:12]}"


def recorded(folder: Path, config: TrainConfig) -> Run | None:
    """The finished run of a trial, if there is one."""
    path = trial_path(folder, config)
    if not (path / "summary.json").exists():
        return None
    run = load_run(path)
    return run if run.status == "done" else None


def run_trials(configs: Sequence[TrainConfig], folder: Path, data_dir: Path | None) -> None:
    """Run the trials that are not recorded yet on the connected cluster, one CPU each.

    A trial that fails is left as failed, the others go on.

    Args:
        configs: the trials.
        folder: for their run directories; on several nodes a folder that all of them share.
        data_dir: see `Place`.
    """
    from ray import tune

    pending = [config for config in configs if recorded(folder, config) is None]
    if not pending:
        return
    folder = folder.absolute()
    trials = {trial_path(folder, config).name: config for config in pending}
    trainable = tune.with_parameters(_trial, trials=trials, folder=folder, data_dir=data_dir)
    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"trial": tune.grid_search(list(trials))},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            verbose=1,
            failure_config=tune.FailureConfig(max_failures=2),
        ),
    ).fit()


def _trial(
    point: dict[str, str], trials: dict[str, TrainConfig], folder: Path, data_dir: Path | None
) -> None:
    from ray import tune

    config, path = trials[point["trial"]], folder / point["trial"]
    place = Place(
        run_dir=path,
        resume=(path / "config.json").exists(),
        data_dir=data_dir,
        in_process=True,
        share_replicas=True,
    )
    with Training.open(config, place) as training:
        training.train(_Silent())
    tune.report({"final_accuracy": load_run(path).summary["final_accuracy"]})


class _Silent:
    """A listener that keeps to itself: Tune reports on the trials."""

    def say(self, text: str) -> None:
        """See `Listener.say`."""

    def row(self, row: Row) -> None:
        """See `Listener.row`."""
