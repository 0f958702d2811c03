"""Passes over captured primitives: folding, fusing, and the operators that they make up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from mlsys_ray.ios.graph import Graph, Node, Operator, users_of
from mlsys_ray.ios.primitives import (
    Activation,
    Affine,
    Concat,
    Conv2d,
    Flatten,
    Linear,
    Opaque,
    Pad,
    Pool2d,
    Sum,
)

Nodes = dict[str, Node]


def fuse(
    nodes: Nodes,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    examples: tuple[torch.Tensor, ...],
) -> Graph:
    """The graph of operators that nodes make up.

    Args:
        nodes: in an order in which each comes after those whose values it takes.
        inputs: values given from outside.
        outputs: values that leave.
        examples: a tensor for each input.
    """
    for rewrite in (_norm_after_concat, _folded_norm, _merged, _activated, _padded):
        nodes = _rewritten(nodes, set(outputs), rewrite)
    operators = _operators(nodes, set(outputs))
    return Graph(inputs=inputs, operators=operators, outputs=outputs, examples=examples)


Rewrite = Callable[[Node, Nodes, Callable[[str], bool]], list[Node] | None]


def _rewritten(nodes: Nodes, outputs: set[str], rewrite: Rewrite) -> Nodes:
    """Apply a rewrite until it finds nothing.

    A rewrite is asked at each node, and gives the nodes that take its place. It may take over those
    of the node's producers whose only user the node is; what nothing uses any more goes.
    """
    changed = True
    while changed:
        changed = False
        users = users_of(nodes)

        def own(name: str, users: dict[str, list[str]] = users) -> bool:
            return name not in outputs and len(users.get(name, ())) == 1

        done: Nodes = {}
        for node in nodes.values():
            replaced = rewrite(node, done, own)
            changed |= replaced is not None
            for new in [node] if replaced is None else replaced:
                done[new.name] = new
        nodes = _without_unused(done, outputs)
    return nodes


def _without_unused(nodes: Nodes, outputs: set[str]) -> Nodes:
    used = set(outputs)
    kept = []
    for node in reversed(nodes.values()):
        if node.name in used:
            used.update(node.inputs)
            kept.append(node)
    return {node.name: node for node in reversed(kept)}


def _norm_after_concat(node: Node, done: Nodes, own: Callable[[str], bool]) -> list[Node] | None:
    """A batch norm of concatenated convolutions is one of each of them."""
    concat = done.get(node.inputs[0]) if node.inputs else None
    if not isinstance(node.primitive, Affine) or concat is None or not own(concat.name):
        return None
    if not isinstance(concat.primitive, Concat) or concat.primitive.activation:
        return None
    parts = [done.get(name) for name in concat.inputs]
    if not all(p and own(p.name) and isinstance(p.primitive, Conv2d) for p in parts):
        return None
    norms, begin = [], 0
    for part in parts:
        assert part is not None
        assert part.shape is not None
        channels = slice(begin, begin + part.shape[1])
        begin = channels.stop
        affine = Affine(scale=node.primitive.scale[channels], shift=node.primitive.shift[channels])
        norms.append(replace(part, name=f"{part.name}_norm", primitive=affine, inputs=(part.name,)))
    return [*norms, replace(concat, name=node.name, inputs=tuple(n.name for n in norms))]


def _folded_norm(node: Node, done: Nodes, own: Callable[[str], bool]) -> list[Node] | None:
    """A batch norm goes into the weights of the convolution before it."""
    source = done.get(node.inputs[0]) if node.inputs else None
    if not isinstance(node.primitive, Affine) or source is None or not own(source.name):
        return None
    conv = source.primitive
    if not isinstance(conv, Conv2d | Linear) or conv.activation:
        return None
    if isinstance(conv, Linear) and len(node.shape or ()) != 2:
        return None
    scale = node.primitive.scale
    bias = node.primitive.shift if conv.bias is None else node.primitive.shift + conv.bias * scale
    weight = conv.weight * scale.view(-1, *[1] * (conv.weight.dim() - 1))
    folded = replace(conv, weight=weight, bias=bias, activation=node.primitive.activation)
    return [replace(node, primitive=folded, inputs=source.inputs)]


def _merged(node: Node, done: Nodes, own: Callable[[str], bool]) -> list[Node] | None:
    """Sums of sums are one sum, concatenations of concatenations one concatenation."""
    if isinstance(node.primitive, Concat):
        inner = [_source(name, done, own, Concat) for name in node.inputs]
        if not any(inner):
            return None
        names = [
            given
            for name, source in zip(node.inputs, inner, strict=True)
            for given in (source.inputs if source else (name,))
        ]
        return [replace(node, inputs=tuple(names))]
    if not isinstance(node.primitive, Sum):
        return None
    inner = [_source(name, done, own, Sum) for name in node.inputs]
    if not any(inner):
        return None
    terms: list[tuple[str, float]] = []
    for name, factor, source in zip(node.inputs, node.primitive.coefficients, inner, strict=True):
        if source is None:
            terms.append((name, factor))
            continue
        assert isinstance(source.primitive, Sum)
        terms += [
            (given, factor * own_factor)
            for given, own_factor in zip(source.inputs, source.primitive.coefficients, strict=True)
        ]
    merged = replace(node.primitive, coefficients=tuple(factor for _, factor in terms))
    return [replace(node, primitive=merged, inputs=tuple(name for name, _ in terms))]


def _source(name: str, done: Nodes, own: Callable[[str], bool], kind: type) -> Node | None:
    """The node of a kind, without an activation, whose value only one node uses."""
    source = done.get(name)
    if source is None or not own(name) or not isinstance(source.primitive, kind):
        return None
    return None if source.primitive.activation else source


def _activated(node: Node, done: Nodes, own: Callable[[str], bool]) -> list[Node] | None:
    """An activation joins the node before it, if that is no opaque one and has none."""
    if not isinstance(node.primitive, Activation):
        return None
    source = done.get(node.inputs[0])
    if source is None or not own(source.name) or source.primitive.activation:
        return None
    # Concatenations are written in place by their producers, and padding is not.
    if isinstance(source.primitive, Opaque | Concat | Pad | Flatten):
        return None
    primitive = replace(source.primitive, activation=node.primitive.activation)
    return [replace(node, primitive=primitive, inputs=source.inputs)]


def _padded(node: Node, done: Nodes, own: Callable[[str], bool]) -> list[Node] | None:
    """Padding joins the convolution after it."""
    if not isinstance(node.primitive, Conv2d):
        return None
    source = done.get(node.inputs[0])
    if source is None or not own(source.name) or not isinstance(source.primitive, Pad):
        return None
    if min(source.primitive.padding) < 0:
        return None
    sides = zip(node.primitive.padding, source.primitive.padding, strict=True)
    top, bottom, left, right = (a + b for a, b in sides)
    primitive = replace(node.primitive, padding=(top, bottom, left, right))
    return [replace(node, primitive=primitive, inputs=source.inputs)]


def _operators(nodes: Nodes, outputs: set[str]) -> tuple[Operator, ...]:
    """Group nodes into units: what a single user takes over becomes a part of that user."""
    users = users_of(nodes)
    passes = _passed_by_all(nodes)
    parts: dict[str, list[Node]] = {}
    taken: set[str] = set()
    for node in nodes.values():
        unit: list[Node] = []
        for name in dict.fromkeys(node.inputs):
            source = nodes.get(name)
            if source is None or name in outputs or set(users[name]) != {node.name}:
                continue
            if _joins(source, node, name in passes):
                unit += parts.pop(name)
                taken.add(name)
        parts[node.name] = [*unit, node]
    return tuple(Operator(nodes=tuple(unit)) for unit in parts.values())


def _joins(source: Node, user: Node, ends_a_block: bool) -> bool:
    """Whether a node becomes a part of its only user's operator (the paper's units).

    These are (relu, 1x1 convolution), (sum, relu, depthwise, pointwise), sums in a concatenation,
    and what costs nothing by itself. A sum that closes a block is an operator.
    """
    first, second = source.primitive, user.primitive
    if isinstance(second, Opaque):
        return False
    if isinstance(first, Sum):
        return not ends_a_block and isinstance(second, Activation | Conv2d | Pool2d | Concat)
    if isinstance(first, Conv2d) and isinstance(second, Conv2d):
        return first.depthwise and second.pointwise and first.activation is None
    return isinstance(first, Activation | Pad | Flatten)


def _passed_by_all(nodes: Nodes) -> set[str]:
    """The nodes that every path from the inputs to the outputs passes.

    In topological order these are where no value but the node's own is awaited by later nodes.
    """
    last_use = {name: i for i, node in enumerate(nodes.values()) for name in node.inputs}
    passed = set()
    reach = max((use for name, use in last_use.items() if name not in nodes), default=-1)
    for i, name in enumerate(nodes):
        if reach <= i:
            passed.add(name)
        reach = max(reach, last_use.get(name, len(nodes)))
    return passed
