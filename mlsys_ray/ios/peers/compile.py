"""torch.compile's Inductor: on a CPU with freezing, ahead of time, so that the result can be kept.

The compilation takes minutes for large networks; it runs in a process of its own, which is ended
when its time is over. On a GPU it is `torch.compile` with max-autotune, which has CUDA graphs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from mlsys_ray.ios.devices import DTYPES, arithmetic
from mlsys_ray.ios.peers.base import (
    Peer,
    PeerFailedError,
    PeerTask,
    first_line,
    flat,
    torch_threads,
)
from mlsys_ray.ios.peers.eager import laid_out, prepared_model


def prepare(task: PeerTask) -> Peer:
    """The compiled model, compiled now if it is not kept from before.

    Raises:
        PeerFailedError: the model cannot be exported or compiled, or not within the time limit.
    """
    if task.device == "cuda":
        return _MaxAutotuned(task)
    processor = torch.backends.cpu.get_cpu_capability()
    package = task.kept(
        f"torch-{torch.__version__}-{processor}-{task.num_threads}-threads.pt2",
        lambda path: _build(task, path),
    )
    return _Compiled(package, task.num_threads)


class _Compiled(Peer):
    version = torch.__version__

    def __init__(self, package: Path, num_threads: int) -> None:
        self._model = torch._inductor.aoti_load_package(str(package))
        self._threads = num_threads

    def run(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch_threads(self._threads), torch.inference_mode():
            return flat(self._model(*inputs))

    def close(self) -> None:
        del self._model


class _MaxAutotuned(Peer):
    version = torch.__version__

    def __init__(self, task: PeerTask) -> None:
        task.tell("compiling by Inductor with max-autotune: minutes")
        self._task = task
        self._model = torch.compile(prepared_model(task), mode="max-autotune")
        try:
            self.run(*task.example_inputs)
        # Whatever an unusual model makes the compiler raise, other tools can still run it.
        except Exception as error:
            raise PeerFailedError(f"the compilation failed: {first_line(error)}") from error

    def run(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        task = self._task
        own = [laid_out(x, task.device, DTYPES[task.precision]) for x in inputs]
        with torch.inference_mode(), arithmetic(task.precision):
            # The next call writes to the same memory.
            return tuple(x.clone() for x in flat(self._model(*own)))

    def close(self) -> None:
        del self._model


def _build(task: PeerTask, package: Path) -> None:
    task.tell(
        "compiling by Inductor: a minute for small networks, ten for large ones; at most"
        f" {task.time_limit:.0f} s"
    )
    program = package.with_name("program.pt2")
    torch.export.save(task.program, program)
    arguments = [str(program), str(package), str(task.num_threads)]
    with tempfile.TemporaryDirectory(dir=package.parent) as scratch:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlsys_ray.ios.peers.compile_program", *arguments],
            env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": scratch},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        begin = time.monotonic()
        try:
            _, errors = process.communicate(timeout=task.time_limit)
        except subprocess.TimeoutExpired as error:
            raise PeerFailedError(
                f"not compiled after {time.monotonic() - begin:.0f} s; a larger time limit may help"
            ) from error
        finally:
            _end_group(process)
    if process.returncode:
        last = next(reversed(errors.strip().splitlines()), f"exit status {process.returncode}")
        raise PeerFailedError(f"the compilation failed: {last}")
    task.tell(f"compiled in {time.monotonic() - begin:.0f} s")


def _end_group(process: subprocess.Popen[str]) -> None:
    """End the compilation and the compilers that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
