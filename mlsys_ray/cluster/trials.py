"""Trials of a study on Ray Tune; each leaves a run directory of its own.

The run directories are the records of the study: a trial whose run is done is not run again. So
resuming is starting again over the same folder, which loses less than Tune's own state: its
snapshots miss the last seconds, and a crash while one is written leaves none.

With a storage, a trial runs in a folder on its node's own disk and is uploaded once it has ended.
Without, the study's folder has to be on a disk that all nodes share.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlsys_ray.cluster import plain_json
from mlsys_ray.cluster.atomic import atomic_write
from mlsys_ray.cluster.run_directory import PLACE_FIELDS, flatten
from mlsys_ray.cluster.run_lock import STALE_SECONDS, RunInUseError, in_use, living_holder
from mlsys_ray.cluster.run_reader import Run, load_run
from mlsys_ray.cluster.session import MEASURE
from mlsys_ray.cluster.storage import Home, Storage, StorageError, scratch_folder
from mlsys_ray.exit_codes import EnvironmentMissingError

if TYPE_CHECKING:
    from mlsys_ray.cluster.trial_records import TrialRecords

RunTrial = Callable[[Any, Path], dict[str, Any]]
"""Runs a trial in its run directory, in a worker process; returns what is reported."""

MAX_FAILURES = 3
"""Of a trial, after which it is left as failed."""
REDUCTION = 3
"""ASHA lets one of so many trials go on to so many times the time."""
STOPPED = "stopped.json"
"""In the run directory of a trial that was stopped early: its config and last report."""
FINISHED, LOST = "finished", "lost"
"""In what Tune is told last: the trial came to its end; why nothing can be written any more."""


class StudyStoppedError(EnvironmentMissingError):
    """A study cannot record trials any more; says why, what is saved and how to go on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What a trial takes.

    Attributes:
        cpus: cores.
        gpus: whole GPUs.
        measures: it measures times, so that no other trial that does may run on its node: it takes
            the node's resource `measure`, or all its CPUs where no node of the cluster has one.
    """

    cpus: int = 1
    gpus: int = 0
    measures: bool = False

    def asked(self) -> dict[str, float]:
        """As Tune takes it, for the connected cluster."""
        import ray

        wanted: dict[str, float] = {"cpu": self.cpus, "gpu": self.gpus}
        if not self.measures:
            return wanted
        if MEASURE in ray.cluster_resources():
            return {**wanted, MEASURE: 1}
        most = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
        print(
            f"no node offers the resource {MEASURE!r} (ray start --resources='{{\"{MEASURE}\": 1}}'"
            f"): each trial takes a node of {most:g} CPUs instead",
            file=sys.stderr,
        )
        return {**wanted, "cpu": max(most, self.cpus)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """What trials report as they get on, by `report`, and what they are judged by.

    Attributes:
        metric: name of the number.
        mode: whether it should be large or small.
        time: name of the number that says how far the trial is.
        until: its value at the end.
    """

    metric: str
    mode: Literal["max", "min"]
    time: str
    until: int


def report(**numbers: Any) -> None:
    """Tell the study how the trial of this process gets on, from inside a `RunTrial`.

    Not of its end: what the `RunTrial` returns says that.

    Raises:
        SystemExit: the trial is stopped, as others do better.
    """
    from ray import tune

    tune.report(numbers)


def trial_path(folder: Path, title: str, config: Any) -> Path:
    """The run directory of a trial, named by what it runs, not by where."""
    plain = _without_places(plain_json.to_plain(config))
    digest = hashlib.sha256(plain_json.dumps(plain).encode()).hexdigest()
    return folder / f"{title}-{digest[:12]}"


def _without_places(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {name: item for name, item in value.items() if name not in PLACE_FIELDS}
        return {name: _without_places(item) for name, item in kept.items()}
    return value


def recorded(path: Path) -> Run | None:
    """The finished run in a trial's run directory, if there is one."""
    if not (path / "summary.json").exists():
        return None
    run = load_run(path)
    return run if run.status == "done" else None


def stopped_early(path: Path) -> dict[str, Any] | None:
    """Config and last report of a trial that was stopped early, and has not ended since."""
    file = path / STOPPED
    if not file.exists() or recorded(path) is not None:
        return None
    return plain_json.loads(file.read_bytes())


def begin_anew(path: Path) -> None:
    """Remove what a trial left that was cut off, where it cannot go on from there.

    Raises:
        RunInUseError: it still runs, as it may for a moment after its driver was killed.
    """
    if holder := living_holder(path):
        raise RunInUseError(in_use(path, holder, 0))
    if path.exists():
        shutil.rmtree(path)


def run_missing(
    trials: Mapping[Path, Any],
    run_trial: RunTrial,
    *,
    home: Home | None = None,
    resources: Resources | None = None,
    stop_early: Objective | None = None,
) -> None:
    """Run the trials that are not recorded yet on the connected cluster.

    A trial that fails is left as failed, the others go on.

    Args:
        trials: run directory, all in one folder, -> what is run.
        run_trial: runs one.
        home: the study's run directory, where it is kept in a storage.
        resources: of each trial.
        stop_early: stop trials by ASHA that do worse by this than others did at their time; those
            that were stopped are run only where none is to be.

    Raises:
        StudyStoppedError: what trials leave can no longer be written.
    """
    from ray import tune

    pending = {
        path.name: trial
        for path, trial in trials.items()
        if recorded(path) is None and not (stop_early and stopped_early(path))
    }
    if not pending:
        return
    folder = next(iter(trials)).parent.absolute()

    def make(point: Mapping[str, Any]) -> tuple[Path, Any]:
        return folder / point["trial"], pending[point["trial"]]

    plan = Plan(make, run_trial, folder, home)
    names, num_settled = list(pending), len(trials) - len(pending)
    while names:
        scheduler = _asha(stop_early) if stop_early else None
        config = tune.TuneConfig(reuse_actors=True, scheduler=scheduler)
        space = {"trial": tune.grid_search(names)}
        records = _fit(plan, space, config, resources, num_settled, len(trials))
        names, num_settled = [point["trial"] for point in records.given_up], records.num_settled


def run_search(
    base: Any,
    space: Mapping[str, tuple[float, float]],
    make: Callable[[Mapping[str, Any]], tuple[Path, Any]],
    run_trial: RunTrial,
    *,
    folder: Path,
    num_trials: int,
    objective: Objective,
    describe: Callable[[Any], Mapping[str, Any]] = plain_json.to_plain,
    seed: int = 0,
    home: Home | None = None,
    resources: Resources | None = None,
    stop_early: bool = False,
) -> None:
    """Run trials at points that Optuna (TPE) draws from a space that is not a grid.

    Args:
        base: a trial, from which the others differ in nothing but the numbers that are drawn.
        space: lowest and highest value of each number; drawn evenly in its logarithm.
        make: run directory and trial of a point.
        run_trial: runs a trial.
        folder: of the trials' run directories.
        num_trials: those that are recorded already included.
        objective: what the search is after; its metric has this name in summaries, too.
        describe: a trial as its run directory has it in `config.json`.
        seed: of the draws.
        home: see `run_missing`.
        resources: of each trial.
        stop_early: stop trials that do badly, by ASHA.

    Raises:
        StudyStoppedError: what trials leave can no longer be written.
    """
    import optuna
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = Plan(make, run_trial, folder.absolute(), home, describe)
    known = _judged(folder, describe(base), space.keys(), objective)
    missing = num_trials - len(known)
    while missing > 0:
        searcher = OptunaSearch(
            {
                name: optuna.distributions.FloatDistribution(low, high, log=True)
                for name, (low, high) in space.items()
            },
            metric=objective.metric,
            mode=objective.mode,
            # Going on with the seed of the first draws would draw these again.
            seed=seed + len(known),
            points_to_evaluate=[trial.point for trial in known] or None,
            evaluated_rewards=[trial.left[objective.metric] for trial in known] or None,
        )
        config = tune.TuneConfig(
            search_alg=searcher,
            num_samples=missing,
            reuse_actors=True,
            scheduler=_asha(objective, judge=False) if stop_early else None,
        )
        records = _fit(plan, None, config, resources, len(known), num_trials)
        known = _judged(folder, describe(base), space.keys(), objective)
        missing = len(records.given_up)


def _judged(
    folder: Path, common: Mapping[str, Any], names: Collection[str], objective: Objective
) -> list[Settled]:
    settled = settled_runs(folder, common, names)
    return [trial for trial in settled if trial.left.get(objective.metric) is not None]


def settled_runs(folder: Path, common: Mapping[str, Any], names: Collection[str]) -> list[Settled]:
    """The recorded trials in a folder that differ in nothing but some fields.

    Args:
        folder: of the trials' run directories.
        common: config of all of them.
        names: the fields that may differ; dotted where nested.
    """
    found = [_settled(path, names) for path in sorted(folder.glob("*"))]
    shared = _comparable(common, names)
    return [trial for trial in found if trial and trial.shared == shared]


@dataclass(frozen=True, slots=True)
class Settled:
    """A recorded trial of a search: its point, what it left, and its run if it came to its end."""

    point: dict[str, float]
    shared: dict[str, Any]
    left: dict[str, Any]
    run: Run | None


def _settled(path: Path, names: Collection[str]) -> Settled | None:
    run, stopped = recorded(path), stopped_early(path)
    if run is not None:
        config, left = run.config, run.summary
    elif stopped is not None:
        config, left = stopped["config"], stopped["reported"]
    else:
        return None
    flat = flatten(config)
    point = {name: flat[name] for name in names if name in flat}
    return Settled(point, _comparable(config, names), left, run)


def _comparable(config: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    flat = flatten(_without_places(config))
    return {name: value for name, value in flat.items() if name not in names}


def _asha(objective: Objective, *, judge: bool = True) -> Any:
    """ASHA; where a search is told what it is after, the scheduler takes it from there."""
    from ray.tune.schedulers import ASHAScheduler

    return ASHAScheduler(
        time_attr=objective.time,
        metric=objective.metric if judge else None,
        mode=objective.mode if judge else None,
        max_t=objective.until,
        grace_period=max(1, objective.until // REDUCTION**2),
        reduction_factor=REDUCTION,
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """How worker processes run trials, and where these are recorded.

    Attributes:
        make: run directory and trial of a point of the study.
        run_trial: runs a trial.
        folder: of the run directories.
        home: the study's run directory, where it is kept in a storage.
        describe: a trial as its run directory has it in `config.json`.
    """

    make: Callable[[Mapping[str, Any]], tuple[Path, Any]]
    run_trial: RunTrial
    folder: Path
    home: Home | None
    describe: Callable[[Any], Mapping[str, Any]] = plain_json.to_plain

    @property
    def storage(self) -> Storage | None:
        """Where trials are uploaded to, if they are."""
        return self.home.storage if self.home else None

    def run(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Run a trial and record it."""
        path, trial = self.make(point)
        if self.storage is None or self.home is None:
            return _when_free(self.run_trial, trial, path)
        # The same on a second try, so that it goes on from its checkpoint where it can.
        scratch = scratch_folder(str(self.home)) / path.name
        result = _when_free(self.run_trial, trial, scratch)
        self.storage.upload(scratch, self.home.trial(path))
        shutil.rmtree(scratch, ignore_errors=True)
        return result

    def record_stop(self, point: Mapping[str, Any], reported: Mapping[str, Any]) -> None:
        """Record that a trial was stopped early, in the driver's process."""
        path, trial = self.make(point)
        content = plain_json.dumps({"config": self.describe(trial), "reported": reported})
        atomic_write(path / STOPPED, content)
        if self.storage and self.home:
            self.storage.write(f"{self.home.trial(path)}/{STOPPED}", content.encode())

    def lost(self) -> str | None:
        """Why nothing can be written where trials are recorded; None if it can."""
        try:
            if self.storage:
                self.storage.probe()
            else:
                probe = self.folder / f".{uuid.uuid4().hex}.tmp"
                probe.touch()
                probe.unlink()
        except (OSError, StorageError) as error:
            return str(error)
        return None


def _when_free(run_trial: RunTrial, trial: Any, path: Path) -> dict[str, Any]:
    """Run a trial; one whose driver was killed may go on for a moment and hold its directory."""
    deadline = time.monotonic() + STALE_SECONDS + 10
    while True:
        try:
            return run_trial(trial, path)
        except RunInUseError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _trial(point: dict[str, Any], plan: Plan) -> None:
    from ray import tune

    try:
        result = plan.run(point)
    except Exception:
        if (reason := plan.lost()) is None:
            raise
        tune.report({LOST: reason})
        return
    tune.report({**result, FINISHED: True})


def _fit(
    plan: Plan,
    space: dict[str, Any] | None,
    config: Any,
    resources: Resources | None,
    num_settled: int,
    num_trials: int,
) -> TrialRecords:
    # Trials that end for want of storage report no metric; loggers would write a copy of all.
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    from ray import tune

    from mlsys_ray.cluster.trial_records import StopWhereLost, TrialRecords

    plan.folder.mkdir(parents=True, exist_ok=True)
    records = TrialRecords(plan, num_settled, num_trials)
    trainable = tune.with_parameters(_trial, plan=plan)
    # Tune's own state is read by nobody.
    with tempfile.TemporaryDirectory(prefix="tune-", ignore_cleanup_errors=True) as state:
        tune.Tuner(
            tune.with_resources(trainable, (resources or Resources()).asked()),
            param_space=space,
            tune_config=config,
            run_config=tune.RunConfig(
                name="study",
                storage_path=state,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
                stop=StopWhereLost(records),
                callbacks=[records],
            ),
        ).fit()
    home = plan.home or plan.folder.parent
    if records.lost:
        raise StudyStoppedError(
            f"{home} cannot be written any more, after {records.num_settled} of {num_trials}"
            f" trials: {records.lost}\nThe trials recorded by then are kept there; make it writable"
            " and start the same command again, which runs only those that are missing."
        )
    if plan.storage and plan.home:
        plan.storage.fetch(plan.home.trial(plan.folder), plan.folder)
    return records
