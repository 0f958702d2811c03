"""The space of schedules: which stages may end which sets of operators (sections 3 and 4.2).

Sets of operators are bit masks of 64 bits. An ending of a set S is a non-empty subset without an
edge into the rest of S; the groups of an ending, its connected components, run side by side. Of the
two kinds of endings the paper's text defines the general one, while its authors' code enumerates
those whose groups have a single source: an operator and all that follows from it in S.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit

EndingKind = Literal["single-source", "general"]
LARGEST = 64
UNLIMITED = LARGEST
MOST_TRANSITIONS = 1 << 26
"""Of a block; each takes 8 bytes, and 100 to 400 ns."""


@dataclass(frozen=True, eq=False, kw_only=True)
class StageSpace:
    """The states of the dynamic programme over a block, and the endings of each.

    Attributes:
        states: sets of operators that are still to be scheduled, uint64 `[S]`; the first is the
            whole block, the empty set is not among them.
        stages: distinct endings, uint64 `[E]`.
        first: the transitions of state i are `first[i]` to `first[i + 1]`, int64 `[S + 1]`.
        ending: the stage that a transition appends, as an index of `stages`, int32 `[T]`.
        rest: the state that is left, as an index of `states`, -1 for none, int32 `[T]`.
    """

    states: np.ndarray
    stages: np.ndarray
    first: np.ndarray
    ending: np.ndarray
    rest: np.ndarray

    def num_schedules(self) -> int:
        """How many schedules there are, exactly."""
        counts = np.ones(len(self.states) + 1, dtype=object)
        order = np.argsort(np.bitwise_count(self.states), kind="stable")
        for state in order:
            rest = self.rest[self.first[state] : self.first[state + 1]]
            counts[state] = int(counts[rest].sum())
        return int(counts[0])


def stage_space(
    predecessors: Sequence[Sequence[int]],
    *,
    endings: EndingKind = "general",
    max_group_size: int | None = None,
    max_groups: int | None = None,
) -> StageSpace:
    """Enumerate the stages of a block.

    Args:
        predecessors: of each operator, in topological order, as indices in the block.
        endings: single-source or general.
        max_group_size: operators in a group (r of the pruning P(r, s)), None for any number.
        max_groups: groups in a stage (s), None for any number.

    Raises:
        ValueError: there are no operators or more than 64, a limit is below 1, or there are more
            than `MOST_TRANSITIONS`.
    """
    if not 1 <= len(predecessors) <= LARGEST:
        raise ValueError(f"a block has 1 to {LARGEST} operators, there are {len(predecessors)}")
    for name, limit in (("max_group_size", max_group_size), ("max_groups", max_groups)):
        if limit is not None and limit < 1:
            raise ValueError(f"{name} must be 1 or more, is {limit}")
    successors = np.zeros(len(predecessors), dtype=np.uint64)
    for operator, sources in enumerate(predecessors):
        for source in sources:
            successors[source] |= np.uint64(1 << operator)
    tables = _enumerate(
        successors,
        endings == "single-source",
        max_group_size or UNLIMITED,
        max_groups or UNLIMITED,
    )
    states, stages, first, ending, rest = tables
    if len(first) <= len(states):
        raise ValueError(
            f"a block of {len(predecessors)} operators has more than {MOST_TRANSITIONS:,}"
            " transitions; lower max_group_size or max_groups"
        )
    return StageSpace(states=states, stages=stages, first=first, ending=ending, rest=rest)


_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_HASH = np.uint64(0x9E3779B97F4A7C15)
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_BIT_OF = np.zeros(64, dtype=np.int64)
for _bit in range(64):
    _BIT_OF[((1 << _bit) * int(_DE_BRUIJN) % (1 << 64)) >> 58] = _bit


@njit(cache=True, inline="always")
def _slot(table, key):  # type: ignore[no-untyped-def] # compiled
    """Where a key is, or would be, in a table `[size, (key, number + 1)]` (open addressing)."""
    mask = np.uint64(len(table) - 1)
    slot = ((key * _HASH) >> np.uint64(20)) & mask
    while table[slot, 1] and table[slot, 0] != key:
        slot = (slot + _ONE) & mask
    return slot


@njit(cache=True)
def _number_of(table, keys, num_keys, key):  # type: ignore[no-untyped-def] # compiled
    """The number of a key; a new one is appended to `keys`. Tables and arrays grow as needed."""
    slot = _slot(table, key)
    if table[slot, 1]:
        return np.int64(table[slot, 1]) - 1, table, keys, num_keys
    if num_keys == len(keys):
        keys = _doubled(keys)
    keys[num_keys] = key
    table[slot, 0] = key
    table[slot, 1] = num_keys + 1
    if 2 * num_keys > len(table):
        table = np.zeros((4 * len(table), 2), dtype=np.uint64)
        for i in range(num_keys + 1):
            slot = _slot(table, keys[i])
            table[slot, 0] = keys[i]
            table[slot, 1] = i + 1
    return num_keys, table, keys, num_keys + 1


@njit(cache=True)
def _bits(mask):  # type: ignore[no-untyped-def] # compiled
    count = 0
    while mask:
        mask &= mask - _ONE
        count += 1
    return count


@njit(cache=True)
def _doubled(array):  # type: ignore[no-untyped-def] # compiled
    new = np.empty(2 * len(array), dtype=array.dtype)
    new[: len(array)] = array
    return new


@njit(cache=True, inline="always")
def _lowest(mask):  # type: ignore[no-untyped-def] # compiled
    """The index of the lowest bit that is set (by a de Bruijn sequence)."""
    return _BIT_OF[((mask & (~mask + _ONE)) * _DE_BRUIJN) >> np.uint64(58)]


@njit(cache=True)
def _groups(state, successors, max_size):  # type: ignore[no-untyped-def] # compiled
    """The groups with one source in a state, and which of them each may stand beside.

    Returns:
        Of each operator itself and all that follows from it, 0 where that is above `max_size`; and
        the later operators whose groups share nothing with it.
    """
    n = len(successors)
    reached = np.zeros(n, dtype=np.uint64)
    for operator in range(n - 1, -1, -1):
        bit = _ONE << np.uint64(operator)
        if not state & bit:
            continue
        mask = bit
        later = successors[operator] & state
        while later:
            mask |= reached[_lowest(later)]
            later &= later - _ONE
        reached[operator] = mask
    beside = np.zeros(n, dtype=np.uint64)
    allowed = _ZERO
    for operator in range(n - 1, -1, -1):
        if not reached[operator] or _bits(reached[operator]) > max_size:
            continue
        others = allowed
        while others:
            other = _lowest(others)
            others &= others - _ONE
            if not reached[operator] & reached[other]:
                beside[operator] |= _ONE << np.uint64(other)
        allowed |= _ONE << np.uint64(operator)
    return reached, beside, allowed


@njit(cache=True)
def _single_source(reached, beside, allowed, max_groups, found):  # type: ignore[no-untyped-def] # compiled
    """All unions of at most `max_groups` disjoint groups, each an operator's descendants."""
    depth = 0
    count = 0
    unions = np.zeros(len(reached) + 1, dtype=np.uint64)
    candidates = np.zeros(len(reached) + 1, dtype=np.uint64)
    candidates[0] = allowed
    while True:
        if not candidates[depth] or depth == max_groups:
            if depth == 0:
                return count, found
            depth -= 1
            continue
        operator = _lowest(candidates[depth])
        candidates[depth] &= candidates[depth] - _ONE
        unions[depth + 1] = unions[depth] | reached[operator]
        candidates[depth + 1] = candidates[depth] & beside[operator]
        depth += 1
        if count == len(found):
            if count >= MOST_TRANSITIONS:
                return count, found
            found = _doubled(found)
        found[count] = unions[depth]
        count += 1


@njit(cache=True)
def _component(mask, neighbours, start):  # type: ignore[no-untyped-def] # compiled
    """The operators of a mask that are connected with one of them."""
    component = start
    frontier = start
    while frontier:
        operator = _lowest(frontier)
        frontier &= frontier - _ONE
        new = neighbours[operator] & mask & ~component
        component |= new
        frontier |= new
    return component


@njit(cache=True)
def _num_groups(mask, neighbours):  # type: ignore[no-untyped-def] # compiled
    groups = 0
    while mask:
        mask &= ~_component(mask, neighbours, mask & (~mask + _ONE))
        groups += 1
    return groups


@njit(cache=True)
def _general(state, successors, predecessors, max_size, max_groups, found):  # type: ignore[no-untyped-def] # compiled
    """All non-empty subsets that hold with an operator all its successors in the state.

    Each is built once: by adding its operators from the last to the first. Groups only grow by
    that, so that one above `max_size` ends the branch; they may merge, so that their number is
    judged of each subset by itself.
    """
    n = len(successors)
    neighbours = successors | predecessors
    count = visited = 0
    depth = 0
    sets = np.zeros(n + 1, dtype=np.uint64)
    addable = np.zeros(n + 1, dtype=np.uint64)
    left = state
    while left:
        operator = _lowest(left)
        if not successors[operator] & state:
            addable[0] |= _ONE << np.uint64(operator)
        left &= left - _ONE
    candidates = addable.copy()
    while True:
        if not candidates[depth]:
            if depth == 0:
                return count, found
            depth -= 1
            continue
        operator = _lowest(candidates[depth])
        bit = _ONE << np.uint64(operator)
        candidates[depth] &= ~bit
        mask = sets[depth] | bit
        visited += 1
        if visited > MOST_TRANSITIONS:
            return MOST_TRANSITIONS, found
        if max_size < n and _bits(_component(mask, neighbours, bit)) > max_size:
            continue
        if max_groups >= n or _num_groups(mask, neighbours) <= max_groups:
            if count == len(found):
                if count >= MOST_TRANSITIONS:
                    return count, found
                found = _doubled(found)
            found[count] = mask
            count += 1
        # What lies above this one is added before it, in other branches.
        opened = addable[depth] & (bit - _ONE)
        sources = predecessors[operator] & state
        while sources:
            source = _lowest(sources)
            sources &= sources - _ONE
            if not successors[source] & state & ~mask:
                opened |= _ONE << np.uint64(source)
        depth += 1
        sets[depth] = mask
        addable[depth] = candidates[depth] = opened


@njit(cache=True)
def _enumerate(successors, single_source, max_size, max_groups):  # type: ignore[no-untyped-def] # compiled
    """States reached from the whole block, their endings, and what is left after each."""
    n = len(successors)
    predecessors = np.zeros(n, dtype=np.uint64)
    whole = _ZERO
    for operator in range(n):
        whole |= _ONE << np.uint64(operator)
        later = successors[operator]
        while later:
            predecessors[_lowest(later)] |= _ONE << np.uint64(operator)
            later &= later - _ONE
    states = np.empty(64, dtype=np.uint64)
    stages = np.empty(64, dtype=np.uint64)
    first = np.zeros(65, dtype=np.int64)
    ending = np.empty(64, dtype=np.int32)
    rest = np.empty(64, dtype=np.int32)
    state_table = np.zeros((256, 2), dtype=np.uint64)
    stage_table = np.zeros((256, 2), dtype=np.uint64)
    found = np.empty(64, dtype=np.uint64)
    num_stages = num_transitions = current = 0
    _, state_table, states, num_states = _number_of(state_table, states, 0, whole)
    while current < num_states:
        state = states[current]
        if single_source:
            reached, beside, allowed = _groups(state, successors, max_size)
            count, found = _single_source(reached, beside, allowed, max_groups, found)
        else:
            count, found = _general(state, successors, predecessors, max_size, max_groups, found)
        if num_transitions + count >= MOST_TRANSITIONS:
            break
        while num_transitions + count > len(ending):
            ending, rest = _doubled(ending), _doubled(rest)
        for mask in found[:count]:
            stage, stage_table, stages, num_stages = _number_of(
                stage_table, stages, num_stages, mask
            )
            ending[num_transitions] = stage
            left = state & ~mask
            number = -1
            if left:
                number, state_table, states, num_states = _number_of(
                    state_table, states, num_states, left
                )
            rest[num_transitions] = number
            num_transitions += 1
        current += 1
        if current == len(first):
            first = _doubled(first)
        first[current] = num_transitions
    return (
        states[:num_states],
        stages[:num_stages],
        first[: current + 1],
        ending[:num_transitions],
        rest[:num_transitions],
    )
