"""Convolutions of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from mlsys_ray.value_learning.operators.windows import IMAGE, padded, pointwise, windows

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Conv2d(Operator):
    """A convolution, with the bias and the activation after it.

    A batch norm that follows is folded into weights and bias. `groups` equal to the channels makes
    it depthwise, a kernel of 1 pointwise. Weights are `[kernel, kernel, in / groups, out]`, for a
    depthwise one `[kernel, kernel, out]`, in panels `[out / panel, kernel, kernel, in, panel]`.

    Attributes:
        out_channels: channels of the result.
        kernel: side of the square window [pixels].
        stride: between windows [pixels].
        padding: zeros on each side [pixels].
        groups: of channels that are convolved by themselves.
        panel: 0, or channels of the result whose weights come packed together; must divide
            `out_channels`, and there must be one group.
        bias: whether a value a channel is added.
        activation: what follows.
    """

    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    panel: int = 0
    bias: bool = True
    activation: Activation = "none"

    def __post_init__(self) -> None:
        if self.panel and (self.out_channels % self.panel or self.groups > 1):
            raise ValueError(
                f"panel is {self.panel}, must divide {self.out_channels} channels of one group, not"
                f" of {self.groups}"
            )

    def expand(self, name: str, inputs: Sequence[Tensor]) -> Expansion:
        """Padding, if any; the sum over windows; and the activation of it."""
        (image,) = inputs
        require_rank(name, image, 4)
        channels, width, height, batch = image.extents
        if channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"{name}: groups is {self.groups}, must divide the channels,"
                f" {channels} and {self.out_channels}"
            )
        per_group, out_per_group = channels // self.groups, self.out_channels // self.groups
        extents = (
            self.out_channels,
            windows(width, self.kernel, self.stride, self.padding),
            windows(height, self.kernel, self.stride, self.padding),
            batch,
        )
        source = image
        stages = []
        if self.padding:
            stages.append(padded(f"{name}_padded", image, (self.padding,) * 2, (self.padding,) * 2))
            source = stages[0].tensor
        window = (
            Index((Term("x", self.stride), Term("kx"))),
            Index((Term("y", self.stride), Term("ky"))),
            variable("n"),
        )
        kernel = (variable("kx"), variable("ky"))
        side = (self.kernel, self.kernel)
        variables: tuple[str, ...] = ("kx", "ky")
        domain: tuple[int, ...] = side
        if per_group == 1 and not self.panel:
            weight = Tensor(f"{name}_weight", (self.out_channels, *side))
            value = Load(source.name, (Index((Term("c", divide=out_per_group),)), *window))
            factor = Load(weight.name, (variable("c"), *kernel))
        else:
            group = (Term("c", per_group, out_per_group),) if self.groups > 1 else ()
            channel = Index((*group, Term("k")))
            value = Load(source.name, (channel, *window))
            extents_of_weight: tuple[int, ...] = (self.out_channels, per_group, *side)
            place: tuple[Index, ...] = (variable("c"), variable("k"), *kernel)
            if self.panel:
                extents_of_weight = (self.panel, per_group, *side, self.out_channels // self.panel)
                place = in_panels(self.panel, *place[1:])
            weight = Tensor(f"{name}_weight", extents_of_weight)
            factor = Load(weight.name, place)
            variables, domain = ("k", *variables), (per_group, *domain)
        bias = Tensor(f"{name}_bias", (self.out_channels,))
        start = Load(bias.name, (variable("c"),)) if self.bias else Constant(0.0)
        term = Apply("multiply", (value, factor))
        total = Stage(
            f"{name}_sum", IMAGE, extents, start, Reduction(variables, domain, "add", term)
        )
        result = activated(pointwise(total.tensor, IMAGE), self.activation)
        stages += [total, Stage(name, IMAGE, extents, result)]
        return Expansion(tuple(stages), (weight, bias) if self.bias else (weight,))

    def reference(
        self, inputs: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """By `torch.nn.functional.conv2d`."""
        from torch.nn import functional

        weight = parameters[0]
        if self.panel:
            weight = weight.permute(1, 2, 3, 0, 4).flatten(3)
        if weight.dim() == 3:
            weight = weight.unsqueeze(2)
        result = functional.conv2d(
            inputs[0].permute(0, 3, 1, 2),
            weight.permute(3, 2, 0, 1),
            parameters[1] if self.bias else None,
            self.stride,
            self.padding,
            groups=self.groups,
        )
        return activate(result, self.activation).permute(0, 2, 3, 1)
