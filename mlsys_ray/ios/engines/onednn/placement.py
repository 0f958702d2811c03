"""Where values lie: blocks of channels, concatenations in place, one arena.

A value `[N, C, H, W]` is stored as `[N, P / B, H, W, B]` with B channels side by side, 8 or 16 by
the machine, and P the channels rounded up to whole blocks. What is concatenated is written straight
into its place in the result, so a channel's place may come after a gap; gaps hold zeros or what
weights of zero make harmless.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mlsys_ray.ios.graph import Graph, Node, users_of
from mlsys_ray.ios.primitives import (
    Activation,
    Affine,
    Concat,
    Conv2d,
    Flatten,
    GlobalAveragePool,
    Linear,
    Pad,
    Pool2d,
    Sum,
)

ALIGNMENT = 64


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A value in blocks of channels.

    Attributes:
        batch, height, width: of the value.
        positions: where each channel lies among the stored ones.
        channels: P, stored ones.
        root: the value in whose memory it lies, itself if its own.
        offset: its first channel among those of the root.
        root_channels: stored channels of the root.
    """

    batch: int
    height: int
    width: int
    positions: tuple[int, ...]
    channels: int
    root: str
    offset: int
    root_channels: int

    @property
    def natural(self) -> bool:
        """Whether channel i lies at place i."""
        return self.positions == tuple(range(len(self.positions)))

    def address(self, base: int, sample: int, channel: int = 0) -> int:
        """Of a stored channel, the first of a block, where the root's memory begins at a base."""
        before = sample * self.root_channels + self.offset + channel
        return base + 4 * before * self.height * self.width


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The storage of a graph's values.

    Attributes:
        block: B, channels side by side.
        tensors: of the values in blocks.
        native: nodes that run on values in blocks; the others run by PyTorch on plain ones.
        copied: of a concatenation the inputs that lie elsewhere and have to be copied.
        to_blocks: plain values that are needed in blocks.
        to_plain: values in blocks that are needed plain.
        direct: nodes that read a plain value as it is, such as an image of three channels.
        plain_shapes: of the graph's inputs.
    """

    block: int
    tensors: Mapping[str, Tensor]
    native: frozenset[str]
    copied: Mapping[str, tuple[int, ...]]
    to_blocks: frozenset[str]
    to_plain: frozenset[str]
    direct: frozenset[str]
    plain_shapes: Mapping[str, tuple[int, ...]]


def place(graph: Graph, block: int, *, pads: bool = False) -> Placement:
    """Decide where the values of a graph lie.

    Args:
        graph: whose values.
        block: B, channels side by side.
        pads: whether paddings can be computed on values in blocks.
    """
    return _Placer(graph, block, pads).placement()


class _Placer:
    def __init__(self, graph: Graph, block: int, pads: bool) -> None:
        self.graph, self.block, self.pads = graph, block, pads
        self.tensors: dict[str, Tensor] = {}
        self.native: set[str] = set()
        self.direct: set[str] = set()
        self.to_blocks: set[str] = set()
        self.copied: dict[str, tuple[int, ...]] = {}
        self.shapes: dict[str, tuple[tuple[int, ...] | None, torch.dtype | None]] = {
            name: (tuple(x.shape), x.dtype)
            for name, x in zip(graph.inputs, graph.examples, strict=True)
        }

    def placement(self) -> Placement:
        for node in self.graph.nodes.values():
            self._visit(node)
        self._concatenations()
        plain = {
            name
            for node in self.graph.nodes.values()
            if node.name not in self.native
            for name in node.inputs
        }
        plain |= set(self.graph.outputs)
        blocked = {name for name in self.tensors if name in self.native}
        return Placement(
            block=self.block,
            tensors=self.tensors,
            native=frozenset(self.native),
            copied=self.copied,
            to_blocks=frozenset(self.to_blocks),
            to_plain=frozenset(plain & blocked),
            direct=frozenset(self.direct),
            plain_shapes={
                name: tuple(x.shape)
                for name, x in zip(self.graph.inputs, self.graph.examples, strict=True)
            },
        )

    def _visit(self, node: Node) -> None:
        if node.shape is None or node.dtype != torch.float32 or len(node.shape) not in (2, 4):
            self.shapes[node.name] = (node.shape, node.dtype)
            return
        self.shapes[node.name] = (node.shape, node.dtype)
        if self._reads_plain(node):
            self.direct.add(node.name)
            self._store(node, None)
            return
        if not all(self._can_block(name) for name in node.inputs) or not self._knows(node):
            return
        for name in node.inputs:
            if name not in self.tensors:
                self.to_blocks.add(name)
                self.tensors[name] = self._own(name, self.shapes[name][0])
        sources = [self.tensors[name] for name in node.inputs]
        match node.primitive:
            case (
                Conv2d(depthwise=True)
                | Pool2d()
                | GlobalAveragePool()
                | Affine()
                | Activation()
                | Pad()
            ):
                self._store(node, sources[0].positions)
            case Sum() if all(s.positions == sources[0].positions for s in sources):
                self._store(node, sources[0].positions)
            case Flatten():
                self.native.add(node.name)
                self.tensors[node.name] = sources[0]
            case Conv2d() | Linear():
                self._store(node, None)
            case Concat():
                offsets = np.cumsum([0, *(source.channels for source in sources)])
                self._store(
                    node,
                    tuple(
                        int(offset) + position
                        for offset, source in zip(offsets, sources, strict=False)
                        for position in source.positions
                    ),
                    int(offsets[-1]),
                )

    def _reads_plain(self, node: Node) -> bool:
        """An image of a few channels is read as it is by its convolution."""
        conv = node.primitive
        if not isinstance(conv, Conv2d) or conv.groups != 1:
            return False
        (source,) = node.inputs
        shape, dtype = self.shapes[source]
        return (
            source in self.graph.inputs
            and dtype == torch.float32
            and shape is not None
            and len(shape) == 4
            and shape[1] <= 4
        )

    def _can_block(self, name: str) -> bool:
        if name in self.tensors:
            return True
        shape, dtype = self.shapes[name]
        return shape is not None and dtype == torch.float32 and len(shape) == 4

    def _knows(self, node: Node) -> bool:
        match node.primitive:
            case Conv2d() as conv:
                return conv.groups == 1 or conv.depthwise
            case Linear() | Flatten():
                source = self.tensors.get(node.inputs[0])
                return source is not None and source.height == source.width == 1
            case Pool2d() as pool:
                # A window partly outside that still counts has no plain padding.
                return not pool.ceil or _exact(self.shapes[node.inputs[0]][0], pool)
            case Sum():
                known = [self.tensors.get(name) for name in node.inputs]
                if any(t is None for t in known):
                    return len(known) == 1 or all(t is None or t.natural for t in known)
                return all(t and known[0] and t.positions == known[0].positions for t in known)
            case Affine() | Activation() | Concat() | GlobalAveragePool():
                return True
            case Pad():
                return self.pads
        return False

    def _store(
        self, node: Node, positions: tuple[int, ...] | None, channels: int | None = None
    ) -> None:
        assert node.shape is not None
        self.native.add(node.name)
        self.tensors[node.name] = self._own(node.name, node.shape, positions, channels)

    def _own(
        self,
        name: str,
        shape: tuple[int, ...] | None,
        positions: tuple[int, ...] | None = None,
        channels: int | None = None,
    ) -> Tensor:
        assert shape is not None
        batch, count, height, width = (*shape, 1, 1)[:4]
        positions = positions or tuple(range(count))
        stored = channels or math.ceil((max(positions) + 1) / self.block) * self.block
        return Tensor(
            batch=batch,
            height=height,
            width=width,
            positions=positions,
            channels=stored,
            root=name,
            offset=0,
            root_channels=stored,
        )

    def _concatenations(self) -> None:
        """Put the inputs of each concatenation into its memory, those that can be; last ones first.

        Later concatenations come first, so that one inside another is already in its place.
        """
        users = users_of(self.graph.nodes)
        aliased = {
            node.inputs[0]
            for node in self.graph.nodes.values()
            if isinstance(node.primitive, Flatten)
        }
        for node in reversed(list(self.graph.nodes.values())):
            if not isinstance(node.primitive, Concat) or node.name not in self.native:
                continue
            whole = self.tensors[node.name]
            offset, copied = 0, []
            for i, name in enumerate(node.inputs):
                part = self.tensors[name]
                movable = (
                    name in self.native
                    and part.root == name
                    and name not in aliased
                    and node.inputs.count(name) == 1
                    and users[name]
                )
                if movable:
                    self._move(name, whole, whole.offset + offset)
                else:
                    copied.append(i)
                offset += part.channels
            self.copied[node.name] = tuple(copied)

    def _move(self, name: str, whole: Tensor, offset: int) -> None:
        part = self.tensors[name]
        self.tensors[name] = Tensor(
            batch=part.batch,
            height=part.height,
            width=part.width,
            positions=part.positions,
            channels=part.channels,
            root=whole.root,
            offset=offset,
            root_channels=whole.root_channels,
        )


def _exact(shape: tuple[int, ...] | None, pool: Pool2d) -> bool:
    assert shape is not None
    sizes = zip(shape[2:], pool.kernel, pool.stride, pool.padding, strict=True)
    return all((size + 2 * pad - kernel) % stride == 0 for size, kernel, stride, pad in sizes)


def arrange(sizes: Mapping[str, int], lifetimes: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """Offsets in one arena, such that values that live at the same time do not overlap.

    Largest first, each at the lowest place that is free in its lifetime.

    Args:
        sizes: of the values [bytes].
        lifetimes: first and last moment of each, both included.
    """
    placed: list[tuple[int, int, int, int]] = []
    offsets: dict[str, int] = {}
    for name in sorted(sizes, key=lambda n: -sizes[n]):
        first, last = lifetimes[name]
        size = math.ceil(sizes[name] / ALIGNMENT) * ALIGNMENT
        at = 0
        for begin, end, born, dies in sorted(placed):
            if born <= last and first <= dies and begin < at + size and at < end:
                at = end
        offsets[name] = at
        placed.append((at, at + size, first, last))
    return offsets


def extent(sizes: Mapping[str, int], offsets: Mapping[str, int]) -> int:
    """Bytes that an arena needs."""
    return max((offsets[name] + size for name, size in sizes.items()), default=0) + ALIGNMENT


def expanded(tensor: torch.Tensor, positions: Sequence[int], channels: int) -> torch.Tensor:
    """A tensor whose first dimension is channels, with zeros where no channel lies."""
    if tuple(positions) == tuple(range(channels)):
        return tensor.float().contiguous()
    result = torch.zeros((channels, *tensor.shape[1:]))
    result[list(positions)] = tensor.float()
    return result
