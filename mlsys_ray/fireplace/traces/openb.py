"""OpenB: pods of an Alibaba GPU cluster (Weng et al., "Beware of Fragmentation", ATC 2023)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlsys_ray.fireplace.traces.base import ReadTrace, cpu_memory_trace
from mlsys_ray.fireplace.traces.rows import Rows

COLUMNS = (
    "name",
    "cpu_milli",
    "memory_mib",
    "num_gpu",
    "qos",
    "creation_time",
    "deletion_time",
)


def read_openb(path: Path, *, tick: float = 60.0, skip_broken: bool = False) -> ReadTrace:
    """Read `openb_pod_list_*.csv`; a pod's function is its (CPU, memory, GPUs, QoS class)."""
    rows = Rows.read_csv(path, COLUMNS)
    cpu = rows.number("cpu_milli", above=0) / 1000
    memory = rows.number("memory_mib", above=0)
    gpus = rows.number("num_gpu", least=0)
    qos = rows.text("qos")
    created = rows.number("creation_time", least=0)
    deleted = rows.number("deletion_time")
    created = created.loc[rows.index]
    rows.refuse(deleted <= created, "deletion_time is not after creation_time")
    broken = rows.close(skip_broken=skip_broken)
    left = rows.index
    function = [
        f"{c:g} cores, {m:g} MiB, {g:g} GPUs, {q}"
        for c, m, g, q in zip(cpu[left], memory[left], gpus[left], qos[left], strict=True)
    ]
    return ReadTrace(
        cpu_memory_trace(
            "openb",
            tick,
            created[left].to_numpy(),
            deleted[left].to_numpy(),
            np.stack([cpu[left], memory[left]], axis=1),
            function,
        ),
        broken,
    )
