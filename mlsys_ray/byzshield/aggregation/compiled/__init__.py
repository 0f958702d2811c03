"""Compiled kernels of the rules: numba shells around vector code built from sorting networks.

numba compiles nothing at import; a kernel is compiled once for each number of inputs, in about a
second, and kept on disk.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType


@cache
def load_kernels() -> ModuleType | None:
    """The module `kernels`, imported late because numba is slow to import; None without numba."""
    try:
        from mlsys_ray.byzshield.aggregation.compiled import kernels
    except ImportError:
        return None
    return kernels


__all__ = ["load_kernels"]
