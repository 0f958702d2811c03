"""Contenders side by side: each in a process that can be killed, their runs taking turns."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from mlsys_ray.value_learning.baselines.base import Baseline
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.target import Target

TOLERANCE = 1e-3
"""Greatest accepted difference from PyTorch's result, relative to its largest value."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A contender's outcome.

    Attributes:
        name: of the contender.
        failed: why it failed, or empty.
        min_ms: shortest of its runs [ms], NaN if it failed.
        median_ms: median of its runs [ms], NaN if it failed.
        runs: timed runs.
        search_seconds: it took to decide how to run.
        error: largest difference from PyTorch, relative to the largest value of its result.
    """

    name: str
    failed: str = ""
    min_ms: float = float("nan")
    median_ms: float = float("nan")
    runs: int = 0
    search_seconds: float = float("nan")
    error: float = float("nan")


@dataclass(eq=False)
class _Contender:
    baseline: Baseline
    process: Any
    pipe: Connection
    deadline: float
    failed: str = ""
    search_seconds: float = float("nan")
    error: float = float("nan")
    runs: list[float] = field(default_factory=list)

    def receive(self, seconds: float) -> Any:
        """Its next message; None, and it has failed, if there is none in time."""
        try:
            if self.pipe.poll(max(0.0, seconds)):
                answer = self.pipe.recv()
                if isinstance(answer, str):
                    self.failed = answer
                    return None
                return answer
            self.failed = "not done in time"
        except (EOFError, OSError):
            self.process.join(5)
            self.failed = f"its process ended with {self.process.exitcode}"
        return None

    def row(self) -> Row:
        if self.failed:
            return Row(name=self.baseline.name, failed=self.failed, error=self.error)
        return Row(
            name=self.baseline.name,
            min_ms=min(self.runs),
            median_ms=statistics.median(self.runs),
            runs=len(self.runs),
            search_seconds=self.search_seconds,
            error=self.error,
        )


def compare(
    pipeline: Pipeline,
    target: Target,
    baselines: Sequence[Baseline],
    *,
    rounds: int = 10,
    burst_seconds: float = 0.01,
    limit: float = 60.0,
) -> list[Row]:
    """Time contenders on a pipeline, in one row each.

    Args:
        pipeline: what is run.
        target: this machine.
        baselines: the contenders.
        rounds: turns of each.
        burst_seconds: of runs in a turn; at least one is made, and one before that does not count.
        limit: seconds for a turn, and to prepare, if the baseline says nothing else.
    """
    expected = pipeline.reference(pipeline.example())
    context = multiprocessing.get_context("spawn")
    contenders: list[_Contender] = []
    try:
        for baseline in baselines:
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(there, baseline, pipeline, target), daemon=True
            )
            process.start()
            there.close()
            seconds = baseline.prepare_seconds or limit
            contender = _Contender(baseline, process, here, time.monotonic() + seconds)
            contenders.append(contender)
            # One after another, so that searches are timed undisturbed.
            if (answer := contender.receive(seconds)) is not None:
                contender.search_seconds, result = answer
                _check(contender, result, expected)
        for _ in range(rounds):
            for contender in contenders:
                if not contender.failed:
                    contender.pipe.send(burst_seconds)
                    contender.runs += contender.receive(limit) or []
        return [contender.row() for contender in contenders]
    finally:
        for contender in contenders:
            contender.process.kill()
            contender.process.join()
            contender.pipe.close()


def _check(contender: _Contender, result: np.ndarray, expected: np.ndarray) -> None:
    scale = max(float(np.abs(expected).max()), 1e-30)
    contender.error = float(np.abs(result - expected).max()) / scale
    if not contender.error <= TOLERANCE:
        contender.failed = f"differs from PyTorch by {contender.error:.3g}"


def _serve(pipe: Connection, baseline: Baseline, pipeline: Pipeline, target: Target) -> None:
    """A contender's process: prepares, then runs as often as it is asked to."""
    os.environ["HL_NUM_THREADS"] = str(target.cores)
    # Autoschedulers print; standard output is for results of the command.
    os.dup2(2, 1)
    try:
        prepared = baseline.prepare(pipeline, target)
        prepared.run()
        come_to_rest()
        pipe.send((prepared.search_seconds, np.ascontiguousarray(prepared.result())))
        while True:
            seconds = pipe.recv()
            prepared.run()
            runs: list[float] = []
            while not runs or sum(runs) < 1e3 * seconds:
                begin = time.perf_counter()
                prepared.run()
                runs.append(1e3 * (time.perf_counter() - begin))
            come_to_rest()
            pipe.send(runs)
    except EOFError:
        return
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}".strip().splitlines()[0][:200])


def come_to_rest(seconds: float = 1.0) -> None:
    """Wait until no thread of this process computes any more, but not longer than so.

    Threads that wait for work go on spinning after a run, TVM's for more than 0.1 s: the next
    contender would have a core less.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        begin = time.process_time()
        time.sleep(0.01)
        if time.process_time() - begin < 0.001:
            return
