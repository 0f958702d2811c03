"""One training iteration over actors beside the ideal time of the same arithmetic.

python benchmarks/transport.py --json

K = 25 workers (ramanujan2, r = l = 5), the small network on digits, batches of 750: 125 gradients
of files of 30 samples an iteration. The ideal is the time of these gradients in one process and
one thread, divided by the cores that the worker processes can use. Rounds are interleaved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

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
    rounds: int = 5
    """Interleaved rounds of each."""
    iterations: int = 5
    """Iterations of a round."""
    json: bool = False
    """Print the table as JSON on stdout, too."""


@dataclass
class Times:
    """Seconds an iteration, one for each round."""

    name: str
    processes: int
    seconds: list[float] = field(default_factory=list)


def main(benchmark: Benchmark) -> None:
    """Run it."""
    config = TrainConfig(scheme="ramanujan2", batch_size=750, iterations=10**6, eval_interval=10**6)
    say(f"{cpu_model()}, {usable_cores()} cores")
    with ray_session() as description:
        say(description)
        from mlsys_ray.cluster.byzshield import train_on_ray

        dataset = load_dataset(config.data)
        runs = {
            count: train_on_ray(config, dataset, num_processes=count)
            for count in benchmark.processes
        }
        times = [Times("arithmetic alone", 1)]
        steps: list[Callable[[], Any]] = [_arithmetic(config)]
        for count, run in runs.items():
            times.append(Times("over actors", count))
            steps.append(_next(run))
            next(run)
        for _ in range(benchmark.rounds):
            for timed, step in zip(times, steps, strict=True):
                start = time.perf_counter()
                for _ in range(benchmark.iterations):
                    step()
                timed.seconds.append((time.perf_counter() - start) / benchmark.iterations)
        for run in runs.values():
            run.close()
    rows = [_row(timed, times[0]) for timed in times]
    print_table(rows)
    if benchmark.json:
        print_json(rows)


def _next(run: Iterator[Any]) -> Callable[[], Any]:
    return lambda: next(run)


def _arithmetic(config: TrainConfig) -> Callable[[], Any]:
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
    cores = min(timed.processes, usable_cores())
    ideals = [seconds / cores for seconds in arithmetic.seconds]
    ratios = [seconds / ideal for seconds, ideal in zip(timed.seconds, ideals, strict=True)]
    return {
        "what": timed.name,
        "processes": timed.processes,
        "milliseconds": 1e3 * median(timed.seconds),
        "fastest": 1e3 * min(timed.seconds),
        "slowest": 1e3 * max(timed.seconds),
        "ideal": 1e3 * median(ideals),
        "ratio": median(ratios),
    }


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
