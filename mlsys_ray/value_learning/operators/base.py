"""The interface of operators: stages for Halide, and the same by PyTorch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mlsys_ray.value_learning.operators.expression import Apply, Constant, Expression
from mlsys_ray.value_learning.operators.stage import Stage, Tensor

if TYPE_CHECKING:
    import torch

Activation = Literal["none", "relu", "relu6", "gelu"]


@dataclass(frozen=True)
class Expansion:
    """An operator taken apart.

    Attributes:
        stages: producers first; the last one is the operator's result.
        parameters: constant inputs of its own, such as weights.
    """

    stages: tuple[Stage, ...]
    parameters: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Operator(ABC):
    """An operator of a deep network. Images are `[batch, height, width, channels]`."""

    @abstractmethod
    def expand(self, name: str, inputs: Sequence[Tensor]) -> Expansion:
        """Its stages, whose names begin with `name`; the last one is called just that.

        Raises:
            ValueError: the inputs do not fit it.
        """

    @abstractmethod
    def reference(
        self, inputs: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """What it computes, by PyTorch; parameters as `expand` lists them."""


def activated(expression: Expression, activation: Activation) -> Expression:
    """An activation of an expression."""
    match activation:
        case "none":
            return expression
        case "relu":
            return Apply("maximum", (expression, Constant(0.0)))
        case "relu6":
            return Apply("minimum", (activated(expression, "relu"), Constant(6.0)))
        case "gelu":
            scaled = Apply("multiply", (expression, Constant(0.5**0.5)))
            half = Apply("multiply", (expression, Constant(0.5)))
            return Apply("multiply", (half, Apply("add", (Constant(1.0), Apply("erf", (scaled,))))))
    raise ValueError(f"activation is {activation!r}, must be none, relu, relu6 or gelu")


def activate(x: torch.Tensor, activation: Activation) -> torch.Tensor:
    """The same by PyTorch."""
    from torch.nn import functional

    match activation:
        case "relu":
            return functional.relu(x)
        case "relu6":
            return functional.relu6(x)
        case "gelu":
            return functional.gelu(x)
    return x


def require_rank(name: str, tensor: Tensor, rank: int) -> None:
    """Refuse an input of another number of dimensions.

    Raises:
        ValueError: it is one.
    """
    if len(tensor.extents) != rank:
        raise ValueError(f"{name} takes {rank} dimensions, and {tensor.name} has {tensor.shape}")
