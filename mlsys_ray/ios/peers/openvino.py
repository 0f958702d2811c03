"""OpenVINO with its hint for latency, in single precision."""

from __future__ import annotations

import torch

from mlsys_ray.ios.peers.base import Peer, PeerFailedError, PeerTask, first_line, on_cpu_only
from mlsys_ray.ios.peers.onnx_file import onnx_file, require


def prepare(task: PeerTask) -> Peer:
    """A request on the compiled model.

    Raises:
        MissingPeerError: OpenVINO or what exports to ONNX is not installed.
        PeerFailedError: the model cannot be exported or run, or is to run on a GPU.
    """
    on_cpu_only(task, "OpenVINO")
    return _Request(task, require("openvino"))


class _Request(Peer):
    def __init__(self, task: PeerTask, version: str) -> None:
        import openvino

        self.version = version
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": task.num_threads,
        }
        try:
            # Read by the core: openvino.convert_model reports its use over the network.
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(onnx_file(task)), "CPU", settings)
        except RuntimeError as error:
            raise PeerFailedError(first_line(error)) from error
        self._request = compiled.create_infer_request()

    def run(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        arrays = [x.detach().contiguous().numpy() for x in inputs]
        results = self._request.infer(arrays, share_inputs=True, share_outputs=True)
        # The request writes to the same memory again in its next call.
        return tuple(torch.from_numpy(y).clone() for y in results.values())

    def close(self) -> None:
        del self._request
