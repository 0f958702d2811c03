"""Blocks: parts of a graph that are scheduled one after another (section 4.2).

The optimum of a network is that of its single-entry single-exit parts, one after another. Where
such a part is too large for the search, as in networks whose cells read the two cells before them,
it is cut further, at joins that few values pass.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlsys_ray.ios.graph import Graph, Operator, ancestors

MAX_OPERATORS = 40
MAX_CROSSING = 2

Block = tuple[int, ...]


def blocks_of(graph: Graph, max_operators: int = MAX_OPERATORS) -> list[Block]:
    """The blocks of a graph, as indices of operators, in the order in which they run.

    Args:
        graph: whose operators are cut into blocks.
        max_operators: of a block, more are cut into consecutive parts; at most 64.

    Raises:
        ValueError: `max_operators` is not in 1 to 64.
    """
    if not 1 <= max_operators <= 64:
        raise ValueError(f"max_operators must be in 1 to 64, is {max_operators}")
    segments = _segments(graph.predecessors, _outputs(graph))
    return [
        part
        for segment in _with_chains_joined(segments)
        for part in (
            [segment] if len(segment) <= max_operators else _parts(graph, segment, max_operators)
        )
    ]


def _outputs(graph: Graph) -> set[int]:
    return {graph.index[name] for name in graph.outputs if name in graph.index}


def _segments(predecessors: Sequence[Sequence[int]], outputs: set[int]) -> list[Block]:
    """Operators between those that every path passes, each with the one that ends it."""
    last_use = {source: i for i, sources in enumerate(predecessors) for source in sources}
    segments: list[Block] = []
    begin = reach = 0
    for i in range(len(predecessors)):
        # Later operators that take nothing from earlier ones would run beside them.
        awaited = reach > i or any(not p for p in predecessors[i + 1 :])
        if not awaited:
            segments.append(tuple(range(begin, i + 1)))
            begin = i + 1
        reach = max(reach, len(predecessors) if i in outputs else last_use.get(i, 0))
    if begin < len(predecessors):
        segments.append(tuple(range(begin, len(predecessors))))
    return segments


def _with_chains_joined(segments: Sequence[Block]) -> list[Block]:
    """Consecutive segments of one operator each are one block."""
    joined: list[Block] = []
    in_chain = False
    for segment in segments:
        if in_chain and len(segment) == 1:
            joined[-1] += segment
        else:
            joined.append(segment)
        in_chain = len(segment) == 1
    return joined


def _parts(graph: Graph, segment: Block, max_operators: int) -> list[Block]:
    """Cut a segment at joins that at most `MAX_CROSSING` values pass, as evenly as they allow."""
    own = set(segment)
    local = {operator: i for i, operator in enumerate(segment)}
    predecessors = [
        [local[p] for p in graph.predecessors[operator] if p in own] for operator in segment
    ]
    before = ancestors(predecessors)
    operators = [graph.operators[operator] for operator in segment]
    cuts = [
        before[i] | 1 << i
        for i in range(len(segment))
        if len(predecessors[i]) > 1
        and _crossing(operators, before[i] | 1 << i, graph.outputs) <= MAX_CROSSING
    ]
    whole = (1 << len(segment)) - 1
    done, parts = 0, []
    for cut in _most_even_chain(cuts, whole):
        members = [segment[i] for i in range(len(segment)) if (cut & ~done) >> i & 1]
        done = cut
        parts += [
            tuple(members[begin : begin + max_operators])
            for begin in range(0, len(members), max_operators)
        ]
    return parts


def _crossing(operators: Sequence[Operator], prefix: int, outputs: Sequence[str]) -> int:
    """How many values given before the operators outside a prefix are used by them, or leave."""
    later = [operator for i, operator in enumerate(operators) if not prefix >> i & 1]
    used = {name for operator in later for name in operator.inputs}
    leaving = {operator.name for operator in operators if operator.name in outputs}
    return len((used | leaving) - {operator.name for operator in later})


def _most_even_chain(cuts: Sequence[int], whole: int) -> list[int]:
    """The chain of prefixes, ending with the whole, whose parts have the least sum of squares."""
    ordered = sorted({*cuts, whole}, key=int.bit_count)
    best: dict[int, tuple[int, list[int]]] = {0: (0, [])}
    for cut in ordered:
        options = [
            (total + (cut & ~earlier).bit_count() ** 2, [*chain, cut])
            for earlier, (total, chain) in best.items()
            if earlier & ~cut == 0
        ]
        best[cut] = min(options, key=lambda option: option[0])
    return best[whole][1]
