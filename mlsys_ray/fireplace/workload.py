"""Workloads: traces of three segments that never overlap, and the PMs they are placed on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from mlsys_ray.fireplace.machines import equal_machines
from mlsys_ray.fireplace.metrics import score
from mlsys_ray.fireplace.policies.base import Policy
from mlsys_ray.fireplace.simulator import Run, simulate
from mlsys_ray.fireplace.trace import Trace
from mlsys_ray.fireplace.traces import read_trace
from mlsys_ray.fireplace.traces.composite import openb_planetlab, overlay
from mlsys_ray.fireplace.traces.microvm import LIVES, microvm

Segment = Literal["train", "validation", "test"]
COMPOSITE = "openb+planetlab"
PARTS_OF_A_FILE = {"train": (0.0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1.0)}
"""The part of the VMs of a file, in order of arrival, that each segment is made of."""
_SEEDS_OF_A_SEGMENT = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadConfig:
    """What is placed on what.

    Raises:
        ValueError: naming the field, its value and what is accepted.
    """

    trace: str = "microvm"
    """Trace: microvm (sandboxes that live for minutes), microvm-short (one execution each),
    openb+planetlab (real arrivals, lives and use), or a file that `mlsys-ray fireplace trace`
    reads."""
    num_vms: int = 100_000
    """VMs of a test trace [VMs]."""
    num_pms: int = 50
    """Physical machines P [machines]."""
    alive_per_pm: float = 45.0
    """Mean number of VMs alive on a PM, which sets the rate of arrivals [VMs]."""
    without_functions: bool = False
    """Hide which function a VM runs: only its size is known."""
    telemetry_delay: int = 1
    """Age of the newest telemetry [ticks]."""
    overcommit: float = 1.0
    """The part of its capacity that a PM's requests may take in all [ratio]."""
    data_dir: Path | None = None
    """Folder with recorded traces; searched before MLSYS_RAY_DATA and the user cache."""

    def __post_init__(self) -> None:
        for name in ("num_vms", "num_pms", "telemetry_delay"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("alive_per_pm", "overcommit"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")

    @property
    def alive(self) -> float:
        """Mean number of VMs alive in the cluster."""
        return self.alive_per_pm * self.num_pms

    def segment(self, segment: Segment, seed: int, num_vms: int | None = None) -> Trace:
        """A trace of a segment.

        Args:
            segment: train, validation or test. Generated segments differ in their seeds, segments
                of recorded traces in their time.
            seed: of the trace, from 0 on.
            num_vms: N; None for the number of the workload.

        Raises:
            ValueError: the seed is out of range, or the trace is unknown or damaged.
        """
        if not 0 <= seed < _SEEDS_OF_A_SEGMENT:
            raise ValueError(f"seed is {seed}; it must be in 0 .. {_SEEDS_OF_A_SEGMENT - 1}")
        trace = self._trace(segment, seed, num_vms or self.num_vms)
        return trace.without_functions() if self.without_functions else trace

    def _trace(self, segment: Segment, seed: int, num_vms: int) -> Trace:
        own_seed = seed + _SEEDS_OF_A_SEGMENT * get_args(Segment).index(segment)
        if self.trace in LIVES:
            return microvm(law=self.trace, num_vms=num_vms, alive=self.alive, seed=own_seed)
        if self.trace == COMPOSITE:
            return openb_planetlab(
                segment, num_vms=num_vms, alive=self.alive, seed=seed, data_dir=self.data_dir
            )
        if not Path(self.trace).exists():
            raise ValueError(
                f"trace is {self.trace!r}; accepted: {', '.join([*LIVES, COMPOSITE])} or a file"
            )
        recorded = read_trace(Path(self.trace)).trace
        low, high = (int(part * recorded.num_vms) for part in PARTS_OF_A_FILE[segment])
        part = recorded.slice(low, high)
        return overlay(part, num_vms=num_vms, alive=self.alive, seed=seed)

    def workload(self, segment: Segment, seed: int, num_vms: int | None = None) -> Workload:
        """A trace of a segment and the PMs it is placed on; see `segment`."""
        trace = self.segment(segment, seed, num_vms)
        return Workload(
            trace,
            equal_machines(trace, self.num_pms),
            telemetry_delay=self.telemetry_delay,
            overcommit=self.overcommit,
        )


@dataclass(frozen=True, eq=False)
class Workload:
    """A trace and the PMs it is placed on.

    Attributes:
        trace: N VMs.
        capacity: float64 `[P, D]`.
        telemetry_delay: age of the newest telemetry [ticks].
        overcommit: the part of a PM's capacity that requests may take.
    """

    trace: Trace
    capacity: np.ndarray
    telemetry_delay: int = 1
    overcommit: float = 1.0

    def run(self, policy: Policy, seed: int = 0) -> Run:
        """Place the trace."""
        return simulate(
            self.trace,
            self.capacity,
            policy,
            telemetry_delay=self.telemetry_delay,
            overcommit=self.overcommit,
            seed=seed,
        )

    def par(self, policy: Policy) -> float:
        """Mean peak-to-average ratio of a policy; see `metrics.score`."""
        return score(self.run(policy).load).par
