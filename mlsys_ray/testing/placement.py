"""Tests that every placement policy should pass."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from mlsys_ray.fireplace.machines import equal_machines
from mlsys_ray.fireplace.policies.base import Policy
from mlsys_ray.fireplace.simulator import simulate
from mlsys_ray.fireplace.trace import Trace
from mlsys_ray.fireplace.traces.microvm import microvm


class PlacementPolicyTests(ABC):
    """Subclass it as `class TestMyPolicy(PlacementPolicyTests)` and write `make`."""

    @abstractmethod
    def make(self, history: Trace) -> Policy:
        """The policy; what it learns of functions, it learns from the history."""

    def _trace(self, seed: int) -> Trace:
        return microvm(num_vms=1500, alive=150, num_functions=40, seed=seed)

    def test_admits(self) -> None:
        """Every VM is on a PM that had room for its request, or was refused as none had."""
        trace = self._trace(1)
        capacity = equal_machines(trace, 4)
        capacity[1:3] /= 2
        tight = capacity * 0.6 * trace.peak_request / capacity.sum(axis=0)
        tight = np.maximum(tight, 1.01 * trace.request.max(axis=0))
        placement = simulate(trace, tight, self.make(self._trace(0))).placement
        _check_admission(trace, tight, placement)
        assert (placement < 0).any(), "the test's machines must be too small for the trace"

    def test_same_seed_same_placement(self) -> None:
        """A seed says all."""
        trace = self._trace(1)
        capacity = equal_machines(trace, 4)
        first, second = (
            simulate(trace, capacity, self.make(self._trace(0)), seed=3).placement for _ in "ab"
        )
        np.testing.assert_array_equal(first, second)

    def test_does_not_see_the_future(self) -> None:
        """What VMs use or how long they live later changes no placement before."""
        trace = self._trace(1)
        capacity = equal_machines(trace, 4)
        now = trace.num_ticks // 2
        placement = simulate(trace, capacity, self.make(self._trace(0))).placement
        changed = simulate(_other_future(trace, now), capacity, self.make(self._trace(0))).placement
        before = trace.first_tick < now
        np.testing.assert_array_equal(placement[before], changed[before])


def _other_future(trace: Trace, now: int) -> Trace:
    """The trace with other use in ticks from `now` on, and all that live then living longer."""
    longer = np.where(trace.end >= now * trace.tick, trace.end + 5 * trace.tick, trace.end)
    counts = np.ceil(longer / trace.tick).astype(int) - trace.first_tick
    offset = np.concatenate([[0], np.cumsum(counts)])
    use = np.zeros((offset[-1], len(trace.resources)), dtype=np.float32)
    for vm in range(trace.num_vms):
        own = trace.use[trace.use_offset[vm] : trace.use_offset[vm + 1]]
        use[offset[vm] : offset[vm] + len(own)] = own
        later = offset[vm] + max(now - trace.first_tick[vm], 0)
        use[later : offset[vm + 1]] = trace.request[vm] * 0.9
    return trace.replaced(end=longer, use=use, use_offset=offset)


def _check_admission(trace: Trace, capacity: np.ndarray, placement: np.ndarray) -> None:
    for vm in range(trace.num_vms):
        moment = trace.arrival[vm]
        alive = (np.arange(trace.num_vms) < vm) & (trace.end > moment) & (placement >= 0)
        requested = np.zeros_like(capacity)
        np.add.at(requested, placement[alive], trace.request[alive])
        room = requested + trace.request[vm] <= capacity * (1 + 1e-6)
        if placement[vm] >= 0:
            assert room[placement[vm]].all(), f"PM {placement[vm]} had no room for VM {vm}"
        else:
            assert not room.all(axis=1).any(), f"VM {vm} was refused although there was room"
