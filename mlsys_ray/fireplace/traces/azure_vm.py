"""Azure VM traces of 2017 and 2019: `vmtable.csv` (Cortez et al., SOSP 2017)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlsys_ray.fireplace.traces.base import ReadTrace, cpu_memory_trace, steady_use
from mlsys_ray.fireplace.traces.rows import Rows

COLUMNS = (
    "vmid",
    "subscriptionid",
    "deploymentid",
    "vmcreated",
    "vmdeleted",
    "maxcpu",
    "avgcpu",
    "p95maxcpu",
    "vmcategory",
    "vmcorecountbucket",
    "vmmemorybucket",
)


def read_azure_vm(path: Path, *, tick: float = 300.0, skip_broken: bool = False) -> ReadTrace:
    """Read `vmtable.csv` or `.csv.gz`, which has no header: times [s], cores and memory [GB].

    Buckets as ">24" count as 30 cores and ">64" as 70 GB, as the publishers advise. CPU use is
    steady at the VM's recorded mean; the 5-minute readings are in other files. A VM's function is
    its deployment.
    """
    rows = Rows.read_csv(path, COLUMNS, header=False)
    table = rows.table
    table["vmcorecountbucket"] = table["vmcorecountbucket"].replace(">24", "30")
    table["vmmemorybucket"] = table["vmmemorybucket"].replace(">64", "70")
    created = rows.number("vmcreated", least=0)
    deleted = rows.number("vmdeleted")
    rows.refuse(deleted <= created.loc[deleted.index], "vmdeleted is not after vmcreated")
    mean = rows.number("avgcpu", least=0)
    cores = rows.number("vmcorecountbucket", above=0)
    memory = rows.number("vmmemorybucket", above=0)
    deployment = rows.text("deploymentid")
    broken = rows.close(skip_broken=skip_broken)
    left = rows.index
    trace = cpu_memory_trace(
        "azure-vm",
        tick,
        created[left].to_numpy(),
        deleted[left].to_numpy(),
        np.stack([cores[left], memory[left] * 1024], axis=1),
        deployment[left].tolist(),
    )
    order = np.argsort(created[left].to_numpy(), kind="stable")
    rate = trace.request * np.stack(
        [np.minimum(mean[left].to_numpy()[order] / 100, 1.0), np.full(len(left), 0.6)], axis=1
    )
    use = steady_use(trace.arrival, trace.end, rate, tick)
    return ReadTrace(trace.replaced(**use), broken)
