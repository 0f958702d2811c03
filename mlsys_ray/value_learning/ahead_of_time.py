"""Schedules as shared objects that other code calls, without Python and without Halide."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from ctypes import c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from pathlib import Path

from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.space import Schedule

ENTRY = "call_kernel"
"""Of a shared object: `void call_kernel(const Call*, int, void* scratch)`."""
MAX_ARGUMENTS = 32
"""Of a kernel, the result counted."""
_SOURCE = Path(__file__).parent / "native" / "entry.c"
_FEATURES = "no_runtime-no_asserts-no_bounds_query-user_context"


class Call(ctypes.Structure):
    """What the entry of a shared object is given; see native/entry.c."""

    _fields_ = (
        ("scratch_bytes", c_int64),
        ("num_arguments", c_int32),
        ("arguments", c_void_p),
    )


class _Dimension(ctypes.Structure):
    """`halide_dimension_t`."""

    _fields_ = (("min", c_int32), ("extent", c_int32), ("stride", c_int32), ("flags", c_uint32))


class Buffer(ctypes.Structure):
    """`halide_buffer_t` of float32 values."""

    _fields_ = (
        ("device", c_uint64),
        ("device_interface", c_void_p),
        ("host", c_void_p),
        ("flags", c_uint64),
        ("type_code", c_uint8),
        ("type_bits", c_uint8),
        ("type_lanes", c_uint16),
        ("dimensions", c_int32),
        ("dim", c_void_p),
        ("padding", c_void_p),
    )


def buffer(
    address: int,
    extents: Sequence[int],
    begin: Sequence[int] | None = None,
    part: Sequence[int] | None = None,
) -> Buffer:
    """A dense array, or a part of one.

    Args:
        address: of the whole array.
        extents: of the whole array, innermost in memory first.
        begin: first point of the part; the origin by default.
        part: extents of the part; the whole array by default.
    """
    begin, part = begin or (0,) * len(extents), part or extents
    dimensions = (_Dimension * len(extents))()
    stride, offset = 1, 0
    for place, extent in enumerate(extents):
        dimensions[place] = _Dimension(begin[place], part[place], stride, 0)
        offset += begin[place] * stride
        stride *= extent
    made = Buffer(
        host=address + 4 * offset,
        type_code=2,
        type_bits=32,
        type_lanes=1,
        dimensions=len(extents),
        dim=ctypes.addressof(dimensions),
    )
    made.kept = dimensions
    return made


def call(buffers: Sequence[Buffer], scratch_bytes: int) -> Call:
    """A call of a kernel, which may be made any number of times.

    Args:
        buffers: of all arguments in the order of `Pipeline.arguments`, and of the result.
        scratch_bytes: of the memory that is given with each call; more is taken from the system.
    """
    assert len(buffers) <= MAX_ARGUMENTS
    pointers = (c_void_p * len(buffers))(*map(ctypes.addressof, buffers))
    made = Call(scratch_bytes, len(buffers), ctypes.addressof(pointers))
    made.kept = (pointers, *buffers)
    return made


def compiler() -> str | None:
    """The C or C++ compiler that links kernels: `CC`, or cc."""
    return shutil.which(os.environ.get("CC") or "cc")


def compile_shared(
    pipeline: Pipeline, schedule: Schedule, path: Path, part: Pipeline | None = None
) -> None:
    """Compile a pipeline to a shared object with the entry `ENTRY`.

    Args:
        pipeline: what is computed.
        schedule: of a target of one core: a call is of one thread.
        path: of the file that is written.
        part: a smaller pipeline of the same stages, which the schedule is for; a call then computes
            as much as its result, at any place of the whole one.

    Raises:
        halide.HalideError: Halide refuses the schedule.
        RuntimeError: there is no C compiler, or it fails.
    """
    import halide as hl

    from mlsys_ray.value_learning.lowering import apply, build

    linker = compiler()
    if linker is None:
        raise RuntimeError("no C compiler (CC, or cc) to link a kernel with")
    part = part or pipeline
    built = build(pipeline, part.output.extents)
    apply(built, schedule.directives(part))
    target = hl.Target(f"{schedule.target.halide}-{_FEATURES}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        made, result = Path(name) / "kernel.o", Path(name) / path.name
        built.output.compile_to_object(str(made), built.arguments, "kernel", target)
        command = [
            *(linker, "-O2", "-shared", "-fPIC", "-Wl,-Bsymbolic"),
            *("-o", str(result), str(made), str(_SOURCE)),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
        result.replace(path)
