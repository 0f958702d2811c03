"""Runs the commands of a reproduction, each in a process and a run directory of its own.

A command whose run directory holds a finished run is not run again, so a reproduction is resumed by
starting it again over the same folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from mlsys_ray.cluster import plain_json
from mlsys_ray.cluster.atomic import atomic_write
from mlsys_ray.cluster.run_lock import living_holder
from mlsys_ray.cluster.run_reader import Run
from mlsys_ray.cluster.trials import recorded
from mlsys_ray.reproduction.base import Block, Row, Status, Step, worst

POLL_SECONDS = 1.0
GRACE_SECONDS = 30.0
"""That an interrupted command has to write its summary [s]."""
_REASON_CHARACTERS = 400


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a step took.

    Attributes:
        seconds: on the clock.
        cpu_seconds: of all its processes, on all cores.
        peak_bytes: most memory of their own that they held at a time.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a step.

    Attributes:
        run: its finished run, None if it failed.
        problem: why it failed.
        cost: what it took, None where that is not known.
    """

    run: Run | None
    problem: str = ""
    cost: Cost | None = None


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A block with what was found.

    Attributes:
        block: which.
        status: of its worst row.
        rows: empty where it failed.
        problem: why it failed.
        commands: that it rests on, as typed.
    """

    block: Block
    status: Status
    rows: tuple[Row, ...] = ()
    problem: str = ""
    commands: tuple[str, ...] = ()


class Listener(Protocol):
    """Told how a step goes on."""

    def line(self, text: str) -> None:
        """The command's newest line of output."""


class Meter:
    """Reads what processes take, over and over; what ends between two readings is missed."""

    def __init__(self) -> None:
        self._cpu_seconds: dict[tuple[int, float], float] = {}
        self._peak_bytes = 0

    def read(self, pid: int) -> None:
        """Look at a process and all below it."""
        held = 0
        with suppress(psutil.Error):
            root = psutil.Process(pid)
            for process in [root, *root.children(recursive=True)]:
                with suppress(psutil.Error), process.oneshot():
                    used, times = process.memory_info(), process.cpu_times()
                    held += used.rss - getattr(used, "shared", 0)
                    key = (process.pid, process.create_time())
                    self._cpu_seconds[key] = times.user + times.system
        self._peak_bytes = max(self._peak_bytes, held)

    def cost(self, seconds: float) -> Cost:
        """What was read, with the time on the clock."""
        return Cost(
            seconds=seconds,
            cpu_seconds=sum(self._cpu_seconds.values()),
            peak_bytes=self._peak_bytes,
        )


def run_step(step: Step, folder: Path, address: str | None, listener: Listener) -> Outcome:
    """Run a step, unless its run directory holds a finished run.

    Args:
        step: which.
        folder: of the reproduction; the command's output goes to `logs/` there.
        address: Ray cluster for commands that take one.
        listener: told how it goes on.
    """
    path, log = folder / step.name, _log(step, folder)
    if (known := found_before(step, folder)).run is not None:
        return known
    if path.exists():
        if holder := living_holder(path):
            return Outcome(run=None, problem=f"{path} is in use by process {holder.pid}")
        if not step.resumes:
            shutil.rmtree(path)
    log.parent.mkdir(exist_ok=True)
    begin, status = time.monotonic(), 0
    meter = Meter()
    try:
        with open(log, "wb") as output:
            for command in _commands(step, folder, address):
                status = _run(command, output.fileno(), log, listener, meter)
                if status:
                    break
    finally:
        cost = meter.cost(time.monotonic() - begin)
        atomic_write(log.with_suffix(".json"), plain_json.dumps(cost))
    found = found_before(step, folder)
    if found.run is not None:
        return found
    return Outcome(run=None, problem=f"exit status {status}: {_reason(log)}", cost=cost)


def found_before(step: Step, folder: Path) -> Outcome:
    """What a step has left in the folder of a reproduction, without running anything."""
    cost = _log(step, folder).with_suffix(".json")
    try:
        run = recorded(folder / step.name)
    except ValueError as error:
        return Outcome(run=None, problem=str(error))
    return Outcome(
        run=run,
        problem="" if run else "not run yet",
        cost=Cost(**plain_json.loads(cost.read_bytes())) if cost.exists() else None,
    )


def _log(step: Step, folder: Path) -> Path:
    return folder / "logs" / f"{step.name}.log"


def typed(step: Step, folder: Path) -> tuple[str, ...]:
    """The commands of a step as a user types them, without their run directory."""
    parts = [part for part in (step.before, step.arguments) if part]
    return tuple("mlsys-ray " + _shell(_filled(part, folder)) for part in parts)


def fill(block: Block, outcomes: dict[str, Outcome], commands: Sequence[str]) -> Filled:
    """Compare a block's runs with the paper; what cannot be compared has failed."""
    missing = [name for name in block.steps if outcomes[name].run is None]
    if missing:
        problem = "; ".join(f"{name}: {outcomes[name].problem}" for name in missing)
        return Filled(block=block, status="failed", problem=problem, commands=tuple(commands))
    runs = {name: run for name in block.steps if (run := outcomes[name].run) is not None}
    try:
        rows = tuple(block.compare(runs))
    except (KeyError, IndexError, ValueError, TypeError) as error:
        problem = f"the runs hold something else than was expected: {error!r}"
        return Filled(block=block, status="failed", problem=problem, commands=tuple(commands))
    status = worst(rows) if block.steps else "not attempted"
    return Filled(block=block, status=status, rows=rows, commands=tuple(commands))


def _commands(step: Step, folder: Path, address: str | None) -> list[list[str]]:
    python = [sys.executable, "-m", "mlsys_ray"]
    place = ["--run-dir", str(folder / step.name)]
    if address and step.on_cluster:
        place += ["--address", address]
    before = [[*python, *_filled(step.before, folder)]] if step.before else []
    return [*before, [*python, *_filled(step.arguments, folder), *place]]


def _filled(arguments: Sequence[str], folder: Path) -> list[str]:
    return [argument.replace("{folder}", str(folder)) for argument in arguments]


def _shell(arguments: Sequence[str]) -> str:
    return " ".join(f'"{a}"' if " " in a else a for a in arguments)


def _run(command: Sequence[str], output: int, log: Path, listener: Listener, meter: Meter) -> int:
    """Exit status; an interrupted one is ended, with its children."""
    # A session of its own: what is typed at the terminal reaches it through us alone.
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    ) as process:
        told = ""
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(POLL_SECONDS)
                meter.read(process.pid)
                if (line := _last_line(log)) != told:
                    told = line
                    listener.line(line)
        finally:
            if process.poll() is None:
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _last_line(log: Path) -> str:
    with open(log, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 2000))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _reason(log: Path) -> str:
    """The end of what a command wrote."""
    lines = log.read_text(errors="replace").splitlines()
    said = [line.strip() for line in lines if any(map(str.isalpha, line))]
    return said[-1][-_REASON_CHARACTERS:] if said else "it said nothing"
