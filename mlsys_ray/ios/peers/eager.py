"""PyTorch as it is: eager, channels last, in inference mode."""

from __future__ import annotations

import copy
from contextlib import ExitStack

import torch
from torch import nn

from mlsys_ray.ios.devices import DTYPES, DeviceKind, arithmetic
from mlsys_ray.ios.peers.base import Peer, PeerTask, flat, torch_threads


def prepare(task: PeerTask) -> Peer:
    """A copy of the model with channels last."""
    return _Eager(task)


class _Eager(Peer):
    version = torch.__version__

    def __init__(self, task: PeerTask) -> None:
        self._task = task
        self._model = prepared_model(task)

    def run(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        task = self._task
        own = [laid_out(x, task.device, DTYPES[task.precision]) for x in inputs]
        with ExitStack() as stack:
            if task.device == "cuda":
                stack.enter_context(arithmetic(task.precision))
            stack.enter_context(torch_threads(task.num_threads))
            stack.enter_context(torch.inference_mode())
            return flat(self._model(*own))

    def close(self) -> None:
        del self._model


def prepared_model(task: PeerTask) -> nn.Module:
    """A copy of the model on the task's device, in its precision, with channels last."""
    model = copy.deepcopy(task.model).to(task.device)
    if task.precision == "fp16":
        model = model.half()
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def laid_out(x: torch.Tensor, device: DeviceKind, dtype: torch.dtype) -> torch.Tensor:
    """An input on a device, single precision in a dtype, images with channels last in memory."""
    if x.dtype != torch.float32:
        dtype = x.dtype
    if x.dim() != 4:
        return x.to(device, dtype)
    return x.to(device, dtype, memory_format=torch.channels_last)
