"""Layers to train on, drawn at random, and the held-out layers of known networks."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from mlsys_ray.value_learning.layers import (
    AddLayer,
    AvgPool2dLayer,
    ConcatLayer,
    Conv2dLayer,
    GlobalPool2dLayer,
    LayerNormLayer,
    MatMulLayer,
    MaxPool2dLayer,
    SoftmaxLayer,
)
from mlsys_ray.value_learning.operators import (
    Conv2d,
    GlobalAveragePool,
    LayerNorm,
    MatMul,
    Operator,
    Pipeline,
    Pool2d,
    Softmax,
    chain,
)
from mlsys_ray.value_learning.operators.base import Activation
from mlsys_ray.value_learning.operators.matmul import Layout
from mlsys_ray.value_learning.random_pipelines import random_pipeline

CHANNELS = (16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 256, 320, 384, 512, 768, 1024)
SIZES = (5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96, 112)
ACTIVATIONS: tuple[Activation, ...] = ("none", "relu", "relu6")
CHAINS = 0.35
"""Share of random pipelines, of one or two operators of any kind, among the layers."""
MIN_OPERATIONS, MAX_OPERATIONS, MIN_BYTES = 2e5, 8e8, 1e5
"""Of what is trained on: from microseconds to some milliseconds on a core."""

NOT_SHAPES = ("activation", "panel", "packed", "layout")
KINDS = {
    "conv": 0.25,
    "pointwise": 0.2,
    "grouped": 0.08,
    "depthwise": 0.15,
    "pool": 0.12,
    "matmul": 0.14,
    "rows": 0.06,
}
"""Shares of the layers that are no chains."""


def training_pipelines(count: int, seed: int = 0) -> list[Pipeline]:
    """Different random layers and short chains; none has the shapes of one that is held out."""
    rng = np.random.default_rng(seed)
    excluded = {_shapes(pipeline) for pipeline in held_out_pipelines().values()}
    found: dict[str, Pipeline] = {}
    while len(found) < count:
        if rng.random() < CHAINS:
            pipeline = random_pipeline(int(rng.integers(2**31)), longest=2)
        else:
            pipeline = _random_layer(rng)
        small = pipeline.bytes < MIN_BYTES and pipeline.operations < MIN_OPERATIONS
        if small or pipeline.operations > MAX_OPERATIONS or _shapes(pipeline) in excluded:
            continue
        found.setdefault(pipeline.key, pipeline)
    return list(found.values())


def _shapes(pipeline: Pipeline) -> str:
    """What makes two pipelines the same layer, whatever activation and layout of weights."""
    operators = []
    for node in pipeline.nodes:
        known = asdict(node.operator)
        sizes = {k: v for k, v in known.items() if k not in NOT_SHAPES}
        operators.append((type(node.operator).__name__, sorted(sizes.items())))
    return repr(([tensor.extents for tensor in pipeline.inputs], operators))


def _random_layer(rng: np.random.Generator) -> Pipeline:
    kind = rng.choice(list(KINDS), p=list(KINDS.values()))
    if kind in ("matmul", "rows"):
        return _random_matrix_layer(rng, kind)
    channels, size = int(rng.choice(CHANNELS)), int(rng.choice(SIZES))
    return chain((channels, size, size, 1), _random_image_operator(rng, kind, channels, size))


def _random_image_operator(
    rng: np.random.Generator, kind: str, channels: int, size: int
) -> Operator:
    activation = ACTIVATIONS[int(rng.integers(len(ACTIVATIONS)))]
    stride = int(rng.choice([1, 1, 2]))
    if kind == "pointwise":
        return Conv2d(out_channels=int(rng.choice(CHANNELS)), kernel=1, activation=activation)
    if kind == "pool":
        kernel = int(rng.choice([2, 3, 3]))
        if rng.random() < 0.15:
            return GlobalAveragePool()
        return Pool2d(
            kind="max" if rng.random() < 0.6 else "average",
            kernel=kernel,
            stride=int(rng.choice([1, 2])),
            padding=kernel // 2 if kernel < size else 0,
        )
    kernel = int(rng.choice([3, 3, 5]))
    groups = 1
    if kind == "depthwise":
        groups = channels
    if kind == "grouped":
        groups = channels // int(rng.choice([n for n in (4, 8, 16, 32) if channels % n == 0]))
    return Conv2d(
        out_channels=int(rng.choice(CHANNELS)) if kind == "conv" else channels,
        kernel=kernel,
        stride=stride,
        padding=kernel // 2,
        groups=groups,
        activation=activation,
    )


def _random_matrix_layer(rng: np.random.Generator, kind: str) -> Pipeline:
    inner, columns = (int(rng.choice(CHANNELS)) * int(rng.choice([1, 2, 4])) for _ in range(2))
    if kind == "rows":
        rows = int(rng.choice([64, 256, 1024, 4096]))
        return chain((inner, rows), Softmax() if rng.random() < 0.6 else LayerNorm())
    activation = ACTIVATIONS[int(rng.integers(len(ACTIVATIONS)))]
    rows = int(rng.choice([1, 8, 16, 32, 49, 64, 96, 128, 196, 256, 384, 512]))
    layout: Layout = "inner" if rng.random() < 0.7 else "outer"
    return chain((inner, rows), MatMul(out_features=columns, layout=layout, activation=activation))


def held_out_pipelines() -> dict[str, Pipeline]:
    """Layers of known networks, which training never sees."""

    def conv(channels: int, out: int, size: int, kernel: int, stride: int = 1) -> Pipeline:
        layer = Conv2d(
            out_channels=out,
            kernel=kernel,
            stride=stride,
            padding=kernel // 2,
            activation="relu",
        )
        return chain((channels, size, size, 1), layer)

    def depthwise(channels: int, size: int, stride: int = 1) -> Pipeline:
        layer = Conv2d(
            out_channels=channels,
            kernel=3,
            stride=stride,
            padding=1,
            groups=channels,
            activation="relu6",
        )
        return chain((channels, size, size, 1), layer)

    def matmul(rows: int, inner: int, columns: int) -> Pipeline:
        return chain((inner, rows), MatMul(out_features=columns))

    return {
        "resnet50 3x3 64-64 56": conv(64, 64, 56, 3),
        "resnet50 3x3 128-128 28": conv(128, 128, 28, 3),
        "resnet50 3x3 256-256 14": conv(256, 256, 14, 3),
        "resnet50 3x3 512-512 7": conv(512, 512, 7, 3),
        "resnet50 3x3/2 128-128 56": conv(128, 128, 56, 3, 2),
        "resnet50 1x1 64-256 56": conv(64, 256, 56, 1),
        "resnet50 1x1 256-64 56": conv(256, 64, 56, 1),
        "resnet50 1x1 512-128 28": conv(512, 128, 28, 1),
        "resnet50 1x1 256-1024 14": conv(256, 1024, 14, 1),
        "resnet50 1x1 512-2048 7": conv(512, 2048, 7, 1),
        "mobilenetv2 dw 32 112": depthwise(32, 112),
        "mobilenetv2 dw/2 96 112": depthwise(96, 112, 2),
        "mobilenetv2 dw 144 56": depthwise(144, 56),
        "mobilenetv2 dw 192 28": depthwise(192, 28),
        "mobilenetv2 dw 576 14": depthwise(576, 14),
        "mobilenetv2 1x1 32-192 28": conv(32, 192, 28, 1),
        "mobilenetv2 1x1 96-576 14": conv(96, 576, 14, 1),
        "squeezenet 1x1 128-16 55": conv(128, 16, 55, 1),
        "squeezenet 3x3 16-64 55": conv(16, 64, 55, 3),
        "squeezenet 3x3 48-192 27": conv(48, 192, 27, 3),
        "bert 384x768x768": matmul(384, 768, 768),
        "bert 128x768x3072": matmul(128, 768, 3072),
        "matmul 128x256x512": matmul(128, 256, 512),
        "resnet50 fc 1x2048x1000": matmul(1, 2048, 1000),
        "resnet50 7x7/2 3-64 224": Conv2dLayer(
            in_channels=3, out_channels=64, height=224, width=224, kernel=7, stride=2, padding=3
        ).pipeline(),
        "resnext50 3x3 128 in 32 groups 56": Conv2dLayer(
            in_channels=128, out_channels=128, height=56, width=56, kernel=3, padding=1, groups=32
        ).pipeline(),
        "resnet50 maxpool 3x3/2 64 112": MaxPool2dLayer(
            channels=64, height=112, width=112, kernel=3, stride=2, padding=1
        ).pipeline(),
        "inception avgpool 3x3 192 35": AvgPool2dLayer(
            channels=192, height=35, width=35, kernel=3, padding=1
        ).pipeline(),
        "resnet50 global pool 2048 7": GlobalPool2dLayer(
            channels=2048, height=7, width=7
        ).pipeline(),
        "resnet50 add 256 56": AddLayer(
            channels=256, height=56, width=56, activation="relu"
        ).pipeline(),
        "squeezenet concat 64+64 55": ConcatLayer(
            channels=(64, 64), height=55, width=55
        ).pipeline(),
        "bert softmax 384": SoftmaxLayer(rows=12 * 384, columns=384).pipeline(),
        "bert layer norm 768": LayerNormLayer(rows=384, columns=768).pipeline(),
        "bert 384x768x3072 gelu": MatMulLayer(m=384, n=3072, k=768, activation="gelu").pipeline(),
    }
