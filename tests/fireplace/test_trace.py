import numpy as np
import pytest
from hypothesis import given

from mlsys_ray.fireplace.trace import Trace, presence
from mlsys_ray.testing.traces import traces


def make(**changes):
    fields = {
        "name": "made",
        "tick": 10.0,
        "resources": ("cpu",),
        "arrival": [0.0, 4.0, 25.0],
        "end": [12.0, 10.0, 31.0],
        "request": [[1.0], [2.0], [4.0]],
        "function": [0, 1, -1],
        "functions": ("a", "b"),
        "use": np.ones((5, 1)),
        "use_offset": [0, 2, 3, 5],
    }
    return Trace(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tick": 0.0}, "tick is 0.0 s"),
        ({"arrival": [0.0, 26.0, 25.0]}, "VM 2 arrives before"),
        ({"end": [12.0, 4.0, 31.0]}, "VM 1 ends no later"),
        ({"end": [12.0, np.nan, 31.0]}, "VM 1 ends no later"),
        ({"request": [[1.0], [0.0], [4.0]]}, "VM 1 requests"),
        ({"request": [[1.0, 2.0]] * 3}, "request has the shape"),
        ({"function": [0, 2, -1]}, "VM 1 has a function outside -1..1"),
        ({"end": [12.0, 11.0, 31.0]}, "VM 1 has a use series"),
        ({"use": -np.ones((5, 1))}, "use must be finite"),
        ({"use": np.ones((4, 1))}, "use has the shape"),
    ],
)
def test_refuses_what_is_no_trace(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_counts():
    trace = make()
    assert trace.num_ticks == 3
    assert trace.first_tick.tolist() == [0, 0, 2]
    np.testing.assert_allclose(trace.alive, [(10 + 6) / 10, 0.2, 0.5])
    assert trace.peak_request.tolist() == [4.0]


def test_arrays_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        make().use[0] = 2


@given(traces())
def test_presence_adds_up_to_the_life(trace):
    offset, share = presence(trace.arrival, trace.end, trace.tick)
    np.testing.assert_array_equal(offset, trace.use_offset)
    lived = np.add.reduceat(share, offset[:-1]) * trace.tick
    np.testing.assert_allclose(lived, trace.end - trace.arrival)
    assert (share > 0).all()
    assert (share <= 1 + 1e-12).all()


@given(traces())
def test_alive_against_a_count_by_moments(trace):
    middle = (np.arange(trace.num_ticks)[:, None] + (np.arange(40) + 0.5) / 40) * trace.tick
    alive = (trace.arrival[:, None, None] <= middle) & (middle < trace.end[:, None, None])
    np.testing.assert_allclose(trace.alive, alive.sum(axis=0).mean(axis=1), atol=1e-9)


def test_without_functions_sizes_are_the_functions():
    blind = make(request=[[1.0], [1.01], [4.0]]).without_functions()
    assert blind.function.tolist() == [0, 0, 1]
    assert blind.functions == ("size 2^0", "size 2^2")
