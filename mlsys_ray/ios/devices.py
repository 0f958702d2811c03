"""Where networks run: the processor or a GPU, and in which arithmetic."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

from mlsys_ray.exit_codes import EnvironmentMissingError

DeviceKind = Literal["cpu", "cuda"]
Precision = Literal["fp32", "tf32", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
}


class NoDeviceError(EnvironmentMissingError):
    """There is no such device; the text says what is there."""


def require_device(device: DeviceKind, precision: Precision = "fp32") -> None:
    """Refuse what cannot be run here.

    Raises:
        NoDeviceError: there is no GPU.
        ValueError: the device does not compute in the precision.
    """
    if device == "cpu" and precision != "fp32":
        raise ValueError(f"precision {precision} is for a GPU; accepted on a CPU: fp32")
    if device == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda
        reason = (
            f"PyTorch {torch.__version__} is built for CUDA {built} and finds no GPU"
            if built
            else f"PyTorch {torch.__version__} is built without CUDA"
        )
        raise NoDeviceError(f"device cuda: {reason}")


def device_name(device: DeviceKind = "cpu") -> str:
    """Of the GPU; or of the processor, with what its vectors can do."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model} {torch.backends.cpu.get_cpu_capability()}"


def synchronize(device: DeviceKind) -> None:
    """Wait for all that was given to a device."""
    if device == "cuda":
        torch.cuda.synchronize()


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Inside, single precision on a GPU is whole, or TF32; cuDNN tries its algorithms."""
    matrices = torch.backends.cuda.matmul
    tensor_cores = precision == "tf32"
    before = matrices.allow_tf32
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=tensor_cores):
        matrices.allow_tf32 = tensor_cores
        try:
            yield
        finally:
            matrices.allow_tf32 = before
