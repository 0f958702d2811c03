"""PyTorch's own calls of the model, one after another on one stream, in one CUDA graph."""

from __future__ import annotations

import torch

from mlsys_ray.ios.devices import DTYPES, arithmetic
from mlsys_ray.ios.peers.base import Peer, PeerFailedError, PeerTask, first_line, flat
from mlsys_ray.ios.peers.eager import laid_out, prepared_model

WARMUPS = 3


def prepare(task: PeerTask) -> Peer:
    """The model, captured.

    Raises:
        PeerFailedError: it runs on no GPU, or cannot be captured.
    """
    if task.device != "cuda":
        raise PeerFailedError("CUDA graphs run on a GPU: --device cuda")
    try:
        return _Captured(task)
    except RuntimeError as error:
        raise PeerFailedError(f"the model cannot be captured: {first_line(error)}") from error


class _Captured(Peer):
    version = torch.__version__

    def __init__(self, task: PeerTask) -> None:
        model = prepared_model(task)
        dtype = DTYPES[task.precision]
        self._inputs = [laid_out(x, "cuda", dtype).clone() for x in task.example_inputs]
        self._graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()
        with torch.inference_mode(), arithmetic(task.precision):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARMUPS):
                    model(*self._inputs)
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(self._graph, stream=stream):
                self._outputs = flat(model(*self._inputs))

    def run(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.inference_mode():
            for own, value in zip(self._inputs, inputs, strict=True):
                own.copy_(value, non_blocking=True)
            self._graph.replay()
            return tuple(x.clone() for x in self._outputs)

    def close(self) -> None:
        self._outputs = ()
        self._graph.reset()
