"""Vector instructions for numba: several neighbouring columns at a time in one register.

numba does not vectorise `a[k], b[k] = min, max`, because two rows may alias. Here the vectors are
spelled out in LLVM's language, so nothing is left to be proven. The number of rows is the length of
a tuple and thereby part of its type: numba compiles, and caches, one kernel for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils

from mlsys_ray.byzshield.aggregation.compiled.network import selection_network


def _native_lanes() -> int:
    """float32 lanes of a vector register of this machine."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx") else 4


LANES = _native_lanes()
_FLOAT = ir.FloatType()
VECTOR = ir.VectorType(_FLOAT, LANES)
ZERO = ir.Constant(VECTOR, [0.0] * LANES)


@dataclass(frozen=True)
class Lanes:
    """Arithmetic on vectors of `LANES` float32, written into the function under construction."""

    builder: Any

    def constant(self, value: float) -> Any:
        """The same value in all lanes."""
        return ir.Constant(VECTOR, [value] * LANES)

    def load(self, row: Any, column: Any) -> Any:
        """Unaligned load from a float32 pointer."""
        address = self.builder.bitcast(self.builder.gep(row, [column]), VECTOR.as_pointer())
        value = self.builder.load(address)
        value.align = 4
        return value

    def store(self, value: Any, row: Any, column: Any) -> None:
        """Unaligned store to a float32 pointer."""
        address = self.builder.bitcast(self.builder.gep(row, [column]), VECTOR.as_pointer())
        self.builder.store(value, address).align = 4

    def less(self, a: Any, b: Any) -> Any:
        """Mask a < b."""
        return self.builder.fcmp_ordered("<", a, b)

    def select(self, mask: Any, a: Any, b: Any) -> Any:
        """A where the mask is set, else b."""
        return self.builder.select(mask, a, b)

    def total(self, values: Sequence[Any]) -> Any:
        """Sum in the given order."""
        result = values[0]
        for value in values[1:]:
            result = self.builder.fadd(result, value)
        return result

    def mean(self, values: Sequence[Any]) -> Any:
        """Average, as a sum divided by the count."""
        if len(values) == 1:
            return values[0]
        return self.builder.fdiv(self.total(values), self.constant(len(values)))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Fused a * b + c, where the machine has that."""
        product = self.builder.fmul(a, b, flags=("contract",))
        return self.builder.fadd(product, c, flags=("contract",))

    def horizontal_sum(self, value: Any) -> Any:
        """Sum over the lanes, a float32."""
        kind = ir.FunctionType(_FLOAT, [_FLOAT, VECTOR])
        function = cgutils.get_or_insert_function(
            self.builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES}f32"
        )
        zero = ir.Constant(_FLOAT, 0.0)
        return self.builder.call(function, [zero, value], fastmath=("reassoc",))

    def select_ranks(self, values: Sequence[Any], ranks: Sequence[int]) -> list[Any]:
        """The values of the given ranks in ascending order, in every lane."""
        wires = list(values)
        for low, high, keeps_low, keeps_high in selection_network(len(wires), ranks):
            a, b = wires[low], wires[high]
            if keeps_low:
                wires[low] = self.select(self.less(a, b), a, b)
            if keeps_high:
                wires[high] = self.select(self.less(b, a), a, b)
        return [wires[rank] for rank in ranks]


def float_pointers(builder: Any, addresses: Any, count: int) -> list[Any]:
    """The integer addresses of a tuple as float32 pointers."""
    return [
        builder.inttoptr(builder.extract_value(addresses, i), _FLOAT.as_pointer())
        for i in range(count)
    ]


def reduce_columns(
    builder: Any, rows: Sequence[Any], out: Any, start: Any, stop: Any, reduce: Callable[..., Any]
) -> Any:
    """Write `out[j] = reduce(lanes, values of column j)` for start <= j < stop.

    The last vector reaches back over columns already done, so stop - start >= `LANES` is needed.

    Returns:
        A float32 that is finite only if all values read were: the sum of their squares, in which
        nothing cancels.
    """
    lanes = Lanes(builder)
    squares = cgutils.alloca_once(builder, VECTOR)
    builder.store(ZERO, squares)
    step = ir.Constant(start.type, LANES)
    last = builder.sub(stop, step)
    with cgutils.for_range_slice(builder, start, stop, step) as (position, _):
        column = builder.select(builder.icmp_signed("<", position, last), position, last)
        values = [lanes.load(row, column) for row in rows]
        sums = builder.load(squares)
        for value in values:
            sums = lanes.multiply_add(value, value, sums)
        builder.store(sums, squares)
        lanes.store(reduce(lanes, values), out, column)
    return lanes.horizontal_sum(builder.load(squares))
