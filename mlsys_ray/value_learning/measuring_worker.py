"""The process that `measuring.Measurer` starts: compiles, checks and times what it is sent."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import halide as hl
import numpy as np
import torch

from mlsys_ray.value_learning.buffers import placed
from mlsys_ray.value_learning.lowering import Kernel, lower, run
from mlsys_ray.value_learning.measuring import HEADER, Limits, Measurement
from mlsys_ray.value_learning.operators import Activate, Pipeline, chain
from mlsys_ray.value_learning.space import Schedule, initial, legal_actions, schedule_of
from mlsys_ray.value_learning.target import host_target

GRACE_SECONDS = 10.0
"""Beyond the limit, after which the process ends itself, should its parent be gone."""
NO_ASSERTS = "-no_asserts"
VARIANTS = 3
"""Places in memory that a schedule is timed in: the best of them counts."""


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end."""
    torch.set_num_threads(1)
    _warm_up()
    _send(answers, "ready")
    examples: dict[str, tuple[list[np.ndarray], np.ndarray]] = {}
    while header := requests.read(HEADER.size):
        pipeline, schedule, limits = pickle.loads(requests.read(*HEADER.unpack(header)))
        pipeline = schedule.packed(pipeline)
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_REAL, limits.seconds + GRACE_SECONDS)
        if pipeline.key not in examples:
            arrays = pipeline.example()
            examples = {pipeline.key: (arrays, pipeline.reference(arrays))}
        answer = _measure(pipeline, schedule, limits, *examples[pipeline.key])
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(answers, answer)


def _warm_up() -> None:
    """The first function that Halide compiles brings its runtime along, which takes a second."""
    pipeline = chain((8, 8), Activate(activation="relu"))
    state = initial(pipeline, host_target())
    schedule = schedule_of(state.take(legal_actions(state)[0]))
    run(lower(pipeline, schedule), pipeline, pipeline.example())


def _send(answers: BinaryIO, message: Any) -> None:
    body = pickle.dumps(message)
    answers.write(HEADER.pack(len(body)) + body)
    answers.flush()


def _measure(
    pipeline: Pipeline,
    schedule: Schedule,
    limits: Limits,
    arrays: Sequence[np.ndarray],
    expected: np.ndarray,
) -> Measurement:
    start = time.perf_counter()
    arguments = placed([*arrays, np.full(pipeline.output.shape, np.nan, np.float32)])
    try:
        compiled_for = schedule.target.halide + ("" if limits.asserts else NO_ASSERTS)
        kernel = lower(pipeline, schedule, replace(schedule.target, halide=compiled_for))
        compile_seconds = time.perf_counter() - start
        kernel(*map(hl.Buffer, arguments))
    # Whatever a schedule from elsewhere leads to, it is a failure of this schedule alone.
    except Exception as error:
        return Measurement(status="refused", error_message=f"{type(error).__name__}: {error}")
    difference = relative_error(arguments[-1], expected)
    if not difference <= limits.tolerance:
        return Measurement(
            status="wrong",
            compile_seconds=compile_seconds,
            error=difference,
            error_message=f"differs from PyTorch by {difference:.3g}",
        )
    runs = timed(kernel, arguments, limits)
    return Measurement(
        status="ok",
        min_ms=min(runs),
        median_ms=statistics.median(runs),
        repetitions=len(runs),
        compile_seconds=compile_seconds,
        error=difference,
    )


def relative_error(result: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest expected value; NaN counts as different."""
    scale = max(float(np.abs(expected).max()), 1e-30)
    return float(np.abs(result - expected).max()) / scale


def timed(kernel: Kernel, arrays: Sequence[np.ndarray], limits: Limits) -> list[float]:
    """Durations of runs [ms], a third of them in each of three places in memory."""
    found: list[float] = []
    for variant in range(VARIANTS):
        buffers = [hl.Buffer(array) for array in placed(arrays, variant)]
        kernel(*buffers)
        runs: list[float] = []
        while not runs or (
            len(runs) < limits.repetitions / VARIANTS
            and sum(runs) < 1e3 * limits.run_seconds / VARIANTS
        ):
            start = time.perf_counter()
            kernel(*buffers)
            runs.append(1e3 * (time.perf_counter() - start))
        found += runs
    return found


if __name__ == "__main__":
    # Halide and its generated code may print: only answers go to the parent's pipe.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, pipe)
