"""Detection by the large sets of workers that agree with each other (Aspis)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from mlsys_ray.byzshield.detection.agreement import Agreement
from mlsys_ray.byzshield.detection.verdict import NOBODY, Verdict

# Liars decide how hard the search is, so it has an end; who is not convicted by then goes free.
MAX_STEPS = 1000


class _StepsExhausted(Exception):
    pass


def convict(found: Agreement, num_byzantine: int) -> Verdict:
    """Convict whoever is in no clique of K - q workers of which no two disagree.

    The honest workers are such a clique, under any code, but which one it is need not be clear.
    Aspis (Konstantinidis et al. 2023) takes the maximum clique where it is unique. That is wrong
    where liars disagree with fewer than q honest workers only: they and the rest are then the
    larger clique, and the honest ones are thrown out. Therefore all cliques of K - q workers count
    here, whether maximum or not. If there is none, more than q workers lied and nobody is
    convicted.

    The workers outside of a clique are a vertex cover of the graph of disagreements, and covers of
    at most q workers are what is searched.
    """
    graph = _Graph(found.disagree)
    try:
        suspects = graph.cover(graph.vertices, num_byzantine)
    except _StepsExhausted:
        return NOBODY
    if suspects is None:
        return NOBODY
    liars = set()
    for worker in _members(suspects):
        if not suspects >> worker & 1:
            continue
        others = graph.neighbours[worker]
        rest = graph.vertices & ~others & ~(1 << worker)
        try:
            alibi = graph.cover(rest, num_byzantine - others.bit_count())
        except _StepsExhausted:
            continue
        if alibi is None:
            liars.add(worker)
        else:
            suspects &= alibi | others
    return Verdict(frozenset(liars), num_byzantine - len(liars))


class _Graph:
    """The graph of disagreements; sets of workers are the bits of an integer."""

    def __init__(self, adjacency: np.ndarray) -> None:
        self._adjacency = adjacency
        self.neighbours = [sum(1 << int(v) for v in np.flatnonzero(row)) for row in adjacency]
        self.vertices = sum(1 << v for v, others in enumerate(self.neighbours) if others)
        self._steps = 0

    def cover(self, vertices: int, budget: int) -> int | None:
        """At most `budget` of the vertices that touch all edges among them, None if impossible.

        Raises:
            _StepsExhausted: the search takes too long.
        """
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _StepsExhausted
        greedy = self._greedy(vertices)
        if greedy.bit_count() <= budget:
            return greedy
        if budget <= 0 or self._least(vertices) > budget:
            return None
        degree, vertex = self._busiest(vertices)
        rest = vertices & ~(1 << vertex)
        found = self.cover(rest, budget - 1)
        if found is not None:
            return found | 1 << vertex
        others = self.neighbours[vertex] & vertices
        found = self.cover(rest & ~others, budget - degree)
        return None if found is None else found | others

    def _busiest(self, vertices: int) -> tuple[int, int]:
        """The highest degree and the first vertex that has it."""
        degrees = [((self.neighbours[v] & vertices).bit_count(), -v) for v in _members(vertices)]
        degree, negative = max(degrees, default=(0, 0))
        return degree, -negative

    def _greedy(self, vertices: int) -> int:
        """A cover by the busiest vertices, not always a least one."""
        chosen = 0
        while (busiest := self._busiest(vertices))[0]:
            chosen |= 1 << busiest[1]
            vertices &= ~(1 << busiest[1])
        return chosen

    def _least(self, vertices: int) -> float:
        """A bound from below on the size of a cover: its linear relaxation, half a matching."""
        members = list(_members(vertices))
        part = csr_array(self._adjacency[np.ix_(members, members)])
        return np.count_nonzero(maximum_bipartite_matching(part) >= 0) / 2


def _members(vertices: int) -> Iterator[int]:
    while vertices:
        lowest = vertices & -vertices
        yield lowest.bit_length() - 1
        vertices ^= lowest
