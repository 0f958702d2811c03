"""What the tools that IOS is compared with have in common."""

from __future__ import annotations

import hashlib
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from mlsys_ray.data import cache_dir
from mlsys_ray.ios.devices import DeviceKind, Precision

ON_GPU = ("eager", "cuda_graph", "compile")
"""Tools that networks are compared with on a GPU."""
ON_CPU = ("eager", "compile", "onnxruntime", "openvino")
"""Likewise on a CPU."""


class MissingPeerError(Exception):
    """A tool is not installed; the text says how it is."""


class PeerFailedError(Exception):
    """A tool cannot run a model; the text says why."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PeerTask:
    """A model that tools are to run.

    Attributes:
        model: in evaluation mode; it is left as it is.
        example_inputs: tensors of the shapes and dtypes that it will be run on.
        num_threads: that a tool may use.
        cache_folder: where exported and compiled models are kept, by their content.
        time_limit: for a compilation that is not kept yet [s].
        tell: is given a line before something that takes long.
        device: where it is to run.
        precision: of the arithmetic.
    """

    model: nn.Module
    example_inputs: Sequence[torch.Tensor]
    num_threads: int = field(default_factory=torch.get_num_threads)
    cache_folder: Path = field(default_factory=lambda: cache_dir() / "ios" / "peers")
    time_limit: float = 900.0
    tell: Callable[[str], None] = lambda _: None
    device: DeviceKind = "cpu"
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        """Refuse what no tool runs."""
        if self.model.training:
            raise ValueError("the model is in training mode; only inference is compared: eval()")
        if self.num_threads < 1:
            raise ValueError(f"num_threads must be 1 or more, is {self.num_threads}")

    @cached_property
    def program(self) -> torch.export.ExportedProgram:
        """The model, exported.

        Raises:
            PeerFailedError: it cannot be.
        """
        try:
            with torch.no_grad():
                return torch.export.export(self.model, tuple(self.example_inputs))
        # Whatever an unusual model makes the exporter raise, other tools can still run it.
        except Exception as error:
            raise PeerFailedError(f"the model cannot be exported: {first_line(error)}") from error

    @cached_property
    def key(self) -> str:
        """A digest of the exported model: code, weights, shapes of the inputs."""
        content = hashlib.sha256()
        for module in self.program.graph_module.modules():
            if isinstance(module, torch.fx.GraphModule):
                content.update(module.code.encode())
        named = {**self.program.state_dict, **self.program.constants}
        named |= {f"input {i}": x for i, x in enumerate(self.example_inputs)}
        for name, value in sorted(named.items()):
            if isinstance(value, torch.Tensor):
                content.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
                if not name.startswith("input "):
                    raw = value.detach().cpu().contiguous().flatten().view(torch.uint8)
                    content.update(raw.numpy().data)
        return content.hexdigest()[:24]

    def kept(self, name: str, build: Callable[[Path], None]) -> Path:
        """A file made of the model once, and found again later, in other processes too.

        Args:
            name: of the file; it tells apart all that the file depends on beside the model.
            build: writes it to the path that it is given.
        """
        path = self.cache_folder / self.key / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                unfinished = Path(folder) / name
                build(unfinished)
                os.replace(unfinished, path)
        return path


class Peer(ABC):
    """A model made ready in a tool; a context manager, which closes it.

    Attributes:
        version: of the tool.
    """

    version: str

    @abstractmethod
    def run(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The outputs, in the order in which they stand in the model's, without its nesting.

        Args:
            inputs: on the CPU or the task's device, of the shapes and dtypes of the examples.
        """

    def close(self) -> None:  # noqa: B027 # most need nothing more than to be let go
        """End its threads and free its memory; it runs no more."""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def on_cpu_only(task: PeerTask, tool: str) -> None:
    """Refuse a GPU.

    Raises:
        PeerFailedError: the task names one.
    """
    if task.device != "cpu":
        raise PeerFailedError(f"{tool} is compared on a CPU only; on a GPU: {', '.join(ON_GPU)}")


Prepare = Callable[[PeerTask], Peer]


def first_line(error: Exception) -> str:
    """What an error says, shortened to a line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def flat(outputs: Any) -> tuple[torch.Tensor, ...]:
    """The tensors of a model's output, without its nesting."""
    return tuple(x for x in pytree.tree_leaves(outputs) if isinstance(x, torch.Tensor))


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Let PyTorch use a number of threads for calls of this thread."""
    before = torch.get_num_threads()
    if before == number:
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
