"""What a placement policy is, and what one written in Python sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mlsys_ray.fireplace.simulator import (
    ARRIVAL,
    DEPARTURE,
    END,
    NOT_PLACED,
    TICK,
    State,
    admitting,
    next_event,
    open_tick,
    place,
    remove,
)
from mlsys_ray.fireplace.trace import Trace

Knowledge = Literal["present", "tuned", "learned"]
"""What a policy rests on: the present state alone; weights tuned on a training trace, too; what was
learned of functions from VMs that have ended, too."""


class Policy(ABC):
    """Chooses a PM for each VM as it arrives."""

    name: str
    knowledge: ClassVar[Knowledge] = "present"

    @abstractmethod
    def run(self, state: State, trace: Trace, seed: int) -> None:
        """Place all VMs of a trace, from an empty cluster on.

        Args:
            state: as `open_state` makes it; holds the placements and loads afterwards.
            trace: what arrives.
            seed: of the policy's own randomness.
        """


@dataclass(frozen=True, eq=False)
class Arrival:
    """The VM that arrives, as a policy may see it.

    Attributes:
        request: float64 `[D]`, in the resources' units.
        function: index of its function, -1 where unknown.
        rest_of_tick: the part of the present tick that is left, above 0 and at most 1.
        admitted: bool `[P]`, the PMs that it fits on; at least one.
    """

    request: np.ndarray
    function: int
    rest_of_tick: float
    admitted: np.ndarray


class Cluster:
    """The PMs, as a policy may see them: read-only arrays, in the resources' units.

    Each is float64 `[P, D]` and described in `simulator.State`.
    """

    def __init__(self, state: State) -> None:
        for name in ("capacity", "telemetry", "average", "requested", "since", "departed"):
            view = getattr(state, name).view()
            view.setflags(write=False)
            setattr(self, name, view)

    capacity: np.ndarray
    telemetry: np.ndarray
    average: np.ndarray
    requested: np.ndarray
    since: np.ndarray
    departed: np.ndarray

    @property
    def num_pms(self) -> int:
        """Number of machines P."""
        return len(self.capacity)


class OnlinePolicy(Policy):
    """A policy written in Python: give `place`."""

    @abstractmethod
    def place(self, cluster: Cluster, vm: Arrival) -> int:
        """Choose one of the PMs that admit the VM.

        Returns:
            The index of a PM, 0 to P - 1.
        """

    def begin(self, rng: np.random.Generator) -> None:
        """Called before the first arrival of a run."""

    def run(self, state: State, trace: Trace, seed: int) -> None:
        """Place all VMs; see `Policy.run`.

        Raises:
            ValueError: `place` returned a PM that does not exist or does not admit the VM.
        """
        self.begin(np.random.default_rng(seed))
        cluster = Cluster(state)
        while (vm := advance(state, trace)) is not None:
            arrival = arrival_of(state, trace, vm)
            pm = NOT_PLACED
            if arrival.admitted.any():
                pm = int(self.place(cluster, arrival))
                if not (0 <= pm < cluster.num_pms and arrival.admitted[pm]):
                    raise ValueError(
                        f"{self.name} placed VM {vm} on PM {pm};"
                        f" it is admitted on {np.flatnonzero(arrival.admitted).tolist()}"
                    )
            place(state, trace.arrays, vm, pm)


def advance(state: State, trace: Trace) -> int | None:
    """Let time go on to the next arrival; its VM, None at the end of the trace."""
    arrays = trace.arrays
    while True:
        kind, index = next_event(state, arrays)
        if kind == ARRIVAL:
            return int(index)
        if kind == END:
            return None
        if kind == TICK:
            open_tick(state, arrays)
        if kind == DEPARTURE:
            remove(state, arrays, index)


def arrival_of(state: State, trace: Trace, vm: int) -> Arrival:
    """What a policy may see of the VM that has just arrived."""
    return Arrival(
        request=trace.request[vm],
        function=int(trace.function[vm]),
        rest_of_tick=float(state.clock[0] + 1 - trace.arrival[vm] / trace.tick),
        admitted=admitting(state, trace.arrays, vm),
    )
