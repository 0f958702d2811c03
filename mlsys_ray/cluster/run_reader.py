"""A stored run, as reports and comparisons see it: read only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsys_ray.cluster import plain_json
from mlsys_ray.cluster.run_lock import living_holder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """One run directory.

    Attributes:
        path: the directory.
        experiment: name of the experiment.
        config: the run's parameters.
        environment: versions, processor, commit, command; of the last part of a resumed run.
        summary: empty as long as the run goes on, or if it was killed.
        status: "done", "failed", "interrupted" (killed too), or "running".
    """

    path: Path
    experiment: str
    config: dict[str, Any]
    environment: dict[str, Any]
    summary: dict[str, Any]
    status: str

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row a step; empty if the run logged none.

        Raises:
            ValueError: a line is damaged, other than the last one cut short.
        """
        import pandas as pd

        return pd.DataFrame(_read_rows(self.path / "metrics.jsonl"))

    @property
    def plots(self) -> list[Path]:
        """The pictures, by name."""
        return sorted(self.path.glob("plots/*.png"))

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables by name, from `tables/*.csv` and `tables/*.json` (a list of records).

        Raises:
            ValueError: a file is no table.
        """
        files = [*self.path.glob("tables/*.csv"), *self.path.glob("tables/*.json")]
        return {file.stem: _read_table(file) for file in sorted(files)}


def load_run(path: str | Path) -> Run:
    """Open a run directory; metrics, plots and tables are read when asked for.

    Raises:
        ValueError: the directory, its `config.json` or its `environment.json` is missing, or one
            of its files is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"run directory {path} does not exist")
    config = _read_object(path / "config.json", required={"experiment", "config"})
    if not isinstance(config["config"], dict):
        raise ValueError(f"{path / 'config.json'} is damaged: config must be an object")
    environment = _read_object(path / "environment.json", required=set())
    if (path / "summary.json").exists():
        summary = _read_object(path / "summary.json", required={"status"})
        status = summary["status"]
    else:
        summary = {}
        status = "running" if living_holder(path) else "interrupted"
    return Run(path, config["experiment"], config["config"], environment, summary, status)


def _read_object(file: Path, required: set[str]) -> dict[str, Any]:
    try:
        content = plain_json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ValueError(
            f"{file.parent} is not a whole run directory: {file.name} is missing"
        ) from None
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    if not isinstance(content, dict) or not required <= content.keys():
        raise ValueError(f"{file} is damaged: it must hold {', '.join(sorted(required))}")
    return content


def _read_rows(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    lines = file.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines[:-1], start=1):  # past the last newline: cut short
        try:
            rows.append(plain_json.loads(line))
        except ValueError as error:
            raise ValueError(f"{file}, line {number} is damaged: {error}") from error
    return rows


def _read_table(file: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if file.suffix == ".csv":
            return pd.read_csv(file)
        records = plain_json.loads(file.read_bytes())
        if not isinstance(records, list) or not all(isinstance(row, dict) for row in records):
            raise ValueError("it must be a list of records")
        return pd.DataFrame(records)
    except ValueError as error:
        raise ValueError(f"{file} is no table: {error}") from error
