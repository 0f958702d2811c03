"""Convolutions by Winograd's minimal filtering, as tasks of native/winograd.cpp."""

from __future__ import annotations

import ctypes
import math
from ctypes import c_double
from functools import cache
from itertools import pairwise

import numpy as np
import torch

from mlsys_ray.ios.engines.onednn.placement import Tensor
from mlsys_ray.ios.engines.onednn.runtime import SCRATCH_BYTES, Task, convolution_fields
from mlsys_ray.ios.primitives import Conv2d

KERNELS = ((3, 3), (3, 1), (1, 3), (7, 1), (1, 7), (5, 5))
MIN_TASKS = 8
TILES_AT_ONCE = 2  # register tiles that share what is read of the weights


class _WinogradTask(ctypes.Structure):
    _fields_ = convolution_fields(
        "height",
        "width",
        "in_blocks",
        "out_height",
        "out_width",
        "top",
        "left",
        "first_tile",
        "num_tiles",
        "first_block",
        "num_blocks",
        "relu",
    )


def fits(conv: Conv2d) -> bool:
    """Whether a convolution can be computed so."""
    return (
        conv.weight.shape[2:] in KERNELS
        and conv.groups == 1
        and conv.stride == conv.dilation == (1, 1)
        and conv.activation in (None, "relu")
    )


@cache
def filter_matrix(library: ctypes.CDLL, taps: int) -> tuple[int, np.ndarray]:
    """Outputs M of a tile in one dimension, and G, float64 `[M + taps - 1, taps]`."""
    values = (c_double * 128)()
    outputs = library.winograd_filter_matrix(taps, values)
    points = outputs + taps - 1
    return outputs, np.array(values[: points * taps]).reshape(points, taps)


def transformed(library: ctypes.CDLL, weight: torch.Tensor, block: int) -> torch.Tensor:
    """The weights `[O, I, kh, kw]` at all points, by pairs of blocks of outputs.

    Returns:
        Float32, of each pair `[points, I, 2B]`; the last may be of one block.
    """
    _, rows = filter_matrix(library, weight.shape[2])
    _, columns = filter_matrix(library, weight.shape[3])
    left, right = torch.from_numpy(rows), torch.from_numpy(columns)
    points = torch.einsum("pi,qj,ocij->pqco", left, right, weight.double()).flatten(0, 1).float()
    parts = [part.contiguous().flatten() for part in points.split(2 * block, dim=2)]
    # Made by PyTorch, whose memory is aligned as vectors need it.
    return torch.cat(parts)


def tasks(
    library: ctypes.CDLL,
    conv: Conv2d,
    weights: torch.Tensor,
    bias: torch.Tensor,
    source: Tensor,
    target: Tensor,
    addresses: tuple[int, int],
    block: int,
) -> tuple[Task, ...]:
    """A convolution cut into ranges of tiles, and of outputs where tiles are few.

    Args:
        library: the native runtime.
        conv: what is computed.
        weights: as `transformed` gives them.
        bias: of each stored output, float32 `[P]`.
        source: where its input lies.
        target: where its output lies.
        addresses: of the roots of both.
        block: B.
    """
    kernel = conv.weight.shape[2:]
    rows, columns = (filter_matrix(library, taps)[0] for taps in kernel)
    tiles = math.ceil(target.height / rows) * math.ceil(target.width / columns)
    out_blocks = target.channels // block
    at_once = _tiles_at_once(library, kernel, source.channels, block)
    ranges = math.ceil(tiles / at_once)
    if ranges * target.batch < MIN_TASKS:
        ranges = min(MIN_TASKS, math.ceil(tiles / library.register_tile()))
    outputs = min(math.ceil(MIN_TASKS / (ranges * target.batch)), math.ceil(out_blocks / 2))
    tile_borders = np.linspace(0, tiles, ranges + 1).round().astype(int)
    pairs = np.linspace(0, math.ceil(out_blocks / 2), outputs + 1).round().astype(int)
    block_borders = np.minimum(2 * pairs, out_blocks)
    return tuple(
        Task(
            f"winograd_{kernel[0]}x{kernel[1]}",
            _WinogradTask(
                source.address(addresses[0], sample),
                weights.data_ptr(),
                bias.data_ptr(),
                target.address(addresses[1], sample),
                source.height,
                source.width,
                source.channels // block,
                target.height,
                target.width,
                conv.padding[0],
                conv.padding[2],
                first,
                end - first,
                first_block,
                end_block - first_block,
                conv.activation == "relu",
            ),
        )
        for sample in range(target.batch)
        for first, end in pairwise(tile_borders.tolist())
        for first_block, end_block in pairwise(block_borders.tolist())
    )


def _tiles_at_once(library: ctypes.CDLL, kernel: tuple[int, ...], channels: int, block: int) -> int:
    """Tiles of a task: a few register tiles, as far as a worker's scratch memory holds them."""
    points = math.prod(filter_matrix(library, taps)[1].shape[0] for taps in kernel)
    room = SCRATCH_BYTES // (4 * points * (channels + 2 * block))
    register_tile = int(library.register_tile())
    return max(1, min(TILES_AT_ONCE * register_tile, room))
