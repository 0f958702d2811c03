"""Measured latencies by what was measured, on which machine, with which versions: never twice."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

OnMeasured = Callable[[int], None]


class CostCache:
    """Latencies in one file for each context.

    Args:
        folder: where the files lie; None keeps nothing beyond this object.
        context: what all latencies depend on, such as graph, processor, threads and versions.
        on_measured: called with the number of latencies that were measured.
    """

    def __init__(
        self,
        folder: Path | None,
        context: Mapping[str, object],
        on_measured: OnMeasured = lambda number: None,
    ) -> None:
        self._context = {name: str(value) for name, value in sorted(context.items())}
        key = hashlib.sha256(json.dumps(self._context).encode()).hexdigest()[:16]
        self._path = None if folder is None else folder / f"{key}.json"
        self._seconds: dict[str, float] = self._read()
        self._passing: set[str] = set()
        self.num_measured = 0
        self._on_measured = on_measured

    def __contains__(self, key: str) -> bool:
        return key in self._seconds

    def __getitem__(self, key: str) -> float:
        """A latency [s]."""
        return self._seconds[key]

    def add(self, seconds: Mapping[str, float], *, final: bool = True) -> None:
        """Keep measured latencies [s]; those that are not final are for this object only."""
        self.num_measured += len(seconds)
        self._seconds.update(seconds)
        if not final:
            self._passing.update(seconds)
        self._on_measured(len(seconds))

    def save(self) -> None:
        """Write them, together with what others have written since."""
        if self._path is None or not self.num_measured:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        own = {key: value for key, value in self._seconds.items() if key not in self._passing}
        record = {"context": self._context, "seconds": self._read() | own}
        with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False) as file:
            json.dump(record, file)
        os.replace(file.name, self._path)

    def _read(self) -> dict[str, float]:
        """What the file holds; one that is damaged is measured anew."""
        if self._path is None or not self._path.exists():
            return {}
        try:
            seconds = json.loads(self._path.read_text())["seconds"]
            return {str(key): float(value) for key, value in seconds.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {}
