"""Layers as a user lists them in JSON, one operator each with its sizes."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from mlsys_ray.value_learning.operators import (
    Add,
    Concat,
    Conv2d,
    GlobalAveragePool,
    LayerNorm,
    MatMul,
    Node,
    Pipeline,
    Pool2d,
    Softmax,
    Tensor,
    chain,
)
from mlsys_ray.value_learning.operators.base import Activation


@dataclass(frozen=True, kw_only=True)
class Layer(ABC):
    """A layer of a network by its sizes; `op` names its kind."""

    op: ClassVar[str]

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            for number in value if isinstance(value, (list, tuple)) else (value,):
                least = 0 if name == "padding" else 1
                if isinstance(number, int) and not isinstance(number, bool) and number < least:
                    raise ValueError(f"{self.op}: {name} is {number}, must be at least {least}")
        self.pipeline()

    @abstractmethod
    def pipeline(self) -> Pipeline:
        """What it computes.

        Raises:
            ValueError: the sizes do not fit each other.
        """

    def to_json(self) -> dict[str, Any]:
        """The record that `layer_from_json` reads."""
        return {"op": self.op, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Conv2dLayer(Layer):
    """A convolution with bias."""

    op: ClassVar[str] = "conv2d"
    batch: int = 1
    in_channels: int
    out_channels: int
    height: int
    width: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    activation: Activation = "none"

    def pipeline(self) -> Pipeline:
        """Of one operator."""
        operator = Conv2d(
            out_channels=self.out_channels,
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
            activation=self.activation,
        )
        return chain((self.in_channels, self.width, self.height, self.batch), operator)


@dataclass(frozen=True, kw_only=True)
class MatMulLayer(Layer):
    """An `m` by `k` matrix times a constant `k` by `n` one, with bias.

    Attributes:
        transposed: whether the constant side is kept `n` by `k`, as `torch.nn.Linear` does.
        panel: columns of it that are packed together first; 0 for none.
        packed: whether it comes packed.
    """

    op: ClassVar[str] = "matmul"
    m: int
    n: int
    k: int
    transposed: bool = False
    panel: int | None = None
    packed: bool = False
    activation: Activation = "none"

    def pipeline(self) -> Pipeline:
        """Of one operator."""
        operator = MatMul(
            out_features=self.n,
            layout="outer" if self.transposed else "inner",
            panel=self.panel or 0,
            packed=self.packed,
            activation=self.activation,
        )
        return chain((self.k, self.m), operator)


@dataclass(frozen=True, kw_only=True)
class _WindowLayer(Layer):
    """Windows over each channel."""

    kind: ClassVar[Literal["max", "average"]]
    batch: int = 1
    channels: int
    height: int
    width: int
    kernel: int
    stride: int = 1
    padding: int = 0

    def pipeline(self) -> Pipeline:
        """Of one operator."""
        windows = Pool2d(
            kind=self.kind, kernel=self.kernel, stride=self.stride, padding=self.padding
        )
        return _pooled(self, windows)


class MaxPool2dLayer(_WindowLayer):
    """A maximum over windows."""

    op: ClassVar[str] = "maxpool2d"
    kind: ClassVar[Literal["max", "average"]] = "max"


class AvgPool2dLayer(_WindowLayer):
    """An average over windows."""

    op: ClassVar[str] = "avgpool2d"
    kind: ClassVar[Literal["max", "average"]] = "average"


@dataclass(frozen=True, kw_only=True)
class GlobalPool2dLayer(Layer):
    """The mean of each channel."""

    op: ClassVar[str] = "globalpool2d"
    batch: int = 1
    channels: int
    height: int
    width: int

    def pipeline(self) -> Pipeline:
        """Of one operator."""
        return _pooled(self, GlobalAveragePool())


@dataclass(frozen=True, kw_only=True)
class SoftmaxLayer(Layer):
    """Softmax of rows; `fast` by Halide's quicker exponential."""

    op: ClassVar[str] = "softmax"
    rows: int
    columns: int
    fast: bool = False

    def pipeline(self) -> Pipeline:
        """Of one operator."""
        return chain((self.columns, self.rows), Softmax(fast=self.fast))


@dataclass(frozen=True, kw_only=True)
class LayerNormLayer(Layer):
    """Layer norm of rows."""

    op: ClassVar[str] = "layernorm"
    rows: int
    columns: int

    def pipeline(self) -> Pipeline:
        """Of one operator."""
        return chain((self.columns, self.rows), LayerNorm())


@dataclass(frozen=True, kw_only=True)
class AddLayer(Layer):
    """The sum of two images."""

    op: ClassVar[str] = "add"
    batch: int = 1
    channels: int
    height: int
    width: int
    activation: Activation = "none"

    def pipeline(self) -> Pipeline:
        """Of one operator."""
        extents = (self.channels, self.width, self.height, self.batch)
        inputs = (Tensor("first", extents), Tensor("second", extents))
        node = Node("add", Add(activation=self.activation), ("first", "second"))
        return Pipeline(inputs, (node,))


@dataclass(frozen=True, kw_only=True)
class ConcatLayer(Layer):
    """Images, of so many channels each, one after another."""

    op: ClassVar[str] = "concat"
    batch: int = 1
    channels: tuple[int, ...]
    height: int
    width: int

    def pipeline(self) -> Pipeline:
        """Of one operator."""
        inputs = tuple(
            Tensor(f"input{place}", (count, self.width, self.height, self.batch))
            for place, count in enumerate(self.channels)
        )
        names = tuple(tensor.name for tensor in inputs)
        return Pipeline(inputs, (Node("concat", Concat(), names),))


LAYERS: dict[str, type[Layer]] = {
    kind.op: kind
    for kind in (
        *(Conv2dLayer, MatMulLayer, MaxPool2dLayer, AvgPool2dLayer, GlobalPool2dLayer),
        *(SoftmaxLayer, LayerNormLayer, AddLayer, ConcatLayer),
    )
}


def _pooled(
    layer: _WindowLayer | GlobalPool2dLayer,
    operator: Pool2d | GlobalAveragePool,
) -> Pipeline:
    return chain((layer.channels, layer.width, layer.height, layer.batch), operator)


def layer_from_json(record: dict[str, Any]) -> Layer:
    """A layer from `{"op": ..., sizes}`.

    Raises:
        ValueError: the kind or a field is unknown, a field is missing or of another type, or sizes
            do not fit each other.
    """
    if not isinstance(record, dict) or record.get("op") not in LAYERS:
        raise ValueError(f"a layer needs an op of {', '.join(LAYERS)}: {record}")
    kind = LAYERS[record["op"]]
    known = {field.name: field for field in fields(kind)}
    given = {name: value for name, value in record.items() if name != "op"}
    if unknown := given.keys() - known.keys():
        raise ValueError(f"{kind.op} has no field {min(unknown)!r}; it has {', '.join(known)}")
    missing = [name for name, field in known.items() if field.default is MISSING]
    if left := [name for name in missing if name not in given]:
        raise ValueError(f"{kind.op} needs {', '.join(left)}")
    for name, value in given.items():
        given[name] = _checked(kind.op, name, str(known[name].type), value)
    return kind(**given)


def _checked(op: str, name: str, annotation: str, value: Any) -> Any:
    """A field's value, if it is of the annotated type."""
    if annotation == "tuple[int, ...]":
        if isinstance(value, (list, tuple)) and value and all(type(v) is int for v in value):
            return tuple(value)
    elif annotation == "Activation":
        if value in ("none", "relu", "relu6", "gelu"):
            return value
    elif annotation == "bool":
        if type(value) is bool:
            return value
    elif type(value) is int or (value is None and "None" in annotation):
        return value
    raise ValueError(f"{op}: {name} is {value!r}, must be {annotation}")


def load_layers(path: Path) -> list[Layer]:
    """The layers of a JSON file, which is a list of records.

    Raises:
        ValueError: it is missing, no JSON list, or a record is no layer; the message says which.
    """
    try:
        records = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ValueError(f"layer file {path} does not exist") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"layer file {path} is no JSON: {error}") from error
    if not isinstance(records, list):
        raise ValueError(f"layer file {path} is no list of layers")
    layers = []
    for place, record in enumerate(records):
        try:
            layers.append(layer_from_json(record))
        except ValueError as error:
            raise ValueError(f"layer {place} of {path}: {error}") from error
    return layers


def save_layers(layers: Sequence[Layer], path: Path) -> None:
    """Write what `load_layers` reads."""
    path.write_text(json.dumps([layer.to_json() for layer in layers], indent=1) + "\n")
