"""Latency of each operator of a network by each kind of kernel, inside replays of the network.

python benchmarks/ios_kernels.py --network squeezenet --num-threads 1 --halide-seconds 10

All kernels take turns, the least of the rounds counts. The last rows are sums over all operators,
each by the fastest of the kernels named; the engine takes another kernel than oneDNN's for a gain
beyond 1% only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tyro

from mlsys_ray.cli.console import print_json, print_table, say
from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.cost_cache import CostCache
from mlsys_ray.ios.engines.onednn.costs import Costs
from mlsys_ray.ios.engines.onednn.halide_making import make_kernels
from mlsys_ray.ios.engines.onednn.network import Network
from mlsys_ray.ios.engines.onednn.runtime import Pool, native
from mlsys_ray.ios.plan import KERNELS, by_block
from mlsys_ray.ios.sources import make_model

OURS = ("onednn", "winograd", "direct", "fused")
SETS = (("onednn",), OURS, ("onednn", "halide"), KERNELS)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Time all kernels of a network's operators."""

    network: str = "squeezenet"
    """See `mlsys-ray ios optimize`."""
    num_threads: int = 2
    """Of the engine."""
    halide_seconds: float = 4.0
    """For measuring the schedules of one kernel by Halide [s]."""
    halide_limit: float = 180.0
    """After which no further kernel by Halide is begun [s]."""
    rounds: int = 9
    """Of which the least latency counts."""
    json: bool = False
    """Print the rows as JSON, too."""


def main(benchmark: Benchmark) -> None:
    """Run it."""
    module, example = make_model(benchmark.network)
    graph = capture(module, [example]).graph
    pool = Pool(benchmark.num_threads, native())
    network = Network(graph, pool, by_block(graph), halide=True)
    costs = Costs(network, CostCache(None, {}), say, rounds=benchmark.rounds)
    usual = costs.choose(benchmark.num_threads, "onednn")[1]
    make_kernels(
        network,
        usual,
        seconds_each=benchmark.halide_seconds,
        seconds_in_all=benchmark.halide_limit,
        say=say,
    )
    measured = costs.latencies(benchmark.num_threads)
    rows = [
        {
            "operator": operator.name,
            "kind": operator.kind,
            **{f"{kernel}_ms": _least(measured, number, (kernel,)) for kernel in KERNELS},
        }
        for number, operator in enumerate(graph.operators)
    ]
    sums = {
        " ".join(kernels): sum(
            _least(measured, number, ("pytorch", *kernels)) or 0.0
            for number in range(len(graph.operators))
        )
        for kernels in SETS
    }
    network.close()
    pool.close()
    print_table(rows, title=f"{benchmark.network}, {benchmark.num_threads} threads")
    print_table([{"fastest of": name, "sum_ms": value} for name, value in sums.items()])
    if benchmark.json:
        print_json({"operators": rows, "sums_ms": sums})


def _least(
    measured: Mapping[str, np.ndarray], operator: int, kernels: tuple[str, ...]
) -> float | None:
    """The least latency of an operator by some kernels [ms]; None where none knows it."""
    own = [s[operator] for variant, s in measured.items() if variant.partition("/")[0] in kernels]
    least = min(own, default=np.inf)
    return round(1e3 * float(least), 4) if np.isfinite(least) else None


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
