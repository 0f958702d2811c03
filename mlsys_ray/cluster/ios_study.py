"""A study of IOS over networks, batch sizes, strategies and prunings: one trial is one search.

Trials leave schedule files; a second round of trials runs each network's schedules at every batch
size of the study, in turns (the paper's specialisation).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

from mlsys_ray.cluster import metrics
from mlsys_ray.cluster.run_directory import RunDirectory
from mlsys_ray.cluster.run_reader import Run
from mlsys_ray.cluster.storage import Home
from mlsys_ray.cluster.trials import Resources, begin_anew, recorded, run_missing, trial_path

Strategy = Literal["ios_merge", "ios_parallel", "ios_both", "ios_mixed"]
SCHEDULE = "schedule.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """One search.

    Raises:
        ValueError: naming the field, its value and what is accepted.
    """

    network: str = "squeezenet"
    """inception_v3, nasnet_a_large, randwire, squeezenet, resnet18, resnet50 or mobilenet_v2."""
    batch_size: int = 1
    """Samples at a time."""
    strategy: Strategy = "ios_both"
    """What a stage may be: merged, concurrent, both, or both with a choice of kernels."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it is measured; a trial on cuda has a GPU to itself."""
    precision: Literal["fp32", "tf32", "fp16"] = "fp32"
    """Of the arithmetic, on a GPU."""
    max_group_size: int = 3
    """Operators in a group (the paper's r)."""
    max_groups: int = 8
    """Groups in a stage (the paper's s)."""
    num_threads: int = 2
    """Of the engine; a trial has as many CPUs."""
    search_seconds: float | None = None
    """For measuring stages; by default whatever it takes [s]."""
    share_costs: bool = True
    """Take latencies that other searches have measured; without, times of searches compare."""

    def __post_init__(self) -> None:
        from mlsys_ray.ios.networks import NETWORKS

        if self.network not in NETWORKS:
            raise ValueError(
                f"network {self.network!r} is unknown; accepted: {', '.join(sorted(NETWORKS))}"
            )
        for name in ("batch_size", "max_group_size", "max_groups", "num_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, is {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SpecialisationConfig:
    """Schedules of a network that were found at several batch sizes, run at one."""

    network: str
    batch_size: int
    num_threads: int
    device: Literal["cpu", "cuda"]
    schedules: tuple[tuple[int, str], ...]
    """Of each batch size the content of the schedule file."""


def expand(
    base: SearchConfig,
    networks: Sequence[str],
    batch_sizes: Sequence[int],
    strategies: Sequence[Strategy],
    prunings: Sequence[tuple[int, int]],
) -> list[SearchConfig]:
    """All combinations of the axes around a base point; an empty axis keeps the base's value.

    Args:
        base: whose other fields all trials have.
        networks: axis of network.
        batch_sizes: axis of batch_size.
        strategies: axis of strategy.
        prunings: axis of `(max_group_size, max_groups)`.

    Raises:
        ValueError: a value is not accepted.
    """
    axes = (
        networks or [base.network],
        batch_sizes or [base.batch_size],
        strategies or [base.strategy],
        prunings or [(base.max_group_size, base.max_groups)],
    )
    return [
        replace(
            base,
            network=network,
            batch_size=batch_size,
            strategy=strategy,
            max_group_size=max_group_size,
            max_groups=max_groups,
        )
        for network, batch_size, strategy, (max_group_size, max_groups) in product(*axes)
    ]


def run_study(
    configs: Sequence[SearchConfig], folder: Path, *, home: Home | None = None
) -> list[dict[str, Any]]:
    """Run the searches, all on the same kind of device, that are not recorded yet.

    Trials run on the connected cluster.

    Args:
        configs: the searches.
        folder: of their run directories.
        home: see `run_missing`.

    Returns:
        A row for each: the axes, latencies of the schedule and of the sequential one [ms], the
        gain, how long the search took [s] and how many latencies it measured; None if it failed.
    """
    trials = {search_path(folder, config): config for config in configs}
    run_missing(trials, run_search, home=home, resources=_resources(configs))
    return [_row(config, recorded(path)) for path, config in trials.items()]


def run_specialisation(
    configs: Sequence[SearchConfig], folder: Path, *, home: Home | None = None
) -> list[dict[str, Any]]:
    """Run the schedules found for each batch size at every batch size of their network.

    Only searches that differ in nothing but the batch size are taken together.

    Args:
        configs: the searches.
        folder: of the run directories.
        home: see `run_missing`.

    Returns:
        A row for each network and batch size that schedules were run at, with the latency by the
        schedule for each batch size [ms]; None if it failed.
    """
    alike: dict[SearchConfig, list[SearchConfig]] = {}
    for config in configs:
        if recorded(search_path(folder, config)) is not None:
            alike.setdefault(replace(config, batch_size=1), []).append(config)
    trials: dict[Path, SpecialisationConfig] = {}
    rows: list[tuple[SearchConfig, Path]] = []
    for found in alike.values():
        if len(found) < 2:
            continue
        schedules = tuple(
            (c.batch_size, (search_path(folder, c) / SCHEDULE).read_text()) for c in found
        )
        for config in found:
            trial = SpecialisationConfig(
                network=config.network,
                batch_size=config.batch_size,
                num_threads=config.num_threads,
                device=config.device,
                schedules=schedules,
            )
            path = trial_path(folder, f"{config.network}-at-{config.batch_size}", trial)
            trials[path] = trial
            rows.append((config, path))
    if trials:
        run_missing(trials, run_at, home=home, resources=_resources(trials.values()))
    return [_specialisation_row(config, recorded(path)) for config, path in rows]


def _resources(trials: Collection[SearchConfig | SpecialisationConfig]) -> Resources:
    """A GPU is nobody else's anyway; who measures on a CPU has to be alone there."""
    on_gpu = any(trial.device == "cuda" for trial in trials)
    cpus = max(trial.num_threads for trial in trials)
    return Resources(cpus=cpus, gpus=int(on_gpu), measures=not on_gpu)


def search_path(folder: Path, config: SearchConfig) -> Path:
    """The run directory of a search."""
    return trial_path(folder, f"{config.network}-{config.batch_size}-{config.strategy}", config)


def run_search(config: SearchConfig, path: Path) -> dict[str, Any]:
    """One search, in a worker process; one that was cut off begins anew."""
    from mlsys_ray.ios.capture import capture
    from mlsys_ray.ios.optimization import default_cache, find
    from mlsys_ray.ios.plan import Settings
    from mlsys_ray.ios.sources import make_model

    _use_threads(config.num_threads)
    with _anew(path, config, "ios-search") as run, metrics.Publisher() as publisher:
        module, example = make_model(config.network, batch_size=config.batch_size)
        settings = Settings(
            max_group_size=config.max_group_size,
            max_groups=config.max_groups,
            num_threads=config.num_threads,
            budget_seconds=config.search_seconds,
            cache=default_cache() if config.share_costs else None,
            device=config.device,
            precision=config.precision,
        )
        captured = capture(module, [example])
        found = find(
            module,
            captured,
            ["sequential", config.strategy],
            settings,
            on_measured=partial(publisher.add, metrics.IOS_MEASURED, network=config.network),
        )
        found.schedules[config.strategy].save(path / SCHEDULE)
        own, base = found.timings[config.strategy], found.timings["sequential"]
        publisher.set(
            metrics.IOS_BEST_LATENCY,
            own.min_ms / 1e3,
            network=config.network,
            strategy=config.strategy,
        )
        summary = {
            "min_ms": own.min_ms,
            "median_ms": own.median_ms,
            "sequential_min_ms": base.min_ms,
            "expected_ms": found.expected.get(config.strategy),
            "difference": found.differences[config.strategy],
            "num_measured": found.num_measured,
            "search_seconds": found.seconds,
        }
        run.log(summary)
        run.finish(summary)
    return {"min_ms": own.min_ms}


def run_at(config: SpecialisationConfig, path: Path) -> dict[str, Any]:
    """Time schedules found at several batch sizes at one, in turns, in a worker process."""
    from contextlib import ExitStack

    from mlsys_ray.ios.capture import capture
    from mlsys_ray.ios.devices import synchronize
    from mlsys_ray.ios.interleaved import measure
    from mlsys_ray.ios.optimization import make_engine
    from mlsys_ray.ios.schedule import digest, load_schedule
    from mlsys_ray.ios.sources import make_model

    _use_threads(config.num_threads)
    with _anew(path, config, "ios-specialisation") as run, ExitStack() as stack:
        module, example = make_model(config.network, batch_size=config.batch_size)
        graph = capture(module, [example]).graph
        engines = {}
        for batch_size, text in config.schedules:
            file = run.write(f"for-{batch_size}.json", text)
            schedule = replace(
                load_schedule(file), graph=digest(graph), batch_size=config.batch_size
            )
            engine = make_engine(graph, schedule, config.num_threads, config.device)
            stack.callback(engine.__exit__)
            engines[f"for_{batch_size}"] = partial(engine, example.to(config.device))
        timings = measure(engines, wait=partial(synchronize, config.device))
        summary = {f"{name}_min_ms": timing.min_ms for name, timing in timings.items()}
        run.log(summary)
        run.finish(summary)
    return {"min_ms": min(summary.values())}


def _use_threads(number: int) -> None:
    import torch

    # Ray gives a task of few CPUs one thread by this variable, which workers of ours inherit.
    os.environ["OMP_NUM_THREADS"] = str(number)
    torch.set_num_threads(number)


def _anew(path: Path, config: Any, experiment: str) -> Any:
    begin_anew(path)
    return RunDirectory.create(path, asdict(config), experiment=experiment)


def _row(config: SearchConfig, run: Run | None) -> dict[str, Any]:
    found = run.summary if run else {}
    names = ("min_ms", "sequential_min_ms", "search_seconds", "num_measured")
    row = {
        "network": config.network,
        "batch_size": config.batch_size,
        "strategy": config.strategy,
        "device": config.device,
        "r": config.max_group_size,
        "s": config.max_groups,
        **{name: found.get(name) for name in names},
    }
    row["gain"] = found["sequential_min_ms"] / found["min_ms"] if run else None
    return row


def _specialisation_row(config: SearchConfig, run: Run | None) -> dict[str, Any]:
    found = run.summary if run else {}
    latencies = {name: value for name, value in found.items() if name.startswith("for_")}
    return {
        "network": config.network,
        "strategy": config.strategy,
        "r": config.max_group_size,
        "s": config.max_groups,
        "run_at": config.batch_size,
        **latencies,
    }
