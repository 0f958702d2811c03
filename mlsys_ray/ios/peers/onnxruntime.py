"""ONNX Runtime, with all of its graph optimisations; its threads do not spin between calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mlsys_ray.ios.peers.base import Peer, PeerFailedError, PeerTask, first_line, on_cpu_only
from mlsys_ray.ios.peers.onnx_file import onnx_file, require

_TYPES: dict[str, tuple[torch.dtype, Any]] = {
    "tensor(float)": (torch.float32, np.float32),
    "tensor(float16)": (torch.float16, np.float16),
    "tensor(double)": (torch.float64, np.float64),
    "tensor(int64)": (torch.int64, np.int64),
    "tensor(int32)": (torch.int32, np.int32),
    "tensor(bool)": (torch.bool, np.bool_),
}
"""What ONNX Runtime calls them, in PyTorch and in NumPy."""


def prepare(task: PeerTask) -> Peer:
    """A session over the exported model.

    Raises:
        MissingPeerError: ONNX Runtime or what exports to ONNX is not installed.
        PeerFailedError: the model cannot be exported or run, or is to run on a GPU.
    """
    on_cpu_only(task, "ONNX Runtime")
    return _Session(task, require("onnxruntime"))


class _Session(Peer):
    def __init__(self, task: PeerTask, version: str) -> None:
        import onnxruntime as ort

        self.version = version
        options = ort.SessionOptions()
        options.intra_op_num_threads = task.num_threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        # A pool that spins slows whatever runs next in the process by half.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                str(onnx_file(task)), options, providers=["CPUExecutionProvider"]
            )
        except RuntimeError as error:
            raise PeerFailedError(first_line(error)) from error
        self._inputs = [(value.name, _TYPES[value.type][1]) for value in self._session.get_inputs()]
        self._outputs = [
            (value.name, tuple(value.shape), *_TYPES[value.type])
            for value in self._session.get_outputs()
        ]

    def run(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        binding = self._session.io_binding()
        held = [x.detach().contiguous() for x in inputs]
        for (name, kind), x in zip(self._inputs, held, strict=True):
            binding.bind_input(name, "cpu", 0, kind, tuple(x.shape), x.data_ptr())
        outputs = []
        for name, shape, dtype, kind in self._outputs:
            outputs.append(torch.empty(shape, dtype=dtype))
            binding.bind_output(name, "cpu", 0, kind, shape, outputs[-1].data_ptr())
        self._session.run_with_iobinding(binding)
        return tuple(outputs)

    def close(self) -> None:
        del self._session
