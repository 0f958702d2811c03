"""Direct convolutions, as tasks of native/direct.cpp."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from mlsys_ray.ios.engines.onednn.placement import Tensor
from mlsys_ray.ios.engines.onednn.runtime import SCRATCH_BYTES, Task, convolution_fields
from mlsys_ray.ios.primitives import Conv2d

MIN_TASKS = 8
INPUT_BYTES = 128 << 10
"""Of a task's input, so that it stays in a core's cache while outputs are computed from it."""


class _DirectTask(ctypes.Structure):
    _fields_ = convolution_fields(
        "height",
        "width",
        "in_blocks",
        "lanes",
        "out_height",
        "out_width",
        "kernel_height",
        "kernel_width",
        "stride_down",
        "stride_across",
        "dilation_down",
        "dilation_across",
        "top",
        "left",
        "padded_width",
        "first_row",
        "num_rows",
        "first_block",
        "num_blocks",
        "relu",
    )


def fits(conv: Conv2d) -> bool:
    """Whether a convolution can be computed so."""
    return conv.groups == 1 and conv.stride[1] in (1, 2) and conv.activation in (None, "relu")


@dataclass(frozen=True, kw_only=True)
class Image:
    """The input of a convolution.

    Attributes:
        addresses: of each sample.
        height, width: of it.
        channels: stored ones.
        lanes: channels side by side, B, or 1 in a plain image.
    """

    addresses: tuple[int, ...]
    height: int
    width: int
    channels: int
    lanes: int


def packed(weight: torch.Tensor, lanes: int, block: int) -> torch.Tensor:
    """The weights `[O, I, kh, kw]` in the order in which they are read, by pairs of output blocks.

    Returns:
        Float32, of each pair `[I / L, kh, kw, L, 2B]`; the last may be of one block.
    """
    parts = [
        part.unflatten(1, (-1, lanes)).permute(1, 3, 4, 2, 0).contiguous().flatten()
        for part in weight.float().split(2 * block)
    ]
    return torch.cat(parts)


def tasks(
    conv: Conv2d,
    weights: torch.Tensor,
    bias: torch.Tensor,
    source: Image,
    target: Tensor,
    address: int,
    block: int,
) -> tuple[Task, ...]:
    """A convolution cut into ranges of rows, and of outputs where rows are few.

    Args:
        conv: what is computed.
        weights: as `packed` gives them.
        bias: of each stored output, float32 `[P]`.
        source: its input.
        target: where its output lies.
        address: of the root of the output.
        block: B.
    """
    ranges = _row_ranges(conv, source, target)
    if not ranges:
        return ()
    pairs = math.ceil(target.channels / (2 * block))
    outputs = min(math.ceil(MIN_TASKS / (len(ranges) * target.batch)), pairs)
    borders = np.linspace(0, pairs, outputs + 1).round().astype(int) * 2
    borders = np.minimum(borders, target.channels // block).tolist()
    padded = source.width + conv.padding[2] + conv.padding[3] if any(conv.padding) else 0
    return tuple(
        Task(
            "direct_convolution",
            _DirectTask(
                source.addresses[sample],
                weights.data_ptr(),
                bias.data_ptr(),
                target.address(address, sample),
                source.height,
                source.width,
                source.channels // source.lanes,
                source.lanes,
                target.height,
                target.width,
                *conv.weight.shape[2:],
                *conv.stride,
                *conv.dilation,
                conv.padding[0],
                conv.padding[2],
                padded,
                first,
                count,
                begin,
                end - begin,
                conv.activation == "relu",
            ),
        )
        for sample in range(target.batch)
        for first, count in ranges
        for begin, end in pairwise(borders)
    )


def _row_ranges(conv: Conv2d, source: Image, target: Tensor) -> list[tuple[int, int]]:
    """First rows and numbers of rows; none if a row is too large."""
    row_bytes = 4 * source.channels * (source.width + conv.padding[2] + conv.padding[3])
    reach = (conv.weight.shape[2] - 1) * conv.dilation[0] + 1
    if reach * row_bytes > SCRATCH_BYTES:
        return []
    rows = max(1, min(target.height, INPUT_BYTES // (conv.stride[0] * row_bytes)))
    count = max(math.ceil(target.height / rows), min(MIN_TASKS, target.height))
    borders = np.linspace(0, target.height, count + 1).round().astype(int).tolist()
    return [(first, end - first) for first, end in pairwise(borders)]
