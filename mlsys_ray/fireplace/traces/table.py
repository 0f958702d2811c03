"""This project's own format: one row a VM, as CSV or parquet.

| column | content |
|---|---|
| arrival, end | times [s] |
| function | name of the function; may be missing |
| request_cpu, request_memory, ... | one column a resource |
| use_cpu, use_memory, ... | parquet: a list, mean use over each tick the VM touches; CSV or a plain
number: steady use while alive; missing: 25% of the request of cpu, 60% of any other |
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlsys_ray.fireplace.trace import UNKNOWN_FUNCTION, Trace, ticks_touched
from mlsys_ray.fireplace.traces.base import CPU_SHARE, MEMORY_SHARE, ReadTrace, steady_use
from mlsys_ray.fireplace.traces.rows import Rows

METADATA = b"mlsys_ray_trace"


def read_table(path: Path, *, tick: float | None = None, skip_broken: bool = False) -> ReadTrace:
    """Read CSV or parquet; the tick of a parquet file written by `write_table` is its own.

    Raises:
        ValueError: see `Reader`; or the tick is not that of the file's use series.
    """
    if path.suffix == ".parquet":
        return _read_parquet(path, tick, skip_broken)
    return _read_rows(Rows.read_csv(path, ("arrival", "end")), "table", tick or 10.0, skip_broken)


def _read_parquet(path: Path, tick: float | None, skip_broken: bool) -> ReadTrace:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"{path} is no parquet file: {error}") from error
    metadata = (table.schema.metadata or {}).get(METADATA)
    if metadata is None:
        rows = Rows(table.to_pandas(), path, ("arrival", "end"))
        return _read_rows(rows, path.stem, tick or 10.0, skip_broken)
    header = json.loads(metadata)
    if tick not in (None, header["tick"]):
        raise ValueError(f"tick is {tick} s; the use series of {path} has {header['tick']} s")
    rows = Rows(table.to_pandas(), path, ("arrival", "end"))
    return _read_rows(rows, header["name"], header["tick"], skip_broken, header["functions"])


def _read_rows(
    rows: Rows,
    name: str,
    tick: float,
    skip_broken: bool,
    functions: list[str] | None = None,
) -> ReadTrace:
    columns = [str(column) for column in rows.table.columns]
    resources = [column[8:] for column in columns if column.startswith("request_")]
    if not resources:
        raise ValueError(f"{rows.source} has no column request_<resource>; it has {columns}")
    arrival = rows.number("arrival", least=0)
    end = rows.number("end")
    rows.refuse(end <= arrival.loc[end.index], "end is not after arrival")
    request = {resource: rows.number(f"request_{resource}", above=0) for resource in resources}
    given = [resource for resource in resources if f"use_{resource}" in columns]
    listed = [r for r in given if rows.table[f"use_{r}"].map(np.ndim).eq(1).all()]
    for resource in given:
        if resource not in listed:
            rows.number(f"use_{resource}", least=0)
            continue
        series = rows.table[f"use_{resource}"]
        wanted = ticks_touched(arrival[series.index].to_numpy(), end[series.index].to_numpy(), tick)
        rows.refuse(series.map(len) != wanted, f"use_{resource} does not span the VM's ticks")
    broken = rows.close(skip_broken=skip_broken)
    table = rows.table.iloc[np.argsort(arrival[rows.index].to_numpy(), kind="stable")]
    order = table.index
    begin, until = arrival[order].to_numpy(), end[order].to_numpy()
    requests = np.stack([request[resource][order] for resource in resources], axis=1)
    share = [CPU_SHARE if resource == "cpu" else MEMORY_SHARE for resource in resources]
    rate = requests * share
    for position, resource in enumerate(resources):
        if resource in given and resource not in listed:
            rate[:, position] = table[f"use_{resource}"].astype(float)
    use = steady_use(begin, until, rate, tick)
    for position, resource in enumerate(resources):
        if resource in listed:
            use["use"][:, position] = np.concatenate(table[f"use_{resource}"].tolist())
    known, function = _functions(table, functions)
    trace = Trace(
        name=name,
        tick=tick,
        resources=tuple(resources),
        arrival=begin,
        end=until,
        request=requests,
        function=function,
        functions=known,
        **use,
    )
    return ReadTrace(trace, broken)


def _functions(
    table: pd.DataFrame, functions: list[str] | None
) -> tuple[tuple[str, ...], np.ndarray]:
    if "function" not in table:
        return tuple(functions or ()), np.full(len(table), UNKNOWN_FUNCTION)
    names = functions or sorted(set(table["function"].dropna().astype(str)))
    index = {name: position for position, name in enumerate(names)}
    given = table["function"].map(lambda name: index.get(str(name), UNKNOWN_FUNCTION))
    return tuple(names), given.where(table["function"].notna(), UNKNOWN_FUNCTION).to_numpy(int)


def write_table(trace: Trace, path: Path) -> None:
    """Write a trace as parquet, from which `read_table` makes the very same again."""
    names = np.array([*trace.functions, None], dtype=object)
    columns: dict[str, pa.Array] = {
        "arrival": pa.array(trace.arrival),
        "end": pa.array(trace.end),
        "function": pa.array(names[trace.function], type=pa.string()),
    }
    offsets = pa.array(trace.use_offset)
    for position, resource in enumerate(trace.resources):
        columns[f"request_{resource}"] = pa.array(trace.request[:, position])
        series = pa.array(np.ascontiguousarray(trace.use[:, position]))
        columns[f"use_{resource}"] = pa.LargeListArray.from_arrays(offsets, series)
    header = {"name": trace.name, "tick": trace.tick, "functions": trace.functions}
    table = pa.table(columns).replace_schema_metadata({METADATA: json.dumps(header)})
    pq.write_table(table, path)
