"""Where run directories are kept beyond the machine that made them: local, NFS, s3://, gs://.

A storage is a folder of run directories. A run is written on its own machine's disk and uploaded
when it is finished, `summary.json` last: what has none is not whole. A study's run directory holds
those of its trials, which the nodes upload themselves.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from mlsys_ray.cluster import plain_json
from mlsys_ray.cluster.atomic import is_temporary
from mlsys_ray.cluster.run_lock import (
    GUARD_NAME,
    LOCK_NAME,
    Holder,
    RunInUseError,
    in_use,
    is_alive,
    parse_holder,
    this_process,
    utc_now,
)
from mlsys_ray.exit_codes import EnvironmentMissingError

SUMMARY = "summary.json"
DRIVER_LOG = "driver.log"
TRIALS = "trials"
HEARTBEAT_SECONDS = 15.0
UPLOAD_SECONDS = 30.0
MARK = ".mlsys-ray-storage"
"""A file in each storage that is a folder: where it is missing, its disk is."""
SETTLE_SECONDS = 1.0
"""Of two that claim a run at once, the later one's claim stands after this time."""
_VARIABLES = ("AWS_", "GOOGLE_", "GCE_", "CLOUDSDK_")
_WHOLE_FILES = frozenset({"s3", "gcs", "abfs"})
"""Kinds of file systems on which a file appears when it is closed, and whole."""


class StorageError(EnvironmentMissingError):
    """A storage cannot be written or read; says which, from where and why."""


@dataclass(frozen=True)
class Storage:
    """A folder on a file system that every node reaches.

    It travels to other nodes with this process's variables for S3 and Google Cloud.

    Attributes:
        place: a path, or a URI of pyarrow's: s3://bucket/folder, gs://bucket/folder, file:///...
    """

    place: str
    _variables: dict[str, str] = field(
        default_factory=lambda: {
            name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)
        },
        repr=False,
    )

    @classmethod
    def open(cls, place: str) -> Storage:
        """Take a storage as a user names it.

        Raises:
            ValueError: the URI is malformed, or its scheme is unknown.
            StorageError: its folder cannot be made.
        """
        storage = cls(place if "://" in place else str(Path(place).expanduser().absolute()))
        filesystem, root = storage._root()
        if filesystem.type_name not in _WHOLE_FILES:
            with storage._explained():
                filesystem.create_dir(root, recursive=True)
                filesystem.open_output_stream(f"{root}/{MARK}").close()
        return storage

    def __str__(self) -> str:
        return self.place

    def probe(self) -> None:
        """Write a file, read it and delete it.

        Raises:
            StorageError: one of these failed.
        """
        name = f".probe-{uuid.uuid4().hex}"
        with self._explained():
            self._write(name, b"probe")
            filesystem, root = self._root()
            with filesystem.open_input_stream(f"{root}/{name}") as file:
                read = file.read()
            filesystem.delete_file(f"{root}/{name}")
        if read != b"probe":
            raise StorageError(f"storage {self} gives other bytes back than were written")

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        with self._explained():
            self._write(name, content)

    def read(self, name: str) -> bytes | None:
        """The content of a file, None if there is none."""
        filesystem, root = self._root()
        with self._explained():
            try:
                with filesystem.open_input_stream(f"{root}/{name}") as file:
                    return bytes(file.read())
            except FileNotFoundError:
                return None

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        filesystem, root = self._root()
        with self._explained(), contextlib.suppress(FileNotFoundError):
            filesystem.delete_file(f"{root}/{name}")

    def fetch(self, name: str, folder: Path) -> None:
        """Download the run directory `name` to `folder`; files that are there are replaced.

        Raises:
            StorageError: it cannot be read.
        """
        from pyarrow import fs

        filesystem, root = self._root()
        home = f"{root}/{name}"
        with self._explained():
            selector = fs.FileSelector(home, recursive=True, allow_not_found=True)
            for found in filesystem.get_file_info(selector):
                relative = PurePosixPath(found.path).relative_to(PurePosixPath(home))
                if found.type != fs.FileType.File or is_temporary(relative.name):
                    continue
                if relative.name in (LOCK_NAME, GUARD_NAME):
                    continue
                target = folder / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                with filesystem.open_input_stream(found.path) as file, target.open("wb") as local:
                    shutil.copyfileobj(file, local)

    def upload(
        self,
        folder: Path,
        name: str,
        *,
        without: Sequence[str] = (),
        sent: dict[Path, tuple[int, int]] | None = None,
    ) -> None:
        """Upload the run directory `folder` as `name`; it is whole once its summary is there.

        Args:
            folder: a run directory.
            name: its place below the storage.
            without: names of its folders that are left out.
            sent: time and size of files that need not be sent again; brought up to date.

        Raises:
            StorageError: it cannot be written.
        """
        sent = {} if sent is None else sent
        files = sorted(
            path.relative_to(folder)
            for path in folder.rglob("*")
            if path.is_file() and path.relative_to(folder).parts[0] not in without
        )
        with self._explained():
            if Path(SUMMARY) not in sent:
                self.remove(f"{name}/{SUMMARY}")
            for file in sorted(files, key=lambda file: file == Path(SUMMARY)):
                if file.name in (LOCK_NAME, GUARD_NAME) or is_temporary(file.name):
                    continue
                status = (folder / file).stat()
                now = status.st_mtime_ns, status.st_size
                if sent.get(file) != now:
                    self._write(f"{name}/{file.as_posix()}", (folder / file).read_bytes())
                    sent[file] = now

    def _root(self) -> tuple[Any, str]:
        for name, value in self._variables.items():
            os.environ.setdefault(name, value)
        return _filesystem(self.place)

    def _write(self, name: str, content: bytes) -> None:
        from pyarrow import fs

        filesystem, root = self._root()
        path = PurePosixPath(root) / name
        if filesystem.type_name in _WHOLE_FILES:
            with filesystem.open_output_stream(str(path)) as file:
                file.write(content)
            return
        # A disk that is mounted no more leaves an empty folder, which must not be written to.
        if filesystem.get_file_info(f"{root}/{MARK}").type == fs.FileType.NotFound:
            raise FileNotFoundError(errno.ENOENT, "it is not there any more, or not on this node")
        filesystem.create_dir(str(path.parent), recursive=True)
        temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
        with filesystem.open_output_stream(str(temporary)) as file:
            file.write(content)
        filesystem.move(str(temporary), str(path))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(f"storage {self}: {_reason(error)}") from error


@cache
def _filesystem(place: str) -> tuple[Any, str]:
    from pyarrow import fs

    if "://" not in place:
        return fs.LocalFileSystem(), place
    try:
        filesystem, root = fs.FileSystem.from_uri(place)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"storage is {place!r}: {error}; accepted are a path, s3://bucket/folder,"
            " gs://bucket/folder and file:///folder"
        ) from error
    return filesystem, root.rstrip("/")


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"its disk is full ({error})"
    return str(error).strip()


class Home:
    """A run directory and its copy in a storage; made by `keep`.

    Attributes:
        folder: the run directory on this machine.
        storage: where it is kept, None if only here.
        name: its name in the storage.
    """

    def __init__(self, folder: Path, storage: Storage | None) -> None:
        self.folder = folder.absolute()
        self.storage = storage
        self.name = folder.name
        self._sent: dict[Path, tuple[int, int]] = {}

    def __str__(self) -> str:
        return f"{self.storage}/{self.name}" if self.storage else str(self.folder)

    def upload(self) -> None:
        """Bring the copy up to date; trials' run directories are uploaded by themselves.

        Raises:
            StorageError: the storage cannot be written.
        """
        if self.storage:
            self._copy_driver_log()
            self.storage.upload(self.folder, self.name, without=[TRIALS], sent=self._sent)

    def trial(self, path: Path) -> str:
        """The name in the storage of a trial's run directory, or of their folder."""
        return f"{self.name}/{path.absolute().relative_to(self.folder).as_posix()}"

    def _copy_driver_log(self) -> None:
        """Take along what this process has printed, where that goes to a file, as in Ray's jobs."""
        with contextlib.suppress(OSError, ValueError):
            if stat.S_ISREG(os.fstat(sys.stderr.fileno()).st_mode):
                shutil.copyfile(f"/proc/self/fd/{sys.stderr.fileno()}", self.folder / DRIVER_LOG)


@contextmanager
def keep(folder: Path, place: str | None) -> Iterator[Home]:
    """Hold a run directory and its copy in a storage for the duration of the block.

    With a storage the run is worked on in a folder of this machine's temporary ones, made anew from
    what the storage has of the run, so that it can be resumed anywhere and nothing is mixed with
    what other runs left here: Ray's jobs share their copy of the working folder. The storage is
    brought up to date every `UPLOAD_SECONDS`, and at the end, however the block is left.

    Args:
        folder: the run directory; with a storage only its name counts.
        place: the storage, see `Storage.open`; None keeps the run on this machine alone.

    Raises:
        ValueError: the storage is malformed.
        StorageError: it cannot be written.
        RunInUseError: another process runs this run there.
    """
    if place is None:
        yield Home(folder, None)
        return
    storage = Storage.open(place)
    storage.probe()
    name = folder.name
    home = Home(scratch_folder(f"{storage}/{name}") / "driver" / name, storage)
    with _claim(storage, name):
        shutil.rmtree(home.folder, ignore_errors=True)
        home.folder.mkdir(parents=True)
        storage.fetch(name, home.folder)
        try:
            with _every(UPLOAD_SECONDS, home.upload):
                yield home
        except BaseException:
            with contextlib.suppress(StorageError):
                home.upload()
            raise
        home.upload()


@contextmanager
def _every(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Do something again and again in a thread; where the storage fails, the next time may do."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(seconds):
            # A file may vanish while it is read; what the run itself does not bear, it says itself.
            with contextlib.suppress(OSError, StorageError):
                action()

    thread = threading.Thread(target=work, name="storage", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _claim(storage: Storage, name: str) -> Iterator[None]:
    """Hold `lock.json` of the copy: at most one process runs a run."""
    file, me = f"{name}/{LOCK_NAME}", this_process()

    def refuse(holder: Holder | None) -> None:
        if holder is None or holder.token == me.token:
            return
        age = datetime.now(UTC) - datetime.fromisoformat(holder.heartbeat)
        if is_alive(holder, age.total_seconds()):
            raise RunInUseError(in_use(f"{storage}/{name}", holder, age.total_seconds()))

    def write() -> None:
        storage.write(file, plain_json.dumps(replace(me, heartbeat=utc_now())).encode())

    refuse(_holder(storage, file))
    write()
    time.sleep(SETTLE_SECONDS)
    refuse(_holder(storage, file))
    try:
        with _every(HEARTBEAT_SECONDS, write):
            yield
    finally:
        with contextlib.suppress(StorageError):
            storage.remove(file)


def _holder(storage: Storage, file: str) -> Holder | None:
    content = storage.read(file)
    return None if content is None else parse_holder(content, f"{storage}/{file}")


def scratch_folder(home: str) -> Path:
    """Where a node keeps the trials of a study until they are uploaded."""
    digest = uuid.uuid5(uuid.NAMESPACE_URL, home).hex[:12]
    return Path(tempfile.gettempdir()) / f"mlsys-ray-{os.getuid()}" / digest
