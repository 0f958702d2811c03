"""The kernels themselves and how they are run on all cores."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from mlsys_ray.byzshield.aggregation.compiled.lanes import (
    LANES,
    VECTOR,
    ZERO,
    Lanes,
    float_pointers,
    reduce_columns,
)

MAX_ROWS = 64
"""Straight-line networks for more rows take long to compile and spill registers."""
_GRAM_TILE = 512
_GRAM_BLOCK = 5
"""5 x 5 accumulators and the loads beside them fit the 32 vector registers of AVX-512."""
_MIN_COLUMNS_PER_SLICE = 1 << 15
_SLICES_PER_THREAD = 8


def _middle(lanes: Lanes, values: Sequence[Any], dropped: int) -> Any:
    n = len(values)
    ranks = sorted({(n - 1) // 2, n // 2})
    return lanes.mean(lanes.select_ranks(values, ranks))


def _trimmed_mean(lanes: Lanes, values: Sequence[Any], dropped: int) -> Any:
    return lanes.mean(lanes.select_ranks(values, range(dropped, len(values) - dropped)))


def _nearest_mean(lanes: Lanes, values: Sequence[Any], dropped: int) -> Any:
    """The values nearest the median are a window of the sorted ones; it slides up while that helps.

    Sliding by one swaps the lowest value for the one `kept` ranks higher, so each chain of ranks
    that lie `kept` apart always holds exactly one value of the window.
    """
    n, kept = len(values), len(values) - dropped
    ordered = lanes.select_ranks(values, range(n))
    median = lanes.mean([ordered[rank] for rank in sorted({(n - 1) // 2, n // 2})])
    window = ordered[:kept]
    for low in range(dropped):
        above = lanes.builder.fsub(ordered[low + kept], median)
        below = lanes.builder.fsub(median, ordered[low])
        slot = low % kept
        window[slot] = lanes.select(lanes.less(above, below), ordered[low + kept], window[slot])
    return lanes.mean(window)


def _majority_sign(lanes: Lanes, values: Sequence[Any], dropped: int) -> Any:
    def sign(value: Any) -> Any:
        negative = lanes.select(lanes.less(value, ZERO), lanes.constant(-1.0), ZERO)
        return lanes.select(lanes.less(ZERO, value), lanes.constant(1.0), negative)

    return sign(lanes.total([sign(value) for value in values]))


_REDUCTIONS: dict[str, Callable[[Lanes, Sequence[Any], int], Any]] = {
    "median": _middle,
    "trimmed_mean": _trimmed_mean,
    "nearest_mean": _nearest_mean,
    "majority_sign": _majority_sign,
}


@intrinsic
def _reduce_columns(
    typing_context: Any, rows: Any, kind: Any, dropped: Any, out: Any, start: Any, stop: Any
) -> Any:
    """`reduce_columns` by the reduction with the number `kind.count`."""
    reduction = list(_REDUCTIONS.values())[kind.count]

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return reduce_columns(
            builder,
            float_pointers(builder, args[0], rows.count),
            float_pointers(builder, args[3], 1)[0],
            args[4],
            args[5],
            lambda lanes, values: reduction(lanes, values, dropped.count),
        )

    return types.float32(rows, kind, dropped, out, start, stop), codegen


@intrinsic
def _gram_tile(typing_context: Any, rows: Any, start: Any, stop: Any, out: Any) -> Any:
    """Add the products of columns start to stop to the upper triangle of float64 `[n, n]`."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        lanes, n = Lanes(builder), rows.count
        pointers = float_pointers(builder, args[0], n)
        target = builder.inttoptr(args[3], ir.DoubleType().as_pointer())
        blocks = [range(i, min(n, i + _GRAM_BLOCK)) for i in range(0, n, _GRAM_BLOCK)]
        step = ir.Constant(args[1].type, LANES)
        for first, left in enumerate(blocks):
            for right in blocks[first:]:
                pairs = [(i, k) for i in left for k in right if i <= k]
                sums = {pair: cgutils.alloca_once(builder, VECTOR) for pair in pairs}
                for address in sums.values():
                    builder.store(ZERO, address)
                with cgutils.for_range_slice(builder, args[1], args[2], step) as (column, _):
                    values = {i: lanes.load(pointers[i], column) for i in {*left, *right}}
                    for (i, k), address in sums.items():
                        product = lanes.multiply_add(values[i], values[k], builder.load(address))
                        builder.store(product, address)
                for (i, k), address in sums.items():
                    part = lanes.horizontal_sum(builder.load(address))
                    entry = builder.gep(target, [ir.Constant(ir.IntType(64), i * n + k)])
                    wide = builder.fpext(part, ir.DoubleType())
                    builder.store(builder.fadd(builder.load(entry), wide), entry)
        return _context.get_dummy_value()

    return types.void(rows, start, stop, out), codegen


def _shells(sources: int) -> tuple[Any, Any]:
    """What numba compiles and caches, by this file and the free variables of the functions.

    Args:
        sources: checksum of the other files the kernels are made from, so that a change there
            makes new ones; a free variable must be used to count.
    """

    @njit(nogil=True, cache=True)
    def reduce(rows, kind, dropped, out, start, stop):  # type: ignore[no-untyped-def]  # compiled
        assert sources >= 0
        return _reduce_columns(rows, kind, dropped, out, start, stop)

    @njit(nogil=True, cache=True)
    def gram(rows, start, stop, out):  # type: ignore[no-untyped-def]  # compiled
        assert sources >= 0
        for tile in range(start, stop, _GRAM_TILE):
            _gram_tile(rows, tile, min(stop, tile + _GRAM_TILE), out)

    return reduce, gram


_reduce, _gram = _shells(
    zlib.crc32(
        b"".join(Path(__file__).with_name(f).read_bytes() for f in ("lanes.py", "network.py"))
    )
)


def supports(num_rows: int, dimension: int) -> bool:
    """Whether the kernels take an input of this shape."""
    return num_rows <= MAX_ROWS and dimension >= LANES


def reduce_rows(
    kernel: str, addresses: Sequence[int], dimension: int, dropped: int
) -> tuple[np.ndarray, bool]:
    """Run a column kernel over rows of float32 given by their addresses, on all threads.

    Args:
        kernel: median, trimmed_mean (without `dropped` on either side), nearest_mean (of all but
            `dropped` values, those nearest the median) or majority_sign.
        addresses: where each contiguous row starts; the caller keeps them alive.
        dimension: length of the rows.
        dropped: see `kernel`.

    Returns:
        float32 `[dimension]`, and whether the squares of all values have a finite sum in float32.
    """
    out = np.empty(dimension, dtype=np.float32)
    # Numbers are given as lengths of tuples, so that numba compiles for their values.
    rows, kind, count = tuple(addresses), (0,) * list(_REDUCTIONS).index(kernel), (0,) * dropped
    target = (_address(out),)
    sums = _on_threads(lambda a, b: _reduce(rows, kind, count, target, a, b), dimension)
    return out, all(math.isfinite(part) for part in sums)


def gram_matrix(addresses: Sequence[int], dimension: int) -> np.ndarray:
    """Inner products of rows of float32, float64 `[n, n]`; float32 inside 512 columns only.

    Args:
        addresses: where each contiguous row starts; the caller keeps them alive.
        dimension: length of the rows; what exceeds a multiple of `LANES` is left out.
    """
    rows, n = tuple(addresses), len(addresses)

    def part(start: int, stop: int) -> np.ndarray:
        sums = np.zeros((n, n))
        _gram(rows, start, stop, _address(sums))
        return sums

    upper = np.sum(_on_threads(part, dimension // LANES * LANES), axis=0)
    return np.triu(upper) + np.triu(upper, 1).T


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _on_threads(work: Callable[[int, int], Any], num_columns: int) -> list[Any]:
    """Results of `work(start, stop)` on slices that start at multiples of the tile."""
    threads = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # set at import
    # Several slices a thread: one whose core is shared must not hold up the rest.
    slices = min(threads * _SLICES_PER_THREAD, num_columns // _MIN_COLUMNS_PER_SLICE)
    if threads == 1 or slices <= 1:
        return [work(0, num_columns)]
    bounds = [num_columns * i // slices // _GRAM_TILE * _GRAM_TILE for i in range(slices)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, bounds, [*bounds[1:], num_columns]))
