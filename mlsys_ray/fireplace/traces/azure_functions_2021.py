"""Azure Functions 2021: one row an invocation (Zhang et al., SOSP 2021)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlsys_ray.fireplace.traces.base import ReadTrace, cpu_memory_trace
from mlsys_ray.fireplace.traces.rows import Rows

MEMORY = 170.0
"""Memory of every VM [MiB]; the trace has none, half the apps of 2019 allocate at most this."""
MEMORY_PER_CORE = 1769.0


def read_azure_functions_2021(
    path: Path, *, tick: float = 10.0, skip_broken: bool = False
) -> ReadTrace:
    """Read `AzureFunctionsInvocationTrace*.txt`: app, func, end_timestamp [s], duration [s].

    Each invocation is a VM that lives for its duration. Durations below 1 ms count as 1 ms.
    """
    rows = Rows.read_csv(path, ("app", "func", "end_timestamp", "duration"))
    function = rows.text("func")
    end = rows.number("end_timestamp")
    duration = rows.number("duration", least=0).clip(lower=1e-3)
    broken = rows.close(skip_broken=skip_broken)
    left = rows.index
    # The first invocations may have begun before the recording.
    ended = end[left].to_numpy()
    begun = ended - duration[left].to_numpy()
    shift = max(0.0, -begun.min())
    request = np.tile([MEMORY / MEMORY_PER_CORE, MEMORY], (len(left), 1))
    trace = cpu_memory_trace(
        "azure-functions-2021", tick, begun + shift, ended + shift, request, function[left].tolist()
    )
    return ReadTrace(trace, broken)
