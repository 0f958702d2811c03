"""What operators are made of: each primitive is a record that also runs itself by PyTorch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "hardswish": functional.hardswish,
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "gelu": functional.gelu,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Primitive(ABC):
    """A step of an operator.

    Attributes:
        activation: a name of `ACTIVATIONS` that is applied to the result, or None.
    """

    activation: str | None = None

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Run it by PyTorch."""
        result = self.apply(*inputs)
        return ACTIVATIONS[self.activation](result) if self.activation else result

    @abstractmethod
    def apply(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The result before the activation."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv2d(Primitive):
    """A convolution of `[N, C, H, W]`.

    Attributes:
        weight: `[out_channels, C / groups, kernel_height, kernel_width]`.
        bias: `[out_channels]` or None.
        stride: `(height, width)` [pixels].
        padding: zeros at `(top, bottom, left, right)` [pixels].
        dilation: `(height, width)` [pixels].
        groups: number of groups of channels.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself, one result a channel."""
        return self.groups == len(self.weight) > 1 and self.weight.shape[1] == 1

    @property
    def pointwise(self) -> bool:
        """Whether it is a 1x1 convolution over all channels."""
        return self.weight.shape[2:] == (1, 1) and self.groups == 1

    def apply(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Of one tensor."""
        top, bottom, left, right = self.padding
        (x,) = inputs
        symmetric = (top, left)
        if top != bottom or left != right:
            x, symmetric = functional.pad(x, (left, right, top, bottom)), (0, 0)
        return functional.conv2d(
            x, self.weight, self.bias, self.stride, symmetric, self.dilation, self.groups
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Linear(Primitive):
    """A matrix product: weight `[out, in]`, bias `[out]` or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None

    def apply(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Of one tensor `[..., in]`."""
        return functional.linear(inputs[0], self.weight, self.bias)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool2d(Primitive):
    """Maximum or average over windows.

    Attributes:
        maximum: maximum, or else the average.
        kernel, stride: `(height, width)` [pixels].
        padding: on each side `(height, width)` [pixels].
        ceil: whether a last window that lies partly outside counts.
        count_padding: whether an average divides by the padding, too.
    """

    maximum: bool
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    ceil: bool = False
    count_padding: bool = True

    def apply(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Of one tensor `[N, C, H, W]`."""
        (x,) = inputs
        if self.maximum:
            return functional.max_pool2d(
                x, self.kernel, self.stride, self.padding, ceil_mode=self.ceil
            )
        return functional.avg_pool2d(
            x, self.kernel, self.stride, self.padding, self.ceil, self.count_padding
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class GlobalAveragePool(Primitive):
    """The mean of each channel: `[N, C, H, W]` to `[N, C, 1, 1]`."""

    def apply(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Of one tensor."""
        return functional.adaptive_avg_pool2d(inputs[0], 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Sum(Primitive):
    """A weighted sum of tensors of one shape."""

    coefficients: tuple[float, ...]

    def apply(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Of as many tensors as coefficients."""
        terms = zip(inputs, self.coefficients, strict=True)
        scaled = [x if c == 1 else x * c for x, c in terms]
        total = scaled[0]
        for term in scaled[1:]:
            total = total + term
        return total


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine(Primitive):
    """A scale and a shift a channel, `[C]` each: a batch norm that follows no convolution."""

    scale: torch.Tensor
    shift: torch.Tensor

    def apply(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Of one tensor `[N, C, ...]`."""
        (x,) = inputs
        shape = (1, -1, *[1] * (x.dim() - 2))
        return x * self.scale.view(shape) + self.shift.view(shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(Primitive):
    """Tensors one after another along the channels."""

    def apply(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Of any number of tensors."""
        return torch.cat(inputs, dim=1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Activation(Primitive):
    """An activation by itself."""

    def apply(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Of one tensor."""
        return inputs[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(Primitive):
    """Zeros added, or pixels cut where negative, at `(top, bottom, left, right)`."""

    padding: tuple[int, int, int, int]

    def apply(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Of one tensor `[N, C, H, W]`."""
        top, bottom, left, right = self.padding
        return functional.pad(inputs[0], (left, right, top, bottom))


@dataclass(frozen=True, eq=False, kw_only=True)
class Flatten(Primitive):
    """All dimensions after the first in one."""

    def apply(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Of one tensor."""
        return inputs[0].flatten(1)


@dataclass(frozen=True)
class Slot:
    """In the arguments of an opaque call: the place of its input of this index."""

    index: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Opaque(Primitive):
    """Any other call, run as it is.

    Attributes:
        target: what is called.
        arguments: positional ones, nested, with a `Slot` for each input.
        keywords: named ones, likewise.
    """

    target: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    def apply(self, *inputs: torch.Tensor) -> Any:
        """Of its inputs; the result may be several tensors."""

        def filled(value: Any) -> Any:
            return inputs[value.index] if isinstance(value, Slot) else value

        arguments, keywords = torch.utils._pytree.tree_map(
            filled, (self.arguments, self.keywords), is_leaf=lambda v: isinstance(v, Slot)
        )
        return self.target(*arguments, **keywords)
