"""The graph that is scheduled: operators, each a few primitives that always run together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from mlsys_ray.ios.primitives import Activation, Conv2d, Linear, Pool2d, Primitive


@dataclass(frozen=True, eq=False, kw_only=True)
class Node:
    """A primitive at its place.

    Attributes:
        name: of the value that it gives.
        primitive: what it does.
        inputs: names of the values that it takes.
        shape: of the value; None where the value is not one tensor.
        dtype: of the value.
    """

    name: str
    primitive: Primitive
    inputs: tuple[str, ...]
    shape: tuple[int, ...] | None
    dtype: torch.dtype | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Operator:
    """A unit of scheduling; its value is that of its last node, and has its name."""

    nodes: tuple[Node, ...]

    @property
    def name(self) -> str:
        """Of the operator, and of the value it gives."""
        return self.nodes[-1].name

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the values of other operators that it takes, each once."""
        own = {node.name for node in self.nodes}
        taken = [name for node in self.nodes for name in node.inputs if name not in own]
        return tuple(dict.fromkeys(taken))

    @property
    def kind(self) -> str:
        """Its primitives in a word, such as `sum+relu+conv3x3+conv1x1`."""
        return "+".join(_word(node.primitive) for node in self.nodes)


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """Operators in an order in which each comes after those whose values it takes.

    Attributes:
        inputs: names of the values given from outside.
        operators: the units.
        outputs: names of the values that leave.
        examples: a tensor for each input.
    """

    inputs: tuple[str, ...]
    operators: tuple[Operator, ...]
    outputs: tuple[str, ...]
    examples: tuple[torch.Tensor, ...]

    @cached_property
    def index(self) -> dict[str, int]:
        """The operator that gives a value."""
        return {operator.name: i for i, operator in enumerate(self.operators)}

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """Of each operator the operators whose values it takes."""
        return tuple(
            tuple(self.index[name] for name in operator.inputs if name in self.index)
            for operator in self.operators
        )

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Every node by its name."""
        return {node.name: node for operator in self.operators for node in operator.nodes}

    def run(self, *inputs: torch.Tensor) -> tuple[Any, ...]:
        """The outputs, computed by PyTorch one primitive after another."""
        values: dict[str, Any] = dict(zip(self.inputs, inputs, strict=True))
        for operator in self.operators:
            run_operator(operator, values)
        return tuple(values[name] for name in self.outputs)


def run_operator(operator: Operator, values: dict[str, Any]) -> None:
    """Run an operator by PyTorch on the values that it takes, and add the one it gives."""
    local: dict[str, Any] = {}
    for node in operator.nodes:
        inputs = [local[name] if name in local else values[name] for name in node.inputs]
        local[node.name] = node.primitive(*inputs)
    values[operator.name] = local[operator.name]


def users_of(nodes: Mapping[str, Node]) -> dict[str, list[str]]:
    """The nodes that take each node's value, one entry for each time."""
    users: dict[str, list[str]] = {name: [] for name in nodes}
    for node in nodes.values():
        for name in node.inputs:
            if name in users:
                users[name].append(node.name)
    return users


def ancestors(predecessors: Sequence[Sequence[int]]) -> list[int]:
    """Of each operator the set of operators that must run before it, as a bit mask."""
    masks: list[int] = []
    for sources in predecessors:
        mask = 0
        for source in sources:
            mask |= masks[source] | 1 << source
        masks.append(mask)
    return masks


def _word(primitive: Primitive) -> str:
    match primitive:
        case Conv2d(weight=weight):
            word = "x".join(str(size) for size in weight.shape[2:])
            word = f"{'depthwise' if primitive.depthwise else 'conv'}{word}"
        case Pool2d(maximum=maximum):
            word = "max_pool" if maximum else "avg_pool"
        case Activation():
            return str(primitive.activation)
        case Linear():
            word = "linear"
        case _:
            word = type(primitive).__name__.lower()
    return f"{word}+{primitive.activation}" if primitive.activation else word
