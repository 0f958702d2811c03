"""Matrix products with a constant side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mlsys_ray.value_learning.operators.base import (
    Activation,
    Expansion,
    Operator,
    activate,
    activated,
    require_rank,
)
from mlsys_ray.value_learning.operators.expression import (
    Apply,
    Constant,
    Index,
    Load,
    Term,
    in_panels,
    variable,
)
from mlsys_ray.value_learning.operators.stage import Reduction, Stage, Tensor
from mlsys_ray.value_learning.operators.windows import pointwise

if TYPE_CHECKING:
    import torch

Layout = Literal["inner", "outer"]
MATRIX = ("c", "r")
"""Loop variables of a matrix: columns, rows."""


@dataclass(frozen=True, kw_only=True)
class MatMul(Operator):
    """A matrix of rows times a constant matrix, and bias and activation after it.

    One row makes it a matrix-vector product.

    Attributes:
        out_features: columns of the result.
        layout: of the weights; with "inner" the out features lie innermost in memory, `[in, out]`;
            with "outer" they are `[out, in]`, as `torch.nn.Linear` keeps them.
        panel: 0, or columns that are packed together, `[out / panel, in, panel]`, before the
            product, as a stage of its own; must divide the out features.
        packed: whether the weights come in such panels already, which takes that stage away.
        bias: whether a value a column is added.
        activation: what follows.
    """

    out_features: int
    layout: Layout = "inner"
    panel: int = 0
    packed: bool = False
    bias: bool = True
    activation: Activation = "none"

    def __post_init__(self) -> None:
        if self.out_features < 1 or (self.panel and self.out_features % self.panel):
            raise ValueError(f"panel is {self.panel}, must divide {self.out_features}")
        if self.packed and not self.panel:
            raise ValueError("packed weights need the panel's columns")

    def expand(self, name: str, inputs: Sequence[Tensor]) -> Expansion:
        """Packing, if any; the sum of products; the activation of it."""
        (rows,) = inputs
        require_rank(name, rows, 2)
        depth, count = rows.extents
        out = self.out_features
        weight = self._weight(name, depth)
        stages = []
        source = weight
        if self.panel and not self.packed:
            column = Index((Term("p"), Term("b", self.panel)))
            both = (variable("k"), column) if self.layout == "outer" else (column, variable("k"))
            stages.append(
                Stage(
                    f"{name}_packed",
                    ("p", "k", "b"),
                    (self.panel, depth, out // self.panel),
                    Load(weight.name, both),
                )
            )
            source = stages[0].tensor
        indices: tuple[Index, ...]
        if self.panel:
            indices = in_panels(self.panel, variable("k"))
        elif self.layout == "outer":
            indices = (variable("k"), variable("c"))
        else:
            indices = (variable("c"), variable("k"))
        term = Apply(
            "multiply",
            (Load(rows.name, (variable("k"), variable("r"))), Load(source.name, indices)),
        )
        bias = Tensor(f"{name}_bias", (out,))
        start = Load(bias.name, (variable("c"),)) if self.bias else Constant(0.0)
        total = Stage(
            f"{name}_sum", MATRIX, (out, count), start, Reduction(("k",), (depth,), "add", term)
        )
        result = activated(pointwise(total.tensor, MATRIX), self.activation)
        stages += [total, Stage(name, MATRIX, (out, count), result)]
        return Expansion(tuple(stages), (weight, bias) if self.bias else (weight,))

    def _weight(self, name: str, depth: int) -> Tensor:
        if self.packed:
            return Tensor(f"{name}_weight", (self.panel, depth, self.out_features // self.panel))
        inner = self.layout == "inner"
        extents = (self.out_features, depth) if inner else (depth, self.out_features)
        return Tensor(f"{name}_weight", extents)

    def reference(
        self, inputs: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """By `torch.nn.functional.linear`."""
        from torch.nn import functional

        weight = parameters[0]
        if self.packed:
            weight = weight.permute(0, 2, 1).reshape(self.out_features, -1)
        elif self.layout == "inner":
            weight = weight.T
        result = functional.linear(inputs[0], weight, parameters[1] if self.bias else None)
        return activate(result, self.activation)
