"""Placement rules without a parameter: the baselines of the literature."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from mlsys_ray.fireplace.compiled import compiled
from mlsys_ray.fireplace.policies.base import Policy
from mlsys_ray.fireplace.simulator import (
    ARRIVAL,
    DEPARTURE,
    END,
    NOT_PLACED,
    TICK,
    State,
    fits,
    next_event,
    open_tick,
    place,
    remove,
)
from mlsys_ray.fireplace.trace import Trace, TraceArrays

Rule = Literal["random", "round_robin", "first_fit", "best_fit", "dot_product", "power_of_two"]
RANDOM, ROUND_ROBIN, FIRST_FIT, BEST_FIT, DOT_PRODUCT, POWER_OF_TWO = range(6)


class RulePolicy(Policy):
    """One of the simple rules.

    - random: any PM that admits the VM, with equal chances.
    - round_robin: the next PM that admits it.
    - first_fit: the first that admits it.
    - best_fit: the fullest by requests that admits it, by the larger of the resources.
    - dot_product: the largest dot product of the request and the free capacity, both as parts of
      the PM (Grandl et al., "Multi-resource packing for cluster schedulers", SIGCOMM 2014).
    - power_of_two: the less requested of two PMs drawn at random (Mitzenmacher, 2001).
    """

    def __init__(self, rule: Rule) -> None:
        if rule not in get_args(Rule):
            raise ValueError(f"rule is {rule!r}; accepted: {', '.join(get_args(Rule))}")
        self.name = rule
        self._code = get_args(Rule).index(rule)

    def run(self, state: State, trace: Trace, seed: int) -> None:
        """Place all VMs; see `Policy.run`."""
        _run(state, trace.arrays, self._code, np.random.default_rng(seed))


@compiled(nogil=True)
def _run(state: State, trace: TraceArrays, rule: int, rng: np.random.Generator) -> None:
    cursor = 0
    while True:
        kind, index = next_event(state, trace)
        if kind == END:
            break
        if kind == TICK:
            open_tick(state, trace)
        elif kind == DEPARTURE:
            remove(state, trace, index)
        elif kind == ARRIVAL:
            pm = _choose(state, trace, index, rule, cursor, rng)
            place(state, trace, index, pm)
            if pm >= 0:
                cursor = pm + 1


@compiled()
def _choose(
    state: State, trace: TraceArrays, vm: int, rule: int, cursor: int, rng: np.random.Generator
) -> int:
    pms = len(state.capacity)
    if rule == RANDOM:
        return _scan(state, trace, vm, rng.permutation(pms))
    if rule == ROUND_ROBIN:
        return _scan(state, trace, vm, (np.arange(pms) + cursor) % pms)
    if rule == FIRST_FIT:
        return _scan(state, trace, vm, np.arange(pms))
    if rule == POWER_OF_TWO:
        return _power_of_two(state, trace, vm, rng)
    best, best_score = NOT_PLACED, -np.inf
    for pm in range(pms):
        score = _dot_product(state, trace, vm, pm) if rule == DOT_PRODUCT else _filled(state, pm)
        if score > best_score and fits(state, trace, vm, pm):
            best, best_score = pm, score
    return best


@compiled()
def _scan(state: State, trace: TraceArrays, vm: int, order: np.ndarray) -> int:
    for pm in order:
        if fits(state, trace, vm, pm):
            return pm
    return NOT_PLACED


@compiled()
def _power_of_two(state: State, trace: TraceArrays, vm: int, rng: np.random.Generator) -> int:
    best, best_fill, found = NOT_PLACED, np.inf, 0
    for pm in rng.permutation(len(state.capacity)):
        if not fits(state, trace, vm, pm):
            continue
        if _filled(state, pm) < best_fill:
            best, best_fill = pm, _filled(state, pm)
        found += 1
        if found == 2:
            break
    return best


@compiled()
def _filled(state: State, pm: int) -> float:
    largest = 0.0
    for d in range(state.capacity.shape[1]):
        largest = max(largest, state.requested[pm, d] / state.capacity[pm, d])
    return largest


@compiled()
def _dot_product(state: State, trace: TraceArrays, vm: int, pm: int) -> float:
    total = 0.0
    for d in range(state.capacity.shape[1]):
        capacity = state.capacity[pm, d]
        total += trace.request[vm, d] * (capacity - state.requested[pm, d]) / capacity**2
    return total
