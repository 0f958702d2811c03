"""PyTorch, with images in channels-last layout and with oneDNN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlsys_ray.value_learning.baselines.base import Baseline, Prepared
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.target import Target

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Torch(Baseline):
    """PyTorch's eager mode, with weights laid out for it beforehand."""

    @property
    def name(self) -> str:
        """See `Baseline.name`."""
        return "torch"

    def prepare(self, pipeline: Pipeline, target: Target) -> Prepared:
        """See `Baseline.prepare`."""
        import torch

        torch.set_num_threads(target.cores)
        known = {
            tensor.name: _laid_out(torch.from_numpy(array), constant=tensor not in pipeline.inputs)
            for tensor, array in zip(pipeline.arguments, pipeline.example(), strict=True)
        }
        results: dict[str, torch.Tensor] = {}

        @torch.inference_mode()
        def run() -> None:
            values = dict(known)
            for node, expansion in zip(pipeline.nodes, pipeline.expansions, strict=True):
                values[node.name] = node.operator.reference(
                    [values[name] for name in node.inputs],
                    [values[tensor.name] for tensor in expansion.parameters],
                )
            results["last"] = values[pipeline.nodes[-1].name]

        return Prepared(run, lambda: results["last"].numpy(), 0.0)


def _laid_out(tensor: torch.Tensor, *, constant: bool) -> torch.Tensor:
    """The same values, with weights in the order of memory that PyTorch's kernels like best."""
    import torch

    if not constant:
        return tensor
    match tensor.dim():
        case 4:
            weight = tensor.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
            return weight.permute(2, 3, 1, 0)
        case 3:
            return tensor.permute(2, 0, 1).contiguous().permute(1, 2, 0)
        case 2:
            return tensor.T.contiguous().T
    return tensor
