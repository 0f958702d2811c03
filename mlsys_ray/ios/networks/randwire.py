"""RandWire (Xie et al. 2019, arXiv 1904.01569): convolutions wired by random graphs.

The regular regime with 154 channels, as IOS' authors use it: one graph of 16 nodes and three of
32, Watts-Strogatz with k = 4 and p = 0.75. The graphs follow from the seed, so counts of schedules
are those of the paper in kind, not to the last digit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mlsys_ray.ios.networks.layers import Classifier, ConvBnRelu, ReluSeparableBn

NODES = (16, 32, 32, 32)
CHANNELS = (154, 308, 616, 1232)
NEIGHBOURS = 4
REWIRED = 0.75


def watts_strogatz(
    num_nodes: int, neighbours: int, probability: float, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Edges of a connected small-world graph, each from the lower node to the higher one.

    A ring on which each node is joined to its `neighbours` nearest ones; each edge is rewired with
    `probability` to a node that it is not joined to yet (Watts and Strogatz 1998).
    """
    while True:
        edges = {
            frozenset((node, (node + step) % num_nodes))
            for step in range(1, neighbours // 2 + 1)
            for node in range(num_nodes)
        }
        for step in range(1, neighbours // 2 + 1):
            for node in range(num_nodes):
                old = frozenset((node, (node + step) % num_nodes))
                if old not in edges or rng.random() >= probability:
                    continue
                free = [
                    other
                    for other in range(num_nodes)
                    if other != node and frozenset((node, other)) not in edges
                ]
                if free:
                    edges.remove(old)
                    edges.add(frozenset((node, int(rng.choice(free)))))
        if _connected(num_nodes, edges):
            return sorted((min(edge), max(edge)) for edge in edges)


def _connected(num_nodes: int, edges: set[frozenset[int]]) -> bool:
    reached, frontier = {0}, [0]
    while frontier:
        node = frontier.pop()
        for edge in edges:
            if node in edge:
                (other,) = edge - {node}
                if other not in reached:
                    reached.add(other)
                    frontier.append(other)
    return len(reached) == num_nodes


class Stage(nn.Module):
    """A random graph of separable convolutions; nodes without predecessors read the input.

    A node takes the weighted sum of its inputs (section 3.2); the nodes that nothing reads are
    averaged.
    """

    def __init__(self, in_channels: int, channels: int, edges: list[tuple[int, int]]) -> None:
        super().__init__()
        num_nodes = 1 + max(node for edge in edges for node in edge)
        self.inputs = [[a for a, b in edges if b == node] for node in range(num_nodes)]
        self.outputs = [
            node for node in range(num_nodes) if all(node not in ins for ins in self.inputs)
        ]
        self.nodes = nn.ModuleList(
            ReluSeparableBn(
                channels if inputs else in_channels, channels, 3, stride=1 if inputs else 2
            )
            for inputs in self.inputs
        )
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(len(inputs))) for inputs in self.inputs
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of a tensor `[N, in_channels, H, W]`: `[N, channels, H / 2, W / 2]`."""
        values: list[torch.Tensor] = []
        for node, inputs, weights in zip(self.nodes, self.inputs, self.weights, strict=True):
            gates = torch.sigmoid(weights)
            summed = x if not inputs else values[inputs[0]]
            if len(inputs) > 1:
                summed = summed * gates[0]
                for i, source in enumerate(inputs[1:], start=1):
                    summed = summed + values[source] * gates[i]
            values.append(node(summed))
        total = values[self.outputs[0]]
        for node_index in self.outputs[1:]:
            total = total + values[node_index]
        return total / len(self.outputs)


class RandWire(nn.Sequential):
    """Inputs `[N, 3, 224, 224]`, outputs `[N, num_classes]`."""

    def __init__(self, num_classes: int = 1000, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        stages: list[nn.Module] = []
        in_channels = CHANNELS[0] // 2
        stem = ConvBnRelu(3, in_channels, 3, stride=2, padding=1)
        for num_nodes, channels in zip(NODES, CHANNELS, strict=True):
            edges = watts_strogatz(num_nodes, NEIGHBOURS, REWIRED, rng)
            stages.append(Stage(in_channels, channels, edges))
            in_channels = channels
        super().__init__(
            stem, *stages, ConvBnRelu(in_channels, 1280, 1), Classifier(1280, num_classes)
        )
