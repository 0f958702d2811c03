"""Where an action puts its stage: the region that is computed at a time, and its loops."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from mlsys_ray.value_learning.operators import Stage
from mlsys_ray.value_learning.space.action import Action, Site

TASK = "task"


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop of a stage outside its reduction.

    Attributes:
        name: of Halide's variable.
        count: iterations.
        extents: points in each dimension that one iteration covers.
        parallel: whether its iterations are shared out over threads.
    """

    name: str
    count: int
    extents: tuple[int, ...]
    parallel: bool = False


class Placement(NamedTuple):
    """A stage that has been scheduled.

    Attributes:
        action: what was chosen.
        region: points in each dimension that are computed at a time; those that its consumers need
            in all, for an inlined stage.
        path: the loops around it, outermost first.
        realisations: how many times the region is computed.
        tasks: iterations of the parallel loops around it and of its own.
        stored: points in each dimension for which there is memory at a time.
        evaluations: points computed in all, those counted again that are computed again.
        loops: its own, outermost first, those of one iteration left out.
        varying: dimensions in which the region is sometimes smaller: no tile is shifted there.
        around: for the whole pipeline and then for each loop of the path, its iterations in all and
            the points in each dimension that one of them needs of the stage.
    """

    action: Action
    region: tuple[int, ...]
    path: tuple[Site, ...]
    realisations: int
    tasks: int
    stored: tuple[int, ...]
    evaluations: int
    loops: tuple[Loop, ...]
    varying: tuple[bool, ...] = ()
    around: tuple[tuple[int, tuple[int, ...]], ...] = ()

    @property
    def nest(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """As `around`, and the same for the region, for its own loops, and for its tiles."""
        found = [*self.around, (self.realisations, self.region)]
        count = self.realisations
        for loop in self.loops:
            count *= loop.count
            found.append((count, loop.extents))
        return tuple(found)

    @property
    def inlined(self) -> bool:
        """Whether it is computed as part of its consumers."""
        return self.action.compute == "inline"

    @property
    def partial(self) -> tuple[bool, ...]:
        """Dimensions in which some tiles have fewer points than others."""
        if not self.action.guarded:
            return self.varying
        action = self.action
        sides = zip(self.varying, self.region, action.block, action.tile, strict=True)
        return tuple(varying or r % b > 0 or b % t > 0 for varying, r, b, t in sides)


def ceil_divide(a: int, b: int) -> int:
    """The quotient, rounded up."""
    return -(-a // b)


def covered(action: Action, region: tuple[int, ...]) -> int:
    """Points that an action computes of a region: more than it has, where tiles are shifted."""
    if action.guarded:
        return prod(region)
    points = 1
    for extent, block, tile in zip(region, action.block, action.tile, strict=True):
        points *= ceil_divide(extent, block) * ceil_divide(block, tile) * tile
    return points


def loops_of(stage: Stage, action: Action, region: tuple[int, ...]) -> tuple[Loop, ...]:
    """The loops that an action makes over a region of a stage, outermost first."""
    loops = []
    extents, tile = action.block, action.tile
    if extents != region and (tasks := prod(map(ceil_divide, region, extents))) > 1:
        loops.append(Loop(TASK, tasks, extents, parallel=True))
    current = list(extents)
    for dimension in action.order:
        count = -(-current[dimension] // tile[dimension])
        if count > 1:
            current[dimension] = tile[dimension]
            loops.append(Loop(tile_loop(stage, action, region, dimension), count, tuple(current)))
    return tuple(loops)


def tile_loop(stage: Stage, action: Action, region: tuple[int, ...], dimension: int) -> str:
    """Name of the loop over tiles in a dimension: the dimension's own where nothing is split."""
    name = stage.variables[dimension]
    whole = action.tile[dimension] == 1 and action.block[dimension] == region[dimension]
    return name if whole else f"{name}_o"
