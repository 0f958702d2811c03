"""Runtimes of schedules, each compiled and run in a process that may hang or die."""

from __future__ import annotations

import os
import pickle
import select
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.space import Schedule
from mlsys_ray.value_learning.target import Target

HEADER = struct.Struct("<Q")
START_SECONDS = 120.0
"""For a worker to import what it needs."""

Status = Literal["ok", "refused", "wrong", "timeout", "crash"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What came of one schedule.

    Attributes:
        status: "ok"; "refused" by Halide, when compiled or run; "wrong" where the result differs
            from PyTorch's; "timeout" of compilation and runs together; "crash" of the process.
        min_ms: shortest of the runs [ms], NaN unless "ok".
        median_ms: median of the runs [ms], NaN unless "ok".
        repetitions: number of timed runs.
        compile_seconds: for machine code.
        error: largest difference from PyTorch's result, relative to its largest value.
        error_message: what went wrong, or empty.
    """

    status: Status
    min_ms: float = float("nan")
    median_ms: float = float("nan")
    repetitions: int = 0
    compile_seconds: float = float("nan")
    error: float = float("nan")
    error_message: str = ""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one measurement.

    Attributes:
        seconds: for compilation and all runs, after which the process is killed.
        memory_bytes: of address space of the process.
        run_seconds: of timed runs in all; at least three are made, see `measuring_worker.timed`.
        repetitions: of timed runs at most.
        tolerance: greatest accepted `Measurement.error`.
        asserts: compile Halide's checks of a kernel's arguments, which takes as long as all the
            rest. Without them a schedule that is not legal may write anywhere.
    """

    seconds: float = 20.0
    memory_bytes: int = 8 * 1024**3
    run_seconds: float = 0.03
    repetitions: int = 1000
    tolerance: float = 1e-3
    asserts: bool = True


LEGAL = Limits(asserts=False)
"""For schedules that are legal by how they were made, as the space's are."""


class Measurer:
    """Measures schedules in one worker process, which is replaced when it hangs, dies, or is old.

    A context manager; the process starts with the first measurement, or by `start`.

    Args:
        target: whose `cores` are the threads of the kernels.
        limits: of each measurement.
        recycle_after: measurements of one process: compiled code is never given back.
    """

    def __init__(
        self, target: Target, limits: Limits | None = None, recycle_after: int = 500
    ) -> None:
        self.target = target
        self.limits = limits or Limits()
        self.recycle_after = recycle_after
        self._worker: subprocess.Popen[bytes] | None = None
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def process_id(self) -> int | None:
        """Of the worker, if one runs."""
        return self._worker.pid if self._worker else None

    def close(self) -> None:
        """End the worker."""
        if self._worker is None:
            return
        self._worker.kill()
        self._worker.wait()
        for pipe in (self._worker.stdin, self._worker.stdout):
            assert pipe is not None
            pipe.close()
        self._worker = None

    def start(self) -> None:
        """Start a new worker, so that the first measurement need not wait for it.

        Raises:
            RuntimeError: it does not start.
        """
        self.close()
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "mlsys_ray.value_learning.measuring_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HL_NUM_THREADS": str(self.target.cores), "OMP_NUM_THREADS": "1"},
        )
        self._done = 0
        try:
            ready = self._receive(START_SECONDS)
        except (TimeoutError, EOFError) as error:
            self.close()
            raise RuntimeError("the measuring process does not start") from error
        assert ready == "ready"

    def measure(self, pipeline: Pipeline, schedule: Schedule) -> Measurement:
        """Compile, check against PyTorch, and time one schedule; nothing that it does is fatal.

        Raises:
            RuntimeError: no worker can be started at all.
        """
        if self._worker is None or self._done >= self.recycle_after:
            self.start()
        self._done += 1
        assert self._worker is not None
        try:
            self._send((pipeline, schedule, self.limits))
            answer = self._receive(self.limits.seconds)
        except TimeoutError:
            self.close()
            return Measurement(
                status="timeout", error_message=f"not done after {self.limits.seconds} s"
            )
        except (EOFError, BrokenPipeError):
            code = self._worker.wait()
            self.close()
            return Measurement(status="crash", error_message=f"the process ended with {code}")
        return answer

    def _send(self, message: Any) -> None:
        assert self._worker is not None
        assert self._worker.stdin is not None
        body = pickle.dumps(message)
        self._worker.stdin.write(HEADER.pack(len(body)) + body)
        self._worker.stdin.flush()

    def _receive(self, seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        (size,) = HEADER.unpack(self._read(HEADER.size, deadline))
        return pickle.loads(self._read(size, deadline))

    def _read(self, size: int, deadline: float) -> bytes:
        assert self._worker is not None
        assert self._worker.stdout is not None
        body = b""
        while len(body) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._worker.stdout], [], [], left)[0]:
                raise TimeoutError
            part = os.read(self._worker.stdout.fileno(), size - len(body))
            if not part:
                raise EOFError
            body += part
        return body
