from __future__ import annotations

import time
from threading import Event, Thread

import pytest

from mlsys_ray.value_learning.baselines.autoscheduler import Autoscheduler, autoschedulers
from mlsys_ray.value_learning.baselines.compare import come_to_rest, compare
from mlsys_ray.value_learning.baselines.fixed import FixedSchedule
from mlsys_ray.value_learning.baselines.torch import Torch
from mlsys_ray.value_learning.operators import Conv2d, MatMul, Pipeline, chain
from mlsys_ray.value_learning.search.base import complete_plainly
from mlsys_ray.value_learning.space import initial, legal_actions, schedule_of
from mlsys_ray.value_learning.target import host_target

PIPELINES = {
    "conv": chain(
        (16, 10, 8, 1),
        Conv2d(out_channels=24, kernel=3, padding=1, stride=2, activation="relu"),
    ),
    "depthwise": chain(
        (16, 9, 9, 1), Conv2d(out_channels=16, kernel=3, padding=1, groups=16, activation="relu6")
    ),
    "matmul": chain((32, 20), MatMul(out_features=24)),
}


def plain(pipeline: Pipeline) -> FixedSchedule:
    state = complete_plainly(initial(pipeline, host_target(2)), legal_actions)
    assert state is not None
    return FixedSchedule("plain", schedule_of(state))


@pytest.mark.slow
def test_whatever_a_contender_does_is_a_row() -> None:
    from contenders import Misbehaving

    ways = ["dies", "hangs", "raises", "wrong", "wrong in one point", "dies later", "good"]
    pipeline = PIPELINES["matmul"]
    expected = pipeline.reference(pipeline.example())
    rows = compare(
        pipeline,
        host_target(2),
        [Misbehaving(way, expected) for way in ways],
        rounds=3,
        burst_seconds=0.005,
        limit=15,
    )
    assert [row.name for row in rows] == ways
    failed = {row.name: row.failed for row in rows}
    assert "ended with -6" in failed["dies"]
    assert "in time" in failed["hangs"]
    assert "out of luck" in failed["raises"]
    assert "differs from PyTorch" in failed["wrong"]
    assert "differs from PyTorch" in failed["wrong in one point"]
    assert "ended with -6" in failed["dies later"]
    good = rows[-1]
    assert not good.failed
    assert 1.0 <= good.min_ms <= good.median_ms
    assert good.runs >= 9
    assert good.search_seconds == 0.25


def test_a_turn_ends_when_no_thread_computes_any_more() -> None:
    stop = Event()

    def spin(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not stop.is_set():
            pass

    thread = Thread(target=spin, args=(0.3,))
    thread.start()
    come_to_rest(30)
    assert not thread.is_alive()
    for_ever = Thread(target=spin, args=(60,))
    for_ever.start()
    come_to_rest(0.05)
    assert for_ever.is_alive()
    stop.set()
    for_ever.join()


@pytest.mark.slow
@pytest.mark.parametrize("name", PIPELINES)
def test_every_peer_computes_what_pytorch_does(name: str) -> None:
    """On both layouts; Halide's autoschedulers may fail on a layer, but must not be wrong."""
    pipeline = PIPELINES[name]
    contenders = [Torch(), plain(pipeline), *autoschedulers()]
    rows = {r.name: r for r in compare(pipeline, host_target(2), contenders, rounds=1)}
    planar = {"failed: no images"} if name == "matmul" else set()
    for title, row in rows.items():
        if planar and title.endswith("planar"):
            assert "no images" in row.failed
        else:
            assert row.failed == ""
            assert row.error < 1e-4
    assert len(rows) == 8


def test_weights_that_do_not_exist_are_a_row_and_not_random_ones() -> None:
    """The plugin itself would go on with random weights."""
    peer = Autoscheduler(
        plugin="Adams2019", title="adams", parameters=(("weights_path", "/none/x.weights"),)
    )
    (row,) = compare(PIPELINES["matmul"], host_target(2), [peer], rounds=1)
    assert "do not exist" in row.failed
