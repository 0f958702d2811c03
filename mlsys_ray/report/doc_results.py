"""Tables of the documentation that come from runs: kept as records, and checked against them.

A table is tied to its record by a comment right above it, `<!-- result: NAME -->`, where
`results/NAME.json` beside the page holds the rows of a run's table, and which run it was. The page
prints as many digits as it likes: each number must be the record's, rounded as printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsys_ray.cluster import plain_json
from mlsys_ray.cluster.atomic import atomic_write
from mlsys_ray.cluster.run_reader import Run

FOLDER = "results"
"""Of the records, in the folder of the pages."""
_MARKER = re.compile(r"<!--\s*result:\s*(\S+)\s*-->")
_NUMBER = re.compile(r"[-\u2212]?(?:\d{1,3}(?:[,\u202f]\d{3})+|\d+)(\.\d+)?(?:e[-+]?\d+)?")
_MISSING = {"", "–"}
_MACHINE = ("cpu", "usable_cores", "memory_bytes", "python", "commit")


@dataclass(frozen=True, kw_only=True)
class PrintedTable:
    """A table of a page.

    Attributes:
        page: its file.
        line: of its marker, from 1 on.
        name: of its record.
        columns: headings.
        rows: cells, as texts without markup.
    """

    page: Path
    line: int
    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def record_of(run: Run, table: str) -> dict[str, Any]:
    """The record of a finished run's table.

    Raises:
        ValueError: the run is not done, or has no such table.
    """
    if run.status != "done":
        raise ValueError(f"run {run.path} is {run.status}, must be done to be recorded")
    rows = _rows(run, table)
    environment = run.environment
    return {
        "experiment": run.experiment,
        "config": run.config,
        "table": table,
        "started": environment.get("started"),
        "command": _command(environment.get("command") or ""),
        "machine": {name: environment.get(name) for name in _MACHINE},
        "packages": environment.get("packages"),
        "rows": rows,
    }


def _command(typed: str) -> str:
    """A command without where its run directory lay, and how the program was started."""
    return re.sub(r"^\S*python\S* -m mlsys_ray", "mlsys-ray", re.sub(r" --run-dir \S+", "", typed))


def _rows(run: Run, table: str) -> list[dict[str, Any]]:
    if table not in run.tables:
        raise ValueError(f"run {run.path} has no table {table!r}; it has {', '.join(run.tables)}")
    rows = run.tables[table].to_dict("records")
    return [{str(k): None if v != v else v for k, v in row.items()} for row in rows]


def write_record(run: Run, table: str, folder: Path) -> str:
    """Write a table's record to a folder, and give the table as a page prints it, with its marker.

    Raises:
        ValueError: see `record_of`.
    """
    record = record_of(run, table)
    name = re.sub(r"[^\w.-]+", "-", table)
    lines = ",\n".join(plain_json.dumps(row) for row in record.pop("rows"))
    head = plain_json.dumps(record, indent=1).removesuffix("\n}")
    atomic_write(folder / f"{name}.json", f'{head},\n "rows": [\n{lines}\n]\n}}\n')
    return f"<!-- result: {name} -->\n\n{_markdown(_rows(run, table))}"


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([_cell(v) for v in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, int | float) and not isinstance(value, bool):
        whole = float(value).is_integer()
        return f"{int(value):,}" if whole else f"{value:.3g}"
    return str(value)


def check(pages: Sequence[Path], records: Path, runs: Sequence[Run] = ()) -> list[str]:
    """Where pages, records and runs disagree; empty if nowhere.

    Args:
        pages: Markdown files.
        records: the folder of the records.
        runs: finished runs; each must be the one that some record was made from, and equal to it.
    """
    printed = [table for page in pages for table in tables_of(page)]
    known = {path.stem: plain_json.loads(path.read_bytes()) for path in records.glob("*.json")}
    problems = [text for table in printed for text in _compare(table, known.get(table.name))]
    shown = {table.name for table in printed}
    problems += [f"record {name} is shown on no page" for name in sorted(known.keys() - shown)]
    for run in runs:
        problems += _compare_run(run, known)
    return problems


def tables_of(page: Path) -> Iterator[PrintedTable]:
    """The marked tables of a page."""
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines):
        if not (marker := _MARKER.fullmatch(line.strip())):
            continue
        rest = iter(lines[number + 1 :])
        first = next((other for other in rest if other.strip()), "")
        block = [first] if first.startswith("|") else []
        for other in rest:
            if not block or not other.startswith("|"):
                break
            block.append(other)
        cells = [_cells(row) for row in block]
        yield PrintedTable(
            page=page,
            line=number + 1,
            name=marker[1],
            columns=cells[0] if cells else (),
            rows=tuple(cells[2:]),
        )


def _cells(line: str) -> tuple[str, ...]:
    texts = line.strip().strip("|").split("|")
    return tuple(map(_without_markup, texts))


def _without_markup(text: str) -> str:
    return " ".join(text.replace("*", "").replace("`", "").split())


def _compare(table: PrintedTable, record: Mapping[str, Any] | None) -> Iterator[str]:
    where = f"{table.page.name}, line {table.line}"
    if record is None:
        yield f"{where}: record {table.name} does not exist"
        return
    rows = record["rows"]
    if len(table.rows) != len(rows):
        yield f"{where}: {len(table.rows)} rows, record {table.name} has {len(rows)}"
        return
    keys = {_heading(key): key for key in rows[0]}
    for number, (cells, row) in enumerate(zip(table.rows, rows, strict=True), start=1):
        if len(cells) != len(table.columns):
            yield f"{where}: row {number} has {len(cells)} cells, must be {len(table.columns)}"
            continue
        for column, cell in zip(table.columns, cells, strict=True):
            key = keys.get(_heading(column))
            if key is None:
                if _NUMBER.fullmatch(cell):
                    yield f"{where}: column {column!r} has {cell} and is not in the record"
            elif not agrees(cell, row[key]):
                yield f"{where}: row {number}, {column!r} says {cell!r}, record {row[key]!r}"


def _heading(text: str) -> str:
    return text.replace("_", " ").strip().lower()


def agrees(cell: str, value: Any) -> bool:
    """Whether a cell prints a value: numbers rounded as printed, other texts as they are.

    Args:
        cell: text without markup.
        value: number, text, None, or a list of the numbers in the cell.

    >>> agrees("1.05", 1.0513), agrees("1.06", 1.0513), agrees("22.1% ± 2.3", [22.08, 2.31])
    (True, False, True)
    """
    if value is None:
        return cell in _MISSING
    if isinstance(value, bool) or not isinstance(value, int | float | list):
        return cell == _without_markup(str(value))
    numbers = value if isinstance(value, list) else [value]
    found = list(_NUMBER.finditer(cell))
    return len(found) == len(numbers) and all(map(_rounds_to, found, numbers))


def _rounds_to(printed: re.Match[str], value: float) -> bool:
    text = printed[0].replace(",", "").replace("\u202f", "").replace("\u2212", "-")
    mantissa, _, exponent = text.partition("e")
    decimals = len(mantissa.partition(".")[2]) - int(exponent or 0)
    return abs(float(text) - value) <= 0.5000001 * 10.0**-decimals


def _compare_run(run: Run, known: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    identity = (run.experiment, run.config, run.environment.get("started"))
    own = {
        name: record
        for name, record in known.items()
        if (record["experiment"], record["config"], record["started"]) == identity
    }
    if not own:
        yield f"run {run.path}: no record was made from it"
    for name, record in own.items():
        if plain_json.to_plain(_rows(run, record["table"])) != record["rows"]:
            yield f"run {run.path}: its table {record['table']!r} is not that of record {name}"
