"""Nothing that a schedule does ends more than its own measurement."""

import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from mlsys_ray.value_learning.measuring import Limits, Measurer
from mlsys_ray.value_learning.operators import Conv2d, Softmax, chain
from mlsys_ray.value_learning.space import Schedule, initial, legal_actions, schedule_of

PIPELINE = chain((16, 12, 12, 1), Conv2d(out_channels=16, kernel=3, padding=1))


@pytest.fixture(scope="module")
def measurer(host):
    with Measurer(host, Limits(seconds=60)) as measurer:
        yield measurer


@pytest.fixture
def limited(measurer):
    def use(**changes):
        measurer.limits = replace(measurer.limits, **changes)
        return measurer

    before = measurer.limits
    yield use
    measurer.limits = before


def hanging(pipeline, host, random_state):
    """A schedule that writes out every point of the result: Halide compiles it for seconds."""
    schedule = schedule_of(random_state(pipeline, host, seed=1))
    extents = pipeline.output.extents
    first = replace(schedule.actions[0], tile=extents, block=extents, order=(), vector=1)
    sums = replace(
        schedule.actions[1], compute="root", site=None, store=None, tile=extents, block=extents,
        order=(), vector=1, unroll=0, accumulators=0,
    )  # fmt: skip
    pad = initial(pipeline, host).take(first).take(sums)
    return Schedule(host, (first, sums, legal_actions(pad)[0]))


def good(measurer, random_state):
    schedule = schedule_of(random_state(PIPELINE, measurer.target, seed=0))
    return measurer.measure(PIPELINE, schedule)


def test_a_good_schedule(measurer, random_state):
    found = good(measurer, random_state)
    assert found.status == "ok"
    assert 0 < found.min_ms <= found.median_ms
    assert found.repetitions >= 3
    assert found.error < 1e-4


def test_a_hanging_compilation(limited, host, random_state):
    measurer = limited(seconds=0.5)
    start = time.monotonic()
    found = measurer.measure(PIPELINE, hanging(PIPELINE, host, random_state))
    assert found.status == "timeout"
    assert time.monotonic() - start < 30
    assert good(limited(seconds=60), random_state).status == "ok"


def test_a_process_that_is_killed(measurer, host, random_state):
    assert good(measurer, random_state).status == "ok"
    killer = threading.Timer(0.5, os.kill, (measurer.process_id, signal.SIGKILL))
    killer.start()
    found = measurer.measure(PIPELINE, hanging(PIPELINE, host, random_state))
    killer.join()
    assert found.status == "crash"
    assert "-9" in found.error_message
    assert good(measurer, random_state).status == "ok"


def test_a_wrong_result(limited, host, random_state):
    softmax = chain((64, 8), Softmax(fast=True))
    measurer = limited(tolerance=1e-9)
    found = measurer.measure(softmax, schedule_of(random_state(softmax, host, seed=0)))
    assert found.status == "wrong"
    assert 1e-9 < found.error < 1e-3


def test_a_schedule_that_halide_refuses(measurer, host, random_state):
    first, *others = schedule_of(random_state(PIPELINE, host, seed=0)).actions
    wider = replace(first, tile=(32, 1, 1, 1), vector=8)  # than the 16 channels
    found = measurer.measure(PIPELINE, Schedule(host, (wider, *others)))
    assert found.status == "refused"
    assert "HalideError" in found.error_message


def test_old_processes_are_replaced(host, random_state):
    with Measurer(host, Limits(seconds=60), recycle_after=1) as measurer:
        good(measurer, random_state)
        first = measurer.process_id
        good(measurer, random_state)
        assert measurer.process_id != first
    assert measurer.process_id is None
