import numpy as np
import pytest
from hypothesis import given, settings

from mlsys_ray.data import DataNotFoundError
from mlsys_ray.fireplace.traces import read_trace
from mlsys_ray.fireplace.traces.composite import LARGEST_REQUEST, openb_planetlab, overlay
from mlsys_ray.fireplace.traces.microvm import microvm
from mlsys_ray.fireplace.traces.table import write_table
from mlsys_ray.testing.traces import traces

ARRAYS = ("arrival", "end", "request", "function", "use", "use_offset")


@settings(max_examples=30, deadline=None)
@given(trace=traces())
def test_round_trip_is_exact(trace, tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "trace.parquet"
    write_table(trace, path)
    again = read_trace(path).trace
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(trace, name))
    for name in ("name", "tick", "resources", "functions"):
        assert getattr(again, name) == getattr(trace, name)


def test_csv_of_a_user(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "arrival,end,function,request_cpu,request_disk,use_cpu\n"
        "5,25,b,2,10,0.5\n0,10,,1,4,0.25\n3,8,a,1,4,0\n"
    )
    trace = read_trace(path).trace
    assert trace.resources == ("cpu", "disk")
    assert trace.arrival.tolist() == [0, 3, 5]
    assert trace.functions == ("a", "b")
    assert trace.function.tolist() == [-1, 0, 1]
    np.testing.assert_allclose(trace.use[0], [0.25, 0.6 * 4])
    np.testing.assert_allclose(trace.use[-3:, 0], [0.25, 0.5, 0.25])
    path.write_text("arrival,end,request_cpu\n5,4,1\n1,,2\n1,2,zero\n")
    with pytest.raises(ValueError, match="has 3 broken rows") as error:
        read_trace(path)
    assert "end is not a number: 1 (lines 3)" in str(error.value)
    assert "end is not after arrival: 1 (lines 2)" in str(error.value)
    assert "request_cpu is not a number: 1 (lines 4)" in str(error.value)
    path.write_text("arrival,end\n0,1\n")
    with pytest.raises(ValueError, match="has no column request_<resource>"):
        read_trace(path)


def test_another_tick_and_damaged_files_are_refused(tmp_path):
    path = tmp_path / "trace.parquet"
    write_table(microvm(num_vms=50, alive=10, num_functions=5), path)
    with pytest.raises(ValueError, match=r"tick is 7\.0 s; the use series of .* has 10\.0 s"):
        read_trace(path, tick=7.0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="is no parquet file"):
        read_trace(path)


def test_overlay_keeps_lives_and_use():
    trace = microvm(num_vms=400, alive=40, num_functions=20)
    large = overlay(trace, num_vms=3000, alive=120.0, seed=1)
    assert large.num_vms == 3000
    life = large.end - large.arrival
    assert life.mean() == pytest.approx((trace.end - trace.arrival).mean(), rel=0.05)
    assert large.alive[len(large.alive) // 3 :].mean() == pytest.approx(120, rel=0.25)
    totals = {
        round(float(total), 4) for total in np.add.reduceat(trace.use[:, 0], trace.use_offset[:-1])
    }
    copied = np.add.reduceat(large.use[:, 0], large.use_offset[:-1])
    assert all(round(float(total), 4) in totals for total in copied)
    again = overlay(trace, num_vms=3000, alive=120.0, seed=1)
    np.testing.assert_array_equal(large.arrival, again.arrival)
    other = overlay(trace, num_vms=3000, alive=120.0, seed=2)
    assert not np.array_equal(large.arrival, other.arrival)


def test_composite_of_real_traces(shared_data):
    try:
        parts = [openb_planetlab(s, num_vms=20_000, alive=900.0) for s in ("train", "test")]
    except DataNotFoundError:
        pytest.skip("the folder has no traces")
    for trace in parts:
        settled = trace.alive[len(trace.alive) // 3 :].mean()
        assert settled == pytest.approx(900, rel=0.2)
        assert (trace.end - trace.arrival).max() <= 86_400
        assert (
            trace.request.max(axis=0) <= LARGEST_REQUEST * 1.6 * trace.request.mean(axis=0)
        ).all()
    assert parts[0].functions == parts[1].functions
