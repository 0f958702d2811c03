"""Features of states: what the value network reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mlsys_ray.value_learning.features.acquired import ACQUIRED, acquired_rows
from mlsys_ray.value_learning.features.intrinsic import INTRINSIC, intrinsic_row
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.space import State
from mlsys_ray.value_learning.target import Target

INTRINSIC_NAMES = tuple(INTRINSIC)
ACQUIRED_NAMES = tuple(ACQUIRED)
FEATURE_NAMES = (*INTRINSIC_NAMES, *ACQUIRED_NAMES)

__all__ = [
    "ACQUIRED",
    "ACQUIRED_NAMES",
    "FEATURE_NAMES",
    "INTRINSIC",
    "INTRINSIC_NAMES",
    "FeatureBatch",
    "featurise",
]


@dataclass(frozen=True, eq=False)
class FeatureBatch:
    """Features of B states of at most S stages, in the order in which they are scheduled.

    Attributes:
        intrinsic: float32 `[B, S, len(INTRINSIC_NAMES)]`, 0 beyond a pipeline's stages.
        acquired: float32 `[B, S, len(ACQUIRED_NAMES)]`, 0 where not `scheduled`.
        scheduled: bool `[B, S]`.
        lengths: int64 `[B]`, stages of each pipeline.
    """

    intrinsic: np.ndarray
    acquired: np.ndarray
    scheduled: np.ndarray
    lengths: np.ndarray


def featurise(states: Sequence[State]) -> FeatureBatch:
    """Features of states, which may be of different pipelines and targets."""
    _fill(states)
    lengths = np.array([len(state.pipeline.stages) for state in states], np.int64)
    done = np.array([len(state.actions) for state in states], np.int64)
    longest = int(lengths.max(initial=0))
    intrinsic = np.zeros((len(states), longest, len(INTRINSIC)), np.float32)
    acquired = np.zeros((len(states), longest, len(ACQUIRED)), np.float32)
    together: dict[tuple[str, Target], list[int]] = defaultdict(list)
    siblings: dict[int, list[int]] = defaultdict(list)
    for place, state in enumerate(states):
        together[state.pipeline.key, state.target].append(place)
        if state.actions:
            siblings[id(state.parent)].append(place)
    for places in siblings.values():
        parent = states[places[0]].parent
        before = len(parent.actions)
        if before:
            acquired[places, :before] = _rows(parent)
        acquired[places, before] = [states[place].__dict__["row"] for place in places]
    for places in together.values():
        first = states[places[0]]
        own = _intrinsic(first.pipeline, first.target)
        intrinsic[places, : len(own)] = own
    return FeatureBatch(intrinsic, acquired, np.arange(longest) < done[:, None], lengths)


@lru_cache(maxsize=1024)
def _intrinsic(pipeline: Pipeline, target: Target) -> np.ndarray:
    return np.stack(
        [intrinsic_row(pipeline, place, target) for place in range(len(pipeline.stages))]
    )


def _fill(states: Sequence[State]) -> None:
    """Have the row of the last action of each state, and of the states before it, computed.

    Rows of the same stage are computed together, and kept with the state.
    """
    missing: dict[tuple[str, Target, int], dict[int, State]] = defaultdict(dict)
    for state in states:
        current = state
        while current.actions and "row" not in current.__dict__:
            group = missing[state.pipeline.key, state.target, len(current.actions)]
            group[id(current)] = current
            current = current.parent
    for (_, target, done), group in missing.items():
        found = list(group.values())
        pipeline = found[0].pipeline
        arguments = {tensor.name: tensor for tensor in pipeline.arguments}
        placements = [state.placements[-1] for state in found]
        rows = acquired_rows(pipeline.stages[done - 1], arguments, target, placements)
        for state, row in zip(found, rows, strict=True):
            state.__dict__["row"] = row


def _rows(state: State) -> np.ndarray:
    """Acquired features of all scheduled stages, `[len(actions), A]`."""
    known: np.ndarray | None = state.__dict__.get("rows")
    if known is None:
        own = state.__dict__["row"][None]
        before = state.parent
        known = np.concatenate([_rows(before), own]) if before.actions else own
        state.__dict__["rows"] = known
    return known
