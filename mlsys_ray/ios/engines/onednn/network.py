"""A graph's operators as steps for the pool, over memory that is laid out once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from mlsys_ray.ios.engines.onednn.binding import OneDNN, one_thread
from mlsys_ray.ios.engines.onednn.fused import Unit, fits_between, unit_of, units_of
from mlsys_ray.ios.engines.onednn.halide import HalideKernels, Pipelines, Segment
from mlsys_ray.ios.engines.onednn.kernels import Kernels, Tasks
from mlsys_ray.ios.engines.onednn.placement import Placement, arrange, extent, place
from mlsys_ray.ios.engines.onednn.runtime import Pool, Step
from mlsys_ray.ios.engines.stages import PlacedStage
from mlsys_ray.ios.graph import Graph, Node
from mlsys_ray.ios.primitives import Conv2d
from mlsys_ray.value_learning.kernels import KernelStore, Make, why_unavailable

HALIDE = "halide"
FUSED = "fused"
WHOLE = "whole"
PLAIN = "plain "
SPLITS = (1, 2, 3, 4)


class Piece(Protocol):
    """A part of a replay that runs as one."""

    def run(self) -> None:
        """Once."""

    def step_times(self) -> np.ndarray:
        """When each of its steps began and ended in the last run, float64 `[steps, 2]` [s]."""

    def spans(self) -> list[tuple[int, int, float, float]]:
        """Step, worker, begin and end of all that it did in the last run [s]."""

    def close(self) -> None:
        """Free it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Replay:
    """Operators, ready to run in an order.

    Attributes:
        pieces: that run one after another.
        operators: of each piece the operator of each step.
    """

    pieces: tuple[Piece, ...]
    operators: tuple[tuple[int, ...], ...]

    def run(self) -> None:
        """Once."""
        for piece in self.pieces:
            piece.run()

    def times(self) -> dict[int, tuple[float, float]]:
        """When each operator that has work began and ended in the last run [s]."""
        times: dict[int, tuple[float, float]] = {}
        for piece, operators in zip(self.pieces, self.operators, strict=True):
            for operator, (begin, end) in zip(operators, piece.step_times(), strict=True):
                first, last = times.get(operator, (begin, end))
                times[operator] = (min(first, begin), max(last, end))
        return times

    def spans(self) -> list[tuple[int, int, float, float]]:
        """Operator, worker, begin and end of all that the last run did [s]."""
        return [
            (operators[step], worker, begin, end)
            for piece, operators in zip(self.pieces, self.operators, strict=True)
            for step, worker, begin, end in piece.spans()
        ]

    def close(self) -> None:
        """Free it."""
        for piece in self.pieces:
            piece.close()


class Network:
    """A graph, ready to be run in stages of any kind.

    Args:
        graph: what is run.
        pool: threads that run it.
        moments: of each operator the first and last moment at which it may run; values that live
            at the same time have memory of their own.
        halide: whether kernels by Halide may take part.

    Attributes:
        without_halide: why they do not, or empty.
    """

    def __init__(
        self,
        graph: Graph,
        pool: Pool,
        moments: Sequence[tuple[int, int]],
        *,
        halide: bool = False,
    ) -> None:
        self.graph, self.pool = graph, pool
        self.placement = place(graph, _block(pool), pads=pool.runtime is not None)
        self._dnnl = OneDNN(pool.num_workers)
        self._plain: dict[str, torch.Tensor] = {}
        self._values: dict[str, Any] = {}
        self._kernels = Kernels(self._dnnl, pool.runtime, self.placement, self._addresses(moments))
        self._halide = HalideKernels(self.placement, KernelStore())
        self.without_halide = _without_halide(pool) if halide else "it is not asked for"
        self._variants: dict[int, tuple[str, ...]] = {}
        self._steps: dict[tuple[int, str], tuple[Tasks, ...]] = {}
        self._native = [
            all(node.name in self.placement.native for node in operator.nodes)
            for operator in graph.operators
        ]

    def close(self) -> None:
        """Free what oneDNN made; programs must not run any more."""
        self._dnnl.close()

    def variants(self, operator: int) -> tuple[str, ...]:
        """Names of the ways in which an operator can be computed."""
        if operator not in self._variants:
            self._variants[operator] = self._find_variants(operator)
        return self._variants[operator]

    def _find_variants(self, operator: int) -> tuple[str, ...]:
        if not self._native[operator]:
            return ("pytorch",)
        widest = max(
            self.placement.tensors[node.name].channels // self.placement.block
            for node in self.graph.operators[operator].nodes
        )
        splits = [n for n in SPLITS if n == 1 or n <= widest]
        nodes = self.graph.operators[operator].nodes
        kernels = ["onednn", *dict.fromkeys(k for node in nodes for k in self._kernels.own(node))]
        found = [f"{kernel}/{n}" for kernel in kernels for n in splits]
        found += [f"{FUSED}/{way}" for way in self._fused_ways(nodes, splits)]
        if not self.without_halide:
            found += [f"{HALIDE}/{way}" for way in self._halide.ways(nodes, splits)]
        return tuple(found)

    def _fused_ways(self, nodes: Sequence[Node], splits: Sequence[int]) -> tuple[str, ...]:
        """Ways in which units of nodes take part: whole, or with pointwise convolutions apart."""
        if self.pool.runtime is None or any(n.name in self.placement.direct for n in nodes):
            return ()
        units = [unit for unit in units_of(nodes) if isinstance(unit, Unit)]
        both = [unit.depthwise for unit in units if unit.depthwise and unit.pointwise]
        whole = [WHOLE] if units else []
        if not all(fits_between(self.placement.tensors[node.name]) for node in both):
            whole = []
        return (*(map(str, splits) if both else ()), *whole)

    def _fused_steps(self, nodes: Sequence[Node], way: str) -> list[Tasks]:
        splits = self.pool.num_workers if way == WHOLE else int(way)
        steps: list[Tasks] = []
        for unit in units_of(nodes):
            if isinstance(unit, Node):
                steps += self._kernels.steps(unit, splits)
            elif way == WHOLE or not (unit.depthwise and unit.pointwise):
                steps.append(self._kernels.by_fused(unit))
            else:
                first = unit_of(unit.nodes[:-1])
                assert first
                steps += [
                    self._kernels.by_fused(first),
                    *self._kernels.steps(unit.pointwise, splits),
                ]
        return steps

    def missing_halide(self, operator: int) -> list[Pipelines]:
        """What Halide could compute of an operator, but has no kernel for yet."""
        if self.without_halide or not self._native[operator]:
            return []
        return self._halide.wanted(self.graph.operators[operator].nodes)

    @contextmanager
    def making_halide(self, seconds: float) -> Iterator[Make]:
        """What makes such kernels, each in about so many seconds; variants are found anew after."""
        with self._halide.store.making(seconds) as make:
            yield make
        self._variants.clear()

    def edition(self, operator: int, variant: str) -> str:
        """Tells kernels of one name apart: those of Halide by what they are, others are alike."""
        kernel, _, way = variant.partition("/")
        if kernel != HALIDE:
            return ""
        segments = self._halide.segments(self.graph.operators[operator].nodes, way)
        return " ".join(segment.kernel.key if segment.kernel else "-" for segment in segments)

    def usual(self, operator: int, width: int) -> str:
        """The plain variant for so many workers."""
        fitting = [v for v in self.variants(operator) if v in {f"onednn/{n}" for n in SPLITS}]
        return max((v for v in fitting if int(v[-1]) <= width), default=self.variants(operator)[0])

    def steps(self, operator: int, variant: str) -> tuple[Tasks, ...]:
        """The steps of a native operator, one after another."""
        key = (operator, variant)
        if key not in self._steps:
            kernel, _, way = variant.partition("/")
            nodes = self.graph.operators[operator].nodes
            steps: list[Tasks] = []
            if kernel == FUSED:
                fused, nodes = self._fused_steps(nodes, way), ()
                steps += fused
            segments = [Segment((node,)) for node in nodes]
            if kernel == HALIDE:
                segments = list(self._halide.segments(nodes, way))
            splits = int(way) if way.isdigit() else self.pool.num_workers
            for segment in segments:
                (node, *_) = segment.nodes
                if segment.kernel:
                    steps.append(self._kernels.by_halide(segment, self._halide))
                elif kernel in self._kernels.own(node):
                    steps.append(self._kernels.by(kernel, node))
                else:
                    steps += self._kernels.steps(node, splits)
            name = self.graph.operators[operator].name
            if name in self.placement.to_plain:
                steps.append(self._kernels.to_plain(name))
            self._steps[key] = tuple(steps)
        return self._steps[key]

    def assemble(self, stages: Sequence[PlacedStage]) -> Replay:
        """Stages that run one after another."""
        maker = _Maker(self.pool)
        for stage in stages:
            operators = stage.operators
            if not all(self._native[i] for i in operators):
                for operator in sorted(operators):
                    self._by_pytorch(operator, maker)
            elif stage.merged:
                steps = [self.steps(i, stage.variants[i]) for i in operators]
                together = tuple(task for (tasks,) in steps for task in tasks)
                maker.stage([[(operators[0], together, range(self.pool.num_workers))]])
            else:
                maker.stage(
                    [
                        (i, tasks, group.workers)
                        for i in group.operators
                        for tasks in self.steps(i, stage.variants[i])
                    ]
                    for group in stage.groups
                )
        return maker.replay()

    def merge_class(self, operator: int) -> tuple[Any, ...] | None:
        """Convolutions of the same input and stride, each in one step, can be merged.

        Every task computes outputs of one of them, so the kernels need no padding to one size, and
        each result is written to its place.
        """
        conv, *more = self.graph.operators[operator].nodes
        if more or not isinstance(conv.primitive, Conv2d) or not self._native[operator]:
            return None
        if len(self.steps(operator, self.variants(operator)[0])) != 1:
            return None
        return (conv.inputs, conv.primitive.stride)

    def prologue(self) -> Replay:
        """Brings the inputs into blocks where they are needed so."""
        maker = _Maker(self.pool)
        workers = range(self.pool.num_workers)
        for name in self.graph.inputs:
            if name in self.placement.to_blocks:
                maker.stage([[(-1, self._kernels.to_blocks(name), workers)]])
        return maker.replay()

    def _by_pytorch(self, operator: int, maker: _Maker) -> None:
        """An operator that is not native, or is beside such a one: all workers are its."""
        workers = range(self.pool.num_workers)
        for node in self.graph.operators[operator].nodes:
            steps: list[Tasks] = []
            if node.name in self.placement.native:
                steps += self._kernels.steps(node, len(workers))
                if node.name in self.placement.to_plain:
                    steps.append(self._kernels.to_plain(node.name))
            else:
                maker.call(operator, _Call(node, self))
                if node.name in self.placement.to_blocks:
                    steps.append(self._kernels.to_blocks(node.name))
            maker.stage([[(operator, tasks, workers) for tasks in steps]])

    def give(self, inputs: Sequence[torch.Tensor]) -> None:
        """Set the graph's inputs."""
        # More threads of OpenMP would spin on after the copy, beside those of the pool.
        with one_thread():
            for name, value in zip(self.graph.inputs, inputs, strict=True):
                if name in self._plain:
                    self._plain[name].copy_(value)
                self._values[name] = value

    def plain(self, name: str) -> Any:
        """A value as PyTorch sees it; of one in blocks a view that later runs overwrite."""
        if name not in self.placement.to_plain:
            return self._values[name]
        tensor = self.placement.tensors[name]
        stored = self._plain[name]
        if tensor.natural:
            stored = stored[:, : len(tensor.positions)]
        else:
            stored = stored[:, list(tensor.positions)]
        shape = self.graph.nodes[name].shape
        assert shape is not None
        return stored.reshape(shape)

    def call(self, node: Node) -> None:
        """Run a node by PyTorch."""
        inputs = [self.plain(name) for name in node.inputs]
        with torch.inference_mode():
            value = node.primitive(*inputs)
        self._values[node.name] = value
        if node.name in self._plain:
            self._plain[node.name].copy_(value)

    def _addresses(self, moments: Sequence[tuple[int, int]]) -> dict[str, int]:
        tensors, placement = self.placement.tensors, self.placement
        sizes = {
            t.root: 4 * t.batch * tensors[t.root].channels * t.height * t.width
            for t in tensors.values()
        }
        lifetimes = _lifetimes(self.graph, placement, moments)
        offsets = arrange(sizes, lifetimes)
        self._arena = torch.zeros(extent(sizes, offsets), dtype=torch.uint8)
        base = -(-self._arena.data_ptr() // 64) * 64
        addresses = {root: base + offset for root, offset in offsets.items()}
        direct = {
            name
            for node in self.graph.nodes.values()
            if node.name in placement.direct
            for name in node.inputs
        }
        for name in {*placement.to_plain, *placement.to_blocks, *direct}:
            if name in placement.plain_shapes:
                shape = placement.plain_shapes[name]
            else:
                tensor = tensors[name]
                channels = tensor.channels if name in placement.to_plain else len(tensor.positions)
                shape = (tensor.batch, channels, tensor.height, tensor.width)
            self._plain[name] = torch.zeros(shape)
            addresses[PLAIN + name] = self._plain[name].data_ptr()
        return addresses


class _Call:
    """A node that PyTorch runs."""

    def __init__(self, node: Node, network: Network) -> None:
        self._node, self._network = node, network
        self._times = np.zeros((1, 2))

    def run(self) -> None:
        self._times[0, 0] = time.perf_counter()
        self._network.call(self._node)
        self._times[0, 1] = time.perf_counter()

    def step_times(self) -> np.ndarray:
        return self._times

    def spans(self) -> list[tuple[int, int, float, float]]:
        return [(0, 0, float(self._times[0, 0]), float(self._times[0, 1]))]

    def close(self) -> None:
        pass


class _Maker:
    """Puts the pieces of a replay together."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._pieces: list[Piece] = []
        self._operators: list[tuple[int, ...]] = []
        self._steps: list[Step] = []
        self._owners: list[int] = []
        self._frontier: tuple[int, ...] = ()

    def stage(self, groups: Iterable[Sequence[tuple[int, Tasks, range]]]) -> None:
        """Groups side by side, after all that was there; each is steps one after another."""
        ends: list[int] = []
        for group in groups:
            last = self._frontier
            for operator, tasks, workers in group:
                self._steps.append(Step(tasks=tasks, workers=workers, after=last))
                self._owners.append(operator)
                last = (len(self._steps) - 1,)
            ends += last
        self._frontier = tuple(dict.fromkeys(ends))

    def call(self, operator: int, call: _Call) -> None:
        """A call of PyTorch after all that was there."""
        self._flush()
        self._pieces.append(call)
        self._operators.append((operator,))

    def replay(self) -> Replay:
        """All that was put in."""
        self._flush()
        return Replay(pieces=tuple(self._pieces), operators=tuple(self._operators))

    def _flush(self) -> None:
        if self._steps:
            self._pieces.append(self._pool.program(self._steps))
            self._operators.append(tuple(self._owners))
        self._steps, self._owners, self._frontier = [], [], ()


def _without_halide(pool: Pool) -> str:
    if pool.runtime is None:
        return "there is no C++ compiler for the engine's runtime"
    return why_unavailable()


def _block(pool: Pool) -> int:
    """Channels side by side: as many floats as a vector register holds."""
    if pool.runtime is not None:
        return int(pool.runtime.block_channels())
    return 16 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 8


def _lifetimes(
    graph: Graph, placement: Placement, moments: Sequence[tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    """First and last moment of each root."""
    end = max((last for _, last in moments), default=0) + 1
    lives: dict[str, tuple[int, int]] = {}

    def lengthen(name: str, first: int, last: int) -> None:
        if name in placement.tensors:
            root = placement.tensors[name].root
            born, dies = lives.get(root, (first, last))
            lives[root] = (min(born, first), max(dies, last))

    for name in graph.inputs:
        lengthen(name, 0, 0)
    for operator, (first, last) in zip(graph.operators, moments, strict=True):
        for node in operator.nodes:
            for name in (node.name, *node.inputs):
                lengthen(name, first, last)
    for name in graph.outputs:
        lengthen(name, end, end)
    return lives
