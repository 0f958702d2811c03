"""Which actions a stage has: those that Halide accepts, and not those that cannot be good."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

from mlsys_ray.value_learning.operators.expression import Term, loads
from mlsys_ray.value_learning.operators.stage import Reduction
from mlsys_ray.value_learning.space.action import INLINE, Action, Site
from mlsys_ray.value_learning.space.state import State
from mlsys_ray.value_learning.space.tiles import (
    Extents,
    blocks,
    orders,
    overhangs,
    plain_tiles,
    register_tiles,
)

MAX_ACTIONS = 300
"""Of one stage; more are thinned out evenly."""
MAX_INLINED_LOADS = 32
"""Loads of a stage with all that is inlined into it."""
MAX_UNROLLED = 128
"""Vector operations that are written out: beyond, compilation takes too long."""
MAX_SITES = 6
"""Loops that a stage may be computed in, of those around its consumers: the innermost ones."""


def legal_actions(state: State) -> tuple[Action, ...]:
    """Every action of the next stage, in a fixed order; at most `MAX_ACTIONS`.

    Raises:
        ValueError: the state is complete.
    """
    if state.is_complete:
        raise ValueError("the state is complete")
    options = tuple(dict.fromkeys(_options(state)))
    if len(options) <= MAX_ACTIONS:
        return options
    step = len(options) / MAX_ACTIONS
    return tuple(options[int(position * step)] for position in range(MAX_ACTIONS))


def _options(state: State) -> Iterator[Action]:
    stage = state.stage
    sites = state.sites[-MAX_SITES:] if state.actions else ()
    if stage.reduction:
        yield from _reduction_at_root(state, stage.reduction)
        for site in sites:
            yield from _reduction_at(state, stage.reduction, site)
        return
    if state.actions and _inlined_loads(state) <= MAX_INLINED_LOADS:
        yield INLINE
    yield from _elementwise_at_root(state)
    for site in sites:
        yield from _elementwise_at(state, site)


def _inlined_loads(state: State) -> int:
    """Loads in the largest stage that the next one would become part of."""

    def grown(consumer: int, source: str, inner: int) -> int:
        stage = state.pipeline.stages[consumer]
        times = sum(load.source == source for load in stage.loads)
        count = len(stage.loads) - times + times * inner
        if not state.placements[consumer].inlined:
            return count
        further = state.pipeline.consumers[consumer]
        return max(grown(outer, stage.name, count) for outer in further)

    stage = state.stage
    consumers = state.pipeline.consumers[len(state.actions)]
    return max(grown(consumer, stage.name, len(stage.loads)) for consumer in consumers)


def _written_sums(state: State) -> Reduction | None:
    """The reduction whose result the next stage reads point by point, if it does.

    Its tile is then the one whose sums can stay in registers.
    """
    stage, stages, index = state.stage, state.pipeline.stages, state.pipeline.index
    for source in sorted(stage.sources & index.keys()):
        producer = stages[index[source]]
        if producer.reduction and producer.extents == stage.extents:
            return producer.reduction
    return None


def _panel(reduction: Reduction) -> int:
    """Columns of the panels in which its weights come; 0 where they do not."""
    return max(index.modulo for load in loads(reduction.term) for index in load.indices)


def _elementwise_at_root(state: State) -> Iterator[Action]:
    target = state.target
    region = state.required(len(state.actions), None)
    sums = _written_sums(state)
    output = not state.actions
    if sums:
        tiles = register_tiles(target, region, _panel(sums))
    elif output:
        tiles = plain_tiles(target, region, (1, 2, 4, 8), (1, 2, 4))
    else:
        tiles = plain_tiles(target, region)
    for vector, tile in tiles:
        for block in blocks(target, region, tile, few=sums is None and not output):
            for order in orders(tile, block, few=sums is None):
                yield Action(
                    compute="root", vector=vector, tile=tile, block=block, order=order
                )  # fmt: skip


def _elementwise_at(state: State, site: Site) -> Iterator[Action]:
    region = state.required(len(state.actions), site)
    sums = _written_sums(state)
    tiles = (
        register_tiles(state.target, region, _panel(sums))
        if sums
        else plain_tiles(state.target, region)
    )
    for store, (vector, tile) in product(_stores(state, site, region), tiles):
        for order in orders(tile, region, few=sums is None):
            for guarded in (False, True) if overhangs(tile, region, region) else (False,):
                yield Action(
                    compute="at", site=site, store=store, vector=vector, tile=tile, block=region,
                    order=order, guarded=guarded,
                )  # fmt: skip


def _stores(state: State, site: Site, region: Extents) -> Iterator[Site | None]:
    """None, and the outermost loop around a site whose iterations share points.

    Not where a stage in between is computed again in part: its loops step back, and a window that
    slides with them has lost what they need.
    """
    yield None
    outer = state.path(site)[0]
    if outer == site or state.loop(site).parallel:
        return
    between = {inner.stage for inner in state.path(site)} - {outer.stage}
    if any(
        state.placements[place].evaluations > state.pipeline.stages[place].points
        for place in between
    ):
        return
    iterations = prod(state.loop(inner).count for inner in state.path(site)[1:])
    if prod(region) * iterations > prod(state.required(len(state.actions), outer)):
        yield outer


def _reduction_at_root(state: State, reduction: Reduction) -> Iterator[Action]:
    target = state.target
    region = state.required(len(state.actions), None)
    for vector, tile in _sum_tiles(state, reduction, region):
        for block in blocks(target, region, tile, few=True):
            loops = next(orders(tile, block, few=True))
            guarded = overhangs(tile, block, region)
            for order, unroll, accumulators in _folds(state, reduction, vector, tile):
                lanes = target.lanes if accumulators else vector
                yield Action(
                    compute="root", vector=lanes, tile=tile, block=block, order=loops,
                    reduction_order=order, unroll=unroll, accumulators=accumulators,
                    guarded=guarded,
                )  # fmt: skip


def _reduction_at(state: State, reduction: Reduction, site: Site) -> Iterator[Action]:
    region = state.required(len(state.actions), site)
    for vector, tile in _sum_tiles(state, reduction, region):
        loops = next(orders(tile, region, few=True))
        guarded = overhangs(tile, region, region)
        for order, unroll, accumulators in _folds(state, reduction, vector, tile):
            lanes = state.target.lanes if accumulators else vector
            yield Action(
                compute="at", site=site, vector=lanes, tile=tile, block=region, order=loops,
                reduction_order=order, unroll=unroll, accumulators=accumulators, guarded=guarded,
            )  # fmt: skip


def _sum_tiles(state: State, reduction: Reduction, region: Extents) -> list[tuple[int, Extents]]:
    """Tiles of sums: the whole region if it fits the registers, or a few parts of it."""
    target = state.target
    tiles = register_tiles(target, region, _panel(reduction))
    lanes = target.lanes
    while region[0] % lanes:
        lanes //= 2
    vectors = prod(region) // lanes
    if vectors <= target.registers:
        return [(lanes, region), tiles[0]] if vectors > 1 or lanes > 1 else [(1, region)]
    scalar, *others = tiles
    return [scalar, *others[:: max(1, len(others) // 6)]]


def _folds(
    state: State, reduction: Reduction, vector: int, tile: Extents
) -> Iterator[tuple[Extents, int, int]]:
    """Orders of the reduction, iterations written out, vectors of partial sums."""
    wide = tuple(v for v in range(len(reduction.extents)) if reduction.extents[v] > 1) or (0,)
    backwards = tuple(reversed(wide))
    found = [backwards]
    if len(wide) > 1:
        found.append((wide[0], *reversed(wide[1:])))
    operations = max(1, prod(tile) // vector)
    for order in found:
        innermost = reduction.extents[order[-1]]
        for unroll in dict.fromkeys((1, 2, 4, innermost)):
            if innermost % unroll == 0 and unroll * operations <= MAX_UNROLLED and unroll <= 16:
                yield order, unroll, 0
    terms = prod(reduction.extents)
    if len(wide) > 1 and terms * operations <= MAX_UNROLLED:
        yield backwards, 0, 0
    if prod(tile) == 1 and along_memory(reduction):
        for accumulators in (1, 2, 4, 8):
            if accumulators * state.target.lanes <= reduction.extents[0]:
                yield backwards, 1, accumulators


def along_memory(reduction: Reduction) -> bool:
    """Whether all that a reduction walks through lies in memory along its first variable."""
    walked = [
        load.indices[0]
        for load in loads(reduction.term)
        if {t.variable for index in load.indices for t in index.terms} & {*reduction.variables}
    ]
    return all(index.terms == (Term(reduction.variables[0]),) for index in walked)
