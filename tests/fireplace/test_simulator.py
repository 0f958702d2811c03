"""The simulator against a slow one that looks at every VM at every moment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys_ray.fireplace.policies.base import OnlinePolicy
from mlsys_ray.fireplace.simulator import AVERAGE_WEIGHT, simulate
from mlsys_ray.fireplace.traces.microvm import microvm
from mlsys_ray.testing.traces import traces


class Watched(OnlinePolicy):
    """Places at random and keeps what it saw."""

    name = "watched"

    def begin(self, rng):
        self.rng, self.seen = rng, []

    def place(self, cluster, vm):
        names = ("telemetry", "average", "requested", "since", "departed")
        self.seen.append({name: getattr(cluster, name).copy() for name in names})
        self.seen[-1]["rest"] = vm.rest_of_tick
        return int(self.rng.choice(np.flatnonzero(vm.admitted)))


def slow_load(trace, placement, num_pms):
    load = np.zeros((trace.num_ticks, num_pms, len(trace.resources)))
    for vm, pm in enumerate(placement):
        series = trace.use[trace.use_offset[vm] : trace.use_offset[vm + 1]].astype(float)
        for step, use in enumerate(series):
            tick = int(trace.arrival[vm] // trace.tick) + step
            if pm >= 0 and tick < trace.num_ticks:
                load[tick, pm] += use
    return load


def slow_view(trace, placement, load, vm, delay):
    """What a policy should see when a VM arrives; VMs before it in the list have been placed."""
    moment, tick = trace.arrival[vm], int(trace.arrival[vm] // trace.tick)
    covered = tick - delay
    pms = load.shape[1:]
    view = {name: np.zeros(pms) for name in ("requested", "since", "departed", "average")}
    view["telemetry"] = load[covered] if covered >= 0 else np.zeros(pms)
    for past in range(covered + 1):
        weight = AVERAGE_WEIGHT if past else 1.0
        view["average"] = view["average"] + weight * (load[past] - view["average"])
    for other in range(vm):
        pm = placement[other]
        if pm < 0:
            continue
        seen_by_telemetry = int(trace.arrival[other] // trace.tick) <= covered
        if trace.end[other] > moment:
            view["requested"][pm] += trace.request[other]
            if not seen_by_telemetry:
                view["since"][pm] += trace.request[other]
        elif seen_by_telemetry and trace.end[other] >= (covered + 1) * trace.tick:
            view["departed"][pm] += trace.request[other]
    return view


@given(traces(), st.integers(1, 3), st.integers(1, 3), st.integers(0, 5))
def test_every_sum_equals_the_slow_one(trace, num_pms, delay, seed):
    capacity = np.arange(1.0, num_pms + 1)[:, None] * [6.0, 9.0]
    policy = Watched()
    run = simulate(trace, capacity, policy, telemetry_delay=delay, seed=seed)
    load = slow_load(trace, run.placement, num_pms)
    np.testing.assert_allclose(run.load, load / capacity, atol=1e-9)
    decided = iter(policy.seen)
    for vm in range(trace.num_vms):
        view = slow_view(trace, run.placement, load, vm, delay)
        room = view["requested"] + trace.request[vm] <= capacity + 1e-9
        assert (run.placement[vm] >= 0) == room.all(axis=1).any()
        if run.placement[vm] < 0:
            continue
        seen = next(decided)
        assert room[run.placement[vm]].all()
        for name, expected in view.items():
            np.testing.assert_allclose(seen[name], expected, atol=1e-9, err_msg=name)
        assert 0 < seen["rest"] <= 1


def test_overcommit_admits_more():
    trace = microvm(num_vms=500, alive=200, num_functions=20)
    capacity = np.tile(trace.peak_request / 4, (3, 1))
    refused = [
        (simulate(trace, capacity, Watched(), overcommit=factor).placement < 0).sum()
        for factor in (1.0, 1.5)
    ]
    assert refused[0] > refused[1] == 0


class Wrong(OnlinePolicy):
    name = "wrong"

    def place(self, cluster, vm):
        return cluster.num_pms


class Meddling(OnlinePolicy):
    name = "meddling"

    def place(self, cluster, vm):
        cluster.telemetry[0] = 0
        return 0


def test_refuses_a_pm_that_does_not_exist_and_keeps_its_state():
    trace = microvm(num_vms=20, alive=5, num_functions=5)
    capacity = np.tile(trace.peak_request, (2, 1))
    with pytest.raises(ValueError, match=r"wrong placed VM 0 on PM 2; it is admitted on \[0, 1\]"):
        simulate(trace, capacity, Wrong())
    with pytest.raises(ValueError, match="read-only"):
        simulate(trace, capacity, Meddling())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"telemetry_delay": 0}, "telemetry_delay is 0"),
        ({"overcommit": 0.0}, r"overcommit is 0\.0"),
    ],
)
def test_refuses_numbers_out_of_range(options, message):
    trace = microvm(num_vms=20, alive=5, num_functions=5)
    with pytest.raises(ValueError, match=message):
        simulate(trace, np.ones((2, 2)), Watched(), **options)
    with pytest.raises(ValueError, match="capacity"):
        simulate(trace, np.zeros((2, 2)), Watched())
    with pytest.raises(ValueError, match="shape"):
        simulate(trace, np.ones((2, 3)), Watched())
