"""Acquired features: what a schedule makes of a stage.

They depend on the stage's own action and on those of its consumers alone, so that they stay as they
are when producers are scheduled. They are computed for many actions of one stage at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from mlsys_ray.value_learning.features.footprint import BYTES, Counts, bytes_read, elements, span
from mlsys_ray.value_learning.operators import Stage, Tensor
from mlsys_ray.value_learning.operators.expression import Load, loads
from mlsys_ray.value_learning.space.placement import Placement
from mlsys_ray.value_learning.target import Target

ACQUIRED = {
    "inlined": "1 if it is computed as part of its consumers",
    "at_root": "1 if it is computed before its consumers",
    "sliding": "1 if values are kept from one iteration to the next",
    "depth": "loops around it, over 8",
    "realisations": "log2 of the times that its region is computed",
    "region": "log2 of the points of a region",
    "evaluations": "log2 of the points computed in all",
    "recomputation": "log2 of (points computed / points that it has), at least 0",
    "vector": "vector width / lanes",
    "scalar": "1 if nothing is vectorised",
    "tile_vectors": "log2 of the vectors in a tile's innermost dimension",
    "tile_across": "log2 of the points of a tile in the other dimensions",
    "tile_operations": "log2 of the vectors in a tile",
    "pressure": "(vectors in a tile + in its innermost dimension + 1) / registers",
    "unroll": "log2 of the reduction's iterations that are written out",
    "written_out": "1 if the whole reduction is written out",
    "accumulators": "vectors of partial sums / 8",
    "guarded": "1 if points are computed under a condition",
    "overhang": "log2 of (points of whole tiles / points of the region)",
    "tasks": "log2 of the iterations of parallel loops, around it and of its own",
    "own_tasks": "log2 of the iterations of its own parallel loop",
    "tasks_per_core": "log2 of (tasks / cores)",
    "imbalance": "log2 of (tasks rounded up to a multiple of the cores / tasks)",
    "task_operations": "log2 of (1 + multiply-adds or points of a task)",
    "tile_loops": "log2 of the tiles of a task",
    "inner_loop": "log2 of the iterations of the innermost tile loop",
    "inner_is_0": "1 if the innermost tile loop walks along the innermost dimension",
    "outer_is_0": "1 if the outermost tile loop walks along the innermost dimension",
    "fold_inner": "log2 of the iterations of the innermost reduction loop",
    "fold_inner_is_0": "1 if the innermost reduction loop is the reduction's first variable",
    "vector_operations": "log2 of the vector operations of its body in all",
    "critical_path": "log2 of (vector operations / cores that have tasks, with imbalance)",
    "loads_per_operation": "vector and scalar loads of a tile's body / vectors in the tile",
    "gathers_per_operation": "loads of single values into vectors / vectors in the tile",
    "tile_bytes_1": "log2 of (bytes that a tile reads / first-level cache)",
    "row_bytes_1": "log2 of (bytes that the innermost tile loop reads / first-level cache)",
    "row_bytes_2": "log2 of (bytes that the innermost tile loop reads / second-level cache)",
    "task_bytes_1": "log2 of (bytes that a task reads / first-level cache)",
    "task_bytes_2": "log2 of (bytes that a task reads / second-level cache)",
    "region_bytes_2": "log2 of (bytes that a region reads / second-level cache)",
    "region_bytes_3": "log2 of (bytes that a region reads / last-level cache)",
    "stored_bytes_1": "log2 of (bytes of memory that it has / first-level cache)",
    "stored_bytes_2": "log2 of (bytes of memory that it has / second-level cache)",
    "stored_bytes_3": "log2 of (bytes of memory that it has / last-level cache)",
    "in_registers": "1 if what it has memory for is at most the registers",
    "traffic_tile": "log2 of (1 + bytes that all tiles read together / MiB)",
    "traffic_row": "log2 of (1 + bytes that all innermost tile loops read together / MiB)",
    "traffic_task": "log2 of (1 + bytes that all tasks read together / MiB)",
    "misses_1": "log2 of (1 + bytes read from beyond the first-level cache / MiB), see `_misses`",
    "misses_2": "log2 of (1 + bytes read from beyond the second-level cache / MiB)",
    "misses_3": "log2 of (1 + bytes read from beyond the last-level cache / MiB)",
    "tile_stretches": "log2 of (1 + stretches of arguments' memory that a tile reads)",
    "tile_pages": "log2 of (1 + pages of arguments' memory that a tile reads)",
    "tile_aliased": "log2 of the stretches whose distance is a multiple of a page: they compete for"
    " the same places in the first-level cache",
    "written_bytes": "log2 of (1 + bytes that it writes in all / MiB)",
    "line_use": "innermost extent of its memory / (16 values of a cache line), at most 1",
}
"""Name and meaning of each, in the order of the columns."""

MIB = 1024.0**2
LINE, PAGE = 16.0, 1024.0
"""Values in a cache line, and in a page of memory."""


@dataclass(frozen=True)
class _Table:
    """Placements of one stage as arrays, `[N]` and `[N, dimensions]`."""

    region: Counts
    block: Counts
    tile: Counts
    row: Counts
    stored: Counts
    numbers: dict[str, Counts]


def acquired_rows(
    stage: Stage, arguments: Mapping[str, Tensor], target: Target, placements: Sequence[Placement]
) -> np.ndarray:
    """Of several ways to place one stage: float32 `[N, len(ACQUIRED)]`.

    Args:
        stage: what is placed.
        arguments: of its pipeline, by their names.
        target: what for.
        placements: the ways.
    """
    rows = np.zeros((len(placements), len(ACQUIRED)), np.float32)
    inlined = [placement.inlined for placement in placements]
    for kind, columns in ((True, _inlined), (False, _placed)):
        places = [place for place, own in enumerate(inlined) if own == kind]
        if not places:
            continue
        values = columns(stage, arguments, target, [placements[place] for place in places])
        rows[np.ix_(places, [_COLUMN[name] for name in values])] = np.stack(
            np.broadcast_arrays(*values.values()), axis=1
        )
    return rows


_COLUMN = {name: column for column, name in enumerate(ACQUIRED)}


def _inlined(
    stage: Stage, arguments: Mapping[str, Tensor], target: Target, placements: Sequence[Placement]
) -> dict[str, Counts]:
    evaluations = np.array([p.evaluations for p in placements], float)
    return {
        "inlined": np.ones(len(placements)),
        "evaluations": _log(evaluations),
        "recomputation": np.maximum(0.0, _log(evaluations / stage.points)),
    }


def _table(placements: Sequence[Placement]) -> _Table:
    actions = [p.action for p in placements]
    rows = [p.loops[-2].extents if len(p.loops) > 1 else p.action.block for p in placements]
    listed = {
        "realisations": [p.realisations for p in placements],
        "tasks": [p.tasks for p in placements],
        "own_tasks": [prod(loop.count for loop in p.loops if loop.parallel) for p in placements],
        "inner_loop": [p.loops[-1].count if p.loops else 1 for p in placements],
        "depth": [len(p.path) for p in placements],
        "evaluations": [p.evaluations for p in placements],
        "vector": [a.vector for a in actions],
        "unroll": [a.unroll for a in actions],
        "accumulators": [a.accumulators for a in actions],
        "guarded": [a.guarded for a in actions],
        "at_root": [a.compute == "root" for a in actions],
        "sliding": [a.store is not None for a in actions],
        "inner_is_0": [bool(a.order) and a.order[-1] == 0 for a in actions],
        "outer_is_0": [bool(a.order) and a.order[0] == 0 for a in actions],
        "inner_fold": [a.reduction_order[-1] if a.reduction_order else 0 for a in actions],
    }
    return _Table(
        region=np.array([p.region for p in placements], float),
        block=np.array([a.block for a in actions], float),
        tile=np.array([a.tile for a in actions], float),
        row=np.array(rows, float),
        stored=np.array([p.stored for p in placements], float),
        numbers={name: np.array(values, float) for name, values in listed.items()},
    )


def _placed(
    stage: Stage, arguments: Mapping[str, Tensor], target: Target, placements: Sequence[Placement]
) -> dict[str, Counts]:
    table = _table(placements)
    n = table.numbers
    first, second, third = (float(size) for size in target.caches)
    folds = stage.reduction.extents if stage.reduction else (1,)
    terms = float(stage.terms)
    region = table.region.prod(axis=1)
    whole = np.ceil(table.region / table.block) * np.ceil(table.block / table.tile) * table.tile
    # Partial sums take the vectors of the reduction, not of the tile.
    width = np.where(n["accumulators"] > 0, 1.0, n["vector"])
    across = np.maximum(1.0, table.tile[:, 0] / width)
    vectors = across * table.tile[:, 1:].prod(axis=1)
    operations = np.maximum(vectors, n["accumulators"])
    tiles = n["realisations"] * (whole / table.tile).prod(axis=1)
    blocks = n["realisations"] * np.ceil(table.region / table.block).prod(axis=1)
    rows = blocks * np.ceil(table.block / table.row).prod(axis=1)
    vector_operations = n["evaluations"] * terms / n["vector"]
    busy = np.ceil(n["tasks"] / target.cores)
    loaded, gathered = _body_loads(stage, target, table, width)
    fold_extents = np.array(folds, float)
    fold_inner = fold_extents[n["inner_fold"].astype(int)]
    written_out = n["unroll"] == 0
    tile_bytes = _bytes(stage, table.tile)
    row_bytes = _bytes(stage, table.row)
    task_bytes = _bytes(stage, table.block)
    region_bytes = _bytes(stage, table.region)
    stored = BYTES * table.stored.prod(axis=1)
    misses = _misses(stage, placements, target.caches)
    stretches, pages, aliased = _stretches(stage, arguments, table.tile)
    return {
        "at_root": n["at_root"],
        "sliding": n["sliding"],
        "depth": n["depth"] / 8,
        "realisations": _log(n["realisations"]),
        "region": _log(region),
        "evaluations": _log(n["evaluations"]),
        "recomputation": np.maximum(0.0, _log(n["evaluations"] / stage.points)),
        "vector": n["vector"] / target.lanes,
        "scalar": n["vector"] == 1,
        "tile_vectors": _log(across),
        "tile_across": _log(table.tile[:, 1:].prod(axis=1)),
        "tile_operations": _log(operations),
        "pressure": (operations + across + 1) / target.registers,
        "unroll": _log(np.where(written_out, terms, n["unroll"])),
        "written_out": written_out,
        "accumulators": n["accumulators"] / 8,
        "guarded": n["guarded"],
        "overhang": _log(whole.prod(axis=1) / region),
        "tasks": _log(n["tasks"]),
        "own_tasks": _log(n["own_tasks"]),
        "tasks_per_core": _log(n["tasks"] / target.cores),
        "imbalance": _log(busy * target.cores / n["tasks"]),
        "task_operations": _log(1 + n["evaluations"] * terms / n["tasks"]),
        "tile_loops": _log(np.ceil(table.block / table.tile).prod(axis=1)),
        "inner_loop": _log(n["inner_loop"]),
        "inner_is_0": n["inner_is_0"],
        "outer_is_0": n["outer_is_0"],
        "fold_inner": _log(fold_inner),
        "fold_inner_is_0": n["inner_fold"] == 0,
        "vector_operations": _log(vector_operations),
        "critical_path": _log(vector_operations * busy / n["tasks"]),
        "loads_per_operation": loaded / operations,
        "gathers_per_operation": gathered / operations,
        "tile_bytes_1": _log(tile_bytes / first),
        "row_bytes_1": _log(row_bytes / first),
        "row_bytes_2": _log(row_bytes / second),
        "task_bytes_1": _log(task_bytes / first),
        "task_bytes_2": _log(task_bytes / second),
        "region_bytes_2": _log(region_bytes / second),
        "region_bytes_3": _log(region_bytes / third),
        "stored_bytes_1": _log(stored / first),
        "stored_bytes_2": _log(stored / second),
        "stored_bytes_3": _log(stored / third),
        "in_registers": stored <= BYTES * target.lanes * target.registers,
        "traffic_tile": _log(1 + tiles * tile_bytes / MIB),
        "traffic_row": _log(1 + rows * row_bytes / MIB),
        "traffic_task": _log(1 + blocks * task_bytes / MIB),
        "misses_1": _log(1 + misses[0] / MIB),
        "misses_2": _log(1 + misses[1] / MIB),
        "misses_3": _log(1 + misses[2] / MIB),
        "tile_stretches": _log(1 + stretches),
        "tile_pages": _log(1 + pages),
        "tile_aliased": _log(aliased),
        "written_bytes": _log(1 + BYTES * n["evaluations"] / MIB),
        "line_use": np.minimum(1.0, table.stored[:, 0] / LINE),
    }


def _log(values: Counts) -> Counts:
    return np.log2(np.maximum(values, 1e-9))


def _extents(stage: Stage, points: Counts, folds: bool) -> dict[str, Counts]:
    """Extents of all loops: `points` of the pure ones, all of the reduction or one iteration."""
    extents = dict(zip(stage.variables, points.T, strict=True))
    if stage.reduction:
        one = np.ones(len(points))
        for name, extent in zip(stage.reduction.variables, stage.reduction.extents, strict=True):
            extents[name] = one * extent if folds else one
    return extents


def _bytes(stage: Stage, points: Counts) -> Counts:
    """Bytes that so many points read, at least one value."""
    return np.maximum(BYTES, bytes_read(stage.loads, _extents(stage, points, folds=True)))


def _misses(stage: Stage, placements: Sequence[Placement], caches: Sequence[int]) -> list[Counts]:
    """Bytes that are read from beyond each cache, `[N]` for each.

    An iteration of a loop whose reads fit into a cache reads each of them from beyond it once. So
    the outermost such loop tells how much that is in all; where none fits, it is the tiles.
    """
    nests = [placement.nest for placement in placements]
    iterations = np.array([count for nest in nests for count, _ in nest], float)
    read = _bytes(stage, np.array([extents for nest in nests for _, extents in nest], float))
    ends = np.cumsum([len(nest) for nest in nests])
    starts = np.concatenate([[0], ends[:-1]])
    places = np.arange(len(read))
    found = []
    for cache in caches:
        fitting = np.where(read <= cache, places, len(places))
        outermost = np.minimum(np.minimum.reduceat(fitting, starts), ends - 1)
        found.append(iterations[outermost] * read[outermost])
    return found


def _stretches(
    stage: Stage, arguments: Mapping[str, Tensor], points: Counts
) -> tuple[Counts, Counts, Counts]:
    """How arguments' memory is read by so many points, `[N]` each.

    Returns:
        Stretches; pages; most stretches of one argument whose distance is a multiple of a page.
    """
    extents = _extents(stage, points, folds=True)
    stretches, pages, aliased = np.zeros(len(points)), np.zeros(len(points)), np.ones(len(points))
    for load in dict.fromkeys(stage.loads):
        if load.source not in arguments:
            continue
        total = run = reach = np.ones(len(points))
        far = np.ones(len(points))
        whole, stride = np.ones(len(points), bool), 1
        for index, extent in zip(load.indices, arguments[load.source].extents, strict=True):
            spanned = np.minimum(span(index, extents), extent)
            total = total * spanned
            run = np.where(whole, run * spanned, run)
            if stride % PAGE == 0:
                far = np.where(whole, far, far * spanned)
            whole &= spanned == extent
            reach = reach + stride * (spanned - 1)
            stride *= extent
        stretches = stretches + total / run
        pages = pages + np.minimum(total / run * (1 + run / PAGE), 1 + reach / PAGE)
        aliased = np.maximum(aliased, far)
    return stretches, pages, aliased


def _body_loads(
    stage: Stage, target: Target, table: _Table, width: Counts
) -> tuple[Counts, Counts]:
    """Loads of one written-out tile, per iteration of the reduction: all, and single values."""
    extents = _extents(stage, table.tile, folds=False)
    loaded = np.zeros(len(width))
    gathered = np.zeros(len(width))
    body = stage.reduction.term if stage.reduction else stage.value
    partial = table.numbers["accumulators"]
    fold = stage.reduction.variables[0] if stage.reduction else ""
    for load in dict.fromkeys(loads(body)):
        values = elements(load, extents)
        if _walks(load, stage.variables[0]):
            count = np.maximum(1.0, values / width)
        else:
            count = values
            if _moves(load, stage.variables[0]):
                gathered += np.where(width > 1, values, 0.0)
        along = partial if _walks(load, fold) else np.zeros_like(partial)
        loaded += np.maximum(count, along)
    return loaded, gathered


def _walks(load: Load, variable: str) -> bool:
    terms = load.indices[0].terms
    return any(t.variable == variable and t.coefficient == 1 and t.divide == 1 for t in terms)


def _moves(load: Load, variable: str) -> bool:
    return any(
        term.variable == variable and term.divide == 1
        for index in load.indices
        for term in index.terms
    )
