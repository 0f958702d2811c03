"""The vote alone, without workers or network: digests, the count, verification, closeness.

python benchmarks/vote.py --json

25 files of 3 copies (mols, l = 5), gradients as long as ResNet-18's. Copies of one file are a few
arrays in memory, so that nothing is measured but what the server does with them; `digest of one
gradient` is what a worker does for each file it holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import tyro

from mlsys_ray.byzshield.assignment import Assignment, mols
from mlsys_ray.byzshield.closeness import gather
from mlsys_ray.byzshield.detection import agreement
from mlsys_ray.byzshield.election import Outcome, elect
from mlsys_ray.byzshield.transport import Reply, Task
from mlsys_ray.byzshield.voting import Ballot, digest
from mlsys_ray.cli.console import print_json, print_table, say
from mlsys_ray.cluster.environment import cpu_model, usable_cores

NOISE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Time the parts of a vote."""

    dimension: int = 11_173_962
    """Parameters, d [float32]."""
    repeats: int = 9
    """Measurements of each part, in turn."""
    json: bool = False
    """Print the table as JSON on stdout, too."""


class Memory:
    """A source whose copies lie in memory; those of worker k are `arrays[k // l]`."""

    def __init__(self, assignment: Assignment, arrays: Sequence[np.ndarray]) -> None:
        self._load = assignment.load
        self._arrays = arrays

    def copy(self, worker: int) -> np.ndarray:
        """What this worker sends, for all its files."""
        return self._arrays[worker // self._load % len(self._arrays)]

    def fetch(
        self, iteration: int, wanted: Sequence[tuple[int, int]], deadline: float
    ) -> dict[tuple[int, int], object]:
        """See `Source.fetch`."""
        return {pair: self.copy(pair[0]) for pair in wanted}


def main(benchmark: Benchmark) -> None:
    """Run it."""
    say(f"{cpu_model()}, {usable_cores()} cores, {benchmark.dimension:,} float32")
    parts = _parts(benchmark.dimension)
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(benchmark.repeats):
        for name, part in parts.items():
            seconds[name].append(_seconds(part))
    rows = [_row(name, measured) for name, measured in seconds.items()]
    print_table(rows)
    if benchmark.json:
        print_json(rows)


def _parts(dimension: int) -> dict[str, Callable[[], object]]:
    assignment = mols(5, 3)
    generator = np.random.default_rng(0)
    truth = generator.standard_normal(dimension, dtype=np.float32)
    uneven = [truth, *(truth * np.float32(1 + NOISE * k) for k in (1, 2))]
    task = Task(0, truth, np.zeros((assignment.num_files, 1), np.int64))
    equal, unequal = Memory(assignment, [truth]), Memory(assignment, uneven)
    replies, differing = _replies(assignment, equal), _replies(assignment, unequal)

    def vote(replies: Mapping[int, Reply], source: Memory, tolerance: float) -> Outcome:
        poll = gather(assignment, replies, task, source, 1.0, tolerance).settle(frozenset())
        return elect(assignment, poll.replies, task, poll, 1.0)

    return {
        "digest of one gradient (worker)": lambda: digest(0, 0, truth),
        "vote on digests": lambda: _count(assignment, replies),
        "vote and verification of winners": lambda: vote(replies, equal, 0.0),
        "the same, tolerance, copies equal": lambda: vote(replies, equal, 10 * NOISE),
        "the same, tolerance, copies differ": lambda: vote(differing, unequal, 10 * NOISE),
    }


def _replies(assignment: Assignment, source: Memory) -> dict[int, Reply]:
    return {
        worker: Reply(
            {file: digest(0, file, source.copy(worker)) for file in assignment.files_of(worker)}
        )
        for worker in range(assignment.num_workers)
    }


def _count(assignment: Assignment, replies: Mapping[int, Reply]) -> list[bytes | None]:
    """Who agrees with whom, and the winner of every file."""
    agreement(assignment, replies)
    ballots = [
        Ballot({w: replies[w].digests[file] for w in holders}, len(holders))
        for file in range(assignment.num_files)
        if (holders := assignment.holders_of(file))
    ]
    return [ballot.winner() for ballot in ballots]


def _seconds(part: Callable[[], object]) -> float:
    start = time.perf_counter()
    part()
    return time.perf_counter() - start


def _row(name: str, seconds: Sequence[float]) -> dict[str, Any]:
    return {
        "part": name,
        "median_ms": 1e3 * median(seconds),
        "fastest_ms": 1e3 * min(seconds),
        "slowest_ms": 1e3 * max(seconds),
    }


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
