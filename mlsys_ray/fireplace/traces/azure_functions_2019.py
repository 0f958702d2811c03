"""Azure Functions 2019: invocations a minute, durations and memory (Shahrad et al., ATC 2020)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mlsys_ray.fireplace.traces.base import ReadTrace, cpu_memory_trace
from mlsys_ray.fireplace.traces.rows import Rows

MINUTES = [str(minute) for minute in range(1, 1441)]
DURATIONS = [f"percentile_Average_{percent}" for percent in (0, 1, 25, 50, 75, 99, 100)]
QUANTILES = np.array([0, 1, 25, 50, 75, 99, 100]) / 100
OWNER = ["HashOwner", "HashApp"]
MEMORY_PER_CORE = 1769.0
DEFAULT_MEMORY = 170.0
"""For functions of apps without a memory record [MiB]; the median app allocates this."""


def read_azure_functions_2019(
    path: Path, *, tick: float = 10.0, skip_broken: bool = False, seed: int = 0
) -> ReadTrace:
    """Read one day: each invocation is a VM, at a random moment of its minute.

    Args:
        path: the file of invocations; those of durations [ms] and memory [MB] are found beside it
            by its name, with `invocations_per_function_md` replaced by
            `function_durations_percentiles` and `app_memory_percentiles` (or `invocations` by
            `durations` and `memory`).
        tick: telemetry interval [s].
        skip_broken: leave broken rows out instead of refusing the file.
        seed: of the moments and durations, which are drawn from the percentiles.
    """
    rows = Rows.read_csv(path, ["HashFunction", *OWNER, *MINUTES])
    for column in ("HashFunction", *OWNER):
        rows.text(column)
    for minute in MINUTES:
        rows.number(minute, least=0)
    table = rows.table
    durations = _beside(path, "function_durations_percentiles", "durations", DURATIONS)
    memory = _beside(path, "app_memory_percentiles", "memory", ["AverageAllocatedMb"])
    of_function = durations.drop_duplicates("HashFunction").set_index("HashFunction")[DURATIONS]
    rows.refuse(~table["HashFunction"].isin(of_function.index), "has no row among the durations")
    broken = rows.close(skip_broken=skip_broken)
    table = rows.table
    counts = table[MINUTES].to_numpy(dtype=float).astype(np.int64)
    invoked, at = np.nonzero(counts)
    row, at = (np.repeat(index, counts[invoked, at]) for index in (invoked, at))
    rng = np.random.default_rng(seed)
    arrival = (at + rng.random(len(at))) * 60.0
    quantiles = of_function.loc[table["HashFunction"]].to_numpy(dtype=float)
    chance = rng.random(len(row))
    duration = np.empty(len(row))
    for function in np.unique(row):
        of_this = row == function
        duration[of_this] = np.interp(chance[of_this], QUANTILES, quantiles[function])
    by_app = memory.groupby("HashApp")["AverageAllocatedMb"].max().astype(float)
    size = by_app.reindex(table["HashApp"]).fillna(DEFAULT_MEMORY).to_numpy()[row]
    trace = cpu_memory_trace(
        "azure-functions-2019",
        tick,
        arrival,
        arrival + np.maximum(duration / 1000, 1e-3),
        np.stack([size / MEMORY_PER_CORE, size], axis=1),
        table["HashFunction"].to_numpy(dtype=str)[row].tolist(),
    )
    return ReadTrace(trace, broken)


def _beside(path: Path, published: str, short: str, columns: list[str]) -> pd.DataFrame:
    name = path.name.replace("invocations_per_function_md", published)
    file = path.with_name(name.replace("invocations", short))
    if file == path or not file.exists():
        raise ValueError(f"{path} needs its {short} beside it, in {file.name}")
    rows = Rows.read_csv(file, columns)
    for column in columns:
        rows.number(column, least=0)
    rows.close(skip_broken=False)
    return rows.table
