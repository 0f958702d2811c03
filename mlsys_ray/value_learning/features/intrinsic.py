"""Intrinsic features: what a stage computes, whatever its schedule."""

from __future__ import annotations

from collections import Counter
from math import log2, prod

import numpy as np

from mlsys_ray.value_learning.features.footprint import BYTES, bytes_read
from mlsys_ray.value_learning.operators import Pipeline, Stage
from mlsys_ray.value_learning.operators.expression import Apply, Inside, Load, walk
from mlsys_ray.value_learning.target import Target

INTRINSIC = {
    "points": "log2 of the values that it has",
    "extent_0": "log2 of (1 + innermost extent / lanes)",
    "extent_1": "log2 of the second extent",
    "extent_2": "log2 of the third extent",
    "extent_3": "log2 of the product of the further extents",
    "terms": "log2 of the terms folded into each point",
    "fold_0": "log2 of the reduction's first extent",
    "fold_1": "log2 of the product of the reduction's further extents",
    "is_reduction": "1 for a reduction",
    "is_maximum": "1 for a reduction by maximum",
    "is_output": "1 for the pipeline's result",
    "additions": "additions and subtractions a point and term",
    "multiplications": "multiplications a point and term",
    "divisions": "divisions a point and term",
    "comparisons": "minima and maxima a point and term",
    "transcendentals": "exp, erf and roots a point and term",
    "selections": "choices between inside and outside, a point and term",
    "loads": "loads a point and term",
    "unit_stride": "share of loads that walk through memory with the innermost loop",
    "broadcast": "share of loads that do not move with the innermost loop",
    "strided": "share of loads that jump with the innermost loop",
    "along_memory": "share of loads that walk through memory with the reduction's first loop",
    "clamped": "share of loads with a clamped index",
    "operations": "log2 of (1 + floating-point operations in all)",
    "output_bytes": "log2 of (bytes that it makes / second-level cache)",
    "input_bytes": "log2 of (bytes that it reads, each once / second-level cache)",
    "intensity": "log2 of (1 + operations / bytes read and made)",
    "reuse": "log2 of (loads in all / different values loaded)",
    "window": "log2 of the values of its sources that one point reads, all terms",
    "producers": "stages that it reads",
    "inputs": "inputs and parameters that it reads",
    "consumers": "stages that read it",
    "position": "stages between it and the result in the order, over 8",
    "lanes": "log2 of the target's lanes",
    "registers": "log2 of the target's vector registers",
    "cores": "log2 of the target's cores",
    "cache_1": "log2 of the first-level cache in KiB",
    "cache_2": "log2 of the second-level cache in KiB",
    "cache_3": "log2 of the last-level cache in KiB",
}
"""Name and meaning of each, in the order of the columns."""


def intrinsic_row(pipeline: Pipeline, place: int, target: Target) -> np.ndarray:
    """Of one stage: float32 `[len(INTRINSIC)]`."""
    stage = pipeline.stages[place]
    reduction = stage.reduction
    folds = reduction.extents if reduction else (1,)
    body = reduction.term if reduction else stage.value
    parts = list(walk(body))
    calls = Counter(part.function for part in parts if isinstance(part, Apply))
    loads = [part for part in parts if isinstance(part, Load)]
    count = max(1, len(loads))
    strides = Counter(_stride(load, stage.variables[0]) for load in loads)
    first_fold = reduction.variables[0] if reduction else None
    extents = {name: np.array([float(e)]) for name, e in _domain(stage).items()}
    read = float(bytes_read(stage.loads, extents)[0])
    window = {name: np.ones(1) for name in stage.variables} | {
        name: extents[name] for name in (reduction.variables if reduction else ())
    }
    made = BYTES * stage.points
    operations = stage.points * stage.terms * (sum(calls.values()) + bool(reduction))
    caches = [log2(size / 1024) for size in target.caches]
    padded = (*stage.extents, 1, 1, 1)
    row = {
        "points": log2(stage.points),
        "extent_0": log2(1 + stage.extents[0] / target.lanes),
        "extent_1": log2(padded[1]),
        "extent_2": log2(padded[2]),
        "extent_3": log2(prod(padded[3:])),
        "terms": log2(stage.terms),
        "fold_0": log2(folds[0]),
        "fold_1": log2(prod(folds[1:])),
        "is_reduction": reduction is not None,
        "is_maximum": reduction is not None and reduction.combine == "maximum",
        "is_output": place == 0,
        "additions": calls["add"] + calls["subtract"],
        "multiplications": calls["multiply"],
        "divisions": calls["divide"],
        "comparisons": calls["maximum"] + calls["minimum"],
        "transcendentals": sum(calls[name] for name in ("exp", "fast_exp", "erf", "rsqrt")),
        "selections": sum(isinstance(part, Inside) for part in parts),
        "loads": len(loads),
        "unit_stride": strides["unit"] / count,
        "broadcast": strides["broadcast"] / count,
        "strided": strides["strided"] / count,
        "along_memory": sum(_stride(load, first_fold) == "unit" for load in loads) / count,
        "clamped": sum(any(index.clamp for index in load.indices) for load in loads) / count,
        "operations": log2(1 + operations),
        "output_bytes": log2(made / target.caches[1]),
        "input_bytes": log2(max(read, 1.0) / target.caches[1]),
        "intensity": log2(1 + operations / (read + made)),
        "reuse": log2(max(1.0, stage.points * stage.terms * len(loads) * BYTES / max(read, 1.0))),
        "window": log2(max(1.0, float(bytes_read(loads, window)[0]) / BYTES)),
        "producers": len(stage.sources & pipeline.index.keys()),
        "inputs": len(stage.sources - pipeline.index.keys()),
        "consumers": len(pipeline.consumers[place]),
        "position": place / 8,
        "lanes": log2(target.lanes),
        "registers": log2(target.registers),
        "cores": log2(target.cores),
        "cache_1": caches[0],
        "cache_2": caches[1],
        "cache_3": caches[2],
    }
    return np.array([row[name] for name in INTRINSIC], np.float32)


def _domain(stage: Stage) -> dict[str, int]:
    domain = dict(zip(stage.variables, stage.extents, strict=True))
    if stage.reduction:
        domain |= zip(stage.reduction.variables, stage.reduction.extents, strict=True)
    return domain


def _stride(load: Load, variable: str | None) -> str:
    """How a load moves when a loop variable takes its next value."""
    moving = [
        (place, term)
        for place, index in enumerate(load.indices)
        for term in index.terms
        if term.variable == variable and term.divide == 1
    ]
    if not moving:
        return "broadcast"
    place, term = moving[0]
    return "unit" if place == 0 and term.coefficient == 1 else "strided"
