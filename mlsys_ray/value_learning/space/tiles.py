"""Candidates for tiles, tasks and loop orders."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

from mlsys_ray.value_learning.space.placement import ceil_divide
from mlsys_ray.value_learning.target import Target

Extents = tuple[int, ...]

MAX_WASTE = 1.2
"""Points of all tasks against points needed, where tasks do not divide."""


def vector_width(target: Target, extent: int) -> int:
    """Values of a vector along a side of so many points: a power of two, at most the target's."""
    width = target.lanes
    while width > extent:
        width //= 2
    return width


def second_dimension(region: Extents) -> int | None:
    """The dimension beside the innermost one that a tile extends in."""
    return next((d for d in range(1, len(region)) if region[d] > 1), None)


def vector_dimension(target: Target, region: Extents) -> int:
    """The dimension along which the vectors of a tile lie side by side.

    It is the innermost one, or the outermost one of an image whose innermost one is a single vector
    wide: its channels lie in blocks.
    """
    in_blocks = len(region) == 4 and region[3] > 1 and region[0] == target.lanes
    return 3 if in_blocks else 0


def register_tiles(target: Target, region: Extents, panel: int = 0) -> list[tuple[int, Extents]]:
    """Pairs of vector width and tile whose sums, with their operands, fit the registers.

    A tile of `v` vectors by `u` points keeps v u sums, v vectors of one operand and one of the
    other: v u + v + 1 registers. Where weights come in panels, no tile reads two of them.
    """
    width, second = vector_width(target, region[0]), second_dimension(region)
    along = vector_dimension(target, region)
    found = [(1, (1,) * len(region))]
    if second == along:
        second = None
    across = region[second] if second else 1
    beside = region[along] if along else region[0] // width
    for v, u in product((1, 2, 3, 4, 6, 8), range(1, 15)):
        usual = u in (1, 2, 4, 6, 8, 12) or across % u == 0
        fits = v <= beside and u <= across and (panel or v * width) % (v * width) == 0
        small = 4 * (v * u + v + 1) < target.registers and (v, u) not in {(1, 1), (2, 1), (1, 2)}
        if usual and fits and not small and v * u + v + 1 <= target.registers:
            tile = list(tile_of(region, width if along else v * width, second, u))
            tile[along] *= v if along else 1
            found.append((width, tuple(tile)))
    return found


def plain_tiles(
    target: Target, region: Extents, vectors: Extents = (1, 4), across: Extents = (1,)
) -> list[tuple[int, Extents]]:
    """Pairs of vector width and tile where nothing is summed up."""
    width, second = vector_width(target, region[0]), second_dimension(region)
    found = [(1, (1,) * len(region))]
    for v, u in product(vectors, across):
        if v * width <= region[0] and (u == 1 or (second and u <= region[second])):
            found.append((width, tile_of(region, v * width, second, u)))
    return found


def tile_of(region: Extents, inner: int, second: int | None, across: int) -> Extents:
    """A tile with `inner` points in the innermost dimension and `across` in the second one."""
    tile = [1] * len(region)
    tile[0] = inner
    if second:
        tile[second] = across
    return tuple(tile)


def blocks(target: Target, region: Extents, tile: Extents, few: bool = False) -> list[Extents]:
    """Ways to cut a region into parallel tasks of whole tiles; the first one cuts nothing.

    Cut is the outermost dimension that has more than one tile, the innermost one, both, or the two
    outermost ones.
    """
    counts = tuple(map(ceil_divide, region, tile))
    wide = [d for d in range(len(region)) if counts[d] > 1]
    found = [region]
    if target.cores == 1 or not wide:
        return found
    outer, cores = wide[-1], target.cores
    cuts: list[dict[int, int]] = [{outer: cores}, {outer: 4 * cores}]
    if not few:
        cuts.append({outer: 16 * cores})
        if wide[0] == 0 and outer != 0:
            cuts += [{0: cores}, {0: 4 * cores}, {0: 2, outer: cores}]
        if len(wide) > 1 and counts[outer] < 4 * cores and wide[-2] != 0:
            cuts += [{outer: counts[outer], wide[-2]: cores}]
    for cut in cuts:
        block = list(region)
        for dimension, tasks in cut.items():
            block[dimension] = min(
                ceil_divide(counts[dimension], tasks) * tile[dimension], region[dimension]
            )
        computed = prod(ceil_divide(r, b) * b for r, b in zip(region, block, strict=True))
        if computed <= MAX_WASTE * prod(region):
            found.append(tuple(block))
    return list(dict.fromkeys(found))


def orders(tile: Extents, block: Extents, few: bool = False) -> Iterator[Extents]:
    """Orders of the tile loops, outermost first: innermost dimension last, first, before last.

    Where its loop has one iteration, the dimension of blocks of channels takes its place in two
    more orders.
    """
    counts = tuple(map(ceil_divide, block, tile))
    outside = tuple(d for d in reversed(range(1, len(tile))) if counts[d] > 1)
    if counts[0] == 1:
        yield outside
        if outside[:1] == (3,) and not few:
            yield from (
                (*outside[1:place], 3, *outside[place:]) for place in range(2, 1 + len(outside))
            )
        return
    yield (*outside, 0)
    if outside and not few:
        yield (0, *outside)
    if len(outside) > 1 and not few:
        yield (*outside[:-1], 0, outside[-1])


def overhangs(tile: Extents, block: Extents, region: Extents) -> bool:
    """Whether a tile does not divide its task, or a task the region."""
    return any(r % b or b % t for t, b, r in zip(tile, block, region, strict=True))
