"""Kernels that value learning has scheduled and Halide compiled, as tasks.

An operator's nodes become pipelines: convolutions with bias and activation, depthwise ones, sums,
poolings and activations, and chains of them whose values in between never reach memory as a whole.
A task computes some rows of some blocks of channels, or some pixels where no window couples them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from mlsys_ray.ios.engines.onednn.placement import Placement
from mlsys_ray.ios.engines.onednn.runtime import SCRATCH_BYTES, Task
from mlsys_ray.ios.graph import Node
from mlsys_ray.ios.primitives import Activation, Affine, Conv2d, Linear, Pool2d, Sum
from mlsys_ray.value_learning import operators as halide
from mlsys_ray.value_learning.ahead_of_time import MAX_ARGUMENTS, buffer, call
from mlsys_ray.value_learning.kernels import CompiledKernel, KernelStore

ACTIVATIONS = (None, "relu", "relu6", "gelu")
MIN_TASKS = 8
TASK_SECONDS = 1e-6
"""What a task costs beside its work, when an operator is cut."""
OPERATIONS, BYTES = 1e11, 2e10
"""A second of a core, to weigh what is computed and read again when an operator is cut."""
TILE_BLOCKS = 4
"""Blocks of outputs that a part of a convolution over all channels has at least."""
PIXELS = 12
"""Ranges of pixels are multiples of this, for the sake of register tiles."""

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Segment:
    """Nodes of an operator that are computed together, the last one's value alone being kept.

    Attributes:
        nodes: one after another.
        kernel: that computes them; None for a single node that oneDNN computes.
    """

    nodes: tuple[Node, ...]
    kernel: CompiledKernel | None = None

    @property
    def name(self) -> str:
        """Of the value that is kept."""
        return self.nodes[-1].name


@dataclass(frozen=True, eq=False)
class Pipelines:
    """Nodes as value learning knows them.

    Attributes:
        whole: all that they compute of one sample.
        part: what a task computes of it.
        inputs: values that they read.
    """

    whole: halide.Pipeline
    part: halide.Pipeline
    inputs: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Equal for nodes that one kernel computes."""
        return self.whole.key, self.part.key


def as_convolution(node: Node) -> Conv2d | None:
    """A node as a convolution, if it is one, a linear layer, or a scale a channel."""
    match node.primitive:
        case Conv2d() as conv:
            return conv
        case Linear(weight=weight, bias=bias, activation=activation):
            return Conv2d(weight=weight[:, :, None, None], bias=bias, activation=activation)
        case Affine(scale=scale, shift=shift, activation=activation):
            weight = scale[:, None, None, None]
            return Conv2d(weight=weight, bias=shift, groups=len(scale), activation=activation)
    return None


class HalideKernels:
    """Kernels of a network's operators.

    Args:
        placement: where values lie.
        store: of kernels.
    """

    def __init__(self, placement: Placement, store: KernelStore) -> None:
        self.placement, self.store = placement, store
        self._pipelines: dict[tuple[str, ...], Pipelines] = {}

    def ways(self, nodes: Sequence[Node], splits: Sequence[int]) -> tuple[str, ...]:
        """Ways to compute an operator in which at least one kernel takes part.

        Args:
            nodes: of the operator.
            splits: into how many tasks oneDNN may cut what it computes.
        """
        found: dict[object, str] = {}
        for way in ("whole", "apart", *map(str, splits)):
            segments = self.segments(nodes, way)
            others = [s.name for s in segments if not s.kernel]
            if len(others) < len(segments):
                keys = tuple(s.kernel and s.kernel.key for s in segments)
                found.setdefault((keys, way if others else ""), way)
        return tuple(found.values())

    def segments(self, nodes: Sequence[Node], way: str) -> tuple[Segment, ...]:
        """The nodes of an operator, together where there is a kernel that computes them so.

        Args:
            nodes: of the operator.
            way: "whole", as much as possible at once; "apart", a convolution over all channels by
                itself; a number, the same by oneDNN in so many tasks.
        """
        found: list[Segment] = []
        for run in self._runs(nodes, way == "whole"):
            left = way.isdigit() and len(nodes) > 1 and self._mixes(run[-1])
            pipelines = None if left else self.pipelines(run)
            kernel = pipelines and self.store.find(pipelines.whole, pipelines.part)
            if kernel:
                found.append(Segment(run, kernel))
            else:
                found += [Segment((node,)) for node in run]
        return tuple(found)

    def wanted(self, nodes: Sequence[Node]) -> list[Pipelines]:
        """The pipelines of an operator that there is no kernel of and that none has failed for."""
        runs = [run for whole in (True, False) for run in self._runs(nodes, whole)]
        found = {pipelines.key: pipelines for run in runs if (pipelines := self.pipelines(run))}
        return [
            pipelines
            for pipelines in found.values()
            if not self.store.find(pipelines.whole, pipelines.part)
            and not self.store.failure(pipelines.whole, pipelines.part)
        ]

    def pipelines(self, run: tuple[Node, ...]) -> Pipelines | None:
        """Nodes as pipelines; None for one that cannot be expressed."""
        if not self._expressed(run[0]):
            return None
        names = tuple(node.name for node in run)
        if names not in self._pipelines:
            self._pipelines[names] = self._made(run)
        return self._pipelines[names]

    def _runs(self, nodes: Sequence[Node], whole: bool) -> list[tuple[Node, ...]]:
        """The nodes of an operator in the runs that are computed together."""
        runs: dict[str, tuple[Node, ...]] = {}
        for node in nodes:
            before: tuple[Node, ...] = ()
            if self._expressed(node) and (whole or not self._mixes(node)):
                for name in dict.fromkeys(node.inputs):
                    run = runs.get(name)
                    kept = name in self.placement.to_plain
                    if run and self._expressed(run[-1]) and not kept:
                        before += runs.pop(name)
            runs[node.name] = (*before, node)
        return list(runs.values())

    def _mixes(self, node: Node) -> bool:
        conv = as_convolution(node)
        return conv is not None and not conv.depthwise

    def _expressed(self, node: Node) -> bool:
        """Whether value learning knows such a node, stored as it is here."""
        if node.name not in self.placement.native or node.primitive.activation not in ACTIVATIONS:
            return False
        match node.primitive:
            case Pool2d() as pool:
                sides = (pool.kernel, pool.stride, pool.padding)
                counted = pool.maximum or pool.count_padding or pool.padding == (0, 0)
                square = all(down == across for down, across in sides)
                fits = 2 * pool.padding[0] <= pool.kernel[0] and pool.activation is None
                return counted and square and fits
            case Sum():
                return len(node.inputs) < MAX_ARGUMENTS - 1
            case Conv2d() as conv:
                return conv.groups == 1 or conv.depthwise
            case Linear() | Affine() | Activation():
                return True
        return False

    def _size(self, name: str, user: Node) -> tuple[int, int, int, int]:
        """Lanes, width, height and blocks of a value that a node reads."""
        if user.name in self.placement.direct:
            _, channels, height, width = self.placement.plain_shapes[name]
            return 1, width, height, channels
        tensor, block = self.placement.tensors[name], self.placement.block
        return block, tensor.width, tensor.height, tensor.channels // block

    def _made(self, run: tuple[Node, ...]) -> Pipelines:
        block, last = self.placement.block, self.placement.tensors[run[-1].name]
        blocks = last.channels // block
        flat = all(_pixel_by_pixel(node) for node in run)
        own = {node.name for node in run}
        inputs = tuple(dict.fromkeys(n for node in run for n in node.inputs if n not in own))

        def made(size: Size, out_blocks: int, given: Mapping[str, Size]) -> halide.Pipeline:
            return self._pipeline(run, inputs, size, out_blocks, given)

        given = {
            name: (height, width)
            for node in run
            for name in node.inputs
            for _, width, height, _ in [self._size(name, node)]
        }
        if flat:
            given = {name: (1, height * width) for name, (height, width) in given.items()}
        size = (1, last.height * last.width) if flat else (last.height, last.width)
        whole = made(size, blocks, given)
        options = [
            (_seconds(whole, part, _calls(whole, part)), part.key, part)
            for cut, out in self._cuts(run, size, blocks, flat)
            for part in [made(cut, out, {})]
        ]
        return Pipelines(whole, min(options)[2], inputs)

    def _cuts(
        self, run: tuple[Node, ...], size: Size, blocks: int, flat: bool
    ) -> list[tuple[Size, int]]:
        """Sizes of parts, and their blocks of outputs, which divide all of them."""
        height, width = size
        along, step = (width, PIXELS) if flat else (height, 1)
        counts = range(1, 2 * MIN_TASKS + 1)
        lengths = {min(along, math.ceil(along / count / step) * step): None for count in counts}
        least = 1
        if self._mixes(run[-1]):
            # What is before a convolution over all channels would be computed for each of its
            # parts, and its register tiles are of several blocks.
            least = blocks if len(run) > 1 else min(TILE_BLOCKS, blocks)
        return [
            ((height, length) if flat else (length, width), count)
            for length in lengths
            for count in range(least, blocks + 1)
            if blocks % count == 0
        ]

    def _pipeline(
        self,
        run: tuple[Node, ...],
        inputs: tuple[str, ...],
        size: Size,
        blocks: int,
        given: Mapping[str, Size],
    ) -> halide.Pipeline:
        """Nodes that give a result of a size; inputs that are not given are as large as needed."""
        sizes: dict[str, Size] = {run[-1].name: size}
        counts: dict[str, int] = {run[-1].name: blocks}
        lanes: dict[str, int] = {}
        for node in reversed(run):
            for name in node.inputs:
                lanes[name], _, _, stored = self._size(name, node)
                sizes[name] = given.get(name) or _needed(node, sizes[node.name])
                counts[name] = stored if self._mixes(node) else counts[node.name]
        names = {name: f"input{place}" for place, name in enumerate(inputs)}
        names |= {node.name: f"node{place}" for place, node in enumerate(run)}
        tensors = tuple(
            halide.Tensor(names[name], (lanes[name], *reversed(sizes[name]), counts[name]))
            for name in inputs
        )
        return halide.Pipeline(
            tensors,
            tuple(
                halide.Node(
                    names[node.name],
                    _operator(node, counts[node.name], self.placement.block),
                    tuple(names[name] for name in node.inputs),
                )
                for node in run
            ),
        )

    def tasks(
        self,
        segment: Segment,
        stored: Callable[[Node, Conv2d], tuple[torch.Tensor, torch.Tensor]],
        address: Callable[[str, int], int],
        image: Callable[[str, int], int],
    ) -> tuple[Task, ...]:
        """A segment's kernel on all of its parts.

        Args:
            segment: one with a kernel.
            stored: weights and bias of a convolution for the channels as they lie.
            address: of a value in blocks, for a sample.
            image: of a plain value, for a sample.
        """
        pipelines, kernel = self.pipelines(segment.nodes), segment.kernel
        assert pipelines
        assert kernel
        target = self.placement.tensors[segment.name]
        constants = [
            constant for node in segment.nodes for constant in self._constants(node, stored)
        ]
        whole, part = pipelines.whole, pipelines.part.output.extents
        plain = any(node.name in self.placement.direct for node in segment.nodes)
        tasks = []
        for sample in range(target.batch):
            at = [(image if plain else address)(name, sample) for name in pipelines.inputs]
            at += [constant.data_ptr() for constant in constants]
            sources = [
                buffer(where, tensor.extents)
                for where, tensor in zip(at, whole.arguments, strict=True)
            ]
            out = address(segment.name, sample)
            for begin in _begins(whole.output.extents, part):
                result = buffer(out, whole.output.extents, begin, part)
                data = call([*sources, result], SCRATCH_BYTES)
                data.constants = constants
                tasks.append(Task(kernel.entry, data))
        return tuple(tasks)

    def _constants(
        self, node: Node, stored: Callable[[Node, Conv2d], tuple[torch.Tensor, torch.Tensor]]
    ) -> list[torch.Tensor]:
        """Parameters of a node's operator, in its order."""
        if isinstance(node.primitive, Sum):
            factors = node.primitive.coefficients
            return [torch.tensor(factors)] if _weighted(factors) else []
        conv = as_convolution(node)
        if conv is None:
            return []
        weight, bias = stored(node, conv)
        block = self.placement.block
        outputs = weight.unflatten(0, (-1, block))
        if conv.depthwise:
            packed = outputs[:, :, 0].permute(0, 2, 3, 1)
        else:
            lanes = self._size(node.inputs[0], node)[0]
            packed = outputs.unflatten(2, (-1, lanes)).permute(0, 2, 4, 5, 3, 1)
        return [packed.contiguous(), bias.contiguous()]


def _pixel_by_pixel(node: Node) -> bool:
    """Whether a node computes each pixel from the same one of its inputs."""
    conv = as_convolution(node)
    if conv is not None:
        plain = conv.stride == (1, 1) and not any(conv.padding)
        return plain and conv.weight.shape[2:] == (1, 1)
    return isinstance(node.primitive, Sum | Activation)


def _needed(node: Node, size: Size) -> Size:
    """The size of an image of which a node gives a result of a size."""
    height, width = size
    conv = as_convolution(node)
    if conv is not None:
        top, bottom, left, right = conv.padding
        stride, dilation = conv.stride, conv.dilation
        kernel: Sequence[int] = conv.weight.shape[2:]
    elif isinstance(node.primitive, Pool2d):
        pool = node.primitive
        (top, left), kernel, stride, dilation = pool.padding, pool.kernel, pool.stride, (1, 1)
        bottom, right = top, left
    else:
        return size
    down = (height - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1 - top - bottom
    across = (width - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1 - left - right
    return max(1, down), max(1, across)


def _weighted(coefficients: Sequence[float]) -> bool:
    return any(factor != 1 for factor in coefficients)


def _operator(node: Node, blocks: int, block: int) -> halide.Operator:
    primitive = node.primitive
    activation = primitive.activation or "none"
    conv = as_convolution(node)
    if conv is not None:
        down, across = conv.weight.shape[2:]
        return halide.BlockedConv2d(
            out_blocks=blocks,
            block=block,
            kernel=(down, across),
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
            depthwise=conv.depthwise,
            activation=activation,  # type: ignore[arg-type]
        )
    match primitive:
        case Pool2d(maximum=maximum, kernel=kernel, stride=stride, padding=padding):
            kind = "max" if maximum else "average"
            return halide.Pool2d(
                kind=kind,  # type: ignore[arg-type]
                kernel=kernel[0],
                stride=stride[0],
                padding=padding[0],
            )
        case Sum(coefficients=coefficients):
            return halide.Add(
                activation=activation,  # type: ignore[arg-type]
                weighted=_weighted(coefficients),
            )
    return halide.Activate(activation=activation)  # type: ignore[arg-type]


def _calls(whole: halide.Pipeline, part: halide.Pipeline) -> int:
    sides = zip(whole.output.extents, part.output.extents, strict=True)
    return math.prod(math.ceil(extent / called) for extent, called in sides)


def _seconds(whole: halide.Pipeline, part: halide.Pipeline, calls: int) -> float:
    """A guess of what all parts take on as many cores as there are parts, up to `MIN_TASKS`."""
    rounds = math.ceil(calls / MIN_TASKS) * MIN_TASKS
    return rounds * (part.operations / OPERATIONS + part.bytes / BYTES + TASK_SECONDS)


def _begins(whole: Sequence[int], part: Sequence[int]) -> list[tuple[int, ...]]:
    """Where parts begin; the last one ends with the whole, and may overlap the one before it.

    Where they overlap, both write the same values.
    """
    begins: list[tuple[int, ...]] = [()]
    for extent, called in zip(whole, part, strict=True):
        count = math.ceil(extent / called)
        firsts = [min(place * called, extent - called) for place in range(count)]
        begins = [(*begin, first) for begin in begins for first in firsts]
    return begins
