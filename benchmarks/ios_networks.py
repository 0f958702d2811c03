"""Whole networks by IOS-Mixed with and without kernels by Halide, beside today's runtimes.

python benchmarks/ios_networks.py --halide-limit 900

For each network all take turns in one run. The last rows are geometric means.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import tyro

from mlsys_ray.cli.console import print_json, print_table, say
from mlsys_ray.cluster.environment import cpu_model, usable_cores
from mlsys_ray.ios.comparison import compare, our_variants
from mlsys_ray.ios.optimization import default_cache
from mlsys_ray.ios.peers import PeerTask
from mlsys_ray.ios.plan import KERNELS, Settings
from mlsys_ray.ios.sources import make_model

PEERS = ("onnxruntime", "openvino")
SETS = {"own": Settings().kernels, "own and halide": KERNELS}
RATIOS = ("best other runtime over it, minima", "medians")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Time networks by our kernels, by these and Halide's, and by other runtimes."""

    networks: tuple[str, ...] = ("squeezenet", "inception_v3", "randwire", "nasnet_a_large")
    """Built-in networks."""
    halide_seconds: float = 4.0
    """For measuring the schedules of one kernel by Halide [s]."""
    halide_limit: float = 600.0
    """Of each network, after which no further kernel by Halide is begun [s]."""
    search_seconds: float = 30.0
    """For measuring stages [s]."""
    rounds: int = 9
    """In each of which every tool is timed once."""
    json: bool = False
    """Print the rows as JSON on stdout, too."""


def main(benchmark: Benchmark) -> None:
    """Run it."""
    rows = []
    for network in benchmark.networks:
        found = time_network(network, benchmark)
        print_table(found, title=network)
        rows += found
    for tool in SETS:
        own = [row for row in rows if row["tool"] == tool]
        mean = {name: statistics.geometric_mean(row[name] for row in own) for name in RATIOS}
        rows.append({**dict.fromkeys(own[0]), "network": "geometric mean", "tool": tool, **mean})
    print_table(rows, title=f"{usable_cores()} threads, {cpu_model()}")
    if benchmark.json:
        print_json(rows)


def time_network(network: str, benchmark: Benchmark) -> list[dict[str, Any]]:
    """A row for each tool: latencies, and how many times its own the best other runtime's is."""
    module, example = make_model(network)
    task = PeerTask(model=module, example_inputs=[example], num_threads=usable_cores(), tell=say)
    own = {}
    for name, kernels in SETS.items():
        settings = Settings(
            budget_seconds=benchmark.search_seconds,
            cache=default_cache(),
            kernels=kernels,
            halide_seconds=benchmark.halide_seconds,
            halide_limit=benchmark.halide_limit,
        )
        own[name] = our_variants(task, ["ios_mixed"], settings)["ios_mixed"]
    found = compare(task, PEERS, own, rounds=benchmark.rounds)
    if absent := {**found.missing, **found.failed}:
        raise RuntimeError("; ".join(f"{tool}: {why}" for tool, why in absent.items()))
    least = min(found.timings[peer].min_ms for peer in PEERS)
    median = min(found.timings[peer].median_ms for peer in PEERS)
    return [
        {
            "network": network,
            "tool": tool,
            "min_ms": timing.min_ms,
            "median_ms": timing.median_ms,
            RATIOS[0]: least / timing.min_ms,
            RATIOS[1]: median / timing.median_ms,
        }
        for tool, timing in found.timings.items()
    ]


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
