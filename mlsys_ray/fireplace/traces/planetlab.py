"""PlanetLab: CPU use of VMs, in percent every 5 minutes (Beloglazov and Buyya, 2012)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlsys_ray.fireplace.trace import Trace
from mlsys_ray.fireplace.traces.base import ReadTrace
from mlsys_ray.fireplace.traces.rows import Rows

INTERVAL = 300.0
SAMPLES = 288
"""A day of samples [samples]."""


def read_planetlab_use(
    path: Path, *, days: Sequence[str] | None = None, skip_broken: bool = False
) -> tuple[np.ndarray, Rows]:
    """The use of each VM-day, float32 `[rows, 288]`, as a part of the VM's CPU, and its rows.

    Args:
        path: parquet file with the columns day, vm and cpu_percent (288 values from 0 to 100), or
            a folder of the published text files, one a VM and folder of a day.
        days: those to read, as yyyymmdd; None for all.
        skip_broken: leave broken rows out instead of refusing the file.
    """
    table = _read_folder(path) if path.is_dir() else pd.read_parquet(path)
    if days is not None:
        table = table[table["day"].isin(days)].reset_index(drop=True)
    rows = Rows(table, path, ("day", "vm", "cpu_percent"))
    series = rows.text("cpu_percent")
    whole = series.map(len) == SAMPLES
    rows.refuse(~whole, f"cpu_percent does not hold {SAMPLES} values")
    use = np.stack(series[whole].tolist()).astype(np.float32) / 100
    fine = (use >= 0).all(axis=1) & (use <= 1).all(axis=1)
    outside: Any = ~fine
    rows.refuse(
        pd.Series(outside, series.index[whole], dtype=bool), "cpu_percent is not in 0 to 100"
    )
    rows.close(skip_broken=skip_broken)
    return use[fine], rows


def read_planetlab(path: Path, *, tick: float = INTERVAL, skip_broken: bool = False) -> ReadTrace:
    """Read VM-days as VMs that live from 0 to 24 h of their day and request one core."""
    if INTERVAL % tick and tick % INTERVAL:
        raise ValueError(f"tick is {tick} s; it must divide 300 s or be a multiple of it")
    use, rows = read_planetlab_use(path, skip_broken=skip_broken)
    table = rows.table
    days = np.unique(table["day"], return_inverse=True)[1]
    order = np.argsort(days, kind="stable")
    arrival = days[order] * SAMPLES * INTERVAL
    ticks = int(SAMPLES * INTERVAL / tick)
    per_tick = np.repeat(use[order], max(int(INTERVAL / tick), 1), axis=1)
    per_tick = per_tick.reshape(len(order), ticks, -1).mean(axis=2)
    names, function = np.unique(table["vm"].to_numpy(dtype=str)[order], return_inverse=True)
    trace = Trace(
        name="planetlab",
        tick=tick,
        resources=("cpu",),
        arrival=arrival,
        end=arrival + SAMPLES * INTERVAL,
        request=np.ones((len(order), 1)),
        function=function,
        functions=tuple(names.tolist()),
        use=per_tick.reshape(-1, 1),
        use_offset=np.arange(len(order) + 1) * ticks,
    )
    return ReadTrace(trace, rows.broken)


def _read_folder(path: Path) -> pd.DataFrame:
    files = sorted(file for file in path.glob("*/*") if file.is_file())
    records = []
    for file in files:
        values = pd.to_numeric(pd.Series(file.read_text().split()), errors="coerce")
        records.append(
            {"day": file.parent.name, "vm": file.name, "cpu_percent": values.to_numpy(float)}
        )
    return pd.DataFrame(records, columns=["day", "vm", "cpu_percent"])
