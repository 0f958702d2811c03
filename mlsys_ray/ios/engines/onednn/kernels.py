"""Nodes as tasks: which primitives of oneDNN compute a node, on which part of its channels each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ctypes import CDLL, c_float, c_int, c_void_p
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from mlsys_ray.ios.engines.onednn import binding as dnn
from mlsys_ray.ios.engines.onednn import direct, fused, winograd
from mlsys_ray.ios.engines.onednn.binding import OneDNN
from mlsys_ray.ios.engines.onednn.halide import HalideKernels, Segment, as_convolution
from mlsys_ray.ios.engines.onednn.placement import Placement, Tensor, expanded
from mlsys_ray.ios.engines.onednn.runtime import Task
from mlsys_ray.ios.graph import Node
from mlsys_ray.ios.primitives import (
    Activation,
    Affine,
    Concat,
    Conv2d,
    GlobalAveragePool,
    Linear,
    Pad,
    Pool2d,
    Sum,
)

Tasks = tuple[Task, ...]
Dims = tuple[int, int]
MAX_SPLITS = 4


class Kernels:
    """Makes the tasks of nodes, for values at fixed addresses.

    Args:
        dnnl: what makes and keeps the primitives.
        library: the native runtime with kernels of our own, None where there is none.
        placement: where in their roots values lie.
        addresses: where the roots begin; of plain values (inputs, outputs) under `plain NAME`.
    """

    def __init__(
        self,
        dnnl: OneDNN,
        library: CDLL | None,
        placement: Placement,
        addresses: Mapping[str, int],
    ) -> None:
        self._dnnl = dnnl
        self._library = library
        self._placement = placement
        self._addresses = addresses
        self._tag = f"aBcd{placement.block}b"
        self._kept: list[torch.Tensor] = []

    def own(self, node: Node) -> tuple[str, ...]:
        """Names of our kernels that can compute a node here."""
        conv = node.primitive
        if self._library is None or not isinstance(conv, Conv2d):
            return ()
        plain = node.name in self._placement.direct
        fitting = {
            "winograd": not plain and winograd.fits(conv),
            # Pointwise ones of values in blocks are fused's.
            "direct": direct.fits(conv) and (plain or not conv.pointwise),
        }
        return tuple(name for name, fits in fitting.items() if fits)

    def by(self, kernel: str, node: Node) -> Tasks:
        """The tasks of a convolution by one of our kernels."""
        conv = node.primitive
        assert isinstance(conv, Conv2d)
        assert self._library is not None
        block = self._placement.block
        target = self._tensor(node.name)
        address = self._addresses[target.root]
        weight, bias = self._stored(node, conv)
        if kernel == "winograd":
            source = self._tensor(node.inputs[0])
            addresses = (self._addresses[source.root], address)
            weights = winograd.transformed(self._library, weight, block)
            tasks = winograd.tasks(
                self._library, conv, weights, bias, source, target, addresses, block
            )
        else:
            image = self._image(node)
            weights = direct.packed(weight, image.lanes, block)
            tasks = direct.tasks(conv, weights, bias, image, target, address, block)
        self._kept += [weights, bias]
        return tasks

    def by_fused(self, unit: fused.Unit) -> Tasks:
        """The tasks of nodes that our kernel computes together."""
        convolved = {
            node.name: self._convolved(node) for node in (unit.depthwise, unit.pointwise) if node
        }
        name = unit.nodes[-1].name
        return fused.Fused(
            unit,
            [self._part(source) for source in unit.sources],
            convolved.get(unit.depthwise.name) if unit.depthwise else None,
            convolved.get(name) or self._part(name),
            self._placement.block,
        ).tasks()

    def _part(self, name: str) -> fused.Part:
        tensor = self._tensor(name)
        return fused.Part(tensor=tensor, address=self._addresses[tensor.root])

    def _convolved(self, node: Node) -> fused.Part:
        conv, block = node.primitive, self._placement.block
        assert isinstance(conv, Conv2d)
        weight, bias = self._stored(node, conv)
        if conv.depthwise:
            weight = fused.packed(weight, block)
        else:
            weight = direct.packed(weight, block, block)
        self._kept += [weight, bias]
        return replace(self._part(node.name), weights=weight, bias=bias)

    def by_halide(self, segment: Segment, kernels: HalideKernels) -> Tasks:
        """The tasks of nodes that one of Halide's kernels computes together."""

        def address(name: str, sample: int) -> int:
            tensor = self._tensor(name)
            return tensor.address(self._addresses[tensor.root], sample)

        return kernels.tasks(segment, self._stored, address, self._plain_address)

    def steps(self, node: Node, splits: int) -> tuple[Tasks, ...]:
        """The tasks of a node, those of a later step after those of an earlier one.

        Args:
            node: one that the placement calls native.
            splits: into how many tasks a step is cut, if there are as many blocks of channels.
        """
        primitive = node.primitive
        target = self._tensor(node.name)
        match primitive:
            case Conv2d() | Linear() | Affine():
                conv = as_convolution(node)
                assert conv
                return (self._convolution(node, conv, splits),)
            case Pool2d():
                kind = dnn.POOLING_MAX if primitive.maximum else dnn.POOLING_AVERAGE
                if not primitive.maximum and primitive.count_padding:
                    kind = dnn.POOLING_AVERAGE_INCLUDE_PADDING
                windows = (primitive.kernel, primitive.stride, primitive.padding)
                steps = [self._pooling(node, kind, *windows, splits)]
            case GlobalAveragePool():
                source = self._tensor(node.inputs[0])
                size = (source.height, source.width)
                steps = [self._pooling(node, dnn.POOLING_AVERAGE, size, (1, 1), (0, 0), splits)]
            case Sum(coefficients=coefficients):
                steps = [self._sum(node, coefficients, splits)]
            case Activation(activation=str(activation)):
                return (self._eltwise(self._tensor(node.inputs[0]), target, activation, splits),)
            case Pad():
                unit = fused.unit_of([node])
                assert unit
                steps = [self.by_fused(unit)]
            case Concat():
                steps = self._copies(node, splits)
            case _:
                return ()
        if primitive.activation:
            steps.append(self._eltwise(target, target, primitive.activation, splits))
        return tuple(steps)

    def to_blocks(self, name: str) -> Tasks:
        """A plain value `[N, C, H, W]` in blocks."""
        return self._reorder(name, into_blocks=True)

    def to_plain(self, name: str) -> Tasks:
        """A value in blocks with its stored channels as a plain one `[N, P, H, W]`."""
        return self._reorder(name, into_blocks=False)

    def _image(self, node: Node) -> direct.Image:
        """The input of a convolution."""
        (name,) = node.inputs
        if node.name in self._placement.direct:
            batch, channels, height, width = self._placement.plain_shapes[name]
            return direct.Image(
                addresses=tuple(self._plain_address(name, sample) for sample in range(batch)),
                height=height,
                width=width,
                channels=channels,
                lanes=1,
            )
        source = self._tensor(name)
        base = self._addresses[source.root]
        return direct.Image(
            addresses=tuple(source.address(base, sample) for sample in range(source.batch)),
            height=source.height,
            width=source.width,
            channels=source.channels,
            lanes=self._placement.block,
        )

    def _plain_address(self, name: str, sample: int) -> int:
        """Of one sample of a graph's input."""
        size = 4 * int(np.prod(self._placement.plain_shapes[name][1:]))
        return self._addresses[f"plain {name}"] + sample * size

    def _tensor(self, name: str) -> Tensor:
        return self._placement.tensors[name]

    def _parts(self, tensor: Tensor, splits: int) -> list[tuple[int, int, int]]:
        """Sample, first channel and number of channels of each task's part of a value."""
        blocks = tensor.channels // self._placement.block
        borders = np.linspace(0, blocks, min(splits, blocks) + 1).round().astype(int)
        return [
            (sample, int(a) * self._placement.block, int(b - a) * self._placement.block)
            for sample in range(tensor.batch)
            for a, b in pairwise(borders)
        ]

    def _memory(self, tensor: Tensor, sample: int, channel: int, channels: int) -> c_void_p:
        """A part of one sample of a value; the channels of a part lie together."""
        description = self._dnnl.describe((1, channels, tensor.height, tensor.width), self._tag)
        address = tensor.address(self._addresses[tensor.root], sample, channel)
        return self._dnnl.memory(description, address)

    def _description(self, tensor: Tensor, channels: int) -> c_void_p:
        return self._dnnl.describe((1, channels, tensor.height, tensor.width), self._tag)

    def _task(self, description: c_void_p, arguments: dict[int, c_void_p]) -> Task:
        scratchpad = self._dnnl.scratchpad_of(description)
        memory = torch.empty(max(self._dnnl.size(scratchpad), 1), dtype=torch.uint8)
        self._kept.append(memory)
        arguments = arguments | {
            dnn.SCRATCHPAD: self._dnnl.memory(scratchpad, memory.data_ptr()),
        }
        return Task("run_onednn", self._dnnl.call(description, arguments))

    def _each_part(
        self,
        target: Tensor,
        splits: int,
        describe: Callable[[int], c_void_p],
        arguments: Callable[[c_void_p, int, int, int], dict[int, c_void_p]],
    ) -> Tasks:
        """A task for each part of a value; one description for each number of channels.

        Args:
            target: the value.
            splits: of its channels.
            describe: the primitive for a number of channels.
            arguments: of a primitive, for a sample, first channel and number of channels.
        """
        descriptions: dict[int, c_void_p] = {}
        tasks = []
        for sample, channel, channels in self._parts(target, splits):
            if channels not in descriptions:
                descriptions[channels] = describe(channels)
            given = arguments(descriptions[channels], sample, channel, channels)
            given[dnn.DST] = self._memory(target, sample, channel, channels)
            tasks.append(self._task(descriptions[channels], given))
        return tuple(tasks)

    def _convolution(self, node: Node, conv: Conv2d, splits: int) -> Tasks:
        target = self._tensor(node.name)
        (name,) = node.inputs
        depthwise = conv.depthwise
        source = None if node.name in self._placement.direct else self._tensor(name)
        weight, bias = self._stored(node, conv)
        self._kept.append(bias)
        attributes = self._dnnl.attributes(conv.activation)
        one = self._dnnl.describe
        top, bottom, left, right = conv.padding
        weights: dict[tuple[int, int], torch.Tensor] = {}

        def source_memory(sample: int, channel: int, channels: int) -> c_void_p:
            if source is None:
                shape = (1, *self._placement.plain_shapes[name][1:])
                return self._dnnl.memory(one(shape, "abcd"), self._plain_address(name, sample))
            if depthwise:
                return self._memory(source, sample, channel, channels)
            return self._memory(source, sample, 0, source.channels)

        def describe(channels: int) -> c_void_p:
            if source is None:
                given = one((1, *self._placement.plain_shapes[name][1:]), "abcd")
            else:
                given = self._description(source, channels if depthwise else source.channels)
            shape = (channels, *weight.shape[1:])
            return self._dnnl.primitive_description(
                "convolution_forward",
                self._dnnl.engine,
                c_int(dnn.FORWARD_INFERENCE),
                c_int(dnn.CONVOLUTION_DIRECT),
                given,
                one((channels, 1, *shape[1:]) if depthwise else shape, "any"),
                one((channels,), "a"),
                self._description(target, channels),
                dnn.dims(conv.stride),
                dnn.dims([d - 1 for d in conv.dilation]),
                dnn.dims((top, left)),
                dnn.dims((bottom, right)),
                attributes,
            )

        def arguments(
            description: c_void_p, sample: int, channel: int, channels: int
        ) -> dict[int, c_void_p]:
            wanted = self._dnnl.weights_of(description)
            key = (channel, channels)
            if key not in weights:
                part = weight[channel : channel + channels].contiguous()
                part = part[:, None] if depthwise else part
                tag = "abcde" if depthwise else "abcd"
                weights[key] = self._dnnl.reordered(part, tag, wanted)
                self._kept.append(weights[key])
            return {
                dnn.SRC: source_memory(sample, channel, channels),
                dnn.WEIGHTS: self._dnnl.memory(wanted, weights[key].data_ptr()),
                dnn.BIAS: self._dnnl.memory(one((channels,), "a"), bias.data_ptr() + 4 * channel),
            }

        return self._each_part(target, splits, describe, arguments)

    def _stored(self, node: Node, conv: Conv2d) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights and bias for the channels as they are stored, zero where none lies."""
        target = self._tensor(node.name)
        outputs = range(len(conv.weight))
        weight = conv.weight
        if conv.depthwise:
            weight = expanded(weight, target.positions, target.channels)
        else:
            if node.name not in self._placement.direct:
                source = self._tensor(node.inputs[0])
                by_input = expanded(weight.transpose(0, 1), source.positions, source.channels)
                weight = by_input.transpose(0, 1)
            weight = expanded(weight, outputs, target.channels)
        bias = torch.zeros(len(outputs)) if conv.bias is None else conv.bias
        return weight, expanded(bias, target.positions, target.channels)

    def _pooling(
        self, node: Node, kind: int, kernel: Dims, stride: Dims, padding: Dims, splits: int
    ) -> Tasks:
        source, target = self._tensor(node.inputs[0]), self._tensor(node.name)

        def describe(channels: int) -> c_void_p:
            return self._dnnl.primitive_description(
                "pooling_forward",
                self._dnnl.engine,
                c_int(dnn.FORWARD_INFERENCE),
                c_int(kind),
                self._description(source, channels),
                self._description(target, channels),
                dnn.dims(stride),
                dnn.dims(kernel),
                dnn.dims((0, 0)),
                dnn.dims(padding),
                dnn.dims(padding),
                self._dnnl.attributes(),
            )

        return self._each_part(
            target, splits, describe, lambda _, *part: {dnn.SRC: self._memory(source, *part)}
        )

    def _sum(self, node: Node, coefficients: Sequence[float], splits: int) -> Tasks:
        sources = [self._tensor(name) for name in node.inputs]
        target = self._tensor(node.name)
        scales = (c_float * len(sources))(*coefficients)

        def describe(channels: int) -> c_void_p:
            descriptions = [self._description(source, channels).value for source in sources]
            return self._dnnl.primitive_description(
                "sum",
                self._dnnl.engine,
                self._description(target, channels),
                c_int(len(sources)),
                scales,
                (c_void_p * len(sources))(*descriptions),
                self._dnnl.attributes(),
            )

        def arguments(_: c_void_p, *part: int) -> dict[int, c_void_p]:
            return {
                dnn.MULTIPLE_SRC + i: self._memory(source, *part)
                for i, source in enumerate(sources)
            }

        return self._each_part(target, splits, describe, arguments)

    def _eltwise(self, source: Tensor, target: Tensor, activation: str, splits: int) -> Tasks:
        kind, alpha, beta = dnn.ELTWISE[activation]

        def describe(channels: int) -> c_void_p:
            return self._dnnl.primitive_description(
                "eltwise_forward",
                self._dnnl.engine,
                c_int(dnn.FORWARD_INFERENCE),
                c_int(kind),
                self._description(source, channels),
                self._description(target, channels),
                c_float(alpha),
                c_float(beta),
                self._dnnl.attributes(),
            )

        return self._each_part(
            target, splits, describe, lambda _, *part: {dnn.SRC: self._memory(source, *part)}
        )

    def _copies(self, node: Node, splits: int) -> list[Tasks]:
        """The inputs of a concatenation that do not lie in it."""
        target = self._tensor(node.name)
        offsets = np.cumsum([0, *(self._tensor(name).channels for name in node.inputs)])
        steps: Tasks = ()
        for i in self._placement.copied[node.name]:
            source = self._tensor(node.inputs[i])
            begin = int(offsets[i])
            for sample, channel, channels in self._parts(source, splits):
                description = self._description(source, channels)
                reorder = self._dnnl.primitive_description(
                    "reorder",
                    description,
                    self._dnnl.engine,
                    description,
                    self._dnnl.engine,
                    self._dnnl.attributes(),
                )
                arguments = {
                    dnn.SRC: self._memory(source, sample, channel, channels),
                    dnn.DST: self._memory(target, sample, begin + channel, channels),
                }
                steps += (self._task(reorder, arguments),)
        return [steps] if steps else []

    def _reorder(self, name: str, *, into_blocks: bool) -> Tasks:
        tensor = self._tensor(name)
        # Into blocks oneDNN fills what the channels leave of the last block with zeros itself.
        channels = len(tensor.positions) if into_blocks else tensor.channels
        shape = (1, channels, tensor.height, tensor.width)
        plain, blocked = self._dnnl.describe(shape, "abcd"), self._dnnl.describe(shape, self._tag)
        source, target = (plain, blocked) if into_blocks else (blocked, plain)
        reorder = self._dnnl.primitive_description(
            "reorder", source, self._dnnl.engine, target, self._dnnl.engine, self._dnnl.attributes()
        )
        tasks = []
        for sample in range(tensor.batch):
            size = 4 * channels * tensor.height * tensor.width
            at_plain = self._addresses[f"plain {name}"] + sample * size
            at_blocked = tensor.address(self._addresses[tensor.root], sample)
            begin, end = (at_plain, at_blocked) if into_blocks else (at_blocked, at_plain)
            tasks.append(
                self._task(
                    reorder,
                    {
                        dnn.SRC: self._dnnl.memory(source, begin),
                        dnn.DST: self._dnnl.memory(target, end),
                    },
                )
            )
        return tuple(tasks)
