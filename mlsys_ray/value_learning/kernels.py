"""Compiled kernels of pipelines, made once and kept on the disk by what they compute."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from mlsys_ray.data import cache_dir
from mlsys_ray.value_learning.ahead_of_time import ENTRY, compile_shared, compiler
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.target import Target, host_target

if TYPE_CHECKING:
    from mlsys_ray.value_learning.measuring import Measurer
    from mlsys_ray.value_learning.value_network.model import ValueNetwork

FORMAT = 1
"""Of what is kept; another number makes all kernels anew."""
SEARCH_SECONDS = 2.0
"""For the search by the value network, which measures nothing."""


@dataclass(frozen=True, eq=False)
class CompiledKernel:
    """A kernel ready to be called.

    Attributes:
        key: of what it computes and by which schedule.
        entry: address of its function, see `ahead_of_time.ENTRY`.
        min_ms: its shortest run when it was chosen [ms].
        measured: schedules that it was chosen from.
    """

    key: str
    entry: int
    min_ms: float
    measured: int


def why_unavailable() -> str:
    """Why no kernels can be made here, or empty."""
    try:
        version("halide")
    except PackageNotFoundError:
        return "Halide is not installed: pip install halide"
    return "" if compiler() else "there is no C compiler (CC, or cc) to link kernels with"


class KernelStore:
    """Kernels of one thread for this machine.

    Args:
        folder: where they lie; the user's cache by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_dir() / "value_learning" / "kernels"
        self._known: dict[str, CompiledKernel | None] = {}

    def find(self, whole: Pipeline, part: Pipeline) -> CompiledKernel | None:
        """A kernel that was made before; None where none was, or none could be."""
        key = self._key(whole, part)
        if key not in self._known and (record := self._read(key)) is not None:
            self._known[key] = None if "failed" in record else self._load(key, record)
        return self._known.get(key)

    def failure(self, whole: Pipeline, part: Pipeline) -> str:
        """Why a kernel could not be made, or empty."""
        return str((self._read(self._key(whole, part)) or {}).get("failed", ""))

    @contextmanager
    def making(self, seconds: float) -> Iterator[Make]:
        """What makes kernels, each in about so many seconds; a context manager."""
        from mlsys_ray.value_learning.measuring import LEGAL, Measurer

        with Measurer(_target(), LEGAL) as measurer:
            yield Make(self, measurer, seconds)

    def keep(self, whole: Pipeline, part: Pipeline, record: dict[str, object]) -> None:
        """Write down what came of a kernel."""
        key = self._key(whole, part)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self.folder, delete=False) as file:
            json.dump({"pipeline": part.to_json(), **record}, file)
        os.replace(file.name, self.folder / f"{key}.json")
        self._known.pop(key, None)

    def path(self, whole: Pipeline, part: Pipeline) -> Path:
        """Of a kernel's shared object."""
        return self.folder / f"{self._key(whole, part)}.so"

    def _read(self, key: str) -> dict[str, object] | None:
        """What was written down; what is damaged or was lost is made anew."""
        try:
            record = json.loads((self.folder / f"{key}.json").read_text())
        except (OSError, ValueError):
            return None
        known = isinstance(record, dict) and ("failed" in record or "min_ms" in record)
        return record if known else None

    def _load(self, key: str, record: dict[str, object]) -> CompiledKernel | None:
        try:
            library = ctypes.CDLL(str(self.folder / f"{key}.so"))
        except OSError:
            return None
        entry = ctypes.cast(getattr(library, ENTRY), ctypes.c_void_p).value
        assert entry is not None
        return CompiledKernel(
            key=f"{key}-{_digest(record.get('schedule'))[:8]}",
            entry=entry,
            min_ms=float(str(record["min_ms"])),
            measured=int(str(record.get("measured", 1))),
        )

    def _key(self, whole: Pipeline, part: Pipeline) -> str:
        parts = (FORMAT, whole.key, part.key, _target().key, version("halide"))
        return _digest(parts)


def _digest(record: object) -> str:
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()[:16]


@cache
def _target() -> Target:
    return host_target(1)


class Make:
    """Makes kernels, see `KernelStore.making`."""

    def __init__(self, store: KernelStore, measurer: Measurer, seconds: float) -> None:
        self._store, self._measurer, self._seconds = store, measurer, seconds
        self._network = _fitting_network()

    def __call__(self, whole: Pipeline, part: Pipeline) -> CompiledKernel | None:
        """Schedule and compile; None where that fails, which is written down and not tried again.

        Args:
            whole: what is computed by all calls together.
            part: what one call computes, of the same stages.
        """
        import halide as hl

        from mlsys_ray.value_learning.search.beam import BeamConfig
        from mlsys_ray.value_learning.tuning import tune

        config = BeamConfig(budget=SEARCH_SECONDS)
        try:
            tuned = tune(part, self._network, self._measurer, config, self._seconds)
            path = self._store.path(whole, part)
            compile_shared(whole, tuned.schedule, path, part)
        except (RuntimeError, hl.HalideError) as error:
            self._store.keep(whole, part, {"failed": str(error).strip().splitlines()[0][:300]})
            return None
        record = {
            "schedule": tuned.schedule.to_json(),
            "min_ms": tuned.min_ms,
            "measured": tuned.measured,
        }
        self._store.keep(whole, part, record)
        return self._store.find(whole, part)


def _fitting_network() -> ValueNetwork | None:
    """The shipped network; without one that fits the features, schedules are measured alone."""
    from mlsys_ray.value_learning.features import featurise
    from mlsys_ray.value_learning.operators import Activate, chain
    from mlsys_ray.value_learning.scheduling import shipped_network
    from mlsys_ray.value_learning.space import initial

    try:
        network = shipped_network(_target())
        network.predict(featurise([initial(chain((8, 8), Activate(activation="relu")), _target())]))
    except ValueError:
        return None
    return network
