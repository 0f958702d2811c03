"""From a PyTorch module to a graph, by `torch.export`."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from mlsys_ray.ios.fusion import fuse
from mlsys_ray.ios.graph import Graph, Node, Operator
from mlsys_ray.ios.primitives import (
    ACTIVATIONS,
    Activation,
    Affine,
    Concat,
    Conv2d,
    Flatten,
    GlobalAveragePool,
    Linear,
    Opaque,
    Pad,
    Pool2d,
    Primitive,
    Slot,
    Sum,
)

aten = torch.ops.aten


@dataclass(frozen=True, eq=False, kw_only=True)
class Capture:
    """A captured module.

    Attributes:
        graph: its operators.
        restore: makes the module's output, nested as it was, of the graph's flat outputs.
        reason: why the module runs whole as it is, None if its operators were found.
    """

    graph: Graph
    restore: Callable[[Sequence[Any]], Any]
    reason: str | None


def capture(module: nn.Module, examples: Sequence[torch.Tensor]) -> Capture:
    """The operators of a module, for inputs of the shapes and dtypes of the examples.

    Batch norms are folded, activations fused. What is not known stays as an opaque operator; a
    module that cannot be exported is one opaque operator.

    Raises:
        ValueError: the module is in training mode, or an example is no tensor.
    """
    if module.training:
        raise ValueError("the module is in training mode; only inference is scheduled: eval()")
    if wrong := [type(x).__name__ for x in examples if not isinstance(x, torch.Tensor)]:
        raise ValueError(f"examples must be tensors, there is {wrong[0]}")
    try:
        return _exported(module, tuple(examples))
    # Whatever an unusual module makes the exporter raise, the module can still run whole.
    except Exception as error:
        line = next(iter(str(error).strip().splitlines()), "")
        return _whole(module, tuple(examples), f"{type(error).__name__}: {line}")


def _whole(module: nn.Module, examples: tuple[torch.Tensor, ...], reason: str) -> Capture:
    names = tuple(f"input_{i}" for i in range(len(examples)))
    slots = tuple(Slot(i) for i in range(len(examples)))
    call = Opaque(target=module, arguments=slots, keywords={})
    node = Node(name="module", primitive=call, inputs=names, shape=None, dtype=None)
    graph = Graph(
        inputs=names,
        operators=(Operator(nodes=(node,)),),
        outputs=("module",),
        examples=examples,
    )
    return Capture(graph=graph, restore=lambda outputs: outputs[0], reason=reason)


def _exported(module: nn.Module, examples: tuple[torch.Tensor, ...]) -> Capture:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(module, examples).run_decompositions({})
    signature = program.graph_signature
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        raise ValueError("the module changes its buffers or its inputs")
    reader = _Reader(program)
    for node in program.graph.nodes:
        if node.op == "call_function":
            reader.read(node)
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    outputs = [reader.resolve(value) for value in output.args[0]]
    if constant := [value for value in outputs if not isinstance(value, str)]:
        raise ValueError(f"an output is a constant ({type(constant[0]).__name__})")
    inputs = tuple(str(name) for name in signature.user_inputs)
    graph = fuse(reader.nodes, inputs, tuple(outputs), examples)
    spec = program.call_spec.out_spec
    return Capture(
        graph=graph,
        restore=lambda values: pytree.tree_unflatten(list(values), spec),
        reason=None,
    )


class _Reader:
    """Translates the calls of an exported program, one after another."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self.nodes: dict[str, Node] = {}
        self.constants: dict[str, Any] = {}
        self._alias: dict[str, str] = {}
        signature = program.graph_signature
        tensors = {**program.state_dict, **program.constants}
        for names in (
            signature.inputs_to_parameters,
            signature.inputs_to_buffers,
            signature.inputs_to_lifted_tensor_constants,
        ):
            for name, target in names.items():
                self.constants[name] = tensors[target].detach()

    def resolve(self, value: Any) -> Any:
        """A name of a value, or a constant, for an argument."""
        if not isinstance(value, torch.fx.Node):
            return value
        if value.name in self.constants:
            return self.constants[value.name]
        return self._alias.get(value.name, value.name)

    def read(self, call: torch.fx.Node) -> None:
        """Add the node of a call; one without any input from outside is computed now."""
        names: list[str] = []

        def slot(value: Any) -> Any:
            if isinstance(value, torch.fx.Node):
                value = self.resolve(value)
                if isinstance(value, str):
                    names.append(value)
                    return Slot(len(names) - 1)
            return value

        arguments, keywords = torch.fx.node.map_aggregate((call.args, dict(call.kwargs)), slot)
        if not names:
            with torch.no_grad():
                self.constants[call.name] = call.target(*arguments, **keywords)  # type: ignore[operator]
            return
        example: Any = call.meta.get("val")
        if call.target is aten._native_batch_norm_legit_no_training.default:
            example = example[0]
        if _is_identity(call, self.nodes, names):
            self._alias[call.name] = names[0]
            return
        shape = tuple(example.shape) if isinstance(example, torch.Tensor) else None
        primitive = None
        if shape is not None and not keywords:
            primitive = _known(call, arguments, shape)
        if primitive is None:
            primitive = Opaque(
                target=call.target,  # type: ignore[arg-type]
                arguments=tuple(arguments),
                keywords=dict(keywords),
            )
        self.nodes[call.name] = Node(
            name=call.name,
            primitive=primitive,
            inputs=tuple(names),
            shape=shape,
            dtype=example.dtype if isinstance(example, torch.Tensor) else None,
        )


def _is_identity(call: torch.fx.Node, nodes: dict[str, Node], names: list[str]) -> bool:
    if call.target in (aten.dropout.default, aten.clone.default, aten.contiguous.default):
        return call.target != aten.dropout.default or not call.args[2]
    # The first result of a batch norm is that of our primitive, which has no other.
    if call.target is operator.getitem and call.args[1] == 0:
        source = nodes.get(names[0])
        return source is not None and isinstance(source.primitive, Affine)
    return False


def _known(call: torch.fx.Node, arguments: Any, shape: tuple[int, ...]) -> Primitive | None:
    """The primitive of a call, None if there is none that means the same."""
    read = _READERS.get(call.target)
    if read is None:
        return None
    return read(list(arguments), [node.meta["val"] for node in call.all_input_nodes], shape)


def _is_slot(value: Any) -> bool:
    return isinstance(value, Slot)


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else (value * 2)[:2]
    return int(first), int(second)


def _conv2d(arguments: list[Any], _: Any, __: Any) -> Primitive | None:
    x, weight, bias, stride, padding, dilation, groups = (
        arguments + [None, [1, 1], [0, 0], [1, 1], 1][len(arguments) - 2 :]
    )
    if not _is_slot(x) or _is_slot(weight) or _is_slot(bias):
        return None
    return Conv2d(
        weight=weight,
        bias=bias,
        stride=_pair(stride),
        padding=_sides(padding, weight.shape[2:], _pair(dilation)),
        dilation=_pair(dilation),
        groups=groups,
    )


def _sides(
    padding: Any, kernel: Sequence[int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Padding at the top, bottom, left and right."""
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":
        # What is odd lies at the end.
        vertical, horizontal = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        top, left = vertical // 2, horizontal // 2
        return (top, vertical - top, left, horizontal - left)
    height, width = _pair(padding)
    return (height, height, width, width)


def _batch_norm(arguments: list[Any], _: Any, __: Any) -> Primitive | None:
    x, weight, bias, mean, variance, _momentum, eps = arguments
    if not _is_slot(x) or any(map(_is_slot, (weight, bias, mean, variance))):
        return None
    scale = (variance + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    return Affine(scale=scale, shift=shift if bias is None else shift + bias)


def _linear(arguments: list[Any], _: Any, __: Any) -> Primitive | None:
    x, weight, *bias = arguments
    if not _is_slot(x) or any(map(_is_slot, (weight, *bias))):
        return None
    return Linear(weight=weight, bias=bias[0] if bias else None)


def _max_pool(arguments: list[Any], _: Any, __: Any) -> Primitive | None:
    _x, kernel, stride, padding, dilation, ceil = (
        arguments + [[], [0, 0], [1, 1], False][len(arguments) - 2 :]
    )
    if _pair(dilation) != (1, 1):
        return None
    return Pool2d(
        maximum=True,
        kernel=_pair(kernel),
        stride=_pair(stride or kernel),
        padding=_pair(padding),
        ceil=ceil,
    )


def _avg_pool(arguments: list[Any], _: Any, __: Any) -> Primitive | None:
    _x, kernel, stride, padding, ceil, count_padding, divisor = (
        arguments + [[], [0, 0], False, True, None][len(arguments) - 2 :]
    )
    if divisor is not None:
        return None
    return Pool2d(
        maximum=False,
        kernel=_pair(kernel),
        stride=_pair(stride or kernel),
        padding=_pair(padding),
        ceil=ceil,
        count_padding=count_padding,
    )


def _adaptive_pool(arguments: list[Any], _: Any, shape: tuple[int, ...]) -> Primitive | None:
    return GlobalAveragePool() if _pair(arguments[1]) == (1, 1) and len(shape) == 4 else None


def _mean(arguments: list[Any], values: Any, shape: tuple[int, ...]) -> Primitive | None:
    dims = sorted(dim % values[0].dim() for dim in arguments[1] or [])
    keeps = len(arguments) > 2 and arguments[2]
    return GlobalAveragePool() if dims == [2, 3] and values[0].dim() == 4 and keeps else None


def _add(arguments: list[Any], values: Any, shape: tuple[int, ...]) -> Primitive | None:
    same = all(tuple(value.shape) == shape for value in values)
    both = _is_slot(arguments[0]) and _is_slot(arguments[1])
    floating = all(value.dtype.is_floating_point for value in values)
    return Sum(coefficients=(1.0, 1.0)) if both and same and floating else None


def _scaled(arguments: list[Any], values: Any, shape: tuple[int, ...], power: int) -> Any:
    x, factor = arguments
    if not _is_slot(x) or _is_slot(factor) or tuple(values[0].shape) != shape:
        return None
    number = float(factor) if isinstance(factor, int | float) or factor.dim() == 0 else None
    if number is None or not values[0].dtype.is_floating_point or not math.isfinite(number):
        return None
    return None if power < 0 and number == 0 else Sum(coefficients=(number**power,))


def _concat(arguments: list[Any], values: Any, shape: tuple[int, ...]) -> Primitive | None:
    dim = arguments[1] if len(arguments) > 1 else 0
    along_channels = len(shape) == 4 and dim % 4 == 1
    return Concat() if along_channels and all(map(_is_slot, arguments[0])) else None


def _pad(arguments: list[Any], _: Any, shape: tuple[int, ...]) -> Primitive | None:
    sizes, *mode = arguments[1:]
    zeros = (not mode or mode[0] == "constant") and (len(mode) < 2 or not mode[1])
    if not zeros or len(sizes) != 4 or len(shape) != 4:
        return None
    left, right, top, bottom = sizes
    return Pad(padding=(top, bottom, left, right))


def _flatten(arguments: list[Any], values: Any, shape: tuple[int, ...]) -> Primitive | None:
    (source,) = values
    return Flatten() if shape == (source.shape[0], source.numel() // source.shape[0]) else None


def _activation(name: str) -> Callable[..., Primitive | None]:
    def read(arguments: list[Any], values: Any, shape: tuple[int, ...]) -> Primitive | None:
        plain = len(arguments) == 1 or (name == "relu6" and arguments[1:] == [0.0, 6.0])
        return Activation(activation=name) if plain else None

    assert name in ACTIVATIONS
    return read


_READERS: dict[Any, Callable[[list[Any], Any, tuple[int, ...]], Primitive | None]] = {
    aten.conv2d.default: _conv2d,
    aten.conv2d.padding: _conv2d,
    aten._native_batch_norm_legit_no_training.default: _batch_norm,
    aten.linear.default: _linear,
    aten.max_pool2d.default: _max_pool,
    aten.avg_pool2d.default: _avg_pool,
    aten.adaptive_avg_pool2d.default: _adaptive_pool,
    aten.mean.dim: _mean,
    aten.add.Tensor: _add,
    aten.mul.Tensor: lambda a, v, s: _scaled(a, v, s, 1),
    aten.div.Tensor: lambda a, v, s: _scaled(a, v, s, -1),
    aten.cat.default: _concat,
    aten.pad.default: _pad,
    aten.constant_pad_nd.default: _pad,
    aten.view.default: _flatten,
    aten.flatten.using_ints: _flatten,
    aten.relu.default: _activation("relu"),
    aten.hardtanh.default: _activation("relu6"),
    aten.relu6.default: _activation("relu6"),
    aten.hardswish.default: _activation("hardswish"),
    aten.silu.default: _activation("silu"),
    aten.sigmoid.default: _activation("sigmoid"),
    aten.gelu.default: _activation("gelu"),
}
