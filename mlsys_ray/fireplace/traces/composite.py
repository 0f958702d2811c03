"""Composites: more VMs than were recorded, and use from another recording."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np

from mlsys_ray.data import find_data
from mlsys_ray.fireplace.trace import Trace, presence
from mlsys_ray.fireplace.traces.openb import read_openb
from mlsys_ray.fireplace.traces.planetlab import INTERVAL, SAMPLES, read_planetlab_use

Rows = Literal["grouped", "blind"]
OPENB_FILE = "openb_pod_list_default.csv"
PLANETLAB_FILE = "planetlab_cpu.parquet"
PLANETLAB_FOLDER = "planetlab-workload-traces-master"
"""The published text files, as `mlsys-ray fetch planetlab` leaves them."""
PLANETLAB_DAYS = (
    "20110303",
    "20110306",
    "20110309",
    "20110322",
    "20110325",
    "20110403",
    "20110409",
)
"""Those of the ten published days that all results here rest on."""
LONGEST_LIFE = 86_400.0
ROWS_OF_A_GROUP = 6
LARGEST_REQUEST = 4.5
"""Largest request, in mean requests: 5% of a PM that 45 mean VMs fill by half."""
PARTS = {"train": (0.0, 0.4), "validation": (0.4, 0.5), "test": (0.5, 1.0)}
"""The part of the pods, in order of their creation, that each segment is made of."""


def overlay(trace: Trace, *, num_vms: int, alive: float, seed: int) -> Trace:
    """Lay copies of a trace over one another until there are enough VMs.

    Each copy is shifted by a random time, and times wrap around the horizon that makes the mean
    number of VMs alive `alive`; so bursts and lives stay as recorded.

    Args:
        trace: what is copied; its use series start at the same part of a tick as recorded.
        num_vms: N of the result.
        alive: mean number of VMs alive.
        seed: of the shifts.
    """
    rng = np.random.default_rng(seed)
    life = trace.end - trace.arrival
    horizon = max(int(np.ceil(num_vms * life.mean() / alive / trace.tick)), 1)
    copies = -(-num_vms // trace.num_vms)
    # The last copy is a sample, so that no part of the recording is left out.
    vm = np.concatenate(
        [np.arange(trace.num_vms)] * (copies - 1) + [rng.permutation(trace.num_vms)]
    )
    vm = vm[:num_vms]
    # Whole ticks, so that a copied series stays aligned with them.
    shift = np.repeat(rng.integers(0, horizon, copies), trace.num_vms)[:num_vms]
    first = (trace.first_tick[vm] + shift) % horizon
    moved = (first - trace.first_tick[vm]) * trace.tick
    order = np.argsort(trace.arrival[vm] + moved, kind="stable")
    vm, moved = vm[order], moved[order]
    lengths = np.diff(trace.use_offset)[vm]
    offset = np.concatenate([[0], np.cumsum(lengths)])
    source = np.repeat(trace.use_offset[vm] - offset[:-1], lengths) + np.arange(offset[-1])
    return trace.replaced(
        arrival=trace.arrival[vm] + moved,
        end=trace.end[vm] + moved,
        request=trace.request[vm],
        function=trace.function[vm],
        use=trace.use[source],
        use_offset=offset,
    )


def find_trace(name: str, *files: str, data_dir: Path | None = None) -> Path:
    """A recorded trace, in one of the places for data or its folder `traces`.

    Args:
        name: of the recording, for the error.
        files: names of the file or folder, the best first.
        data_dir: searched first.

    Raises:
        DataNotFoundError: naming every place.
    """
    candidates = [place for file in files for place in (file, f"traces/{file}")]
    return find_data(name, candidates, data_dir)


def find_recordings(data_dir: Path | None = None) -> tuple[Path, Path]:
    """Where OpenB's pods and PlanetLab's use are.

    Raises:
        DataNotFoundError: one of them is in none of the places searched.
    """
    return (
        find_trace("openb", OPENB_FILE, data_dir=data_dir),
        find_trace("planetlab", PLANETLAB_FILE, PLANETLAB_FOLDER, data_dir=data_dir),
    )


def openb_planetlab(
    segment: str,
    *,
    num_vms: int = 100_000,
    alive: float = 2250.0,
    seed: int = 0,
    rows: Rows = "grouped",
    data_dir: Path | None = None,
) -> Trace:
    """Pods of OpenB with CPU use of PlanetLab VMs, 60-s ticks.

    Lives are capped at one day; two published pods are broken (no memory, no life) and left out.
    The pods of a segment are laid over one another (`overlay`). A VM reads a PlanetLab row in real
    time from a random moment on; with `rows="grouped"` it is one of 6 rows that its function (CPU,
    memory, GPUs, QoS) always draws from, else any. Memory use is steady around a mean of the
    function, as the generator's. Requests are clipped at `LARGEST_REQUEST` means: as recorded, one
    pod takes what a hundred others do and decides the peak alone, whatever a policy does.

    Args:
        segment: a key of `PARTS`.
        num_vms: N.
        alive: mean number of VMs alive.
        seed: of the shifts, rows and moments.
        rows: how a VM's row is drawn.
        data_dir: searched first for both files.

    Raises:
        DataNotFoundError: one of the files is in none of the places searched.
        ValueError: a file is damaged.
    """
    openb, planetlab = find_recordings(data_dir)
    pods = read_openb(openb, skip_broken=True).trace
    library, _ = read_planetlab_use(planetlab, days=PLANETLAB_DAYS)
    low, high = (int(part * pods.num_vms) for part in PARTS[segment])
    part = pods.slice(low, high)
    part = part.replaced(
        request=np.minimum(part.request, LARGEST_REQUEST * part.request.mean(axis=0)),
        end=np.minimum(part.end, part.arrival + LONGEST_LIFE),
        **_no_use(part.arrival, np.minimum(part.end, part.arrival + LONGEST_LIFE), part.tick),
    )
    trace = overlay(part, num_vms=num_vms, alive=alive, seed=seed)
    rng = np.random.default_rng([seed, 1])
    return trace.replaced(name="openb+planetlab", **_use(trace, library, rows, rng))


def _no_use(arrival: np.ndarray, end: np.ndarray, tick: float) -> dict[str, np.ndarray]:
    offset, share = presence(arrival, end, tick)
    return {"use": np.zeros((len(share), 2), np.float32), "use_offset": offset}


def _use(
    trace: Trace, library: np.ndarray, rows: Rows, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    offset, share = presence(trace.arrival, trace.end, trace.tick)
    counts = np.diff(offset)
    row = rng.integers(0, len(library), trace.num_vms)
    # A function's rows and memory follow from its name, so that they are the same in every segment.
    own = [np.random.default_rng(crc32(name.encode())) for name in trace.functions]
    if rows == "grouped":
        choices = np.stack([g.integers(0, len(library), ROWS_OF_A_GROUP) for g in own])
        row = choices[trace.function, rng.integers(0, ROWS_OF_A_GROUP, trace.num_vms)]
    memory_share = np.array([g.beta(4.0, 8.0) for g in own])[trace.function]
    memory_share *= np.exp(rng.normal(0, 0.1, trace.num_vms))
    moment = rng.random(trace.num_vms) * SAMPLES * INTERVAL
    position = np.arange(offset[-1]) - np.repeat(offset[:-1], counts)
    time = np.repeat(moment, counts) + position * trace.tick
    sample = (time // INTERVAL).astype(np.int64) % SAMPLES
    cpu = library[np.repeat(row, counts), sample]
    memory = np.repeat(memory_share, counts) * np.exp(rng.normal(0, 0.03, len(cpu)))
    parts = np.stack([cpu, np.minimum(memory, 1.0)], axis=1) * share[:, None]
    use = parts * np.repeat(trace.request, counts, axis=0)
    return {"use": use.astype(np.float32), "use_offset": offset}
