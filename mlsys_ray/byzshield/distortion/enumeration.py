"""Enumeration of worker sets in lexicographic order, compiled by numba.

Files are bits of 64-bit words. For the chosen workers, `level j` is the mask of files with at
least j chosen holders, for j = 0 .. r'; adding a worker is two bit operations per level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from mlsys_ray.byzshield.assignment import Assignment

_ONE, _TWO, _FOUR = np.uint64(1), np.uint64(2), np.uint64(4)
_M1, _M2 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_M4, _H = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_TOP = np.uint64(56)


def file_masks(assignment: Assignment) -> np.ndarray:
    """The files of each worker as bits, uint64 `[K, ceil(f / 64)]`."""
    padded = np.zeros((assignment.num_workers, -(-assignment.num_files // 64) * 64), dtype=bool)
    padded[:, : assignment.num_files] = assignment.biadjacency
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)


def initial_levels(assignment: Assignment, chosen: tuple[int, ...]) -> np.ndarray:
    """Levels of a set of workers, uint64 `[r' + 1, ceil(f / 64)]`."""
    masks = file_masks(assignment)
    levels = np.zeros((assignment.majority + 1, masks.shape[1]), dtype=np.uint64)
    levels[0] = ~np.uint64(0)
    for worker in chosen:
        levels[1:] |= levels[:-1] & masks[worker]
    return levels


def reach(levels: np.ndarray, load: int, picks: int) -> int:
    """A bound on the files that a set with these levels distorts after `picks` more workers."""
    return int(_bound(levels[None], 0, load, picks))


@njit(cache=True, inline="always")
def _ones(x: np.uint64) -> Any:
    """Number of set bits of a word; LLVM turns this into the processor's own instruction."""
    x -= (x >> _ONE) & _M1
    x = (x & _M2) + ((x >> _TWO) & _M2)
    x = (x + (x >> _FOUR)) & _M4
    return np.int64((x * _H) >> _TOP)


@njit(cache=True, inline="always")
def _size(stack: np.ndarray, depth: int, level: int) -> int:
    """Number of files in a level."""
    total = 0
    for word in range(stack.shape[2]):
        total += _ones(stack[depth, level, word])
    return total


@njit(cache=True, inline="always")
def _bound(stack: np.ndarray, depth: int, load: int, picks: int) -> int:
    """Files that `picks` more workers could bring to the last level, each adding `load` bits."""
    last = stack.shape[1] - 1
    total, budget = _size(stack, depth, last), picks * load
    reached = total
    for missing in range(1, min(picks, last) + 1):
        at_least = _size(stack, depth, last - missing)
        cost = (at_least - reached) * missing
        if cost >= budget:
            return total + budget // missing
        total += at_least - reached
        reached = at_least
        budget -= cost
    return total


# With its types, so that it is compiled on import and never while a search is timed.
@njit(
    "Tuple((int64, int64[::1], int64))"
    "(uint64[:, ::1], uint64[:, ::1], int64, int64, int64, int64, boolean, boolean)",
    cache=True,
)
def enumerate_sets(
    masks: np.ndarray,
    levels: np.ndarray,
    first: int,
    picks: int,
    load: int,
    best: int,
    tie: bool,
    counting: bool,
) -> tuple[int, np.ndarray, int]:
    """Best completion of a prefix by `picks` workers, at least 1, from index `first` on.

    Args:
        masks: uint64 `[K, words]`.
        levels: uint64 `[r' + 1, words]` of the prefix.
        first: smallest worker that may be chosen.
        picks: workers to choose.
        load: l.
        best: sets that reach fewer files are of no interest.
        tie: whether sets that reach just `best` are, too.
        counting: whether to go on for all sets that reach as much, instead of the first only.

    Returns:
        (files reached, lexicographically first choice int64 `[picks]`, number of such choices
        found); the number is 0 if nothing of interest was found.
    """
    num_workers, words = masks.shape
    last = levels.shape[0] - 1
    stack = np.empty((picks, last + 1, words), dtype=np.uint64)
    # Not as slices, whose assignment takes three times as long to compile as all the rest.
    for level in range(last + 1):
        for word in range(words):
            stack[0, level, word] = levels[level, word]
    choice = np.empty(picks, dtype=np.int64)
    found = np.empty(picks, dtype=np.int64)
    count, depth, worker = 0, 0, first
    while True:
        if depth == picks - 1:
            for leaf in range(worker, num_workers):
                value = 0
                for word in range(words):
                    added = stack[depth, last - 1, word] & masks[leaf, word]
                    value += _ones(stack[depth, last, word] | added)
                if value > best or (tie and not count and value == best):
                    best, count = value, 1
                    for i in range(depth):
                        found[i] = choice[i]
                    found[depth] = leaf
                elif counting and count and value == best:
                    count += 1
        elif worker <= num_workers - (picks - depth):
            for word in range(words):
                stack[depth + 1, 0, word] = stack[depth, 0, word]
                for level in range(1, last + 1):
                    added = stack[depth, level - 1, word] & masks[worker, word]
                    stack[depth + 1, level, word] = stack[depth, level, word] | added
            bound = _bound(stack, depth + 1, load, picks - depth - 1)
            if bound > best or (bound == best and tie and (counting or not count)):
                choice[depth] = worker
                depth += 1
            worker += 1
            continue
        depth -= 1
        if depth < 0:
            break
        worker = choice[depth] + 1
    return best, found, count
