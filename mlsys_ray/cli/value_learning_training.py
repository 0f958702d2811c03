"""The commands `mlsys-ray value-learning collect`, `train` and `adapt`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from mlsys_ray.cli.console import print_json, say, usage_errors
from mlsys_ray.cli.value_learning_common import (
    measuring,
    network_of,
    require_halide,
)
from mlsys_ray.exit_codes import ExitCode
from mlsys_ray.value_learning.value_network.training import NetworkConfig

if TYPE_CHECKING:
    from mlsys_ray.value_learning.baselines.adams2019_samples import AdamsRecord
    from mlsys_ray.value_learning.operators import Pipeline
    from mlsys_ray.value_learning.store import Sample
    from mlsys_ray.value_learning.target import Target
    from mlsys_ray.value_learning.value_network.model import ValueNetwork


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectSchedules:
    """Measure random schedules of random layers, and store them.

    Each is compiled and run in a process with limits; one that hangs, crashes or computes something
    wrong is recorded as failed. Started again, it goes on where it was.
    """

    store: Path
    """Folder of the samples; made if it is missing."""
    pipelines: int = 100
    """Random layers."""
    schedules: int = 40
    """Random schedules of each."""
    seconds: float = 3600.0
    """Stop after this long."""
    threads: int | None = None
    """Threads of a kernel; all cores by default."""
    halide_target: str | None = None
    """Halide's target string, say without a feature that this machine has; by default its own."""
    adams2019: int = 0
    """Schedules that Adams2019 makes of each layer and of the held-out ones, in each layout: to
    retrain its cost model on this machine, which evaluate does."""
    seed: int = 0
    """Of layers and schedules."""
    address: str | None = None
    """Ray cluster to measure on, host:port or auto; in this process by default."""
    json: bool = False
    """Print the counts as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Collect."""
        require_halide()
        from collections import Counter
        from time import monotonic

        from mlsys_ray.value_learning.corpus import training_pipelines
        from mlsys_ray.value_learning.store import Store
        from mlsys_ray.value_learning.target import host_target
        from mlsys_ray.value_learning.value_iteration import collect, random_jobs

        begin, statuses = monotonic(), Counter[str]()

        def on_sample(sample: Sample) -> None:
            statuses[sample.status] += 1
            if statuses.total() % 25 == 0:
                rate = statuses.total() / (monotonic() - begin)
                say(f"{statuses.total()} measured, {rate:.2f} a second: {dict(statuses)}")

        with usage_errors():
            target = host_target(self.threads, self.halide_target)
        jobs = random_jobs(
            training_pipelines(self.pipelines, self.seed), target, self.schedules, self.seed
        )
        with ExitStack() as stack, usage_errors():
            store = stack.enter_context(Store(self.store))
            measure = stack.enter_context(measuring(target, self.address))
            in_time = (job for job in jobs if monotonic() - begin < self.seconds)
            collect(in_time, store, measure, on_sample)
            total = len(store)
        if self.adams2019:
            layers = [(p, False) for p in training_pipelines(self.pipelines, self.seed)]
            by_adams = self._collect_adams(layers, target, begin)
            statuses["adams2019"] = by_adams
        summary = {"measured": statuses.total(), "stored": total, "statuses": dict(statuses)}
        say(f"{summary['measured']} measured, {total} in {self.store}")
        if self.json:
            print_json(summary)
        return ExitCode.DONE

    def _collect_adams(
        self, layers: list[tuple[Pipeline, bool]], target: Target, begin: float
    ) -> int:
        """Schedules by Adams2019; gives how many were measured."""
        from time import monotonic

        from mlsys_ray.value_learning.baselines.adams2019_samples import FILE, collect_adams
        from mlsys_ray.value_learning.corpus import held_out_pipelines

        done = 0

        def on_record(record: AdamsRecord) -> None:
            nonlocal done
            done += 1
            if done % 25 == 0:
                say(f"{done} schedules by Adams2019 measured")

        return collect_adams(
            [*layers, *((pipeline, True) for pipeline in held_out_pipelines().values())],
            target,
            self.store / FILE,
            count=self.adams2019,
            goes_on=lambda: monotonic() - begin < self.seconds,
            on_record=on_record,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainValue:
    """Train a value network on stored samples."""

    network: Annotated[NetworkConfig, arg(name="")] = field(default_factory=NetworkConfig)
    store: Path
    """Folder of the samples."""
    sweeps: int = 2
    """Times that the targets of partial schedules are lowered to what the network expects after one
    more decision, and it goes on learning."""
    run_dir: Path | None = None
    """Run directory; by default a new one under runs/."""
    json: bool = False
    """Print the network's card as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Train, and write the network to the run directory."""
        require_halide()
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.value_learning.store import read_samples
        from mlsys_ray.value_learning.value_iteration import train_on

        folder = self.run_dir or default_run_path("value-learning-train")
        config = {"store": str(self.store), "sweeps": self.sweeps, **asdict(self.network)}
        with ExitStack() as stack, usage_errors():
            run = stack.enter_context(
                RunDirectory.create(folder, config, experiment="value-learning-train")
            )
            network = train_on(
                read_samples(self.store),
                self.network,
                sweeps=self.sweeps,
                on_epoch=lambda member, epoch, error: run.log(
                    {"member": member, "epoch": epoch, "validation_msle": error}
                ),
            )
            path = run.write("value.safetensors", network.to_bytes())
            run.finish(
                {
                    "states": network.card["states"],
                    "pipelines": network.card["pipelines"],
                    "validation_msle": max(network.card["validation_msle"]),
                }
            )
        say(f"network: {path}; errors on held-out pipelines {network.card['validation_msle']}")
        if self.json:
            print_json(network.card)
        return ExitCode.DONE


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptValue:
    """Fit a value network to this machine by value iteration: measure, train, search, measure."""

    store: Path
    """Folder of the samples; made if it is missing, and gone on with."""
    model: Path | None = None
    """Network to go on from; the shipped one by default."""
    pipelines: int = 24
    """Random layers."""
    schedules: int = 16
    """Random schedules of each, to begin with."""
    rounds: int = 2
    """Times that the network searches and what it finds is measured."""
    found: int = 8
    """Schedules of each layer that a search gives."""
    noise: float = 0.2
    """Standard deviation of the noise on log-runtimes in the search."""
    sweeps: int = 2
    """Of each training: times that targets of partial schedules are lowered."""
    epochs: int = 30
    """Of each training."""
    threads: int | None = None
    """Threads of a kernel; all cores by default."""
    seed: int = 1
    """Of layers, schedules and noise."""
    run_dir: Path | None = None
    """Run directory; by default a new one under runs/."""
    storage: str | None = None
    """Where the run directory is kept, under its name: a path, s3://bucket/folder or
    gs://bucket/folder."""
    address: str | None = None
    """Ray cluster to measure on, host:port or auto; in this process by default."""
    json: bool = False
    """Print the network's card as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Iterate, and write the network to the run directory."""
        require_halide()
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.cluster.storage import keep
        from mlsys_ray.value_learning.corpus import training_pipelines
        from mlsys_ray.value_learning.store import Store
        from mlsys_ray.value_learning.target import host_target
        from mlsys_ray.value_learning.value_iteration import IterationConfig, iterate

        folder = self.run_dir or default_run_path("value-learning-adapt")
        target = host_target(self.threads)
        with ExitStack() as stack, usage_errors():
            home = stack.enter_context(keep(folder, self.storage))
            run = stack.enter_context(
                RunDirectory.create(home.folder, asdict(self), experiment="value-learning-adapt")
            )
            home.upload()
            start = network_of(self.model, target)
            store = stack.enter_context(Store(self.store))
            measure = stack.enter_context(measuring(target, self.address))

            def on_network(number: int, network: ValueNetwork) -> None:
                error = max(network.card["validation_msle"])
                run.log({"round": number, "samples": len(store), "validation_msle": error})
                say(f"round {number}: {len(store)} samples, error {error:.3f}")

            network = iterate(
                training_pipelines(self.pipelines, self.seed),
                target,
                store,
                measure,
                IterationConfig(
                    random=self.schedules,
                    rounds=self.rounds,
                    found=self.found,
                    noise=self.noise,
                    sweeps=self.sweeps,
                    seed=self.seed,
                ),
                NetworkConfig(
                    kind=start.kind,  # type: ignore[arg-type]
                    members=len(start.weights["out.bias"]),
                    epochs=self.epochs,
                ),
                start=start,
                on_network=on_network,
            )
            run.write("value.safetensors", network.to_bytes())
            run.finish({"validation_msle": max(network.card["validation_msle"])})
        say(f"network: {home}/value.safetensors")
        if self.json:
            print_json(network.card)
        return ExitCode.DONE
