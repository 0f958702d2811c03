"""Symmetries of an assignment, and worker sets up to symmetry.

A set of workers and its image under an automorphism of the graph distort equally many files, so
only sets that come first in lexicographic order among their images need to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numba import njit

from mlsys_ray.byzshield.assignment import Assignment

MAX_ELEMENTS = 20_000
MAX_NODES = 60


def automorphisms(assignment: Assignment) -> np.ndarray:
    """Permutations of the workers that keep the graph, each verified on the matrix.

    Elements of the automorphism group, at most `MAX_ELEMENTS` of them; a part of the group breaks
    less symmetry but is as correct. They are products along a chain of stabilisers (Sims 1970),
    whose generators are found by individualisation and refinement. A search that has not found a
    generator in `MAX_NODES` steps is given up.

    Returns:
        int64 `[n, K]`, row g maps worker u to `g[u]`; the identity is among them.
    """
    matcher = _Matcher(assignment)
    base = matcher.base()
    generators: list[np.ndarray] = []
    chain = []
    for depth in reversed(range(len(base))):
        worker, fixed = base[depth], [(other, other) for other in base[:depth]]
        transversal = _transversal(worker, generators, assignment.num_workers)
        hopeless: set[int] = set()
        for image in matcher.cell(fixed, worker):
            if image in transversal or image in hopeless:
                continue
            element = matcher.find([*fixed, (worker, image)])
            if element is None:
                hopeless |= _transversal(image, generators, assignment.num_workers).keys()
                continue
            generators.append(element)
            transversal = _transversal(worker, generators, assignment.num_workers)
        chain.append(np.array(list(transversal.values())))
    elements = np.arange(assignment.num_workers)[None]
    for level in reversed(chain):
        if len(elements) * len(level) > MAX_ELEMENTS:
            break
        elements = elements[:, level].reshape(-1, assignment.num_workers)
    return elements


def _transversal(
    worker: int, generators: list[np.ndarray], num_workers: int
) -> dict[int, np.ndarray]:
    """For each worker that products of the generators map `worker` to, one such product."""
    found = {worker: np.arange(num_workers)}
    queue = [worker]
    for point in queue:
        for generator in generators:
            image = int(generator[point])
            if image not in found:
                found[image] = generator[found[point]]
                queue.append(image)
    return found


class _Matcher:
    """Finds an automorphism with given images of some workers.

    Two copies of the graph, source and image, are coloured together; a matching exists only if
    every colour is as frequent in both.
    """

    def __init__(self, assignment: Assignment) -> None:
        matrix = assignment.biadjacency
        self._matrix = matrix
        self._num_workers, num_files = matrix.shape
        files = np.nonzero(matrix)[1].reshape(self._num_workers, -1)
        holders = np.nonzero(matrix.T)[1].reshape(num_files, -1)
        self._files = np.concatenate([files, files + num_files])
        self._holders = np.concatenate([holders, holders + self._num_workers])

    def cell(self, pairs: list[tuple[int, int]], worker: int) -> list[int]:
        """Workers that `worker` may be mapped to, given the images of others."""
        colours = self._refine(pairs)
        assert colours is not None
        source, image = np.split(colours, 2)
        return np.flatnonzero(image == source[worker]).tolist()

    def base(self) -> list[int]:
        """Workers that, once fixed, tell all others apart."""
        base: list[int] = []
        while True:
            colours = self._refine([(worker, worker) for worker in base])
            assert colours is not None
            counts = np.bincount(colours[: self._num_workers])
            ambiguous = counts[colours[: self._num_workers]] > 1
            if not ambiguous.any():
                return base
            base.append(int(np.argmax(ambiguous)))

    def find(self, pairs: list[tuple[int, int]]) -> np.ndarray | None:
        """An automorphism int64 `[K]` with the given (worker, image) pairs.

        None if there is none, or none was found in `MAX_NODES` steps.
        """
        self._nodes = 0
        return self._extend(pairs)

    def _extend(self, pairs: list[tuple[int, int]]) -> np.ndarray | None:
        self._nodes += 1
        colours = self._refine(pairs) if self._nodes <= MAX_NODES else None
        if colours is None:
            return None
        source, image = np.split(colours, 2)
        counts = np.bincount(source)
        if counts.max() == 1:
            matched = np.argsort(image)[np.argsort(np.argsort(source))]
            return matched if self._is_automorphism(matched) else None
        worker = int(np.argmax(counts[source] > 1))
        for candidate in np.flatnonzero(image == source[worker]).tolist():
            element = self._extend([*pairs, (worker, candidate)])
            if element is not None:
                return element
        return None

    def _refine(self, pairs: list[tuple[int, int]]) -> np.ndarray | None:
        """Stable colours of the workers of both copies, int64 `[2K]`; None if they differ."""
        workers = np.zeros(2 * self._num_workers, dtype=np.int64)
        for colour, (worker, image) in enumerate(pairs, start=1):
            workers[worker] = workers[self._num_workers + image] = colour
        last_colour = 0
        while True:
            files = _recolour(workers[self._holders], np.zeros(len(self._holders), np.int64))
            workers = _recolour(files[self._files], workers)
            ours, theirs = np.split(workers, 2)
            if not np.array_equal(np.sort(ours), np.sort(theirs)):
                return None
            if int(workers.max()) == last_colour:
                return workers
            last_colour = int(workers.max())

    def _is_automorphism(self, element: np.ndarray) -> bool:
        """Whether the files, as sets of holders, are the same after renaming the workers."""
        image = np.empty_like(self._matrix)
        image[element] = self._matrix
        columns = np.packbits(self._matrix, axis=0).T, np.packbits(image, axis=0).T
        (ours, counts), (theirs, others) = (
            np.unique(packed, axis=0, return_counts=True) for packed in columns
        )
        return np.array_equal(ours, theirs) and np.array_equal(counts, others)


def _recolour(neighbours: np.ndarray, own: np.ndarray) -> np.ndarray:
    """New colours from a node's own colour and those of its neighbours, int64 `[n]`."""
    signature = np.column_stack([own, np.sort(neighbours, axis=1)])
    return np.unique(signature, axis=0, return_inverse=True)[1].reshape(-1)


def canonical_prefixes(
    elements: np.ndarray, size: int, promising: Callable[[tuple[int, ...]], bool]
) -> Iterator[tuple[int, ...]]:
    """Sets of `size` workers, in lexicographic order, that no element maps to an earlier one.

    Sets that begin with workers that are not `promising` are left out.

    If S is the first of its images, then so is its part P of the `size` smallest workers: the
    smallest workers of an image of S are, one by one, at most those of the image of P.
    """
    num_workers = elements.shape[1]

    def grow(prefix: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(prefix) == size:
            yield prefix
            return
        start = prefix[-1] + 1 if prefix else 0
        for worker in range(start, num_workers - size + len(prefix) + 1):
            longer = (*prefix, worker)
            if promising(longer) and _is_first(elements, np.array(longer)):
                yield from grow(longer)

    return grow(())


@njit(cache=True)
def _is_first(elements: np.ndarray, prefix: np.ndarray) -> bool:
    """Whether no element maps the sorted `prefix` to a set that comes before it."""
    size = len(prefix)
    image = np.empty(size, dtype=np.int64)
    for element in elements:
        for i in range(size):
            value = element[prefix[i]]
            j = i
            while j > 0 and image[j - 1] > value:
                image[j] = image[j - 1]
                j -= 1
            image[j] = value
        for i in range(size):
            if image[i] != prefix[i]:
                if image[i] < prefix[i]:
                    return False
                break
    return True
