"""Operators of deep networks as pipelines of stages, and their references by PyTorch."""

from __future__ import annotations

from typing import Any

from mlsys_ray.value_learning.operators.base import Operator
from mlsys_ray.value_learning.operators.blocked import BlockedConv2d
from mlsys_ray.value_learning.operators.conv2d import Conv2d
from mlsys_ray.value_learning.operators.elementwise import Activate, Add, Concat
from mlsys_ray.value_learning.operators.matmul import MatMul
from mlsys_ray.value_learning.operators.pipeline import Node, Pipeline, chain
from mlsys_ray.value_learning.operators.pooling import GlobalAveragePool, Pool2d
from mlsys_ray.value_learning.operators.rows import LayerNorm, Softmax
from mlsys_ray.value_learning.operators.stage import Stage, Tensor

OPERATORS: dict[str, type[Operator]] = {
    operator.__name__: operator
    for operator in (
        *(Activate, Add, BlockedConv2d, Concat, Conv2d, GlobalAveragePool),
        *(LayerNorm, MatMul, Pool2d, Softmax),
    )
}

__all__ = [
    "OPERATORS",
    "Activate",
    "Add",
    "BlockedConv2d",
    "Concat",
    "Conv2d",
    "GlobalAveragePool",
    "LayerNorm",
    "MatMul",
    "Node",
    "Operator",
    "Pipeline",
    "Pool2d",
    "Softmax",
    "Stage",
    "Tensor",
    "chain",
    "pipeline_from_json",
]


def pipeline_from_json(record: dict[str, Any]) -> Pipeline:
    """The pipeline that `Pipeline.to_json` has written.

    Raises:
        ValueError: it is no such record.
    """
    try:
        inputs = tuple(Tensor(t["name"], tuple(t["extents"])) for t in record["inputs"])
        nodes = []
        for node in record["nodes"]:
            fields: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in node.items()
            }
            name, sources = fields.pop("name"), tuple(fields.pop("inputs"))
            operator = OPERATORS[fields.pop("operator")]
            nodes.append(Node(name, operator(**fields), sources))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no pipeline: {error!r}") from error
    return Pipeline(inputs, tuple(nodes))
