"""The lock of a run directory: at most one process writes to it.

`lock.json` names the holder. Whether the holder still lives is read from the process table where
it runs in our process namespace, which is right even while a long native call keeps the heartbeat
thread waiting. Elsewhere (another host, another container) only the heartbeat tells.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import psutil
from filelock import FileLock

from mlsys_ray.cluster import plain_json
from mlsys_ray.cluster.atomic import atomic_write

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
LOCK_NAME = "lock.json"
GUARD_NAME = ".lock.guard"


class RunInUseError(ValueError):
    """Another process writes to the run directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Who holds a lock, as in `lock.json`.

    Attributes:
        host: name of its host.
        pid: its process, numbered in `pid_namespace`.
        process_started: when that process started, in seconds since 1970; tells a pid used again.
        pid_namespace: the boot and process namespace in which `pid` means something.
        since: when it took the lock, UTC.
        heartbeat: when it last refreshed the lock, UTC.
        token: unlike that of any other holder.
    """

    host: str
    pid: int
    process_started: float
    pid_namespace: str
    since: str
    heartbeat: str
    token: str


def utc_now() -> str:
    """The time as `2021-04-05T12:00:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def this_process() -> Holder:
    """This process as one that takes a lock now."""
    now = utc_now()
    return Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        process_started=psutil.Process().create_time(),
        pid_namespace=_pid_namespace(),
        since=now,
        heartbeat=now,
        token=uuid.uuid4().hex,
    )


class RunLock:
    """Holds `path/lock.json` inside its `with` block.

    Raises:
        RunInUseError: on entering, when a living process holds the lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Serialises read-decide-write, so that of two takeovers of a stale lock one fails.
        self._guard = FileLock(path / GUARD_NAME)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="run-lock", daemon=True)
        self._usurper: Holder | None = None
        self._me = this_process()

    def __enter__(self) -> RunLock:
        with self._guard:
            holder = living_holder(self._path)
            if holder is not None:
                raise RunInUseError(in_use(self._path, holder, _heartbeat_age(self._path)))
            self._write()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        # On a disk that has gone the lock ages.
        with contextlib.suppress(OSError), self._guard:
            holder = _read(self._path)
            if holder is not None and holder.token == self._me.token:
                (self._path / LOCK_NAME).unlink()

    @property
    def lost(self) -> bool:
        """Whether another process took the lock over."""
        return self._usurper is not None

    def require(self) -> None:
        """Check that nobody took the lock over, as happens to a process that was suspended.

        Raises:
            RunInUseError: somebody did.
        """
        if self._usurper is not None:
            raise RunInUseError(
                f"run directory {self._path} was taken over by process {self._usurper.pid} on host"
                f" {self._usurper.host} at {self._usurper.since}, because this process gave no"
                f" heartbeat for {STALE_SECONDS:.0f} s; nothing more is written to it"
            )

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                with self._guard:
                    holder = _read(self._path)
                    if holder is not None and holder.token != self._me.token:
                        self._usurper = holder
                        return
                    self._write()
            except OSError:
                # A full or absent disk: the lock ages, the run's own writes say why, and the next
                # beat tries again.
                continue

    def _write(self) -> None:
        self._me = replace(self._me, heartbeat=utc_now())
        atomic_write(self._path / LOCK_NAME, plain_json.dumps(self._me, indent=1))


def living_holder(path: Path) -> Holder | None:
    """The process that uses the run directory `path`, if one does; needs no right to write."""
    holder = _read(path)
    if holder is None:
        return None
    return holder if is_alive(holder, _heartbeat_age(path)) else None


def is_alive(holder: Holder, age: float) -> bool:
    """Whether a holder still runs, as the process table says, or else the age of its lock [s]."""
    alive = _process_lives(holder)
    return age <= STALE_SECONDS if alive is None else alive


def parse_holder(content: bytes, where: str | Path) -> Holder:
    """Read the content of a lock that lies at `where`.

    Raises:
        ValueError: it is none.
    """
    try:
        return Holder(**plain_json.loads(content))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{where} is not the lock of a run ({error}); delete it if no run uses the directory"
        ) from error


def _read(path: Path) -> Holder | None:
    try:
        content = (path / LOCK_NAME).read_bytes()
    except FileNotFoundError:
        return None
    return parse_holder(content, path / LOCK_NAME)


def _process_lives(holder: Holder) -> bool | None:
    """What the process table says; None if it leaves doubt, or is another one than the holder's."""
    if holder.pid_namespace != _pid_namespace():
        return None
    try:
        process = psutil.Process(holder.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        same = abs(process.create_time() - holder.process_started) < 1
    except psutil.NoSuchProcess:
        return False
    # A pid used again, or a clock that was set: start times are derived from it.
    return True if same else None


def _heartbeat_age(path: Path) -> float:
    """Seconds since the lock was written."""
    try:
        return max(0.0, time.time() - (path / LOCK_NAME).stat().st_mtime)
    except FileNotFoundError:
        return float("inf")


def _pid_namespace() -> str:
    """Containers share host names, and pids start again at 1 in each; this tells them apart."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return f"{socket.gethostname()}:{psutil.boot_time():.0f}"


def in_use(path: Path | str, holder: Holder, age: float) -> str:
    """What to tell who wants a run directory that is in use."""
    return (
        f"run directory {path} is in use by process {holder.pid} on host {holder.host} since"
        f" {holder.since} (last heartbeat {age:.0f} s ago); give another"
        " --run-dir, or wait until that run has ended"
    )
