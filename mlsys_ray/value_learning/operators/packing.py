"""Constant weights in panels: columns that are used together lie together in memory.

Whoever deploys a kernel lays its weights out once; which panel is best is a question of schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlsys_ray.value_learning.operators.base import Operator
from mlsys_ray.value_learning.operators.conv2d import Conv2d
from mlsys_ray.value_learning.operators.matmul import MatMul
from mlsys_ray.value_learning.operators.pipeline import Pipeline

MAX_VECTORS = 4
"""Of a panel: wider ones do not fit the registers with enough rows."""


def panels_of(pipeline: Pipeline) -> tuple[int, ...]:
    """For each node the columns of a panel in which its weights come; 0 where they do not."""
    return tuple(_panel(node.operator) for node in pipeline.nodes)


def packings(pipeline: Pipeline, lanes: int) -> list[Pipeline]:
    """The pipeline as it is, and with weights in panels of 1 to 4 vectors where they divide."""
    found = {pipeline: None}
    for vectors in range(1, MAX_VECTORS + 1):
        panel = vectors * lanes
        panels = tuple(panel if _takes(n.operator, panel) else 0 for n in pipeline.nodes)
        found[packed(pipeline, panels)] = None
    return list(found)


def packed(pipeline: Pipeline, panels: Sequence[int]) -> Pipeline:
    """The same pipeline, but taking weights in panels.

    Args:
        pipeline: what is computed.
        panels: columns of a panel, for each node; 0 leaves it as it is.

    Raises:
        ValueError: a node has no weights that such panels divide, or other panels already.
    """
    if len(panels) != len(pipeline.nodes):
        raise ValueError(
            f"panels are {panels}, must be one for each of {len(pipeline.nodes)} nodes"
        )
    nodes = []
    for node, panel in zip(pipeline.nodes, panels, strict=True):
        operator = node.operator
        if panel not in (0, _panel(operator)):
            if not _takes(operator, panel):
                raise ValueError(f"{node.name}: panels of {panel} columns do not fit {operator}")
            operator = _with_panel(operator, panel)
        nodes.append(replace(node, operator=operator))
    return Pipeline(pipeline.inputs, tuple(nodes))


def unpacked(pipeline: Pipeline) -> Pipeline:
    """The same pipeline, but taking all weights as they are without panels."""
    return Pipeline(
        pipeline.inputs,
        tuple(
            replace(node, operator=_with_panel(node.operator, 0)) if _panel(node.operator) else node
            for node in pipeline.nodes
        ),
    )


def pack(
    pipeline: Pipeline, panels: Sequence[int], arrays: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """The arguments of `packed(pipeline, panels)`, from those of the pipeline itself."""
    remaining = list(arrays)
    found = [remaining.pop(0) for _ in pipeline.inputs]
    for node, expansion, panel in zip(pipeline.nodes, pipeline.expansions, panels, strict=True):
        own = [remaining.pop(0) for _ in expansion.parameters]
        if panel not in (0, _panel(node.operator)):
            weight = own[0]
            if isinstance(node.operator, MatMul) and node.operator.layout == "outer":
                weight = weight.T
            split = weight.reshape(*weight.shape[:-1], -1, panel)
            own[0] = np.ascontiguousarray(np.moveaxis(split, -2, 0))
        found += own
    return found


def _panel(operator: Operator) -> int:
    if isinstance(operator, MatMul):
        return operator.panel if operator.packed else 0
    return operator.panel if isinstance(operator, Conv2d) else 0


def _with_panel(operator: Operator, panel: int) -> Operator:
    if isinstance(operator, MatMul):
        return replace(operator, panel=panel, packed=panel > 0, layout="inner")
    assert isinstance(operator, Conv2d)
    return replace(operator, panel=panel)


def _takes(operator: Operator, panel: int) -> bool:
    """Whether its weights are not in panels yet, and such ones divide them."""
    if isinstance(operator, MatMul):
        return not operator.panel and operator.out_features % panel == 0
    if not isinstance(operator, Conv2d) or operator.panel or operator.groups > 1:
        return False
    return operator.out_channels % panel == 0
