"""The vote among machines whose arithmetic differs: copies that are close count as equal.

With a tolerance of 0 copies are equal where their digests are, and nothing here fetches or
compares anything. Else the values of a file are fetched from all its holders as soon as two of
them sent different digests.

Being close is not transitive, so copies are not merged in chains. The copy that most others are
close to is taken first, and all that are close to *it* vote for it. So an honest majority of
which any two are close always wins, and what wins with more copies than there are liars is close
to an honest copy: by as much as the tolerance, but no more, liars can move it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from mlsys_ray.byzshield.assignment import Assignment
from mlsys_ray.byzshield.transport import Reply, Source, Task
from mlsys_ray.byzshield.voting import digest, is_finite, is_gradient

BLOCK = 65_536
"""Coordinates that are compared at a time, so that their differences stay in the cache."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """The copies of one file that are gradients and match their digests.

    Attributes:
        workers: that sent them, ascending.
        distances: float64 `[n, n]`, see the function `distances`.
    """

    workers: tuple[int, ...]
    distances: np.ndarray


@dataclass(frozen=True, eq=False)
class Poll:
    """What the vote of an iteration is held on; also a `Source` of the copies it names.

    Attributes:
        replies: of the workers.
        source: where copies come from that are not here.
        tolerance: copies at this distance are close.
        values: copies that are here, by (worker, file).
        compared: by file; files whose digests are all the same are left out.
    """

    replies: Mapping[int, Reply]
    source: Source
    tolerance: float = 0.0
    values: Mapping[tuple[int, int], object] = field(default_factory=dict)
    compared: Mapping[int, Comparison] = field(default_factory=dict)

    def close(self) -> frozenset[tuple[int, int, int]]:
        """(file, worker, worker) for copies that are close, the lower worker first."""
        return frozenset(
            (file, comparison.workers[one], comparison.workers[other])
            for file, comparison in self.compared.items()
            for one, other in np.argwhere(np.triu(comparison.distances <= self.tolerance, 1))
        )

    def settle(self, liars: Set[int]) -> Poll:
        """The same with each copy replaced by the one that it votes for, liars left aside."""
        digests = {worker: dict(reply.digests) for worker, reply in self.replies.items()}
        values = dict(self.values)
        for file, worker, chosen in self._choices(liars):
            digests[worker][file] = self.replies[chosen].digests[file]
            values[worker, file] = self.values[chosen, file]
        replies = {
            worker: replace(reply, digests=digests[worker])
            for worker, reply in self.replies.items()
        }
        return replace(self, replies=replies, values=values)

    def fetch(
        self, iteration: int, wanted: Sequence[tuple[int, int]], deadline: float
    ) -> dict[tuple[int, int], object]:
        """See `Source.fetch`; what is here is not fetched again."""
        found = {pair: self.values[pair] for pair in wanted if pair in self.values}
        if missing := [pair for pair in wanted if pair not in self.values]:
            found.update(self.source.fetch(iteration, missing, deadline))
        return found

    def _choices(self, liars: Set[int]) -> Iterator[tuple[int, int, int]]:
        """(file, worker, worker it votes for)."""
        for file, comparison in self.compared.items():
            among = np.array([worker not in liars for worker in comparison.workers], dtype=bool)
            chosen = choose(comparison.distances, self.tolerance, among)
            for index in np.flatnonzero(among):
                yield file, comparison.workers[index], comparison.workers[chosen[index]]


def gather(
    assignment: Assignment,
    replies: Mapping[int, Reply],
    task: Task,
    source: Source,
    deadline: float,
    tolerance: float,
) -> Poll:
    """Compare the copies of every file on which workers differ, if there is a tolerance.

    A copy that does not come is an unknown one, and its worker is `lost`. One that is no finite
    gradient, or does not match its digest, is close to none; the election judges it if it wins.
    """
    if not tolerance:
        return Poll(replies, source)
    contested = _contested(assignment, replies)
    wanted = [(worker, file) for file, holders in contested.items() for worker in holders]
    fetched = source.fetch(task.iteration, wanted, deadline)
    values = {pair: value for pair, value in fetched.items() if value is not None}
    compared = {}
    for file, holders in contested.items():
        sound = {
            worker: value
            for worker in holders
            if is_gradient(value := values.get((worker, file)), task.parameters.shape)
            and digest(task.iteration, file, value) == replies[worker].digests[file]
            and is_finite(value)
        }
        compared[file] = Comparison(tuple(sound), distances(list(sound.values())))
    kept = _without(replies, [pair for pair in wanted if pair not in values])
    return Poll(kept, source, tolerance, values, compared)


def choose(distances: np.ndarray, tolerance: float, among: np.ndarray) -> np.ndarray:
    """Which copy each of some copies votes for.

    The copy to which most are close is chosen by all of these; then the same among the rest. Of
    two with as many, the one that they are closer to on the whole, then the first.

    Args:
        distances: float64 `[n, n]`, symmetric.
        tolerance: copies at this distance are close.
        among: mask bool `[n]` of the copies that vote and can be voted for.

    Returns:
        int64 `[n]`, the index of the chosen copy; -1 for copies that do not vote.

    >>> line = np.array([0.0, 1.0, 2.0, 9.0])
    >>> choose(abs(line[:, None] - line), 1.0, np.ones(4, dtype=bool)).tolist()
    [1, 1, 1, 3]
    """
    chosen = np.full(len(distances), -1)
    left = among.copy()
    while left.any():
        near = (distances <= tolerance) & left & left[:, None]
        spread = np.where(near, distances, 0).sum(axis=1)
        centre = np.lexsort((spread, -near.sum(axis=1)))[0]
        chosen[near[centre]] = centre
        left &= ~near[centre]
    return chosen


def distances(values: Sequence[np.ndarray]) -> np.ndarray:
    """Between any two: the largest difference relative to the largest value in them.

    Args:
        values: finite float32 `[d]`, n of them.

    Returns:
        float64 `[n, n]`, symmetric, in [0, 2].
    """
    pairs = list(combinations(range(len(values)), 2))
    peaks, gaps = np.zeros(len(values)), np.zeros((len(values), len(values)))
    for start in range(0, len(values[0]) if values else 0, BLOCK):
        block = [value[start : start + BLOCK] for value in values]
        peaks = np.maximum(peaks, [_largest(part) for part in block])
        for one, other in pairs:
            gaps[one, other] = max(gaps[one, other], _largest(block[one] - block[other]))
    scales = np.maximum.outer(peaks, peaks)
    return (gaps + gaps.T) / np.where(scales > 0, scales, 1)


def _largest(value: np.ndarray) -> float:
    return float(max(value.max(), -value.min()))


def _contested(assignment: Assignment, replies: Mapping[int, Reply]) -> dict[int, tuple[int, ...]]:
    """The files of which different digests came, with the workers that sent one."""
    contested = {}
    for file in range(assignment.num_files):
        copies = {
            worker: replies[worker].digests[file]
            for worker in assignment.holders_of(file)
            if file in replies[worker].digests
        }
        if len(set(copies.values())) > 1:
            contested[file] = tuple(copies)
    return contested


def _without(replies: Mapping[int, Reply], lost: Sequence[tuple[int, int]]) -> dict[int, Reply]:
    """The replies less the copies of (worker, file) pairs that did not come."""
    kept = dict(replies)
    for worker, file in lost:
        digests = {own: value for own, value in kept[worker].digests.items() if own != file}
        kept[worker] = replace(
            kept[worker], digests=digests, failure=kept[worker].failure or "lost"
        )
    return kept
