"""oneDNN's C interface by ctypes: descriptors, primitives and what executes them.

The wheel `onednn-cpu-gomp` brings the library without headers; the numbers below are those of
oneDNN 3's public `dnnl_types.h`, which its versions keep.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from collections.abc import Callable, Sequence
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import torch

F32 = 3
FORWARD_INFERENCE = 96
CONVOLUTION_DIRECT = 1
POOLING_MAX, POOLING_AVERAGE_INCLUDE_PADDING, POOLING_AVERAGE = 511, 767, 1023
ELTWISE = {
    "relu": (32, 0.0, 0.0),
    "relu6": (47, 0.0, 6.0),
    "hardswish": (52, 1 / 6, 0.5),
    "silu": (44, 1.0, 0.0),
    "sigmoid": (41, 0.0, 0.0),
    "gelu": (49, 0.0, 0.0),
}
SRC, DST, WEIGHTS, BIAS, SCRATCHPAD, MULTIPLE_SRC = 1, 17, 33, 41, 80, 1024

_QUERY_IMPLEMENTATION = 8
_QUERY_WEIGHTS, _QUERY_SCRATCHPAD = 131, 136
_SCRATCHPAD_USER = 1
_ANY = 1
_TAGS = {"any": _ANY, "a": 2, "abcd": 5, "abcde": 6, "aBcd8b": 102, "aBcd16b": 78}

_NAME = "libdnnl.so.3"
_Dims = c_int64 * 12


class OneDNNError(RuntimeError):
    """oneDNN refused a call."""


class _Argument(ctypes.Structure):
    _fields_ = (("index", c_int), ("memory", c_void_p))


class Call(ctypes.Structure):
    """A primitive with its arguments, as `run_onednn` in native/runtime.cpp reads it."""

    _fields_ = (
        ("execute", c_void_p),
        ("primitive", c_void_p),
        ("streams", c_void_p),
        ("num_arguments", ctypes.c_int32),
        ("arguments", c_void_p),
    )


@cache
def loaded() -> ctypes.CDLL | None:
    """The library, or None where its wheel is not installed."""
    folders = [Path(sysconfig.get_path("data")) / "lib", Path(sys.prefix) / "lib"]
    for folder in folders:
        if (folder / _NAME).exists():
            return ctypes.CDLL(str(folder / _NAME))
    return None


@cache
def openmp() -> ctypes.CDLL:
    """The OpenMP runtime that oneDNN and PyTorch share in this process."""
    return ctypes.CDLL("libgomp.so.1")


def version() -> str:
    """Of the library."""

    class Version(ctypes.Structure):
        _fields_ = (("major", c_int), ("minor", c_int), ("patch", c_int))

    found = loaded()
    assert found is not None
    found.dnnl_version.restype = POINTER(Version)
    record = found.dnnl_version().contents
    return f"{record.major}.{record.minor}.{record.patch}"


def dims(sizes: Sequence[int]) -> Any:
    """Sizes as oneDNN takes them."""
    return _Dims(*sizes)


class OneDNN:
    """What one engine made with oneDNN, and the end of it.

    Handles live until `close`. Primitives are made for one thread: how work is shared out is the
    engine's business.

    Args:
        num_workers: threads that will execute, a stream each.
    """

    def __init__(self, num_workers: int) -> None:
        found = loaded()
        if found is None:
            raise OneDNNError(f"{_NAME} is not installed (pip install onednn-cpu-gomp)")
        self._library = found
        self._ends: list[tuple[str, c_void_p]] = []
        self._kept: list[Any] = []
        self.engine = self._made("engine_create", "engine_destroy", c_int(1), c_size_t(0))
        streams = [
            self._made("stream_create", "stream_destroy", self.engine, c_int(1))
            for _ in range(num_workers)
        ]
        self._streams = (c_void_p * num_workers)(*(stream.value for stream in streams))
        self._execute = ctypes.cast(found.dnnl_primitive_execute, c_void_p).value

    def close(self) -> None:
        """Free everything."""
        for name, handle in reversed(self._ends):
            getattr(self._library, f"dnnl_{name}")(handle)
        self._ends.clear()
        self._kept.clear()

    def describe(self, dims: Sequence[int], tag: str) -> c_void_p:
        """A descriptor of a tensor in a layout."""
        return self._made(
            "memory_desc_create_with_tag",
            "memory_desc_destroy",
            c_int(len(dims)),
            _Dims(*dims),
            c_int(F32),
            c_int(_TAGS[tag]),
        )

    def memory(self, description: c_void_p, address: int) -> c_void_p:
        """A tensor at an address."""
        return self._made(
            "memory_create", "memory_destroy", description, self.engine, c_void_p(address)
        )

    def size(self, description: c_void_p) -> int:
        """Of a tensor [bytes]."""
        self._library.dnnl_memory_desc_get_size.restype = c_size_t
        return int(self._library.dnnl_memory_desc_get_size(description))

    def attributes(self, activation: str | None = None) -> c_void_p:
        """Of a primitive: its scratchpad is ours, and an activation may follow."""
        attributes = self._made("primitive_attr_create", "primitive_attr_destroy")
        self._check(
            "primitive_attr_set_scratchpad_mode",
            self._library.dnnl_primitive_attr_set_scratchpad_mode(
                attributes, c_int(_SCRATCHPAD_USER)
            ),
        )
        if activation is not None:
            operations = self._made("post_ops_create", "post_ops_destroy")
            kind, alpha, beta = ELTWISE[activation]
            self._check(
                "post_ops_append_eltwise",
                self._library.dnnl_post_ops_append_eltwise(
                    operations, c_int(kind), c_float(alpha), c_float(beta)
                ),
            )
            self._check(
                "primitive_attr_set_post_ops",
                self._library.dnnl_primitive_attr_set_post_ops(attributes, operations),
            )
        return attributes

    def primitive_description(self, kind: str, *arguments: Any) -> c_void_p:
        """Of a primitive of a kind such as `convolution_forward`, made for one thread.

        Raises:
            OneDNNError: the library has none for these arguments.
        """
        with one_thread():
            return self._made(f"{kind}_primitive_desc_create", "primitive_desc_destroy", *arguments)

    def weights_of(self, description: c_void_p) -> c_void_p:
        """The layout that a primitive wants its weights in."""
        return self._query(description, _QUERY_WEIGHTS)

    def scratchpad_of(self, description: c_void_p) -> c_void_p:
        """The scratchpad that a primitive wants."""
        return self._query(description, _QUERY_SCRATCHPAD)

    def implementation(self, description: c_void_p) -> str:
        """The name that oneDNN gives what it chose, such as `jit:avx2`."""
        text = c_char_p()
        status = self._library.dnnl_primitive_desc_query(
            description, c_int(_QUERY_IMPLEMENTATION), c_int(0), byref(text)
        )
        self._check("primitive_desc_query", status)
        return (text.value or b"").decode()

    def call(self, description: c_void_p, arguments: dict[int, c_void_p]) -> Call:
        """A primitive bound to its arguments."""
        with one_thread():
            primitive = self._made("primitive_create", "primitive_destroy", description)
        items = (_Argument * len(arguments))(
            *(_Argument(index, memory.value) for index, memory in arguments.items())
        )
        self._kept.append(items)
        return Call(
            self._execute,
            primitive.value,
            ctypes.addressof(self._streams),
            len(arguments),
            ctypes.addressof(items),
        )

    def reordered(self, tensor: torch.Tensor, tag: str, description: c_void_p) -> torch.Tensor:
        """A contiguous tensor in another layout, float32 `[bytes / 4]`."""
        source = self.describe(tensor.shape, tag)
        result = torch.zeros(self.size(description) // 4)
        reorder = self.primitive_description(
            "reorder", source, self.engine, description, self.engine, None
        )
        call = self.call(
            reorder,
            {
                SRC: self.memory(source, tensor.data_ptr()),
                DST: self.memory(description, result.data_ptr()),
            },
        )
        execute(call)
        return result

    def _query(self, description: c_void_p, what: int) -> c_void_p:
        self._library.dnnl_primitive_desc_query_md.restype = c_void_p
        return c_void_p(
            self._library.dnnl_primitive_desc_query_md(description, c_int(what), c_int(0))
        )

    def _made(self, create: str, destroy: str, *arguments: Any) -> c_void_p:
        handle = c_void_p()
        function: Callable[..., int] = getattr(self._library, f"dnnl_{create}")
        self._check(create, function(byref(handle), *arguments))
        self._ends.append((destroy, handle))
        return handle

    def _check(self, name: str, status: int) -> None:
        if status:
            raise OneDNNError(f"dnnl_{name} failed with status {status}")


def execute(call: Call) -> None:
    """Run a call in this thread, as native/runtime.cpp does."""
    found = loaded()
    assert found is not None
    streams = ctypes.cast(call.streams, POINTER(c_void_p))
    status = found.dnnl_primitive_execute(
        c_void_p(call.primitive),
        c_void_p(streams[0]),
        c_int(call.num_arguments),
        c_void_p(call.arguments),
    )
    if status:
        raise OneDNNError(f"dnnl_primitive_execute failed with status {status}")


class one_thread:  # reads as a statement
    """A context in which OpenMP uses one thread in the calling thread."""

    def __enter__(self) -> None:
        self._before = openmp().omp_get_max_threads()
        openmp().omp_set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        openmp().omp_set_num_threads(self._before)
