"""Pipelines: operators wired together, and the stages that they are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mlsys_ray.value_learning.operators.base import Expansion, Operator
from mlsys_ray.value_learning.operators.stage import Stage, Tensor

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Node:
    """An operator in a pipeline.

    Attributes:
        name: of its result.
        operator: what is computed.
        inputs: names of pipeline inputs and of nodes before it.
    """

    name: str
    operator: Operator
    inputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pipeline:
    """A small graph of operators with one result; two are equal if their `key` is.

    Attributes:
        inputs: what it is called with, besides the operators' parameters.
        nodes: each after those whose results it reads; the last one is the result.
    """

    inputs: tuple[Tensor, ...]
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        known = {tensor.name for tensor in self.inputs}
        if not self.nodes:
            raise ValueError("a pipeline has at least one operator")
        for node in self.nodes:
            if missing := [name for name in node.inputs if name not in known]:
                raise ValueError(f"{node.name} reads {missing[0]!r}, which is not before it")
            if node.name in known or not node.name.isidentifier():
                raise ValueError(f"{node.name!r} is no name, or is there twice")
            known.add(node.name)
        read = {name for node in self.nodes for name in node.inputs}
        if unread := [node.name for node in self.nodes[:-1] if node.name not in read]:
            raise ValueError(f"nothing reads {unread[0]!r}")
        if len(self.stages) != len(self.index):
            raise ValueError("two stages have the same name")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pipeline) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @cached_property
    def key(self) -> str:
        """Digest of all that it computes."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()[:16]

    @cached_property
    def expansions(self) -> tuple[Expansion, ...]:
        """Of each node."""
        tensors = {tensor.name: tensor for tensor in self.inputs}
        found = []
        for node in self.nodes:
            expansion = node.operator.expand(node.name, [tensors[name] for name in node.inputs])
            tensors[node.name] = expansion.stages[-1].tensor
            found.append(expansion)
        return tuple(found)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Consumers before producers: the order in which they are scheduled."""
        forward = [stage for expansion in self.expansions for stage in expansion.stages]
        return tuple(reversed(forward))

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Place of each stage in `stages`."""
        return {stage.name: place for place, stage in enumerate(self.stages)}

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """Of each stage, the stages that read it."""
        found: list[list[int]] = [[] for _ in self.stages]
        for place, stage in enumerate(self.stages):
            for source in stage.sources & self.index.keys():
                found[self.index[source]].append(place)
        return tuple(tuple(sorted(places)) for places in found)

    @cached_property
    def arguments(self) -> tuple[Tensor, ...]:
        """Inputs and parameters, as the compiled function takes them."""
        parameters = (tensor for expansion in self.expansions for tensor in expansion.parameters)
        return (*self.inputs, *parameters)

    @property
    def output(self) -> Tensor:
        """The result."""
        return self.stages[0].tensor

    @cached_property
    def operations(self) -> int:
        """Floating-point operations of one call: 2 a multiply-add, 1 an elementwise point."""
        return sum(
            stage.points * (2 * stage.terms if stage.reduction else 1) for stage in self.stages
        )

    @cached_property
    def bytes(self) -> int:
        """Bytes of arguments and result, read or written once."""
        return 4 * sum(int(np.prod(t.extents)) for t in (*self.arguments, self.output))

    def reference(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The result by PyTorch, from float32 arrays in the order of `arguments`."""
        import torch

        values: dict[str, torch.Tensor] = {
            tensor.name: torch.from_numpy(array)
            for tensor, array in zip(self.arguments, arrays, strict=True)
        }
        with torch.inference_mode():
            for node, expansion in zip(self.nodes, self.expansions, strict=True):
                values[node.name] = node.operator.reference(
                    [values[name] for name in node.inputs],
                    [values[tensor.name] for tensor in expansion.parameters],
                )
        return np.ascontiguousarray(values[self.nodes[-1].name].numpy())

    def example(self, seed: int = 0) -> list[np.ndarray]:
        """Random arguments: inputs of unit variance, parameters that keep it about so."""
        generator = np.random.default_rng(seed)
        arrays = []
        for tensor in self.arguments:
            values = generator.standard_normal(tensor.shape, dtype=np.float32)
            if tensor not in self.inputs:
                fan_in = max(1, values.size // max(tensor.shape))
                values /= np.float32(fan_in**0.5)
            arrays.append(values)
        return arrays

    def to_json(self) -> dict[str, Any]:
        """A record from which `from_json` makes it again."""
        return {
            "inputs": [{"name": t.name, "extents": list(t.extents)} for t in self.inputs],
            "nodes": [
                {
                    "name": node.name,
                    "operator": type(node.operator).__name__,
                    **asdict(node.operator),
                    "inputs": list(node.inputs),
                }
                for node in self.nodes
            ],
        }


def chain(extents: Sequence[int], *operators: Operator) -> Pipeline:
    """Operators one after another on one input, named `input`, of these extents.

    Examples:
        >>> from mlsys_ray.value_learning.operators import Conv2d
        >>> pipeline = chain((64, 56, 56, 1), Conv2d(out_channels=64, kernel=3, padding=1))
        >>> [stage.name for stage in pipeline.stages]
        ['conv2d0', 'conv2d0_sum', 'conv2d0_padded']
    """
    nodes = []
    source = "input"
    for place, operator in enumerate(operators):
        name = f"{type(operator).__name__.lower()}{place}"
        nodes.append(Node(name, operator, (source,)))
        source = name
    return Pipeline((Tensor("input", tuple(extents)),), tuple(nodes))
