"""Chains of nodes as tasks of native/fused.cpp.

A sum of inputs, an activation, a padding, a convolution of each channel and a pointwise one are
computed together, without values in between in memory.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Sequence
from ctypes import POINTER, c_float, c_int32, c_void_p
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from mlsys_ray.ios.engines.onednn.placement import Tensor
from mlsys_ray.ios.engines.onednn.runtime import SCRATCH_BYTES, Task
from mlsys_ray.ios.graph import Node
from mlsys_ray.ios.primitives import Activation, Conv2d, Pad, Sum

MIN_TASKS = 8
KERNEL_WIDTHS = (3, 5, 7)
"""Of convolutions of each channel."""
LIMITS = {None: (-math.inf, math.inf), "relu": (0.0, math.inf), "relu6": (0.0, 6.0)}
"""Least and most values of activations."""
BETWEEN_BYTES = 192 << 10
"""Of what a task keeps between two convolutions."""
COPY_BYTES = 128 << 10
"""Of the rows of a block of channels that a task copies."""
COPY_PASSES = 3
"""What copying an input costs, in readings of it."""
MAX_PIXELS = 448
"""Of a task of a pointwise convolution, whose inputs are copied 256 channels at a time."""


def _fields(kind: type, *names: str) -> tuple[tuple[str, type], ...]:
    return tuple((name, kind) for name in names)


class _Inputs(ctypes.Structure):
    _fields_ = (
        ("sources", POINTER(c_void_p)),
        ("coefficients", POINTER(c_float)),
        *_fields(c_int32, "num_sources", "height", "width"),
        *_fields(c_float, "least", "most"),
    )


class _Product(ctypes.Structure):
    _fields_ = (
        *_fields(c_void_p, "weights", "bias", "target"),
        *_fields(c_int32, "in_blocks", "pixels", "first_block", "num_blocks"),
        *_fields(c_float, "least", "most"),
    )


class _SumTask(ctypes.Structure):
    _fields_ = (
        ("inputs", _Inputs),
        *_fields(c_void_p, "target"),
        *_fields(c_int32, "out_height", "out_width", "top", "left", "first_block", "num_blocks"),
    )


class _PointwiseTask(ctypes.Structure):
    _fields_ = (
        ("inputs", _Inputs),
        ("product", _Product),
        *_fields(c_int32, "out_width", "stride", "top", "left", "first_pixel", "num_pixels"),
        *_fields(c_int32, "as_it_is"),
    )


class _DepthwiseTask(ctypes.Structure):
    _fields_ = (
        ("inputs", _Inputs),
        *_fields(c_void_p, "weights", "bias", "target"),
        *_fields(c_int32, "out_height", "out_width", "kernel_height", "kernel_width", "stride"),
        *_fields(c_int32, "top", "left", "padded_width"),
        *_fields(c_int32, "first_row", "num_rows", "first_block", "num_blocks"),
        *_fields(c_float, "least", "most"),
        ("product", _Product),
    )


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Nodes that are computed together.

    Attributes:
        nodes: all of them, each the only input of the next.
        coefficients: of the inputs of the first.
        before: activation of their sum, a key of `LIMITS`.
        padding: of that, zeros at `(top, bottom, left, right)` [pixels], cut where negative; those
            of the first convolution included.
        depthwise, pointwise: the convolutions that follow.
    """

    nodes: tuple[Node, ...]
    coefficients: tuple[float, ...]
    before: str | None
    padding: tuple[int, int, int, int]
    depthwise: Node | None
    pointwise: Node | None

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of what is summed."""
        return self.nodes[0].inputs


def units_of(nodes: Sequence[Node]) -> list[Unit | Node]:
    """The nodes of an operator, those in units that can be, as many as possible in each."""
    found: list[Unit | Node] = []
    left = list(nodes)
    while left:
        units = (unit_of(left[:n]) for n in range(len(left), 0, -1))
        unit = next((unit for unit in units if unit), None)
        found.append(unit or left[0])
        del left[: len(unit.nodes) if unit else 1]
    return found


def unit_of(nodes: Sequence[Node]) -> Unit | None:
    """All of some nodes as a unit, if they are: (sum), (activation), (padding), convolutions."""
    if any(after.inputs != (node.name,) for node, after in pairwise(nodes)):
        return None
    left = list(nodes)
    coefficients: tuple[float, ...] = (1.0,)
    before, padding = None, (0, 0, 0, 0)
    if isinstance(total := left[0].primitive, Sum):
        coefficients, before = total.coefficients, total.activation
        del left[0]
    if left and isinstance(activation := left[0].primitive, Activation) and before is None:
        before = activation.activation
        del left[0]
    if left and isinstance(pad := left[0].primitive, Pad) and pad.activation is None:
        padding = pad.padding
        del left[0]
    depthwise = left.pop(0) if left and _is_depthwise(left[0]) else None
    strided = depthwise is None
    pointwise = left.pop(0) if left and _is_pointwise(left[0], strided=strided) else None
    if left or before not in LIMITS:
        return None
    if (first := depthwise or pointwise) and isinstance(conv := first.primitive, Conv2d):
        if min(padding) < 0 and any(conv.padding):
            return None  # zeros in the place of what was cut
        own = conv.padding
        padding = (
            padding[0] + own[0],
            padding[1] + own[1],
            padding[2] + own[2],
            padding[3] + own[3],
        )
    return Unit(
        nodes=tuple(nodes),
        coefficients=coefficients,
        before=before,
        padding=padding,
        depthwise=depthwise,
        pointwise=pointwise,
    )


def _is_depthwise(node: Node) -> bool:
    conv = node.primitive
    return (
        isinstance(conv, Conv2d)
        and conv.depthwise
        and conv.weight.shape[2] <= max(KERNEL_WIDTHS)
        and conv.weight.shape[3] in KERNEL_WIDTHS
        and conv.stride in ((1, 1), (2, 2))
        and conv.dilation == (1, 1)
        and conv.activation in LIMITS
    )


def _is_pointwise(node: Node, *, strided: bool) -> bool:
    """Whether a node is such a convolution; one that follows another has to take it as it is."""
    conv = node.primitive
    return (
        isinstance(conv, Conv2d)
        and conv.pointwise
        and conv.stride[0] == conv.stride[1]
        and (strided or (conv.stride == (1, 1) and not any(conv.padding)))
        and conv.activation in LIMITS
    )


def packed(weight: torch.Tensor, block: int) -> torch.Tensor:
    """The weights `[P, 1, kh, kw]` by blocks of channels, float32 `[P / B, kh, kw, B]`."""
    return weight.float().unflatten(0, (-1, block))[:, :, 0].permute(0, 2, 3, 1).contiguous()


@dataclass(frozen=True, kw_only=True)
class Part:
    """A value as kernels see it, and what a convolution that computes it is given.

    Attributes:
        tensor: where the value lies.
        address: of its root.
        weights, bias: in the order in which they are read; None where nothing is convolved.
    """

    tensor: Tensor
    address: int
    weights: torch.Tensor | None = None
    bias: torch.Tensor | None = None

    def read(self) -> tuple[int, int]:
        """Addresses of weights and bias."""
        assert self.weights is not None
        assert self.bias is not None
        return self.weights.data_ptr(), self.bias.data_ptr()

    def at(self, sample: int) -> int:
        """The address of a sample."""
        return self.tensor.address(self.address, sample)


class Fused:
    """A unit's tasks.

    Args:
        unit: what is computed.
        sources: its inputs.
        depthwise: result of the convolution of each channel.
        target: what is stored, that one or another.
        block: B.
    """

    def __init__(
        self, unit: Unit, sources: Sequence[Part], depthwise: Part | None, target: Part, block: int
    ) -> None:
        self._unit, self._sources, self._block = unit, sources, block
        self._depthwise, self._target = depthwise, target

    def tasks(self) -> tuple[Task, ...]:
        """All of them; each can run beside the others."""
        samples = range(self._target.tensor.batch)
        make = self._sum
        if self._unit.depthwise:
            make = self._channels
        elif self._unit.pointwise:
            make = self._pointwise
        return tuple(task for sample in samples for task in make(sample, self._inputs(sample)))

    def _inputs(self, sample: int) -> _Inputs:
        count = len(self._sources)
        tensor = self._sources[0].tensor
        return _Inputs(
            (c_void_p * count)(*(source.at(sample) for source in self._sources)),
            (c_float * count)(*self._unit.coefficients),
            count,
            tensor.height,
            tensor.width,
            *LIMITS[self._unit.before],
        )

    def _sum(self, sample: int, inputs: _Inputs) -> Iterator[Task]:
        target = self._target.tensor
        top, _, left, _ = self._unit.padding
        for blocks in _ranges(target.channels // self._block, MIN_TASKS):
            yield Task(
                "fused_sum",
                _SumTask(
                    inputs,
                    self._target.at(sample),
                    target.height,
                    target.width,
                    top,
                    left,
                    blocks.start,
                    len(blocks),
                ),
            )

    def _pointwise(self, sample: int, inputs: _Inputs) -> Iterator[Task]:
        assert self._unit.pointwise
        conv = self._unit.pointwise.primitive
        assert isinstance(conv, Conv2d)
        target, channels = self._target.tensor, self._sources[0].tensor.channels
        pixels = target.height * target.width
        (stride, _), (top, _, left, _) = conv.stride, self._unit.padding
        plain = self._unit.before is None and self._unit.coefficients == (1.0,)
        as_it_is = plain and stride == 1 and not any(self._unit.padding)
        pairs = math.ceil(target.channels / (2 * self._block))
        passes = 1 if as_it_is else COPY_PASSES
        parts = _fewest_bytes(
            pixels, pairs, passes * channels, target.channels * channels, target.batch
        )
        for first in _ranges(pixels, parts[0]):
            for pair in _ranges(pairs, parts[1]):
                blocks = range(2 * pair.start, min(2 * pair.stop, target.channels // self._block))
                yield Task(
                    "fused_pointwise",
                    _PointwiseTask(
                        inputs,
                        self._product(sample, channels, blocks),
                        target.width,
                        stride,
                        top,
                        left,
                        first.start,
                        len(first),
                        as_it_is,
                    ),
                )

    def _channels(self, sample: int, inputs: _Inputs) -> Iterator[Task]:
        assert self._unit.depthwise
        assert self._depthwise
        weights, bias = self._depthwise.read()
        conv = self._unit.depthwise.primitive
        assert isinstance(conv, Conv2d)
        between, block = self._depthwise.tensor, self._block
        whole = self._unit.pointwise is not None
        top, _, left, right = self._unit.padding
        padded = inputs.width + left + right
        blocks = between.channels // block
        if whole:
            block_parts = 1
            most_rows = BETWEEN_BYTES // (4 * between.channels * between.width)
        else:
            block_parts = min(MIN_TASKS, blocks)
            most_rows = COPY_BYTES // (4 * block * padded * conv.stride[0])
        row_parts = max(
            math.ceil(between.height / max(most_rows, 1)),
            math.ceil(MIN_TASKS / (block_parts * between.batch)),
        )
        for rows in _ranges(between.height, row_parts):
            for part in _ranges(blocks, block_parts):
                yield Task(
                    "fused_depthwise",
                    _DepthwiseTask(
                        inputs,
                        weights,
                        bias,
                        None if whole else self._target.at(sample),
                        between.height,
                        between.width,
                        *conv.weight.shape[2:],
                        conv.stride[0],
                        top,
                        left,
                        padded,
                        rows.start,
                        len(rows),
                        part.start,
                        len(part),
                        *LIMITS[conv.activation],
                        self._product(sample, between.channels) if whole else _Product(),
                    ),
                )

    def _product(self, sample: int, channels: int, blocks: range | None = None) -> _Product:
        """The pointwise convolution, all of its outputs or some blocks."""
        assert self._unit.pointwise
        target = self._target.tensor
        blocks = blocks or range(target.channels // self._block)
        return _Product(
            *self._target.read(),
            self._target.at(sample),
            channels // self._block,
            target.height * target.width,
            blocks.start,
            len(blocks),
            *LIMITS[self._unit.pointwise.primitive.activation],
        )


def fits_between(between: Tensor) -> bool:
    """Whether a task can keep a row of what lies between two convolutions."""
    return 4 * between.width * between.channels <= SCRATCH_BYTES // 2


def _fewest_bytes(
    pixels: int, pairs: int, pixel_values: int, weights: int, batch: int
) -> tuple[int, int]:
    """Parts of the pixels and of the outputs, such that the least is read.

    Each part of the pixels reads all weights, each part of the outputs all inputs.
    """
    least = math.ceil(pixels / MAX_PIXELS)
    choices = [
        (min(max(least, math.ceil(MIN_TASKS / (n * batch))), pixels), n)
        for n in range(1, min(MIN_TASKS, pairs) + 1)
    ]
    return min(choices, key=lambda c: c[1] * pixels * pixel_values + c[0] * weights)


def _ranges(size: int, count: int) -> list[range]:
    """About equal ranges, none empty."""
    borders = np.linspace(0, size, min(count, size) + 1).round().astype(int).tolist()
    return [range(first, end) for first, end in pairwise(borders)]
