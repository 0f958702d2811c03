"""How large the search is: widths, states, transitions, schedules (table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from mlsys_ray.ios.blocks import Block, blocks_of
from mlsys_ray.ios.graph import Graph, ancestors
from mlsys_ray.ios.search.endings import EndingKind, stage_space

Predecessors = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Count:
    """The size of the search over a block.

    Attributes:
        operators: n.
        width: d, the most operators of which none needs another.
        states: sets of operators left, the empty one left out.
        transitions: pairs of a state and an ending of it.
        schedules: ways from the block to the empty set.
    """

    operators: int
    width: int
    states: int
    transitions: int
    schedules: int


def count_blocks(
    graph: Graph,
    *,
    endings: EndingKind = "general",
    max_group_size: int | None = None,
    max_groups: int | None = None,
) -> list[Count]:
    """The size of the search over each block of a graph; see `stage_space` for the arguments."""
    known: dict[Predecessors, Count] = {}
    counts = []
    for block in blocks_of(graph):
        predecessors = within(graph, block)
        if predecessors not in known:
            space = stage_space(
                predecessors,
                endings=endings,
                max_group_size=max_group_size,
                max_groups=max_groups,
            )
            known[predecessors] = Count(
                operators=len(block),
                width=width(predecessors),
                states=len(space.states),
                transitions=len(space.ending),
                schedules=space.num_schedules(),
            )
        counts.append(known[predecessors])
    return counts


def as_rows(counts: Sequence[Count]) -> list[dict[str, Any]]:
    """A row for each block, numbered from 0."""
    return [{"block": i, **asdict(count)} for i, count in enumerate(counts)]


def within(graph: Graph, block: Block) -> Predecessors:
    """Of each operator of a block those of its predecessors that lie in it, as indices in it."""
    local = {operator: i for i, operator in enumerate(block)}
    return tuple(
        tuple(local[p] for p in graph.predecessors[operator] if p in local) for operator in block
    )


def width(predecessors: Predecessors) -> int:
    """The size of the largest antichain: n less a maximum matching (Dilworth, Fulkerson)."""
    n = len(predecessors)
    before = ancestors(predecessors)
    needs = np.array([[mask >> other & 1 for other in range(n)] for mask in before], dtype=np.int8)
    matched = maximum_bipartite_matching(csr_array(needs), perm_type="column")
    return n - int((matched >= 0).sum())
