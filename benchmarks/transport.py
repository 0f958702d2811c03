"""One training iteration over actors beside the ideal time of the same arithmetic.

python benchmarks/transport.py --json

K = 25 workers (ramanujan2, r = l = 5), the small network on digits, batches of 750: 125 gradients
of files of 30 samples an iteration. The ideal is the time of these gradients in one process and
one thread, measured between the runs, divided by the cores that the worker processes can use.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import psutil
import tyro

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import load_dataset
from mlsys_ray.byzshield.gradients import GradientComputer
from mlsys_ray.byzshield.models import flatten_parameters, make_model
from mlsys_ray.byzshield.sampling import FileSampler
from mlsys_ray.cli.console import print_json, print_table, say
from mlsys_ray.cluster.environment import cpu_model, usable_cores
from mlsys_ray.cluster.session import ray_session


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Time iterations over actors against the ideal."""

    processes: tuple[int, ...] = (2, 25)
    """Numbers of worker processes."""
    rounds: int = 3
    """Runs of each, in turn."""
    iterations: int = 30
    """Iterations of a run; the first three are not counted."""
    json: bool = False
    """Print the table as JSON on stdout, too."""


@dataclass
class Times:
    """Seconds of each iteration."""

    name: str
    processes: int
    seconds: list[float] = field(default_factory=list)


def main(benchmark: Benchmark) -> None:
    """Run it."""
    config = TrainConfig(
        scheme="ramanujan2", batch_size=750, iterations=benchmark.iterations, eval_interval=1000
    )
    times = [Times("arithmetic alone", 1)]
    times += [Times("over actors", count) for count in benchmark.processes]
    say(f"{cpu_model()}, {usable_cores()} cores")
    arithmetic = _arithmetic(config)
    with ray_session() as description:
        say(description)
        for _ in range(benchmark.rounds):
            for timed in times[1:]:
                _wait_for_quiet()
                times[0].seconds += [_seconds(arithmetic) for _ in range(5)]
                timed.seconds += _iterations(config, timed.processes)
    rows = [_row(timed, times[0]) for timed in times]
    print_table(rows)
    if benchmark.json:
        print_json(rows)


def _wait_for_quiet(seconds: int = 60) -> None:
    """Until processes that were ended are gone, or the time is up."""
    for _ in range(seconds):
        if psutil.cpu_percent(interval=1.0) < 10:
            return


def _iterations(config: TrainConfig, num_processes: int) -> list[float]:
    """Seconds of each iteration of a run, but for the first three."""
    from mlsys_ray.cluster.byzshield import train_on_ray

    rows = train_on_ray(config, load_dataset(config.data), num_processes=num_processes)
    parts = ("compute", "communication", "vote", "aggregation")
    return [sum(row[f"seconds_{part}"] for part in parts) for row, _ in rows][3:]


def _seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _arithmetic(config: TrainConfig) -> Callable[[], None]:
    """All K l gradients of an iteration, as the workers compute them."""
    dataset, assignment = load_dataset(config.data), config.make_assignment()
    computer = GradientComputer(config.model, dataset)
    computer.load(flatten_parameters(make_model(config.model, dataset.input_shape, 10)))
    files = FileSampler(dataset.train_labels, assignment.num_files, 750, seed=0).files(0)

    def step() -> None:
        for worker in range(assignment.num_workers):
            for file in assignment.files_of(worker):
                computer.gradient(files[file])

    return step


def _row(timed: Times, arithmetic: Times) -> dict[str, Any]:
    ideal = median(arithmetic.seconds) / min(timed.processes, usable_cores())
    return {
        "what": timed.name,
        "processes": timed.processes,
        "median_ms": 1e3 * median(timed.seconds),
        "fastest_ms": 1e3 * min(timed.seconds),
        "slowest_ms": 1e3 * max(timed.seconds),
        "ideal_ms": 1e3 * ideal,
        "ratio": median(timed.seconds) / ideal,
    }


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
