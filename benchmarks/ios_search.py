"""Speed of IOS' search where stage costs are given: enumeration and dynamic programme.

python benchmarks/ios_search.py --json

One process, one core; the fastest of the rounds, compilation left out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro

from mlsys_ray.cli.console import print_json, print_table, say
from mlsys_ray.cluster.environment import cpu_model
from mlsys_ray.ios.blocks import blocks_of
from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.search.counts import Predecessors, within
from mlsys_ray.ios.search.dynamic_programme import cheapest
from mlsys_ray.ios.search.endings import EndingKind, StageSpace, stage_space
from mlsys_ray.ios.sources import make_model

LIMITS: dict[str, tuple[EndingKind, int | None, int | None]] = {
    "single-source, r = 3, s = 8": ("single-source", 3, 8),
    "general, unpruned": ("general", None, None),
}


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Time the search on random stage costs."""

    networks: tuple[str, ...] = ("squeezenet", "inception_v3", "nasnet_a_large", "randwire")
    """Built-in networks."""
    rounds: int = 3
    """Rounds of each."""
    json: bool = False
    """Print the table as JSON on stdout, too."""


def main(benchmark: Benchmark) -> None:
    """Run it."""
    rows: list[dict[str, Any]] = []
    for network in benchmark.networks:
        say(f"capturing {network}")
        module, example = make_model(network)
        graph = capture(module, [example]).graph
        blocks = [within(graph, block) for block in blocks_of(graph)]
        for name, limits in LIMITS.items():
            _search(blocks[:1], *limits)
            results = [_search(blocks, *limits) for _ in range(benchmark.rounds)]
            seconds, transitions = min(results)
            rows.append(
                {
                    "network": network,
                    "endings": name,
                    "transitions": transitions,
                    "seconds": round(seconds, 4),
                }
            )
    print_table(rows, title=f"{cpu_model()}, one core")
    if benchmark.json:
        print_json(rows)


def _search(
    blocks: list[Predecessors], endings: EndingKind, size: int | None, groups: int | None
) -> tuple[float, int]:
    """Seconds, and transitions of all blocks; blocks that are wired alike are enumerated once."""
    rng = np.random.default_rng(0)
    spaces: dict[Predecessors, StageSpace] = {}
    transitions = 0
    begin = time.perf_counter()
    for block in blocks:
        if block not in spaces:
            spaces[block] = stage_space(
                block, endings=endings, max_group_size=size, max_groups=groups
            )
        space = spaces[block]
        cheapest(space, rng.random(len(space.stages)))
        transitions += len(space.ending)
    return time.perf_counter() - begin, transitions


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
