"""How a study scales with nodes, and what saturates first on the way to a thousand of them.

python benchmarks/study_scaling.py --json

Starts a cluster of two single-core nodes on this machine, or takes the one of `make cluster`, and
runs the same study of short trials on one node, while the other's core is held, and on both. Trials
that wait take no core, so that their ratio shows what the study itself costs; trials that compute
share the machine's cores with whatever else runs. Then the parts that every node of a large cluster
leans on are measured alone, and the sizes at which they saturate are computed from that, with the
arithmetic beside them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from mlsys_ray.cli.console import print_json, print_table, say
from mlsys_ray.cluster.environment import cpu_model, usable_cores
from mlsys_ray.cluster.local_cluster import LocalCluster
from mlsys_ray.cluster.run_directory import RunDirectory
from mlsys_ray.cluster.session import ray_session
from mlsys_ray.cluster.trials import run_missing

NODES = 1000
TRIAL_SECONDS = 60.0
"""Of a trial of a real study."""
RESNET18 = 11_173_962
"""Parameters of ResNet-18 on CIFAR-10."""
NETWORK_BYTES = 1.25e9
"""A second, of a network of 10 Gbit/s."""
LOAD, REPLICATION = 5, 3
ARRAY_BYTES = 32_000_000


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Measure a study on one and on two nodes, and what saturates first."""

    trials: int = 24
    """Trials of each study."""
    seconds: float = 1.0
    """Of a trial: of waiting, or of a core's time."""
    tasks: int = 2000
    """Empty tasks sent out at once."""
    address: str | None = None
    """Of a cluster of two nodes of one CPU each that runs already."""
    json: bool = False
    """Print the tables as JSON on stdout, too."""


def wait(trial: dict[str, Any], path: Path) -> dict[str, Any]:
    """A trial that takes no core."""
    with RunDirectory.create(path, trial, experiment="wait") as run:
        time.sleep(trial["seconds"])
        run.finish({})
    return {"number": trial["number"]}


def compute(trial: dict[str, Any], path: Path) -> dict[str, Any]:
    """A trial that takes a core's time."""
    with RunDirectory.create(path, trial, experiment="compute") as run:
        end = time.thread_time() + trial["seconds"]
        while time.thread_time() < end:
            sum(range(10_000))
        run.finish({})
    return {"number": trial["number"]}


def study_seconds(what: Any, num_trials: int, seconds: float, folder: Path) -> float:
    """How long a study takes."""
    trials = {
        folder / f"trial-{number}": {"number": number, "seconds": seconds}
        for number in range(num_trials)
    }
    begin = time.perf_counter()
    run_missing(trials, what)
    return time.perf_counter() - begin


@contextlib.contextmanager
def held(count: int) -> Iterator[None]:
    """Keep the cores of so many nodes, other than the driver's, from a study."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    others = [n["NodeID"] for n in ray.nodes() if n["Alive"] and n["NodeID"] != here]
    actors: list[Any] = [
        ray.remote(Idle)
        .options(num_cpus=1, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
        .remote()
        for node in others[:count]
    ]
    ray.get([actor.ready.remote() for actor in actors])
    yield
    for actor in actors:
        ray.kill(actor)


class Idle:
    """An actor that does nothing."""

    def ready(self) -> None:
        """It holds its core."""


def scaling(settings: Benchmark, folder: Path) -> list[dict[str, Any]]:
    """Rows of studies on one and on two nodes."""
    kinds = {"waits": (wait, settings.seconds), "computes": (compute, settings.seconds)}
    kinds["is empty"] = (wait, 0.0)
    rows: list[dict[str, Any]] = []
    for name, count in product(kinds, (1, 2)):
        what, seconds = kinds[name]
        with held(2 - count):
            # The first trials wait for their processes to start.
            study_seconds(what, count, 0.0, folder / f"warm-{name}-{count}")
            taken = study_seconds(what, settings.trials, seconds, folder / f"{name}-{count}")
        rate = settings.trials / taken
        base = next((row for row in rows if row["trial"] == name), None)
        rows.append(
            {
                "trial": name,
                "nodes": count,
                "trials": settings.trials,
                "seconds": taken,
                "trials_per_second": rate,
                "ratio": rate / base["trials_per_second"] if base else 1.0,
            }
        )
        say(f"{count} node(s), trial {name}: {rate:.2f} trials/s")
    return rows


def task_rate(count: int) -> float:
    """Empty tasks per second of one driver."""
    import ray

    empty = ray.remote(num_cpus=0.5)(_nothing)
    ray.get([empty.remote() for _ in range(20)])
    begin = time.perf_counter()
    ray.get([empty.remote() for _ in range(count)])
    return count / (time.perf_counter() - begin)


def _nothing() -> None:
    return None


def store_rates() -> tuple[float, float]:
    """Bytes per second that a driver puts into its node's store, and that another node fetches."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    array = np.zeros(ARRAY_BYTES, np.uint8)
    begin = time.perf_counter()
    reference = ray.put(array)
    put = ARRAY_BYTES / (time.perf_counter() - begin)
    here = ray.get_runtime_context().get_node_id()
    (other,) = [n["NodeID"] for n in ray.nodes() if n["Alive"] and n["NodeID"] != here]
    fetch = ray.remote(num_cpus=1)(_fetch).options(
        scheduling_strategy=NodeAffinitySchedulingStrategy(other, soft=False)
    )
    ray.get(fetch.remote([ray.put(b"")]))
    return put, ARRAY_BYTES / ray.get(fetch.remote([reference]))


def _fetch(references: list[Any]) -> float:
    import ray

    begin = time.perf_counter()
    ray.get(references[0])
    return time.perf_counter() - begin


def server_rates() -> tuple[float, float]:
    """Bytes per second that a parameter server checks (SHA-256), and that it aggregates."""
    from mlsys_ray.byzshield.aggregation.median import Median
    from mlsys_ray.byzshield.voting import digest

    gradients = np.random.default_rng(0).standard_normal((25, 1_000_000), dtype=np.float32)
    rule = Median()
    rule.aggregate(gradients)
    begin = time.perf_counter()
    rule.aggregate(gradients)
    aggregated = gradients.nbytes / (time.perf_counter() - begin)
    begin = time.perf_counter()
    digest(0, 0, gradients.reshape(-1))
    return gradients.nbytes / (time.perf_counter() - begin), aggregated


def limits(
    trials_per_second: float, tasks: float, put: float, fetch: float, check: float, aggregate: float
) -> list[dict[str, Any]]:
    """What one thousand nodes ask of each part, and how many nodes it bears."""
    files = NODES * LOAD / REPLICATION
    size = 4 * RESNET18
    arriving = files * size / NETWORK_BYTES
    checking, aggregating = files * size / check, files * size / aggregate
    return [
        {
            "part": "driver of a study",
            "measured": f"{trials_per_second:.1f} trials/s",
            "arithmetic": f"{NODES} nodes / {TRIAL_SECONDS:g} s a trial ="
            f" {NODES / TRIAL_SECONDS:.1f} trials/s",
            "saturates at": f"{trials_per_second * TRIAL_SECONDS:.0f} nodes",
        },
        {
            "part": "head: tasks of one driver",
            "measured": f"{tasks:.0f} tasks/s",
            "arithmetic": f"{NODES} nodes / 1 s a task = {NODES} tasks/s",
            "saturates at": f"{tasks:.0f} nodes",
        },
        {
            "part": "object store of the driver's node",
            "measured": f"put {put / 1e9:.2f}, fetch {fetch / 1e9:.2f} GB/s",
            "arithmetic": f"data set of 0.18 GB to {NODES} nodes, all from one:"
            f" {NODES * 0.18 / min(fetch / 1e9, NETWORK_BYTES / 1e9):.0f} s, once a run",
            "saturates at": "not: once a run",
        },
        {
            "part": "parameter server (ResNet-18, l = 5, r = 3)",
            "measured": f"checks {check / 1e9:.2f}, aggregates {aggregate / 1e9:.2f} GB/s",
            "arithmetic": f"{NODES} x {LOAD} / {REPLICATION} = {files:.0f} files x"
            f" {size / 1e6:.0f} MB: {arriving:.0f} s by 10 Gbit/s + {checking:.0f} s checked"
            f" + {aggregating:.0f} s aggregated, an iteration",
            "saturates at": f"{NODES / (arriving + checking + aggregating):.0f} nodes"
            " for 1 s an iteration",
        },
    ]


@contextlib.contextmanager
def two_nodes() -> Iterator[str]:
    """The address of a cluster of two nodes, that this process may attach to."""
    # Sockets lie in it, whose paths may not be long.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    nodes = LocalCluster(folder)
    try:
        nodes.start()
        os.environ.update(nodes.environment)
        os.environ.pop("RAY_AUTH_TOKEN", None)
        yield nodes.address
    finally:
        nodes.close()
        shutil.rmtree(folder, ignore_errors=True)


def main(settings: Benchmark) -> None:
    """Measure, and print the tables."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        address = settings.address or stack.enter_context(two_nodes())
        stack.enter_context(ray_session(address))
        studies = scaling(settings, Path(folder))
        empty = max(r["trials_per_second"] for r in studies if r["trial"] == "is empty")
        parts = limits(empty, task_rate(settings.tasks), *store_rates(), *server_rates())
    machine = f"{cpu_model()}, {usable_cores()} cores"
    print_table(studies, title=f"One study on single-core nodes ({machine})")
    print_table(parts, title=f"{NODES} nodes")
    if settings.json:
        print_json({"machine": machine, "studies": studies, "limits": parts})


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
