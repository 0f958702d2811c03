"""Where traces come from: one file a format, one the generator."""

from __future__ import annotations

from pathlib import Path

from mlsys_ray.fireplace.traces.azure_functions_2019 import read_azure_functions_2019
from mlsys_ray.fireplace.traces.azure_functions_2021 import read_azure_functions_2021
from mlsys_ray.fireplace.traces.azure_packing_2020 import read_azure_packing_2020
from mlsys_ray.fireplace.traces.azure_vm import read_azure_vm
from mlsys_ray.fireplace.traces.base import Reader, ReadTrace
from mlsys_ray.fireplace.traces.huawei_east_1 import read_huawei_east_1
from mlsys_ray.fireplace.traces.openb import read_openb
from mlsys_ray.fireplace.traces.planetlab import read_planetlab
from mlsys_ray.fireplace.traces.table import read_table

FORMATS: dict[str, tuple[Reader, float]] = {
    "azure_functions_2019": (read_azure_functions_2019, 10.0),
    "azure_functions_2021": (read_azure_functions_2021, 10.0),
    "azure_packing_2020": (read_azure_packing_2020, 300.0),
    "azure_vm": (read_azure_vm, 300.0),
    "huawei_east_1": (read_huawei_east_1, 300.0),
    "openb": (read_openb, 60.0),
    "planetlab": (read_planetlab, 300.0),
    "table": (read_table, 10.0),
}
"""Format -> its reader and its usual tick [s]."""


def read_trace(
    path: Path, *, format: str = "table", tick: float | None = None, skip_broken: bool = False
) -> ReadTrace:
    """Read a recorded trace.

    Args:
        path: the file.
        format: a key of `FORMATS`.
        tick: telemetry interval [s]; None for the format's usual one.
        skip_broken: leave broken rows out, and report them, instead of refusing the file.

    Raises:
        ValueError: the format is unknown, or see `Reader`.
    """
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}; accepted: {', '.join(FORMATS)}")
    if not path.exists():
        raise ValueError(f"trace {path} does not exist")
    if format == "table":
        return read_table(path, tick=tick, skip_broken=skip_broken)
    reader, usual = FORMATS[format]
    return reader(path, tick=tick or usual, skip_broken=skip_broken)
