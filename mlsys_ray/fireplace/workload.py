"""Workloads: traces of three segments that never overlap, and the PMs they are placed on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from mlsys_ray.fireplace.config import WorkloadConfig
from mlsys_ray.fireplace.machines import equal_machines
from mlsys_ray.fireplace.metrics import score
from mlsys_ray.fireplace.policies.base import Policy
from mlsys_ray.fireplace.simulator import Run, State, open_state, simulate
from mlsys_ray.fireplace.trace import Trace
from mlsys_ray.fireplace.traces import read_trace
from mlsys_ray.fireplace.traces.composite import openb_planetlab, overlay
from mlsys_ray.fireplace.traces.microvm import LIVES, microvm

Segment = Literal["train", "validation", "test"]
COMPOSITE = "openb+planetlab"
NAMED_TRACES = (*LIVES, COMPOSITE)
PARTS_OF_A_FILE = {"train": (0.0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1.0)}
"""The part of the VMs of a file, in order of arrival, that each segment is made of."""
_SEEDS_OF_A_SEGMENT = 1_000_000


def make_trace(
    config: WorkloadConfig, segment: Segment, seed: int, num_vms: int | None = None
) -> Trace:
    """A trace of a segment.

    Args:
        config: the workload.
        segment: train, validation or test. Generated segments differ in their seeds, segments of
            recorded traces in their time.
        seed: of the trace, from 0 on.
        num_vms: N; None for the number of the workload.

    Raises:
        ValueError: the seed is out of range, or the trace is unknown or damaged.
    """
    if not 0 <= seed < _SEEDS_OF_A_SEGMENT:
        raise ValueError(f"seed is {seed}; it must be in 0 .. {_SEEDS_OF_A_SEGMENT - 1}")
    trace = _trace(config, segment, seed, num_vms or config.num_vms)
    return trace.without_functions() if config.without_functions else trace


def _trace(config: WorkloadConfig, segment: Segment, seed: int, num_vms: int) -> Trace:
    if config.trace in LIVES:
        own_seed = seed + _SEEDS_OF_A_SEGMENT * get_args(Segment).index(segment)
        return microvm(law=config.trace, num_vms=num_vms, alive=config.alive, seed=own_seed)
    if config.trace == COMPOSITE:
        return openb_planetlab(
            segment, num_vms=num_vms, alive=config.alive, seed=seed, data_dir=config.data_dir
        )
    if not Path(config.trace).exists():
        raise ValueError(
            f"trace is {config.trace!r}; accepted: {', '.join(NAMED_TRACES)} or a file"
        )
    recorded = read_trace(Path(config.trace)).trace
    low, high = (int(part * recorded.num_vms) for part in PARTS_OF_A_FILE[segment])
    part = recorded.slice(low, high)
    return overlay(part, num_vms=num_vms, alive=config.alive, seed=seed)


def make_workload(
    config: WorkloadConfig, segment: Segment, seed: int, num_vms: int | None = None
) -> Workload:
    """A trace of a segment and the PMs it is placed on; see `make_trace`."""
    trace = make_trace(config, segment, seed, num_vms)
    return Workload(
        trace,
        equal_machines(trace, config.num_pms),
        telemetry_delay=config.telemetry_delay,
        overcommit=config.overcommit,
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

    def open_state(self) -> State:
        """The empty cluster that the trace is placed on."""
        return open_state(
            self.trace,
            self.capacity,
            telemetry_delay=self.telemetry_delay,
            overcommit=self.overcommit,
        )

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
