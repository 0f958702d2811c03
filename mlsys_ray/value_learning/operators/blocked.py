"""Convolutions of images whose channels lie in blocks, as inference engines keep them.

An image is `[channels / block, height, width, block]`: pooling, sums and activations take it as it
is, with the blocks in the place of a batch. Convolutions mix blocks, so they are of their own.
"""

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
from mlsys_ray.value_learning.operators.expression import Apply, Index, Load, Term, variable
from mlsys_ray.value_learning.operators.stage import Reduction, Stage, Tensor
from mlsys_ray.value_learning.operators.windows import IMAGE, padded, pointwise, windows

if TYPE_CHECKING:
    import torch

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class BlockedConv2d(Operator):
    """A convolution of one image in blocks of channels, with bias and activation.

    The image may have blocks of another size than the result, such as 1 for a planar one. Weights
    are `[out / block, in / in_block, height, width, in_block, block]`, those of a depthwise
    convolution `[out / block, height, width, block]`, the bias is `[out / block, block]`.

    Attributes:
        out_blocks: blocks of channels of the result.
        block: channels in each of them.
        kernel: height and width of the window [pixels].
        stride: between windows, down and across [pixels].
        padding: zeros at top, bottom, left and right [pixels].
        dilation: between the pixels of a window, down and across.
        depthwise: whether each channel is convolved by itself.
        activation: what follows.
    """

    out_blocks: int
    block: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    depthwise: bool = False
    activation: Activation = "none"

    def expand(self, name: str, inputs: Sequence[Tensor]) -> Expansion:
        """Padding, if any; the sum over windows; and the activation of it."""
        (image,) = inputs
        require_rank(name, image, 4)
        lanes, width, height, blocks = image.extents
        if self.depthwise and (lanes, blocks) != (self.block, self.out_blocks):
            raise ValueError(
                f"{name}: a depthwise convolution of {blocks} blocks of {lanes} channels gives as"
                f" many, not {self.out_blocks} of {self.block}"
            )
        (reach_down, reach_across), (top, bottom, left, right) = self._reach, self.padding
        extents = (
            self.block,
            windows(width + left + right, reach_across, self.stride[1], 0),
            windows(height + top + bottom, reach_down, self.stride[0], 0),
            self.out_blocks,
        )
        source, stages = image, []
        if any(self.padding):
            stages.append(padded(f"{name}_padded", image, (left, top), (right, bottom)))
            source = stages[0].tensor
        window = (
            Index((Term("x", self.stride[1]), Term("kx", self.dilation[1]))),
            Index((Term("y", self.stride[0]), Term("ky", self.dilation[0]))),
        )
        side = (variable("kx"), variable("ky"))
        down, across = self.kernel
        if self.depthwise:
            weight = Tensor(f"{name}_weight", (self.block, across, down, self.out_blocks))
            value = Load(source.name, (variable("c"), *window, variable("n")))
            factor = Load(weight.name, (variable("c"), *side, variable("n")))
            variables: tuple[str, ...] = ("kx", "ky")
            domain: tuple[int, ...] = (across, down)
        else:
            weight = Tensor(
                f"{name}_weight", (self.block, lanes, across, down, blocks, self.out_blocks)
            )
            value = Load(source.name, (variable("k"), *window, variable("b")))
            place = (variable("c"), variable("k"), *side, variable("b"), variable("n"))
            factor = Load(weight.name, place)
            variables, domain = ("k", "kx", "ky", "b"), (lanes, across, down, blocks)
        bias = Tensor(f"{name}_bias", (self.block, self.out_blocks))
        start = Load(bias.name, (variable("c"), variable("n")))
        term = Apply("multiply", (value, factor))
        total = Stage(
            f"{name}_sum", IMAGE, extents, start, Reduction(variables, domain, "add", term)
        )
        result = activated(pointwise(total.tensor, IMAGE), self.activation)
        stages += [total, Stage(name, IMAGE, extents, result)]
        return Expansion(tuple(stages), (weight, bias))

    @property
    def _reach(self) -> Pair:
        """Pixels from the first to the last of a window, down and across."""
        (down, across), (apart_down, apart_across) = self.kernel, self.dilation
        return (down - 1) * apart_down + 1, (across - 1) * apart_across + 1

    def reference(
        self, inputs: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """By `torch.nn.functional.conv2d` on planar images."""
        from torch.nn import functional

        weight, bias = parameters
        image = inputs[0].permute(0, 3, 1, 2).flatten(0, 1)[None]
        if self.depthwise:
            kernel = weight.permute(0, 3, 1, 2).flatten(0, 1)[:, None]
        else:
            kernel = weight.permute(0, 5, 1, 4, 2, 3).flatten(0, 1).flatten(1, 2)
        top, bottom, left, right = self.padding
        result = functional.conv2d(
            functional.pad(image, (left, right, top, bottom)),
            kernel,
            bias.flatten(),
            self.stride,
            dilation=self.dilation,
            groups=len(kernel) if self.depthwise else 1,
        )
        in_blocks = result[0].unflatten(0, (self.out_blocks, self.block)).permute(0, 2, 3, 1)
        return activate(in_blocks, self.activation)
