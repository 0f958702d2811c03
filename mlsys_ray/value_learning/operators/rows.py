"""Operators that normalise the rows of a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlsys_ray.value_learning.operators.base import Expansion, Operator, require_rank
from mlsys_ray.value_learning.operators.expression import (
    Apply,
    Constant,
    Expression,
    Load,
    variable,
)
from mlsys_ray.value_learning.operators.matmul import MATRIX
from mlsys_ray.value_learning.operators.pooling import LOWEST
from mlsys_ray.value_learning.operators.stage import Reduction, Stage, Tensor
from mlsys_ray.value_learning.operators.windows import pointwise

if TYPE_CHECKING:
    import torch


def _element(tensor: Tensor) -> Load:
    """Of a reduction along a row."""
    return Load(tensor.name, (variable("k"), variable("r")))


def _of_row(tensor: Tensor) -> Load:
    """The one value of a row."""
    return Load(tensor.name, (variable("r"),))


def _fold(name: str, rows: Tensor, combine: str, term: Expression) -> Stage:
    columns, count = rows.extents
    if combine == "maximum":
        return Stage(
            name, ("r",), (count,), Constant(LOWEST), Reduction(("k",), (columns,), "maximum", term)
        )
    return Stage(name, ("r",), (count,), Constant(0.0), Reduction(("k",), (columns,), "add", term))


@dataclass(frozen=True, kw_only=True)
class Softmax(Operator):
    """Of each row of `[rows, columns]`.

    Attributes:
        fast: whether the exponential is Halide's quicker one, which is right to about 1e-4.
    """

    fast: bool = False

    def expand(self, name: str, inputs: Sequence[Tensor]) -> Expansion:
        """Maximum, exponentials, sum, quotient."""
        (rows,) = inputs
        require_rank(name, rows, 2)
        largest = _fold(f"{name}_max", rows, "maximum", _element(rows))
        shifted = Apply("subtract", (pointwise(rows, MATRIX), _of_row(largest.tensor)))
        exponential = Stage(
            f"{name}_exp",
            MATRIX,
            rows.extents,
            Apply("fast_exp" if self.fast else "exp", (shifted,)),
        )
        total = _fold(f"{name}_sum", rows, "add", _element(exponential.tensor))
        quotient = Apply("divide", (pointwise(exponential.tensor, MATRIX), _of_row(total.tensor)))
        result = Stage(name, MATRIX, rows.extents, quotient)
        return Expansion((largest, exponential, total, result))

    def reference(
        self, inputs: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """By `softmax`."""
        return inputs[0].softmax(dim=1)


@dataclass(frozen=True, kw_only=True)
class LayerNorm(Operator):
    """Of each row of `[rows, columns]`, with a scale and a shift a column.

    Attributes:
        epsilon: added to the variance.
    """

    epsilon: float = 1e-5

    def expand(self, name: str, inputs: Sequence[Tensor]) -> Expansion:
        """Sum, sum of squared distances from the mean, result."""
        (rows,) = inputs
        require_rank(name, rows, 2)
        columns = rows.extents[0]
        inverse = Constant(1.0 / columns)
        total = _fold(f"{name}_sum", rows, "add", _element(rows))
        mean = Apply("multiply", (_of_row(total.tensor), inverse))
        away = Apply("subtract", (_element(rows), mean))
        squares = _fold(f"{name}_squares", rows, "add", Apply("multiply", (away, away)))
        variance = Apply("multiply", (_of_row(squares.tensor), inverse))
        deviation = Apply("rsqrt", (Apply("add", (variance, Constant(self.epsilon))),))
        scale, shift = (Tensor(f"{name}_{part}", (columns,)) for part in ("scale", "shift"))
        centred = Apply("subtract", (pointwise(rows, MATRIX), mean))
        factor = Apply("multiply", (deviation, Load(scale.name, (variable("c"),))))
        scaled = Apply("multiply", (centred, factor))
        result = Apply("add", (scaled, Load(shift.name, (variable("c"),))))
        stages = (total, squares, Stage(name, MATRIX, rows.extents, result))
        return Expansion(stages, (scale, shift))

    def reference(
        self, inputs: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """By `layer_norm`."""
        from torch.nn import functional

        scale, shift = parameters
        return functional.layer_norm(inputs[0], scale.shape, scale, shift, self.epsilon)
