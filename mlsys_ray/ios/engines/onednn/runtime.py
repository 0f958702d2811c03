"""The native runtime: compiled once with the user's compiler, and programs for it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_int32, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from mlsys_ray.data import cache_dir
from mlsys_ray.ios.engines.onednn.binding import Call, execute, one_thread, openmp

_NATIVE = Path(__file__).parent / "native"
# Not -ffast-math: a library linked with it makes the process that loads it flush subnormal numbers.
_ARITHMETIC = ("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
_FLAGS = ("-O3", "-march=native", *_ARITHMETIC, "-std=c++20", "-shared", "-fPIC", "-pthread")
EVENT = np.dtype([("begin", np.int64), ("end", np.int64), ("worker", np.int32), ("", np.int32)])
SCRATCH_BYTES = 8 << 20


class _Task(ctypes.Structure):
    _fields_ = (("run", c_void_p), ("data", c_void_p))


class _Step(ctypes.Structure):
    _fields_ = tuple(
        (name, c_int32)
        for name in (
            "first_task",
            "num_tasks",
            "first_worker",
            "num_workers",
            "first_dependency",
            "num_dependencies",
        )
    )


def convolution_fields(*numbers: str) -> tuple[tuple[str, type], ...]:
    """Fields of what a convolution of ours is given: four addresses, and numbers."""
    addresses = ("source", "weights", "bias", "target")
    return (*((name, c_void_p) for name in addresses), *((name, c_int32) for name in numbers))


@dataclass(frozen=True, eq=False)
class Task:
    """A piece of work that one thread does: a native function and what it is given.

    Attributes:
        function: its name in the runtime, or its address.
        data: what it is given.
    """

    function: str | int
    data: ctypes.Structure


@dataclass(frozen=True, kw_only=True)
class Step:
    """Tasks that do not depend on one another.

    Attributes:
        tasks: what is to be done.
        workers: threads that take part.
        after: steps that must be over before it, by their places in the program.
    """

    tasks: tuple[Task, ...]
    workers: range
    after: tuple[int, ...]


@cache
def native() -> ctypes.CDLL | None:
    """The runtime, or None where no C++ compiler is at hand that can make it (`CXX`, or c++)."""
    compiler = shutil.which(os.environ.get("CXX") or "c++")
    if compiler is None:
        return None
    sources = sorted(_NATIVE.glob("*.cpp"))
    text = b"".join(file.read_bytes() for file in sorted(_NATIVE.iterdir()))
    key = hashlib.sha256(text + repr((compiler, _FLAGS, _processor())).encode()).hexdigest()[:16]
    built = cache_dir() / "ios" / f"runtime-{key}.so"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            result = Path(folder) / built.name
            command = [compiler, *_FLAGS, "-o", str(result), *map(str, sources)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                warnings.warn(
                    f"the CPU engine's runtime cannot be compiled, so Python calls its kernels,"
                    f" slower: {' '.join(command)} failed:\n{done.stderr}",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return None
            result.replace(built)
    library = ctypes.CDLL(str(built))
    library.pool_create.restype = c_void_p
    library.program_create.restype = c_void_p
    return library


def _processor() -> str:
    """What `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("flags")), "")


class Pool:
    """Threads that run programs; the calling thread is the first of them.

    Args:
        num_workers: how many threads.
        library: what `native` gives; without it threads of Python call oneDNN, which is slower.
    """

    def __init__(self, num_workers: int, library: ctypes.CDLL | None) -> None:
        self.runtime = library
        self.num_workers = num_workers
        if library is None:
            self._threads = ThreadPoolExecutor(num_workers, initializer=one_thread().__enter__)
            return
        setter = ctypes.cast(openmp().omp_set_num_threads, c_void_p)
        created = library.pool_create(num_workers, c_int64(SCRATCH_BYTES), setter)
        self._handle = c_void_p(created)

    def program(self, steps: Sequence[Step]) -> Program | PythonProgram:
        """Steps, ready to run any number of times."""
        if self.runtime is None:
            return PythonProgram(self._threads, steps)
        return Program(self, self.runtime, self._handle, steps)

    def close(self) -> None:
        """End the threads."""
        if self.runtime is None:
            self._threads.shutdown()
        elif self._handle:
            self.runtime.pool_destroy(self._handle)
            self._handle = c_void_p()


class PythonProgram:
    """Steps that Python runs one after another, the tasks of each spread over threads."""

    def __init__(self, threads: ThreadPoolExecutor, steps: Sequence[Step]) -> None:
        self._threads = threads
        self._steps = [step.tasks for step in steps]
        self._times = np.zeros((len(steps), 2))

    def run(self) -> None:
        """Once; returns when every step is over."""
        for times, tasks in zip(self._times, self._steps, strict=True):
            times[0] = time.perf_counter()
            list(self._threads.map(_execute, tasks))
            times[1] = time.perf_counter()

    def step_times(self) -> np.ndarray:
        """When each step of the last run began and ended, float64 `[steps, 2]` [s]."""
        return self._times

    def spans(self) -> list[tuple[int, int, float, float]]:
        """Step, worker (not known, 0), begin and end of each step of the last run [s]."""
        return [(i, 0, float(begin), float(end)) for i, (begin, end) in enumerate(self._times)]

    def close(self) -> None:
        """Nothing is held."""


def _execute(task: Task) -> None:
    assert isinstance(task.data, Call)
    execute(task.data)


class Program:
    """Steps for the native runtime, ready to run any number of times.

    Attributes:
        events: when each task of the last run began and ended [ns] and which worker ran it.
    """

    def __init__(
        self, pool: Pool, library: ctypes.CDLL, handle: c_void_p, steps: Sequence[Step]
    ) -> None:
        # The pool has to outlive the program.
        self._pool, self._library, self._pool_handle = pool, library, handle
        self._num_steps = len(steps)
        self._tasks = [task for step in steps for task in step.tasks]
        self.step_of = np.repeat(np.arange(len(steps)), [len(step.tasks) for step in steps])
        after = [number for step in steps for number in step.after]
        self.events = np.zeros(len(self._tasks), dtype=EVENT)
        records = (_Step * len(steps))()
        first_task = first_dependency = 0
        for record, step in zip(records, steps, strict=True):
            record.first_task, record.num_tasks = first_task, len(step.tasks)
            record.first_worker, record.num_workers = step.workers.start, len(step.workers)
            record.first_dependency, record.num_dependencies = first_dependency, len(step.after)
            first_task += len(step.tasks)
            first_dependency += len(step.after)
        functions = {
            function: function
            if isinstance(function, int)
            else ctypes.cast(getattr(library, function), c_void_p).value
            for function in {task.function for task in self._tasks}
        }
        tasks = (_Task * len(self._tasks))(
            *(_Task(functions[t.function], ctypes.addressof(t.data)) for t in self._tasks)
        )
        self._handle = c_void_p(
            library.program_create(
                len(steps),
                records,
                len(self._tasks),
                tasks,
                len(after),
                (c_int32 * len(after))(*after),
                self.events.ctypes.data_as(c_void_p),
            )
        )

    def run(self) -> None:
        """Once; returns when every step is over."""
        threads = openmp().omp_get_max_threads()
        self._library.program_run(self._pool_handle, self._handle, threads)

    def step_times(self) -> np.ndarray:
        """When each step's first task began and its last one ended, float64 `[steps, 2]` [s]."""
        begin = np.full(self._num_steps, np.iinfo(np.int64).max)
        end = np.zeros(self._num_steps, dtype=np.int64)
        np.minimum.at(begin, self.step_of, self.events["begin"])
        np.maximum.at(end, self.step_of, self.events["end"])
        return np.stack([begin, end], axis=1) * 1e-9

    def spans(self) -> list[tuple[int, int, float, float]]:
        """Step, worker, begin and end of each task of the last run [s]."""
        return [
            (int(step), int(event["worker"]), event["begin"] * 1e-9, event["end"] * 1e-9)
            for step, event in zip(self.step_of, self.events, strict=True)
        ]

    def close(self) -> None:
        """Free it."""
        if self._handle:
            self._library.program_destroy(self._pool_handle, self._handle)
            self._handle = c_void_p()
