"""The dynamic programme over endings (algorithm 1), asking only for costs that can matter.

Stage costs are measured and dear, the programme itself is cheap. So it runs on lower bounds, has
the stages on its best path measured, and runs again, until all stages of the best path are
measured: no schedule can then be cheaper, because each costs at least its bounds (lazy shortest
path, Dellin and Srinivasa 2016). With exact bounds nothing is measured that is not in the optimum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from mlsys_ray.ios.search.endings import StageSpace


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The best schedule of a block.

    Attributes:
        stages: sets of operators as bit masks, in the order in which they run.
        cost: the sum of their costs, in the unit of the costs.
        num_measured: stages whose cost was asked for.
        complete: False where the search was stopped: `stages` are then the best known ones.
    """

    stages: tuple[int, ...]
    cost: float
    num_measured: int
    complete: bool = True


def cheapest(space: StageSpace, costs: np.ndarray) -> tuple[float, list[int]]:
    """The least sum of stage costs and the stages that have it.

    Args:
        space: of the block.
        costs: of each stage of the space, float64 `[E]`; infinite ones are never taken.

    Returns:
        The sum, and indices of `space.stages` in the order in which they run.
    """
    best, choice = _solve(_order(space), space.first, space.ending, space.rest, costs)
    return float(best[0]), _path(space, choice)


def _order(space: StageSpace) -> np.ndarray:
    """States, each after those that are left of it."""
    return np.argsort(np.bitwise_count(space.states), kind="stable")


def _path(space: StageSpace, choice: np.ndarray) -> list[int]:
    """Stages, as indices, in the order in which they run."""
    path: list[int] = []
    state = 0
    while state >= 0:
        path.append(int(space.ending[choice[state]]))
        state = int(space.rest[choice[state]])
    return path[::-1]


def search(
    space: StageSpace,
    bounds: np.ndarray,
    measure: Callable[[Sequence[int]], Sequence[float]],
    stopped: Callable[[], bool] = lambda: False,
    exact: np.ndarray | None = None,
) -> Optimum:
    """The schedule of least cost, measuring as few stages as the bounds allow.

    Args:
        space: of the block.
        bounds: of each stage a cost that it cannot fall below, float64 `[E]`.
        measure: costs of stages given as bit masks, asked once for each stage; one below its bound
            is taken for the bound.
        stopped: whether to give the best known schedule now.
        exact: which bounds are the costs, so that nothing is asked for them, bool `[E]`.

    Raises:
        TimeoutError: it is stopped before the costs of any whole schedule are known.
    """
    costs = bounds.astype(np.float64)
    known = np.zeros(len(costs), dtype=bool) if exact is None else exact.copy()
    num_known = int(known.sum())
    order = _order(space)
    tables = (order, space.first, space.ending, space.rest)
    best, choice = _solve(*tables, costs)
    while True:
        total, path = float(best[0]), _path(space, choice)
        wanted = [stage for stage in path if not known[stage]]
        if not wanted:
            break
        if stopped():
            total, path = cheapest(space, np.where(known, costs, np.inf))
            if not np.isfinite(total):
                raise TimeoutError("the search was stopped before any whole schedule was measured")
            break
        asked = np.array(measure([int(space.stages[stage]) for stage in wanted]))
        costs[wanted] = np.maximum(asked, costs[wanted])
        known[wanted] = True
        risen = np.zeros(len(costs), dtype=bool)
        risen[wanted] = True
        _solve_again(*tables, costs, risen, best, choice)
    return Optimum(
        stages=tuple(int(space.stages[stage]) for stage in path),
        cost=total,
        num_measured=int(known.sum()) - num_known,
        complete=not wanted,
    )


@njit(cache=True)
def _solve(order, first, ending, rest, costs):  # type: ignore[no-untyped-def] # compiled
    """Of each state the least cost, and the transition that has it."""
    best = np.zeros(len(order) + 1)
    choice = np.zeros(len(order), dtype=np.int64)
    for state in order:
        best[state], choice[state] = _least(state, first, ending, rest, costs, best)
    return best, choice


@njit(cache=True)
def _least(state, first, ending, rest, costs, best):  # type: ignore[no-untyped-def] # compiled
    least = np.inf
    chosen = first[state]
    for transition in range(first[state], first[state + 1]):
        # The last entry of `best` stands for the empty set, whose number is -1.
        total = costs[ending[transition]] + best[rest[transition]]
        if total < least:
            least = total
            chosen = transition
    return least, chosen


@njit(cache=True)
def _solve_again(order, first, ending, rest, costs, risen, best, choice):  # type: ignore[no-untyped-def] # compiled
    """Bring `best` and `choice` up to date where costs of some stages have risen.

    A state whose chosen transition costs what it did is as good as before: all others cost no less.
    """
    moved = np.zeros(len(best), dtype=np.bool_)
    for state in order:
        transition = choice[state]
        if risen[ending[transition]] or moved[rest[transition]]:
            least, choice[state] = _least(state, first, ending, rest, costs, best)
            moved[state] = least != best[state]
            best[state] = least
