"""Machines that schedules are made for: space and features are relative to them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_CACHES = (32 * 1024, 512 * 1024, 8 * 1024 * 1024)
"""Used where the operating system names none: bytes of L1, L2, L3."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A machine.

    Attributes:
        halide: Halide's target string.
        lanes: float32 values in a vector register.
        registers: vector registers of a core.
        caches: bytes of the first-level data cache and the second-level cache of a core, and of the
            last-level cache.
        cores: threads that a kernel runs on.
    """

    halide: str
    lanes: int
    registers: int
    caches: tuple[int, int, int]
    cores: int

    def __post_init__(self) -> None:
        for name in ("lanes", "registers", "cores"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if self.lanes & (self.lanes - 1):
            raise ValueError(f"lanes is {self.lanes}, must be a power of two")

    @property
    def key(self) -> str:
        """What measurements depend on, in one line."""
        caches = "/".join(str(size // 1024) for size in self.caches)
        return (
            f"{self.halide} lanes={self.lanes} registers={self.registers} KiB={caches}"
            f" cores={self.cores}"
        )


def host_target(cores: int | None = None, halide: str | None = None) -> Target:
    """This machine.

    Args:
        cores: threads for a kernel; all that this process may use by default.
        halide: Halide's target string, for instance without a feature that this machine has; all
            of its features by default.

    Raises:
        ValueError: Halide knows no such target.
    """
    import halide as hl

    try:
        target = hl.Target(halide) if halide else hl.get_host_target()
    except hl.HalideError as error:
        raise ValueError(f"Halide knows no target {halide!r}: {error}") from error
    return Target(
        halide=target.to_string(),
        lanes=target.natural_vector_size(hl.Float(32)),
        registers=_vector_registers(target.to_string()),
        caches=_cache_sizes(),
        cores=cores or len(os.sched_getaffinity(0)),
    )


def _vector_registers(halide: str) -> int:
    """16 in x86 without AVX-512, 32 with it and in ARM's 64-bit architecture and others."""
    few = halide.startswith(("x86", "arm-32")) and "avx512" not in halide
    return 16 if few else 32


def _cache_sizes() -> tuple[int, int, int]:
    """Bytes of L1 data, L2 and L3 of the first core, as Linux tells them."""
    sizes = list(DEFAULT_CACHES)
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        level = int((index / "level").read_text())
        if (index / "type").read_text().strip() == "Instruction" or level > 3:
            continue
        size = (index / "size").read_text().strip()
        sizes[level - 1] = int(size[:-1]) * {"K": 1024, "M": 1024**2}[size[-1]]
    return (sizes[0], sizes[1], sizes[2])
