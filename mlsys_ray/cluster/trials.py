"""Trials of a study on Ray Tune; each leaves a run directory of its own.

The run directories are the records of the study: a trial whose run is done is not run again. So
resuming is starting again over the same folder, which loses less than Tune's own state: its
snapshots miss the last seconds, and a crash while one is written leaves none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlsys_ray.cluster import plain_json
from mlsys_ray.cluster.run_reader import Run, load_run


def trial_path(folder: Path, title: str, config: Any) -> Path:
    """The run directory of a trial, named by what it runs."""
    digest = hashlib.sha256(plain_json.dumps(plain_json.to_plain(config)).encode()).hexdigest()
    return folder / f"{title}-{digest[:12]}"


def recorded(path: Path) -> Run | None:
    """The finished run in a trial's run directory, if there is one."""
    if not (path / "summary.json").exists():
        return None
    run = load_run(path)
    return run if run.status == "done" else None


def run_missing(
    trials: Mapping[Path, Any], run_trial: Callable[[Any, Path], dict[str, Any]]
) -> None:
    """Run the trials that are not recorded yet on the connected cluster, one CPU each.

    A trial that fails is left as failed, the others go on.

    Args:
        trials: run directory, all in one folder, -> what is run; on several nodes a folder that
            all of them share.
        run_trial: runs one in its run directory, in a worker process; what it returns is reported.
    """
    from ray import tune

    pending = {path.name: trial for path, trial in trials.items() if recorded(path) is None}
    if not pending:
        return
    folder = next(iter(trials)).parent.absolute()
    trainable = tune.with_parameters(_trial, trials=pending, folder=folder, run_trial=run_trial)
    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"trial": tune.grid_search(list(pending))},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            verbose=1,
            failure_config=tune.FailureConfig(max_failures=2),
        ),
    ).fit()


def _trial(
    point: dict[str, str],
    trials: Mapping[str, Any],
    folder: Path,
    run_trial: Callable[[Any, Path], dict[str, Any]],
) -> None:
    from ray import tune

    name = point["trial"]
    tune.report(run_trial(trials[name], folder / name))
