"""Random pipelines, to learn from more than the layers of a few networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from mlsys_ray.value_learning.operators import (
    Activate,
    Add,
    Concat,
    Conv2d,
    GlobalAveragePool,
    LayerNorm,
    MatMul,
    Node,
    Operator,
    Pipeline,
    Pool2d,
    Softmax,
    Tensor,
)
from mlsys_ray.value_learning.operators.base import Activation

Choice = TypeVar("Choice")
MAX_OPERATIONS = 4e8
"""Of a pipeline, so that it is measured in milliseconds."""
CHANNELS = (3, 8, 16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024)
SIDES = (7, 8, 10, 14, 17, 20, 28, 35, 40, 56, 80, 112)
ROWS = (1, 1, 8, 32, 64, 128, 197, 256, 384, 512)
COLUMNS = (64, 96, 128, 192, 256, 384, 512, 768, 1000, 1024, 1536, 2048)
ACTIVATIONS: tuple[Activation, ...] = ("none", "relu", "relu", "relu6", "gelu")


def random_pipeline(seed: int, longest: int = 3) -> Pipeline:
    """A pipeline of one to `longest` operators on an image or a matrix, the same for one seed.

    Sizes are those that networks have, and not too large to be measured often.
    """
    generator = np.random.default_rng(seed)
    while True:
        pipeline = _drawn(generator, int(generator.integers(1, longest + 1)))
        if pipeline.operations <= MAX_OPERATIONS:
            return pipeline


def _pick(generator: np.random.Generator, options: Sequence[Choice]) -> Choice:
    return options[int(generator.integers(len(options)))]


def _drawn(generator: np.random.Generator, count: int) -> Pipeline:
    if generator.random() < 0.65:
        side = _pick(generator, SIDES)
        batch = 1 if generator.random() < 0.8 else _pick(generator, (2, 4))
        extents: tuple[int, ...] = (_pick(generator, CHANNELS), side, side, batch)
    else:
        extents = (_pick(generator, COLUMNS), _pick(generator, ROWS))
    tensors = [Tensor("input", extents)]
    nodes: list[Node] = []
    for place in range(count):
        source = tensors[-1]
        operator = (_for_image if len(source.extents) == 4 else _for_matrix)(generator, source)
        names: tuple[str, ...] = (source.name,)
        same = [t for t in tensors[:-1] if t.extents[1:] == source.extents[1:]]
        if same and generator.random() < 0.4:
            other = same[-1]
            equal = other.extents == source.extents
            operator = Add(activation=_pick(generator, ACTIVATIONS)) if equal else Concat()
            names = (source.name, other.name)
        name = f"{type(operator).__name__.lower()}{place}"
        nodes.append(Node(name, operator, names))
        known = {tensor.name: tensor for tensor in tensors}
        stages = operator.expand(name, [known[n] for n in names]).stages
        tensors.append(Tensor(name, stages[-1].extents))
    return Pipeline((tensors[0],), tuple(nodes))


def _for_image(generator: np.random.Generator, image: Tensor) -> Operator:
    channels, side = image.extents[:2]
    activation = _pick(generator, ACTIVATIONS)
    kernel = min(_pick(generator, (1, 1, 3, 3, 3, 5, 7)), side)
    stride = 1 if generator.random() < 0.7 else 2
    padding = kernel // 2 if generator.random() < 0.85 else 0

    def convolution() -> Operator:
        out = channels if generator.random() < 0.4 else _pick(generator, CHANNELS)
        return Conv2d(
            out_channels=out, kernel=kernel, stride=stride, padding=padding, activation=activation
        )

    def depthwise() -> Operator:
        return Conv2d(
            out_channels=channels, kernel=max(3, kernel) if side >= 3 else 1, stride=stride,
            padding=max(3, kernel) // 2 if side >= 3 else 0, groups=channels,
            activation=activation,
        )  # fmt: skip

    def grouped() -> Operator:
        groups = next((g for g in (4, 2) if channels % g == 0), 1)
        return Conv2d(
            out_channels=channels, kernel=kernel, stride=stride, padding=padding, groups=groups,
            activation=activation,
        )  # fmt: skip

    def pool() -> Operator:
        window = min(_pick(generator, (2, 3)), side)
        return Pool2d(
            kind="max" if generator.random() < 0.5 else "average",
            kernel=window,
            stride=stride,
            padding=window // 2,
        )

    drawn: Callable[[], Operator] = _pick(
        generator,
        (convolution,) * 5
        + (depthwise,) * 2
        + (grouped, pool, pool, GlobalAveragePool)
        + (lambda: Activate(activation="gelu"),),
    )
    return drawn()


def _for_matrix(generator: np.random.Generator, matrix: Tensor) -> Operator:
    kind = generator.random()
    if kind < 0.2:
        return Softmax()
    if kind < 0.4:
        return LayerNorm()
    out = _pick(generator, COLUMNS)
    panels = [0, 0] + [panel for panel in (8, 16, 24, 32, 48, 64) if out % panel == 0]
    panel = _pick(generator, panels) if matrix.extents[1] > 1 else 0
    return MatMul(
        out_features=out,
        layout="inner" if generator.random() < 0.5 else "outer",
        panel=panel,
        packed=panel > 0 and generator.random() < 0.3,
        activation=_pick(generator, ACTIVATIONS),
    )
