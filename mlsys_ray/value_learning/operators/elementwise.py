"""Operators that treat each value by itself, and concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import gcd
from typing import TYPE_CHECKING

from mlsys_ray.value_learning.operators.base import (
    Activation,
    Expansion,
    Operator,
    activate,
    activated,
)
from mlsys_ray.value_learning.operators.expression import (
    Apply,
    Expression,
    Index,
    Inside,
    Load,
    Term,
    variable,
)
from mlsys_ray.value_learning.operators.matmul import MATRIX
from mlsys_ray.value_learning.operators.stage import Stage, Tensor
from mlsys_ray.value_learning.operators.windows import IMAGE, pointwise

if TYPE_CHECKING:
    import torch


def _variables(tensor: Tensor) -> tuple[str, ...]:
    return MATRIX if len(tensor.extents) == 2 else IMAGE


@dataclass(frozen=True, kw_only=True)
class Activate(Operator):
    """An activation by itself, of an image or a matrix."""

    activation: Activation

    def expand(self, name: str, inputs: Sequence[Tensor]) -> Expansion:
        """One stage."""
        (tensor,) = inputs
        variables = _variables(tensor)
        value = activated(pointwise(tensor, variables), self.activation)
        return Expansion((Stage(name, variables, tensor.extents, value),))

    def reference(
        self, inputs: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Of the one input."""
        return activate(inputs[0], self.activation)


@dataclass(frozen=True, kw_only=True)
class Add(Operator):
    """The sum of images or matrices of one shape, and the activation after it.

    Attributes:
        activation: what follows.
        weighted: whether each has a factor; they are a parameter `[inputs]`.
    """

    activation: Activation = "none"
    weighted: bool = False

    def expand(self, name: str, inputs: Sequence[Tensor]) -> Expansion:
        """One stage."""
        first = inputs[0]
        if any(tensor.extents != first.extents for tensor in inputs):
            shapes = ", ".join(str(tensor.shape) for tensor in inputs)
            raise ValueError(f"{name} adds tensors of different shapes: {shapes}")
        variables = _variables(first)
        terms: list[Expression] = [pointwise(tensor, variables) for tensor in inputs]
        factors = Tensor(f"{name}_factors", (len(inputs),))
        if self.weighted:
            terms = [
                Apply("multiply", (term, Load(factors.name, (Index(offset=place),))))
                for place, term in enumerate(terms)
            ]
        total = reduce(lambda a, b: Apply("add", (a, b)), terms)
        value = activated(total, self.activation)
        stage = Stage(name, variables, first.extents, value)
        return Expansion((stage,), (factors,) if self.weighted else ())

    def reference(
        self, inputs: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Of all inputs."""
        terms = list(inputs)
        if self.weighted:
            terms = [term * factor for term, factor in zip(terms, parameters[0], strict=True)]
        return activate(reduce(lambda a, b: a + b, terms), self.activation)


@dataclass(frozen=True, kw_only=True)
class Concat(Operator):
    """Images or matrices one after another along the channels or columns."""

    def expand(self, name: str, inputs: Sequence[Tensor]) -> Expansion:
        """One stage that chooses by the channel."""
        first = inputs[0]
        if any(tensor.extents[1:] != first.extents[1:] for tensor in inputs):
            shapes = ", ".join(str(tensor.shape) for tensor in inputs)
            raise ValueError(f"{name} joins tensors that differ beyond channels: {shapes}")
        variables = _variables(first)
        sizes = [tensor.extents[0] for tensor in inputs]
        whole = gcd(*sizes)
        rest = tuple(map(variable, variables[1:]))
        value: Expression | None = None
        for place in reversed(range(len(inputs))):
            channel = Index((Term("c"),), -sum(sizes[:place]), clamp=sizes[place], whole=whole)
            own = Load(inputs[place].name, (channel, *rest))
            end = Index((Term("c"),))
            value = own if value is None else Inside((end,), (sum(sizes[: place + 1]),), own, value)
        assert value is not None
        extents = (sum(sizes), *first.extents[1:])
        return Expansion((Stage(name, variables, extents, value),))

    def reference(
        self, inputs: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """By `cat`."""
        import torch

        return torch.cat(list(inputs), dim=-1)
