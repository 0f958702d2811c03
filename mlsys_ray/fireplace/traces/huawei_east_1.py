"""Huawei-East-1: creations and deletions of VMs (Sheng et al., VMAgent, 2021)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlsys_ray.fireplace.traces.base import ReadTrace, cpu_memory_trace
from mlsys_ray.fireplace.traces.rows import Rows

CREATION, DELETION = 0.0, 1.0


def read_huawei_east_1(path: Path, *, tick: float = 300.0, skip_broken: bool = False) -> ReadTrace:
    """Read vmid, cpu [cores], memory [GB], time [s] and type (0 creation, 1 deletion).

    VMs that are never deleted live to the end of the recording. A VM's function is its size.
    """
    rows = Rows.read_csv(path, ("vmid", "cpu", "memory", "time", "type"))
    rows.text("vmid")
    rows.number("time", least=0)
    kind = rows.number("type")
    rows.refuse(~kind.isin([CREATION, DELETION]), "type is neither 0 nor 1")
    rows.number("cpu", above=0)
    rows.number("memory", above=0)
    table = rows.table
    created = table[table["type"].astype(float) == CREATION]
    deleted = table[table["type"].astype(float) == DELETION]
    for events, what in ((created, "created"), (deleted, "deleted")):
        twice = events["vmid"].duplicated()
        rows.refuse(twice, f"vmid is {what} twice")
    rows.refuse(~deleted["vmid"].isin(created["vmid"]), "vmid is deleted but never created")
    created, deleted = (events.loc[events.index.isin(rows.index)] for events in (created, deleted))
    end_of = deleted.set_index("vmid")["time"].astype(float)
    start = created["time"].astype(float)
    last = max(start.max(), end_of.max() if len(end_of) else 0.0) + tick
    end = created["vmid"].map(end_of).fillna(last)
    rows.refuse(end <= start, "vmid is deleted no later than it is created")
    broken = rows.close(skip_broken=skip_broken)
    left = created.index.isin(rows.index)
    cpu, memory = (created[name].astype(float)[left] for name in ("cpu", "memory"))
    trace = cpu_memory_trace(
        "huawei-east-1",
        tick,
        start[left].to_numpy(),
        end[left].to_numpy(),
        np.stack([cpu, memory * 1024], axis=1),
        [f"{c:g} cores, {m:g} GB" for c, m in zip(cpu, memory, strict=True)],
    )
    return ReadTrace(trace, broken)
