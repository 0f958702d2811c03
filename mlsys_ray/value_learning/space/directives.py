"""A schedule as Halide's scheduling calls: what is applied, and what a user reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mlsys_ray.value_learning.operators import Stage
from mlsys_ray.value_learning.space.action import Action, Site
from mlsys_ray.value_learning.space.placement import TASK, Placement, tile_loop
from mlsys_ray.value_learning.space.state import State

SHIFT, GUARD = "ShiftInwards", "GuardWithIf"
Part = Literal["pure", "update"]


@dataclass(frozen=True)
class Directive:
    """One call of a scheduling method.

    Attributes:
        function: the name of the stage, or of what a `rfactor` before has made.
        part: whose loops: of the pure definition (and of the function as a whole), or the update.
        method: of Halide's Func or Stage.
        arguments: names of variables and of functions, numbers; a tail strategy comes last.
        result: name of the function that a `rfactor` makes, or else empty.
    """

    function: str
    part: Part
    method: str
    arguments: tuple[str | int, ...] = ()
    result: str = ""


def directives(state: State) -> tuple[Directive, ...]:
    """All calls for the stages that a state has scheduled, consumers first.

    They depend on the pipeline and the actions alone.
    """
    found: list[Directive] = []
    for place in range(len(state.placements)):
        found += _stage_directives(state, place)
    return tuple(found)


def _stage_directives(state: State, place: int) -> Iterator[Directive]:
    stage, placement = state.pipeline.stages[place], state.placements[place]
    action = placement.action
    name = stage.name
    if placement.inlined:
        yield Directive(name, "pure", "compute_inline")
        return
    if action.store is not None:
        yield Directive(name, "pure", "store_at", _loop_of(state, action.store))
    if action.site is None:
        yield Directive(name, "pure", "compute_root")
    else:
        yield Directive(name, "pure", "compute_at", _loop_of(state, action.site))
    yield from _nest(stage, placement, "pure")
    if stage.reduction is None:
        return
    if action.accumulators:
        yield from _partial_sums(stage, placement)
    else:
        yield from _nest(stage, placement, "update")


def _loop_of(state: State, site: Site) -> tuple[str, str]:
    return state.pipeline.stages[site.stage].name, state.loop(site).name


def _nest(stage: Stage, placement: Placement, part: Part) -> Iterator[Directive]:
    """Loops of one definition: splits, order, tasks, and the written-out tile."""
    action, name = placement.action, stage.name
    guarded = action.guarded or part == "update"
    cut: list[str] = []
    tiles: list[str] = []
    points: list[str] = []
    for dimension, variable in enumerate(stage.variables):
        tile, block = action.tile[dimension], action.block[dimension]
        tail = GUARD if guarded or placement.varying[dimension] else SHIFT
        loop = tile_loop(stage, action, placement.region, dimension)
        tiles.append(loop)
        rest = variable
        if block < placement.region[dimension]:
            rest = loop if tile == 1 else f"{variable}_b"
            cut.append(f"{variable}_t")
            yield Directive(name, part, "split", (variable, cut[-1], rest, block, tail))
        if tile == 1:
            continue
        point = f"{variable}_i"
        yield Directive(name, part, "split", (rest, loop, point, tile, tail))
        if dimension == 0 and tile > action.vector > 1:
            vector, point = f"{variable}_v", f"{variable}_u"
            arguments = (f"{variable}_i", point, vector, action.vector, tail)
            yield Directive(name, part, "split", arguments)
            points.append(vector)
        points.append(point)
    folds = _folds(stage, action) if part == "update" else []
    inner_first = [*reversed(action.order), *(set(range(len(tiles))) - set(action.order))]
    loops = (*points, *folds, *(tiles[d] for d in inner_first), *cut)
    if len(loops) > 1:
        yield Directive(name, part, "reorder", loops)
    vectors = points[: action.vector > 1 and action.tile[0] > 1]
    for point in points:
        yield Directive(name, part, "vectorize" if point in vectors else "unroll", (point,))
    if folds and not action.accumulators:
        yield from _written_out(stage, action, folds)
    yield from _tasks(name, part, cut)


def _folds(stage: Stage, action: Action) -> list[str]:
    """The reduction's loops, innermost first; those of one iteration are outermost."""
    assert stage.reduction is not None
    if action.accumulators:
        return [f"{stage.reduction.variables[0]}_i"]
    rest = set(range(len(stage.reduction.variables))) - set(action.reduction_order)
    places = [*reversed(action.reduction_order), *sorted(rest)]
    return [stage.reduction.variables[place] for place in places]


def _written_out(stage: Stage, action: Action, folds: Sequence[str]) -> Iterator[Directive]:
    assert stage.reduction is not None
    extents = dict(zip(stage.reduction.variables, stage.reduction.extents, strict=True))
    if action.unroll == 0:
        for variable in folds:
            yield Directive(stage.name, "update", "unroll", (variable,))
    elif action.unroll == extents[folds[0]]:
        yield Directive(stage.name, "update", "unroll", (folds[0],))
    elif action.unroll > 1:
        yield Directive(stage.name, "update", "unroll", (folds[0], action.unroll))


def _tasks(name: str, part: Part, cut: Sequence[str]) -> Iterator[Directive]:
    """One parallel loop of those over tasks, given innermost first."""
    if not cut:
        return
    fused = cut[0]
    for place, outer in enumerate(cut[1:], start=1):
        result = TASK if place == len(cut) - 1 else f"{TASK}_{place}"
        yield Directive(name, part, "fuse", (fused, outer, result))
        fused = result
    if len(cut) == 1:
        yield Directive(name, part, "rename", (fused, TASK))
    yield Directive(name, part, "parallel", (TASK,))


def _partial_sums(stage: Stage, placement: Placement) -> Iterator[Directive]:
    """A reduction along memory in vectors of independent partial results, folded at the end."""
    action, reduction, name = placement.action, stage.reduction, stage.name
    assert reduction is not None
    first, *others = reduction.variables
    width = action.vector * action.accumulators
    partial, lane = f"{name}_partial", f"{first}_l"
    outer, inner = f"{first}_o", f"{first}_i"
    yield Directive(name, "update", "split", (first, outer, inner, width, GUARD))
    yield Directive(name, "update", "rfactor", (inner, lane), result=partial)
    at = placement.loops[-1].name if placement.loops else stage.variables[0]
    yield Directive(partial, "pure", "compute_at", (name, at))
    parts: tuple[Part, Part] = ("pure", "update")
    for part in parts:
        folds = [outer, *others] if part == "update" else []
        vector = lane
        if action.accumulators > 1:
            vector = f"{first}_v"
            arguments = (lane, f"{first}_u", vector, action.vector, GUARD)
            yield Directive(partial, part, "split", arguments)
            folds = [f"{first}_u", *folds]
        yield Directive(partial, part, "reorder", (vector, *folds, *stage.variables))
        yield Directive(partial, part, "vectorize", (vector,))
        if action.accumulators > 1:
            yield Directive(partial, part, "unroll", (f"{first}_u",))
    yield from _nest(stage, placement, "update")
    yield Directive(name, "update", "atomic")
    yield Directive(name, "update", "vectorize", (inner,))
