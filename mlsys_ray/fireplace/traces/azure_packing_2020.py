"""Azure packing trace of 2020: an SQLite file (Hadary et al., "Protean", OSDI 2020)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd

from mlsys_ray.fireplace.traces.base import ReadTrace, cpu_memory_trace
from mlsys_ray.fireplace.traces.rows import Rows

DAY = 86_400.0
QUERY = """
    SELECT vm.vmId, vm.tenantId, vm.starttime, vm.endtime, size.core, size.memory
    FROM vm JOIN (SELECT vmTypeId, MIN(core) AS core, MIN(memory) AS memory
                  FROM vmType GROUP BY vmTypeId) AS size
    ON vm.vmTypeId = size.vmTypeId ORDER BY vm.starttime
"""


def read_azure_packing_2020(
    path: Path, *, tick: float = 300.0, skip_broken: bool = False
) -> ReadTrace:
    """Read the tables vm and vmType: times in days, sizes as parts of a machine.

    A type's size is that on the machine where it takes the least part. VMs without an end live to
    the end of the recording. Requests are in machines and not in cores and MiB. A VM's function is
    its tenant. Lines are rows in the order of start times, from 2 on.
    """
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            table = pd.read_sql_query(QUERY, connection)
    except (sqlite3.Error, pd.errors.DatabaseError) as error:
        raise ValueError(f"{path} is no packing trace: {error}") from error
    rows = Rows(table, path, ("vmId", "tenantId", "starttime", "endtime", "core", "memory"))
    last = table[["starttime", "endtime"]].max(numeric_only=True).max()
    rows.table["endtime"] = rows.table["endtime"].fillna(last)
    start = rows.number("starttime")
    end = rows.number("endtime")
    rows.refuse(end <= start.loc[end.index], "endtime is not after starttime")
    core = rows.number("core", above=0)
    memory = rows.number("memory", above=0)
    tenant = rows.text("tenantId")
    broken = rows.close(skip_broken=skip_broken)
    left = rows.index
    trace = cpu_memory_trace(
        "azure-packing-2020",
        tick,
        start[left].to_numpy() * DAY,
        end[left].to_numpy() * DAY,
        np.stack([core[left], memory[left]], axis=1),
        [str(name) for name in tenant[left]],
    )
    return ReadTrace(trace, broken)
