"""Models as ONNX files, which ONNX Runtime and OpenVINO read."""

from __future__ import annotations

import importlib.metadata
import warnings
from pathlib import Path

import torch

from mlsys_ray.ios.peers.base import MissingPeerError, PeerFailedError, PeerTask, first_line


def require(package: str) -> str:
    """The version of a package.

    Raises:
        MissingPeerError: it is not installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingPeerError(
            f"{package} is not installed: pip install 'mlsys-ray[peers]'"
        ) from error


def onnx_file(task: PeerTask) -> Path:
    """The model as an ONNX file, exported once and kept.

    Raises:
        MissingPeerError: what exports it is not installed.
        PeerFailedError: the model cannot be exported.
    """
    exporter = require("onnxscript")
    return task.kept(
        f"torch-{torch.__version__}-onnxscript-{exporter}.onnx", lambda path: _export(task, path)
    )


def _export(task: PeerTask, path: Path) -> None:
    task.tell("exporting the model to ONNX; large networks take a minute")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(task.program, dynamo=True, verbose=False)
    # Whatever an unusual model makes the exporter raise, other tools can still run it.
    except Exception as error:
        raise PeerFailedError(f"no export to ONNX: {first_line(error)}") from error
    assert exported is not None
    exported.save(path, external_data=False)
