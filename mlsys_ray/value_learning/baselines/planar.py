"""Pipelines with planar images, which suit some autoschedulers better than channels innermost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from mlsys_ray.value_learning.operators import Pipeline, Stage, Tensor
from mlsys_ray.value_learning.operators.expression import Apply, Expression, Inside, Load

T = TypeVar("T")

IMAGE = (1, 2, 0, 3)
"""Dimensions of a planar image [width, height, channels, batch], innermost first, by their places
in one of channels innermost."""
WEIGHTS = {4: (2, 3, 1, 0), 3: (1, 2, 0)}
"""The same for weights, by their rank: the window innermost."""


@dataclass(frozen=True)
class Planar:
    """What `lowering.build` asks of a pipeline, with the dimensions of its arrays permuted.

    Attributes:
        arguments: as in the pipeline.
        stages: as in the pipeline.
        order: of the dimensions of each array, innermost first; places in the pipeline's own.
    """

    arguments: tuple[Tensor, ...]
    stages: tuple[Stage, ...]
    order: Mapping[str, tuple[int, ...]]

    @property
    def output(self) -> Tensor:
        """See `Pipeline.output`."""
        return self.stages[0].tensor

    def numpy_axes(self, name: str) -> tuple[int, ...]:
        """Axes for `transpose` from the pipeline's layout of an array to this one."""
        order = self.order[name]
        return tuple(len(order) - 1 - place for place in reversed(order))


def planar(pipeline: Pipeline) -> Planar | None:
    """The pipeline on planar images; None if it has none."""
    images = [*pipeline.inputs, *(stage.tensor for stage in pipeline.stages)]
    if all(len(tensor.extents) != len(IMAGE) for tensor in images):
        return None
    order: dict[str, tuple[int, ...]] = {}
    for tensor in (*pipeline.arguments, *images):
        plain = tuple(range(len(tensor.extents)))
        image = tensor in images and len(plain) == len(IMAGE)
        order[tensor.name] = IMAGE if image else WEIGHTS.get(len(plain), plain)
    return Planar(
        tuple(_tensor(tensor, order) for tensor in pipeline.arguments),
        tuple(_stage(stage, order) for stage in pipeline.stages),
        order,
    )


def _tensor(tensor: Tensor, order: Mapping[str, tuple[int, ...]]) -> Tensor:
    return Tensor(tensor.name, _permuted(tensor.extents, order[tensor.name]))


def _stage(stage: Stage, order: Mapping[str, tuple[int, ...]]) -> Stage:
    own = order[stage.name]
    reduction = stage.reduction
    if reduction:
        # A window's channels are reduced last where they lie outermost in memory.
        reduction = replace(reduction, term=_expression(reduction.term, order))
    return Stage(
        stage.name,
        _permuted(stage.variables, own),
        _permuted(stage.extents, own),
        _expression(stage.value, order),
        reduction,
    )


def _expression(expression: Expression, order: Mapping[str, tuple[int, ...]]) -> Expression:
    match expression:
        case Load(source, indices):
            return Load(source, _permuted(indices, order[source]))
        case Apply(function, arguments):
            return Apply(function, tuple(_expression(a, order) for a in arguments))
        case Inside(value=value, otherwise=otherwise):
            return replace(
                expression,
                value=_expression(value, order),
                otherwise=_expression(otherwise, order),
            )
    return expression


def _permuted(values: Sequence[T], order: Sequence[int]) -> tuple[T, ...]:
    return tuple(values[place] for place in order)
