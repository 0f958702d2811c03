"""How operators are computed on a GPU: by PyTorch's calls, or with bias and relu in cuDNN's."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from mlsys_ray.ios.graph import Graph, Node, Operator
from mlsys_ray.ios.primitives import Conv2d, Primitive

PLAIN = "aten"
FUSED = "cudnn_fused"


def on_device(graph: Graph, device: torch.device, dtype: torch.dtype) -> Graph:
    """A copy of a graph whose constants lie on a device, images with channels last.

    Args:
        graph: from anywhere.
        device: where it is to run.
        dtype: of all that is a real number.
    """
    known: dict[int, torch.Tensor] = {}

    def moved(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            # Shared weights stay shared.
            if id(value) not in known:
                known[id(value)] = _moved(value, device, dtype)
            return known[id(value)]
        if isinstance(value, torch.device):
            return device
        if isinstance(value, nn.Module):
            return copy.deepcopy(value).to(device, dtype)
        return value

    def primitive(source: Primitive) -> Primitive:
        values = {each.name: getattr(source, each.name) for each in fields(source)}
        return replace(source, **{n: pytree.tree_map(moved, v) for n, v in values.items()})

    operators = tuple(
        Operator(nodes=tuple(replace(n, primitive=primitive(n.primitive)) for n in operator.nodes))
        for operator in graph.operators
    )
    return replace(
        graph, operators=operators, examples=tuple(_moved(x, device, dtype) for x in graph.examples)
    )


def _moved(value: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    value = value.detach().to(device, dtype if value.is_floating_point() else None)
    if value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()


def fits_fused(node: Node) -> bool:
    """Whether cuDNN may compute a node's convolution, bias and relu as one."""
    conv = node.primitive
    if not isinstance(conv, Conv2d) or conv.activation != "relu":
        return False
    top, bottom, left, right = conv.padding
    return top == bottom and left == right


def run(operator: Operator, variant: str | None, values: dict[str, Any]) -> None:
    """Give an operator's kernels to the current stream, and add its value.

    Args:
        operator: what is computed.
        variant: `PLAIN`, `FUSED`, or that of another engine, which means `PLAIN` here.
        values: those that it takes.
    """
    local: dict[str, Any] = {}
    for node in operator.nodes:
        inputs = [local[name] if name in local else values[name] for name in node.inputs]
        if variant == FUSED and fits_fused(node):
            local[node.name] = _fused(node.primitive, inputs[0])
        else:
            local[node.name] = node.primitive(*inputs)
    values[operator.name] = local[operator.name]


def _fused(conv: Primitive, x: torch.Tensor) -> torch.Tensor:
    assert isinstance(conv, Conv2d)
    padding = (conv.padding[0], conv.padding[2])
    return torch.cudnn_convolution_relu(
        x, conv.weight, conv.bias, conv.stride, padding, conv.dilation, conv.groups
    )
