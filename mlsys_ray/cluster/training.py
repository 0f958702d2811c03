"""A training run from its configuration to its run directory."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import ImageDataset, load_dataset
from mlsys_ray.byzshield.election import EVENTS
from mlsys_ray.byzshield.server import Row, ServerState
from mlsys_ray.byzshield.training import train_in_process
from mlsys_ray.cluster import metrics
from mlsys_ray.cluster.byzshield.isolation import Isolation
from mlsys_ray.cluster.checkpoint import CHECKPOINT, dump_state, load_state
from mlsys_ray.cluster.place import Place
from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
from mlsys_ray.cluster.run_reader import load_run
from mlsys_ray.cluster.session import configure_environment, ray_session
from mlsys_ray.cluster.storage import Home, keep
from mlsys_ray.cluster.suspects import suspects

if TYPE_CHECKING:
    import pandas as pd

EXPERIMENT = "byzshield-train"
FINAL_EVALUATIONS = 5
MOST_OUTVOTED = 10
PARTS = ("compute", "communication", "vote", "aggregation")
"""Of an iteration's time, by the names in its row."""


class Listener(Protocol):
    """Who is told how a run gets on."""

    def say(self, text: str) -> None:
        """Something worth a line."""

    def row(self, row: Row) -> None:
        """The metrics of an iteration."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """A run that is ready to train and holds its run directory; made by `Training.open`."""

    config: TrainConfig
    place: Place
    dataset: ImageDataset
    state: ServerState | None
    run: RunDirectory
    home: Home

    @classmethod
    @contextmanager
    def open(cls, config: TrainConfig, place: Place) -> Iterator[Training]:
        """Get everything ready; `train` has to be called inside the `with` block.

        Raises:
            RunInUseError: another process writes to the run directory.
            ValueError: the run directory holds another run or a damaged checkpoint, or this
                machine cannot isolate workers.
            DataNotFoundError: the data set is not on this machine.
            StorageError: the storage cannot be written.
        """
        if (isolation := _isolation(place)) is not None:
            configure_environment()
            isolation.check()
        dataset = load_dataset(config.data, place.data_dir)
        path = place.run_dir or default_run_path(EXPERIMENT)
        with (
            keep(path, place.storage) as home,
            RunDirectory.create(
                home.folder, config, experiment=EXPERIMENT, resume=place.resume
            ) as run,
        ):
            home.upload()
            checkpoint = run.path / CHECKPOINT
            state = load_state(checkpoint) if checkpoint.exists() else None
            run.rewind(state.iteration if state else 0)
            yield cls(
                config=config,
                place=place,
                dataset=dataset,
                state=state,
                run=run,
                home=home,
            )

    def train(self, listener: Listener) -> None:
        """Train to the end; the run has failed where not one file was ever decided.

        Raises:
            EnvironmentMissingError: the Ray cluster cannot be reached, or the storage written.
        """
        with closing(self._rows(listener)) as rows:
            for row, checkpoint in rows:
                self.run.log(row)
                if checkpoint is not None:
                    self.run.write(CHECKPOINT, dump_state(checkpoint))
                    self.home.upload()
                listener.row(row)
        metrics = load_run(self.run.path).metrics
        found = suspects(metrics)
        if found:
            self.run.save_table("suspects", found)
        summary = {
            **_summary(self.config, metrics),
            "proved_liars": [row["worker"] for row in found if row["proved"]],
            "distrusted": [row["worker"] for row in found if row["distrusted"]],
            "most_outvoted": [row["worker"] for row in found if row["outvoted"]][:MOST_OUTVOTED],
            "silent": sorted(row["worker"] for row in found if row["silent"]),
            "shared_replicas": self.place.share_replicas,
        }
        self.run.finish(summary, "done" if summary["decided_files"] else "failed")

    def _rows(self, listener: Listener) -> Generator[tuple[Row, ServerState | None]]:
        interval = self.place.checkpoint_interval
        what = self.config, self.dataset
        if self.place.in_process:
            yield from _published(
                self.config,
                train_in_process(
                    *what,
                    state=self.state,
                    checkpoint_interval=interval,
                    share_replicas=self.place.share_replicas,
                ),
            )
            return
        session = ray_session(
            self.place.address, private=bool(self.place.isolate), storage=self.home.storage
        )
        with session as description:
            from mlsys_ray.cluster.byzshield import train_on_ray

            if description:
                listener.say(description)
            rows = train_on_ray(
                *what,
                num_processes=self.place.processes,
                state=self.state,
                checkpoint_interval=interval,
                encrypt=self.place.encrypt,
                isolation=_isolation(self.place),
            )
            with closing(rows):
                yield from _published(self.config, rows)


def _published(
    config: TrainConfig, rows: Iterable[tuple[Row, ServerState | None]]
) -> Iterator[tuple[Row, ServerState | None]]:
    """The same rows, whose numbers the cluster's metrics show as well."""
    run = {"scheme": config.scheme, "rule": config.rule, "attack": config.attack or "none"}
    with metrics.Publisher() as publisher:
        for row, state in rows:
            if row["test_accuracy"] is not None:
                publisher.set(metrics.BYZSHIELD_ACCURACY, row["test_accuracy"], **run)
            publisher.set(metrics.BYZSHIELD_DISTORTION, row["distortion"], **run)
            publisher.add(metrics.BYZSHIELD_ITERATIONS, 1, **run)
            publisher.add(metrics.BYZSHIELD_BYTES, row["bytes_received"])
            for part in PARTS:
                publisher.add(metrics.BYZSHIELD_SECONDS, row[f"seconds_{part}"], part=part)
            for kind in EVENTS:
                publisher.add(metrics.BYZSHIELD_EVENTS, row[f"event_{kind}"], kind=kind)
            yield row, state


def _isolation(place: Place) -> Isolation | None:
    if place.isolate is None:
        return None
    return Isolation(user=place.isolate, python=place.isolate_python)


def _summary(config: TrainConfig, metrics: pd.DataFrame) -> dict[str, Any]:
    """The headline numbers of a whole run, the parts before a resumption included."""
    rotating = config.byzantine_choice == "rotating"
    assignment, rule = config.make_assignment(), config.make_rule()
    accuracy = metrics["test_accuracy"].dropna()
    parts = [name for name in map(str, metrics) if name.startswith("seconds_")]
    return {
        "final_accuracy": float(accuracy.iloc[-1]),
        "late_accuracy": float(accuracy.tail(FINAL_EVALUATIONS).mean()),
        "best_accuracy": float(accuracy.max()),
        "distortion": float(metrics["distortion"].mean()),
        "seconds_per_iteration": float(metrics[parts].sum(axis=1).mean()),
        "megabytes_per_iteration": float(metrics["bytes_received"].mean() / 1e6),
        "iterations": len(metrics),
        "num_workers": assignment.num_workers,
        "num_files": assignment.num_files,
        "load": assignment.load,
        "replication": assignment.replication,
        "byzantine": None if rotating else config.byzantine_at(0),
        "rule_tolerance": rule.tolerance(assignment.num_files),
        "decided_files": int(metrics["decided_files"].sum()),
        "events": {kind: int(metrics[f"event_{kind}"].sum()) for kind in EVENTS},
    }
