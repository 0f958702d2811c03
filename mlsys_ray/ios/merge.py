"""Operator merge: convolutions of one input as a single one (section 3, second strategy).

Kernels are zero-padded to the largest and stacked by output channels; the result is split again.
The paper asks for the same input, stride, output size and activation, and for no channel groups.
The authors' code takes centred paddings for granted; here they may differ by side, since kernels
are shifted so that all windows lie on those of one convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from mlsys_ray.ios.graph import Operator
from mlsys_ray.ios.primitives import Conv2d


@dataclass(frozen=True, eq=False, kw_only=True)
class Merged:
    """Several convolutions as one.

    Attributes:
        convolution: whose output channels are those of the others, one after another.
        input: name of the value that all of them take.
        channels: of each operator's value, by its name, the `(first, end)` channels of the result.
    """

    convolution: Conv2d
    input: str
    channels: dict[str, tuple[int, int]]

    def split(self, result: torch.Tensor) -> dict[str, torch.Tensor]:
        """The operators' values as views of the result `[N, C, H, W]`: nothing is copied."""
        return {name: result[:, first:end] for name, (first, end) in self.channels.items()}


def merge(operators: Sequence[Operator], input_size: tuple[int, int]) -> Merged:
    """One convolution in place of several.

    Args:
        operators: at least two that `merge_class` says may be merged.
        input_size: `(height, width)` of the value that they take [pixels].

    Raises:
        ValueError: they may not be merged.
    """
    classes = {merge_class(operator) for operator in operators}
    if len(operators) < 2 or len(classes) > 1 or None in classes:
        names = ", ".join(operator.name for operator in operators)
        raise ValueError(f"these operators may not be merged: {names or 'none'}")
    convolutions = [_convolution(operator) for operator in operators]
    height, width = operators[0].nodes[0].shape[2:]  # type: ignore[index] # a class has shapes
    first, dilation = convolutions[0], _dilation(convolutions[0])
    rows = _common_windows(
        [(c.weight.shape[2], c.padding[0]) for c in convolutions],
        *(input_size[0], height, first.stride[0], dilation[0]),
    )
    columns = _common_windows(
        [(c.weight.shape[3], c.padding[2]) for c in convolutions],
        *(input_size[1], width, first.stride[1], dilation[1]),
    )
    kernels = [
        _placed(c.weight, top, rows.kernel, left, columns.kernel)
        for c, top, left in zip(convolutions, rows.offsets, columns.offsets, strict=True)
    ]
    ends = np.cumsum([len(kernel) for kernel in kernels]).tolist()
    return Merged(
        convolution=Conv2d(
            activation=first.activation,
            weight=torch.cat(kernels),
            bias=_stacked_bias(convolutions),
            stride=first.stride,
            padding=(*rows.padding, *columns.padding),
            dilation=dilation,
        ),
        input=operators[0].inputs[0],
        channels={
            operator.name: (end - len(kernel), end)
            for operator, kernel, end in zip(operators, kernels, ends, strict=True)
        },
    )


def merge_class(operator: Operator) -> tuple[Any, ...] | None:
    """What operators must have in common to be merged; None for those that never are."""
    if len(operator.nodes) > 1 or not isinstance(operator.nodes[0].primitive, Conv2d):
        return None
    node, convolution = operator.nodes[0], operator.nodes[0].primitive
    if convolution.groups > 1 or node.shape is None:
        return None
    dilation = _dilation(convolution)
    # Windows can be shifted by whole steps between the pixels that they read.
    shifts = tuple(
        padding % step for padding, step in zip(convolution.padding[::2], dilation, strict=True)
    )
    return (
        node.inputs,
        tuple(node.shape[2:]),
        node.dtype,
        convolution.stride,
        dilation,
        shifts,
        convolution.activation,
    )


def mergeable_stages(classes: Sequence[Any], stages: np.ndarray) -> np.ndarray:
    """Which stages can run as one merged convolution.

    IOS-Merge searches these and the stages of a single operator, IOS-Both adds concurrent ones.

    Args:
        classes: of each operator what others must have in common with it, None for those that are
            never merged; such as `merge_class`.
        stages: bit masks of the operators, uint64 `[E]`.

    Returns:
        Whether all operators of a stage, at least two, may be merged, bool `[E]`.
    """
    masks: dict[tuple[Any, ...], int] = {}
    for i, key in enumerate(classes):
        if key is not None:
            masks[key] = masks.get(key, 0) | 1 << i
    inside = np.zeros(len(stages), dtype=bool)
    for mask in masks.values():
        inside |= stages & ~np.uint64(mask) == 0
    return inside & (np.bitwise_count(stages) > 1)


@dataclass(frozen=True, kw_only=True)
class _Windows:
    """Along one axis: the kernel that holds all others, and where each lies in it."""

    kernel: int
    offsets: list[int]
    padding: tuple[int, int]


def _common_windows(
    kernels: Sequence[tuple[int, int]], size: int, result: int, stride: int, dilation: int
) -> _Windows:
    """Along one axis, from `(kernel, padding before)` of each and the sizes of input and result."""
    before = max(padding for _, padding in kernels)
    offsets = [(before - padding) // dilation for _, padding in kernels]
    kernel = max(offset + length for offset, (length, _) in zip(offsets, kernels, strict=True))
    needed = (result - 1) * stride + dilation * (kernel - 1) + 1
    return _Windows(
        kernel=kernel,
        offsets=offsets,
        padding=(before, max(0, needed - size - before)),
    )


def _convolution(operator: Operator) -> Conv2d:
    primitive = operator.nodes[0].primitive
    assert isinstance(primitive, Conv2d)
    return primitive


def _dilation(convolution: Conv2d) -> tuple[int, int]:
    """Its dilation, 1 where the kernel is of one pixel and reads nothing at a distance."""
    vertical, horizontal = (
        step if length > 1 else 1
        for step, length in zip(convolution.dilation, convolution.weight.shape[2:], strict=True)
    )
    return vertical, horizontal


def _placed(weight: torch.Tensor, top: int, height: int, left: int, width: int) -> torch.Tensor:
    """A kernel at its place in a larger one of zeros."""
    below = height - top - weight.shape[2]
    right = width - left - weight.shape[3]
    return functional.pad(weight, (left, right, top, below))


def _stacked_bias(convolutions: Sequence[Conv2d]) -> torch.Tensor | None:
    if all(c.bias is None for c in convolutions):
        return None
    return torch.cat(
        [c.weight.new_zeros(len(c.weight)) if c.bias is None else c.bias for c in convolutions]
    )
