"""Run directories: the only output of an experiment, and all that reports read.

| file | content |
|---|---|
| `config.json` | `{"experiment": name, "config": {field: value}}` |
| `environment.json` | versions, processor, cores, memory, commit, command, start |
| `metrics.jsonl` | one JSON object a step |
| `summary.json` | written last: status, times, error and the headline numbers |
| `results.parquet` | of a study: a row for each trial or setting |
| `plots/*.png`, `tables/*.json` | for the report; a table is a list of records |
| `lock.json` | the process that writes here, while it does |

A resumed run keeps `environment-1.json` and `summary-1.json` of its first part, and so on.
"""

from __future__ import annotations

import io
import re
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol, get_args

from mlsys_ray.cluster import plain_json
from mlsys_ray.cluster.atomic import atomic_write, remove_leftovers
from mlsys_ray.cluster.environment import describe_environment
from mlsys_ray.cluster.run_lock import GUARD_NAME, LOCK_NAME, RunInUseError, RunLock, utc_now

__all__ = ["PLACE_FIELDS", "RunDirectory", "RunInUseError", "atomic_write", "default_run_path"]

Status = Literal["done", "failed", "interrupted"]

PLACE_FIELDS = frozenset({"address", "data_dir", "json", "resume", "run_dir", "storage"})
"""Config fields that say where a run happens, not what it computes.

They may change when a run is resumed, and do not set runs apart in a comparison.
"""

RESULTS = "results.parquet"
_SUMMARY_FIELDS = frozenset({"status", "started", "ended", "wall_seconds", "error"})
_TERMINATED = 128 + signal.SIGTERM


class Figure(Protocol):
    """What `save_plot` asks of a matplotlib figure."""

    def savefig(self, file: io.BytesIO, /, *, format: str, dpi: float) -> None:
        """Write the picture."""


class RunDirectory:
    """A run directory that this process writes to; made by `RunDirectory.create`.

    Attributes:
        path: the directory.
        num_rows: rows in `metrics.jsonl`, those of the resumed run included.
    """

    def __init__(self, path: Path, lock: RunLock) -> None:
        self.path = path
        self.num_rows = 0
        self._lock = lock
        self._start = time.monotonic()
        self._started = utc_now()
        self._summary: dict[str, Any] = {}
        self._finished = False

    @classmethod
    @contextmanager
    def create(
        cls, path: str | Path, config: Any, *, experiment: str, resume: bool = False
    ) -> Iterator[RunDirectory]:
        """Make the directory, or go on in it, and hold its lock inside the `with` block.

        The block calls `finish`. An exception that leaves the block is recorded in
        `summary.json` with status "failed"; Ctrl-C and SIGTERM with "interrupted".

        Args:
            path: the directory; made if missing.
            config: dataclass or mapping with the run's parameters.
            experiment: name of the experiment, the same for runs that may be compared.
            resume: go on in a directory that holds a run, instead of refusing it.

        Raises:
            RunInUseError: another process writes to the directory.
            ValueError: the directory holds a run (without `resume`), a run with another config or
                experiment, or files that are no run; or it cannot be written.
        """
        path = Path(path)
        record = {"experiment": experiment, "config": plain_json.to_plain(config)}
        _require_writable(path)
        with RunLock(path) as lock, _sigterm_raises():
            run = cls(path, lock)
            if _holds_run(path):
                run._continue(record, resume)
            else:
                _write_json(path / "config.json", record)
            environment = {"started": run._started, **describe_environment()}
            _write_json(path / "environment.json", environment)
            yield from run._record_outcome()

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one row to `metrics.jsonl`, at once visible to readers.

        Values are numbers (numpy and torch scalars too), strings, booleans, lists or None; NaN and
        infinity are written as strings and read back as numbers.
        """
        self._lock.require()
        line = plain_json.dumps(dict(row)) + "\n"
        with open(self.path / "metrics.jsonl", "ab") as file:
            file.write(line.encode())
        self.num_rows += 1

    def rewind(self, num_rows: int) -> None:
        """Keep the first `num_rows` rows; for a run that resumes from an older checkpoint.

        Raises:
            ValueError: there are fewer rows.
        """
        if not 0 <= num_rows <= self.num_rows:
            raise ValueError(f"num_rows is {num_rows}, must be in 0 .. {self.num_rows}")
        if num_rows == self.num_rows:
            return
        self._lock.require()
        lines = _complete_lines(self.path / "metrics.jsonl")[:num_rows]
        atomic_write(self.path / "metrics.jsonl", b"".join(lines))
        self.num_rows = num_rows

    def write(self, name: str, data: bytes | str) -> Path:
        """Write the file `name` (relative to the directory) atomically, checkpoints for example."""
        self._lock.require()
        atomic_write(self.path / name, data)
        return self.path / name

    def save_plot(self, name: str, figure: Figure) -> Path:
        """Write `plots/<name>.png`; the report shows `name` as its title."""
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=160)
        return self.write(f"plots/{_file_name(name)}.png", picture.getvalue())

    def save_table(self, name: str, records: Sequence[Mapping[str, Any]]) -> Path:
        """Write `tables/<name>.json`; the report shows `name` as its title."""
        lines = [plain_json.dumps(dict(record)) for record in records]
        return self.write(f"tables/{_file_name(name)}.json", "[\n" + ",\n".join(lines) + "\n]\n")

    def save_results(self, name: str, records: Sequence[Mapping[str, Any]]) -> Path:
        """Write the table of a whole study: for the report, and as `results.parquet`."""
        import pandas as pd

        self.save_table(name, records)
        content = io.BytesIO()
        pd.DataFrame([dict(record) for record in records]).to_parquet(content)
        return self.write(RESULTS, content.getvalue())

    def finish(self, summary: Mapping[str, Any], status: Status = "done") -> None:
        """Write `summary.json`: the run's headline numbers, status, times, wall time in seconds.

        Raises:
            ValueError: the status is unknown, or a number has the name of a field of every summary.
        """
        if status not in get_args(Status):
            raise ValueError(f"status is {status!r}, must be one of {', '.join(get_args(Status))}")
        if reserved := sorted(_SUMMARY_FIELDS & summary.keys()):
            raise ValueError(f"summary holds {', '.join(reserved)}, which the run directory sets")
        self._summary = dict(summary)
        self._write_summary(status)
        self._finished = True

    def _record_outcome(self) -> Iterator[RunDirectory]:
        try:
            yield self
        except BaseException as error:
            if not self._lock.lost:
                text = "".join(traceback.format_exception_only(error)).strip()
                # Where the disk has gone, the error that leaves the block says so.
                with suppress(OSError):
                    self._write_summary("interrupted" if _is_interrupt(error) else "failed", text)
            raise
        if not self._finished:
            self._write_summary("failed", "the run ended without a summary")
            raise RuntimeError(f"the run in {self.path} ended without calling finish()")

    def _write_summary(self, status: Status, error: str | None = None) -> None:
        self._lock.require()
        summary: dict[str, Any] = {
            "status": status,
            "started": self._started,
            "ended": utc_now(),
            "wall_seconds": round(time.monotonic() - self._start, 3),
        }
        if error is not None:
            summary["error"] = error
        _write_json(self.path / "summary.json", {**summary, **self._summary})

    def _continue(self, record: dict[str, Any], resume: bool) -> None:
        if not resume:
            raise ValueError(
                f"run directory {self.path} already holds a run ({_how_it_ended(self.path)});"
                " give another --run-dir, or --resume to go on with it"
            )
        _require_same(self.path, record)
        remove_leftovers(self.path)
        _archive(self.path / "environment.json")
        _archive(self.path / "summary.json")
        metrics = self.path / "metrics.jsonl"
        if metrics.exists():
            lines = _complete_lines(metrics)
            atomic_write(metrics, b"".join(lines))
            self.num_rows = len(lines)


def default_run_path(experiment: str, root: str | Path = "runs") -> Path:
    """Make the new, empty directory `<root>/<experiment>-<UTC time>[-n]` and return its path.

    It is made here, so that runs started in the same second get different ones.
    """
    name = re.sub(r"[\s/\\]+", "-", experiment)
    stem = f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    number = 1
    while True:
        path = Path(root) / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1


def _require_writable(path: Path) -> None:
    probe = path / GUARD_NAME
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
    except OSError as error:
        raise ValueError(
            f"run directory {path} cannot be written: {error.strerror} (errno {error.errno}); give"
            " another --run-dir"
        ) from error


def _holds_run(path: Path) -> bool:
    if (path / "config.json").exists():
        return True
    ours = {LOCK_NAME, GUARD_NAME}
    foreign = [item.name for item in path.iterdir() if item.name not in ours]
    if foreign := [name for name in foreign if not name.endswith(".tmp")]:
        raise ValueError(
            f"{path} is not empty and holds no run (it has {min(foreign)!r}, but no config.json);"
            " give another --run-dir"
        )
    return False


def _how_it_ended(path: Path) -> str:
    try:
        summary = plain_json.loads((path / "summary.json").read_bytes())
    except FileNotFoundError:
        return "stopped without a summary"
    return f"{summary['status']} at {summary['ended']}"


def _require_same(path: Path, record: dict[str, Any]) -> None:
    old = plain_json.loads((path / "config.json").read_bytes())
    new = plain_json.loads(plain_json.dumps(record))
    if old["experiment"] != new["experiment"]:
        raise ValueError(
            f"run directory {path} holds a run of experiment {old['experiment']!r}, which cannot be"
            f" resumed as {new['experiment']!r}"
        )
    before, now = flatten(old["config"]), flatten(new["config"])
    differing = [
        f"{name} was {before.get(name, 'absent')!r}, is {now.get(name, 'absent')!r}"
        for name in sorted(before.keys() | now.keys())
        # repr, because NaN equals itself here
        if repr(before.get(name, "absent")) != repr(now.get(name, "absent"))
        and name not in PLACE_FIELDS
    ]
    if differing:
        raise ValueError(
            f"run directory {path} cannot be resumed with another config: {'; '.join(differing)};"
            " give the same config, or another --run-dir"
        )


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names.

    >>> flatten({"seed": 1, "attack": {"class": "Constant", "value": -1.0}})
    {'seed': 1, 'attack.class': 'Constant', 'attack.value': -1.0}
    """
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _archive(path: Path) -> None:
    """Rename `x.json` to the first free of `x-1.json`, `x-2.json` ..."""
    if not path.exists():
        return
    number = 1
    while (archived := path.with_stem(f"{path.stem}-{number}")).exists():
        number += 1
    path.rename(archived)


def _complete_lines(path: Path) -> list[bytes]:
    """Lines of a file whose last one a crash may have cut short."""
    lines = path.read_bytes().splitlines(keepends=True)
    return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]


def _write_json(path: Path, value: Any) -> None:
    atomic_write(path, plain_json.dumps(value, indent=1) + "\n")


def _file_name(name: str) -> str:
    if not name or "/" in name or "\0" in name:
        raise ValueError(f"name is {name!r}, must be a file name without folder and extension")
    return name


def _is_interrupt(error: BaseException) -> bool:
    if isinstance(error, SystemExit):
        # Ray's own handler for SIGTERM exits with the bare signal number; Tune stops trials by 0.
        return error.code in (_TERMINATED, int(signal.SIGTERM), 0)
    return isinstance(error, KeyboardInterrupt)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let SIGTERM end the run as an exception, unless the program handles it already."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(_TERMINATED)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
