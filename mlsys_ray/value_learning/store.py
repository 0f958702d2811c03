"""Measured schedules on disk: nothing is measured twice, and a cut loses one sample at most.

A sample is appended to a journal, a line of JSON each, as soon as it is measured; full journals
become parquet files. Samples are keyed by what was measured, where and with which Halide, so one
that is in both after a cut in between counts once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from mlsys_ray.value_learning.measuring import Measurement
from mlsys_ray.value_learning.operators import Pipeline, pipeline_from_json
from mlsys_ray.value_learning.operators.packing import unpacked
from mlsys_ray.value_learning.space import Schedule, State, initial, schedule_from_json

JOURNAL = "journal.jsonl"
FULL = 500
"""Samples of a journal that becomes a parquet file."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A measured schedule as it is stored.

    Attributes:
        key: digest of pipeline, schedule, target and Halide's version.
        group: digest of the pipeline with its weights unpacked.
        target: key of the target.
        pipeline, schedule: as JSON.
        source: what proposed it: random, search, ...
        halide: version.
        status, min_ms, median_ms, repetitions, compile_seconds, error, error_message: see
            `Measurement`.
    """

    key: str
    group: str
    target: str
    pipeline: str
    schedule: str
    source: str
    halide: str
    status: str
    min_ms: float
    median_ms: float
    repetitions: int
    compile_seconds: float
    error: float
    error_message: str

    @classmethod
    def of(
        cls, pipeline: Pipeline, schedule: Schedule, measurement: Measurement, source: str
    ) -> Sample:
        """The record of a measurement."""
        return cls(
            key=sample_key(pipeline, schedule),
            group=_group(pipeline),
            target=schedule.target.key,
            pipeline=json.dumps(pipeline.to_json()),
            schedule=_text(schedule),
            source=source,
            halide=version("halide"),
            **asdict(measurement),
        )

    def states(self) -> Iterator[State]:
        """The states on the way to the schedule, the complete one last."""
        schedule = schedule_from_json(self.schedule)
        state = initial(_pipeline(self.pipeline), schedule.target)
        for action in schedule.actions:
            state = state.take(action)
            yield state


def sample_key(pipeline: Pipeline, schedule: Schedule) -> str:
    """Key of a measurement with the installed Halide."""
    content = "\n".join([pipeline.key, _text(schedule), schedule.target.key, version("halide")])
    return hashlib.sha256(content.encode()).hexdigest()[:24]


class Store:
    """Samples in a folder, written by one process at a time; a context manager.

    Args:
        folder: made if it is missing.

    Raises:
        ValueError: another process writes to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ValueError(f"another process writes to {self.folder}") from error
        for leftover in self.folder.glob(".*.tmp"):
            leftover.unlink()
        self._samples = {sample.key: sample for sample in read_samples(self.folder)}
        pending = list(_read_journal(self.folder / JOURNAL))
        # Begun anew, so that a line cut short is not continued by the next sample.
        _replace(self.folder / JOURNAL, "".join(map(_line, pending)).encode())
        self._pending = len(pending)
        self._journal = open(self.folder / JOURNAL, "a", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._journal.close()
        self._lock.release()

    def __len__(self) -> int:
        return len(self._samples)

    def __contains__(self, key: object) -> bool:
        return key in self._samples

    def get(self, key: str) -> Sample | None:
        """The sample of a key, if there is one."""
        return self._samples.get(key)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All of them, in the order of measurement."""
        return tuple(self._samples.values())

    def add(self, sample: Sample) -> None:
        """Store a sample; it is on the disk when this returns.

        Of two measurements of one schedule the shorter one stays.
        """
        if not _is_news(sample, self._samples):
            return
        self._journal.write(_line(sample))
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._samples[sample.key] = sample
        self._pending += 1
        if self._pending >= FULL:
            self._compact()

    def _compact(self) -> None:
        samples = list(_read_journal(self.folder / JOURNAL))
        # Named by all it holds: after a cut, a journal may begin like one that was written before.
        digest = hashlib.sha256("".join(sample.key for sample in samples).encode()).hexdigest()
        _replace(self.folder / f"samples-{digest[:24]}.parquet", _to_parquet(samples))
        self._journal.close()
        _replace(self.folder / JOURNAL, b"")
        self._journal = open(self.folder / JOURNAL, "a", encoding="utf-8")  # noqa: SIM115
        self._pending = 0


def read_samples(folder: Path) -> list[Sample]:
    """All samples of a store, without writing to it; damaged files and lines are left out."""
    found: dict[str, Sample] = {}
    parts = sorted(folder.glob("samples-*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    for sample in chain(*map(_from_parquet, parts), _read_journal(folder / JOURNAL)):
        if _is_news(sample, found):
            found[sample.key] = sample
    return list(found.values())


def _is_news(sample: Sample, known: Mapping[str, Sample]) -> bool:
    """Whether it has not been measured, or not as fast."""
    return sample.key not in known or sample.min_ms < known[sample.key].min_ms


@dataclass(frozen=True, eq=False)
class Targets:
    """States to train on.

    Attributes:
        states: all different ones on the way to measured schedules.
        log_ms: logarithm of the best runtime in ms known among their completions, [B].
        groups: key of each state's pipeline.
    """

    states: tuple[State, ...]
    log_ms: np.ndarray
    groups: tuple[str, ...]

    @property
    def complete(self) -> np.ndarray:
        """Which states are complete: bool [B]."""
        return np.array([state.is_complete for state in self.states])


def best_known(samples: Iterable[Sample]) -> Targets:
    """Every state on the way to a sample that could be measured, with its best known runtime."""
    best: dict[State, float] = {}
    for sample in samples:
        if sample.status != "ok":
            continue
        for state in sample.states():
            best[state] = min(best.get(state, math.inf), sample.min_ms)
    return Targets(
        tuple(best),
        np.log(np.fromiter(best.values(), np.float64, len(best))),
        tuple(_group(state.pipeline) for state in best),
    )


@lru_cache(maxsize=4096)
def _group(pipeline: Pipeline) -> str:
    """Pipelines that differ in the panels of their weights belong together."""
    return unpacked(pipeline).key


@lru_cache(maxsize=4096)
def _pipeline(text: str) -> Pipeline:
    """One object for all samples of a pipeline, as it keeps what is derived from it."""
    return pipeline_from_json(json.loads(text))


def _text(schedule: Schedule) -> str:
    return json.dumps(schedule.to_json(), sort_keys=True)


def _line(sample: Sample) -> str:
    return json.dumps(asdict(sample)) + "\n"


def _read_journal(path: Path) -> Iterator[Sample]:
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        # A line cut short is a sample that was being written when the process ended.
        with contextlib.suppress(ValueError, TypeError):
            yield Sample(**json.loads(line))


def _to_parquet(samples: list[Sample]) -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([asdict(sample) for sample in samples]), content)
    return content.getvalue()


def _from_parquet(path: Path) -> list[Sample]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError):
        return []
    names = {field.name for field in fields(Sample)}
    return [Sample(**row) for row in rows if row.keys() == names]


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    with open(temporary, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
