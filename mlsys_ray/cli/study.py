"""What commands share whose work is spread over a cluster: where it runs and where it is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsys_ray.cli.console import say, usage_errors

if TYPE_CHECKING:
    from mlsys_ray.cluster.run_directory import RunDirectory
    from mlsys_ray.cluster.storage import Home


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlace:
    """Where a study runs and is kept; given again, only what is missing is run."""

    run_dir: Path | None = None
    """Folder of the study; given again, only what is missing is run. By default a new one under
    runs/. On several nodes it must be on a disk that all of them share, or have a --storage."""
    storage: str | None = None
    """Where the folder is kept, under its name: a path, s3://bucket/folder or gs://bucket/folder
    that all nodes reach. What is there of the study is taken from there."""
    address: str | None = None
    """Ray cluster to attach to, host:port or auto; by default RAY_ADDRESS, else a local one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """A study that runs: its run directory, what keeps it, and the folder of its trials."""

    run: RunDirectory
    home: Home
    trials: Path


@contextmanager
def study(place: StudyPlace, config: Any, experiment: str) -> Iterator[Study]:
    """Hold the run directory of a study and a Ray session; afterwards write the report.

    Raises:
        UsageError: the run directory or the storage is refused.
        EnvironmentMissingError: the cluster or the storage cannot be used.
    """
    with kept_study(place, config, experiment) as ours, study_session(place, ours):
        yield ours


@contextmanager
def kept_study(place: StudyPlace, config: Any, experiment: str) -> Iterator[Study]:
    """Hold the run directory of a study, without Ray; afterwards write the report.

    Raises:
        UsageError: the run directory or the storage is refused.
        EnvironmentMissingError: the storage cannot be used.
    """
    from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
    from mlsys_ray.cluster.storage import TRIALS, keep
    from mlsys_ray.report.html import write_report

    with ExitStack() as kept:
        folder = place.run_dir or default_run_path(experiment)
        with usage_errors():
            home = kept.enter_context(keep(folder, place.storage))
        folder = home.folder
        with ExitStack() as stack:
            with usage_errors():
                run = stack.enter_context(
                    RunDirectory.create(folder, config, experiment=experiment, resume=True)
                )
            home.upload()
            say(f"run directory: {home}")
            yield Study(run=run, home=home, trials=folder / TRIALS)
        report = write_report([folder], folder / "report.html")
    say(f"results: {home}, for a browser {report.path.name} there")


@contextmanager
def study_session(place: StudyPlace, ours: Study) -> Iterator[None]:
    """A Ray session for the trials of a study.

    Raises:
        EnvironmentMissingError: the cluster or the storage cannot be used.
    """
    from mlsys_ray.cluster.session import ray_session

    with ray_session(place.address, storage=ours.home.storage) as description:
        say(description)
        yield


def check_rates(
    rate_range: tuple[float, float] | None, num_rates: int, learning_rates: Sequence[float]
) -> None:
    """Check what is asked of a search for learning rates.

    Raises:
        ValueError: naming the value and what is accepted.
    """
    if rate_range is None:
        return
    low, high = rate_range
    if not 0 < low < high:
        raise ValueError(f"rate_range is {low:g} {high:g}, must be LOW HIGH with 0 < LOW < HIGH")
    if learning_rates:
        raise ValueError("rate_range and learning_rates both say which are tried; give one of them")
    if num_rates < 1:
        raise ValueError(f"num_rates is {num_rates}, must be at least 1")
