"""Every format: what is read, and that broken rows are told by their lines."""

import gzip
import sqlite3

import numpy as np
import pandas as pd
import pytest

from mlsys_ray.data import DataNotFoundError
from mlsys_ray.fireplace.traces import FORMATS, read_trace
from mlsys_ray.fireplace.traces.composite import find_recordings

OPENB = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,"
    "creation_time,deletion_time,scheduled_time\n"
    "a,2000,4096,0,0,,LS,Running,120,300,120\n"
    "b,1000,2048,1,1000,,BE,Running,130,140,\n"
)
BROKEN_OPENB = (
    "c,x,2048,1,1000,,BE,Running,130,140,\n"
    "d,1000,0,1,1000,,BE,Running,130,140,\n"
    "e,1000,2048,1,1000,,BE,Running,130,130,\n"
    "f,1000,2048,1,1000,,,Running,130,140,\n"
)


def test_openb(tmp_path):
    path = tmp_path / "pods.csv"
    path.write_text(OPENB)
    trace = read_trace(path, format="openb").trace
    assert trace.tick == 60.0
    assert trace.arrival.tolist() == [0.0, 10.0]
    assert trace.end.tolist() == [180.0, 20.0]
    assert trace.request.tolist() == [[2.0, 4096.0], [1.0, 2048.0]]
    assert [trace.functions[f] for f in trace.function] == [
        "2 cores, 4096 MiB, 0 GPUs, LS",
        "1 cores, 2048 MiB, 1 GPUs, BE",
    ]


def test_broken_rows_are_told_by_line(tmp_path):
    path = tmp_path / "pods.csv"
    path.write_text(OPENB + BROKEN_OPENB)
    with pytest.raises(ValueError, match="has 4 broken rows") as error:
        read_trace(path, format="openb")
    for clause in (
        r"cpu_milli is not a number: 1 (lines 4)",
        r"memory_mib is not above 0: 1 (lines 5)",
        r"deletion_time is not after creation_time: 1 (lines 6)",
        r"qos is empty: 1 (lines 7)",
    ):
        assert clause in str(error.value)
    skipped = read_trace(path, format="openb", skip_broken=True)
    assert skipped.trace.num_vms == 2
    assert skipped.broken.count == 4


def test_planetlab_folder_and_parquet_are_the_same(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 101, (3, 288))
    for row, (day, vm) in zip(values, [("d1", "v1"), ("d1", "v2"), ("d2", "v1")], strict=True):
        (tmp_path / "text" / day).mkdir(parents=True, exist_ok=True)
        (tmp_path / "text" / day / vm).write_text("\n".join(map(str, row)))
    table = {"day": ["d1", "d1", "d2"], "vm": ["v1", "v2", "v1"], "cpu_percent": list(values)}
    pd.DataFrame(table).to_parquet(tmp_path / "use.parquet")
    for tick in (60.0, 300.0, 600.0):
        text = read_trace(tmp_path / "text", format="planetlab", tick=tick).trace
        packed = read_trace(tmp_path / "use.parquet", format="planetlab", tick=tick).trace
        np.testing.assert_array_equal(text.use, packed.use)
        assert text.use.mean() == pytest.approx(values.mean() / 100, rel=1e-5)
        assert text.arrival.tolist() == [0.0, 0.0, 86400.0]
    (tmp_path / "text" / "d2" / "v2").write_text("1\n2\n")
    with pytest.raises(ValueError, match=r"does not hold 288 values: 1 \(lines 5\)"):
        read_trace(tmp_path / "text", format="planetlab")
    with pytest.raises(ValueError, match=r"tick is 7\.0 s"):
        read_trace(tmp_path / "use.parquet", format="planetlab", tick=7.0)


def test_azure_functions_2021(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("app,func,end_timestamp,duration\nx,f,1.0,2.0\nx,g,5.0,0\n")
    trace = read_trace(path, format="azure_functions_2021").trace
    np.testing.assert_allclose(trace.arrival, [0.0, 5.999])
    np.testing.assert_allclose(trace.end - trace.arrival, [2.0, 0.001])
    path.write_text("app,func,end_timestamp,duration\nx,f,1.0,-2.0\n")
    with pytest.raises(ValueError, match=r"duration is not at least 0: 1 \(lines 2\)"):
        read_trace(path, format="azure_functions_2021")


def azure_2019(folder, count="2"):
    minutes = ",".join(str(m) for m in range(1, 1441))
    counts = ",".join([count] + ["0"] * 1438 + ["1"])
    (folder / "x_invocations.csv").write_text(
        f"HashOwner,HashApp,HashFunction,Trigger,{minutes}\no,a,f,http,{counts}\n"
    )
    percentiles = ",".join(f"percentile_Average_{p}" for p in (0, 1, 25, 50, 75, 99, 100))
    (folder / "x_durations.csv").write_text(
        f"HashOwner,HashApp,HashFunction,{percentiles}\no,a,f,10,10,20,30,40,50,50\n"
    )
    (folder / "x_memory.csv").write_text(
        "HashOwner,HashApp,HashFunction,AverageAllocatedMb\no,a,f,200\n"
    )
    return folder / "x_invocations.csv"


def test_azure_functions_2019(tmp_path):
    trace = read_trace(azure_2019(tmp_path), format="azure_functions_2019").trace
    assert trace.num_vms == 3
    life = trace.end - trace.arrival
    assert ((life >= 0.01 - 1e-9) & (life <= 0.05 + 1e-9)).all()
    assert trace.arrival[-1] > 86_000 - 60
    assert (trace.request[:, 1] == 200).all()
    with pytest.raises(ValueError, match="1 is not a number"):
        read_trace(azure_2019(tmp_path, count="two"), format="azure_functions_2019")
    path = azure_2019(tmp_path)
    (tmp_path / "x_durations.csv").unlink()
    with pytest.raises(ValueError, match=r"needs its durations beside it, in x_durations\.csv"):
        read_trace(path, format="azure_functions_2019")


def test_azure_vm(tmp_path):
    path = tmp_path / "vmtable.csv.gz"
    rows = "v,s,d,0,600,90,50,80,Delay,4,8\nw,s,d,300,900,90,200,80,Delay,>24,>64\n"
    path.write_bytes(gzip.compress(rows.encode()))
    trace = read_trace(path, format="azure_vm").trace
    assert trace.request.tolist() == [[4.0, 8192.0], [30.0, 70 * 1024.0]]
    np.testing.assert_allclose(trace.use[:2, 0], 2.0)
    np.testing.assert_allclose(trace.use[2:, 0], 30.0)
    path.write_bytes(gzip.compress((rows + "x,s,d,900,900,9,5,8,Delay,4,8\n").encode()))
    with pytest.raises(ValueError, match=r"vmdeleted is not after vmcreated: 1 \(lines 3\)"):
        read_trace(path, format="azure_vm")


def test_azure_packing_2020(tmp_path):
    path = tmp_path / "packing.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE vm (vmId, tenantId, vmTypeId, priority, starttime, endtime)"
        )
        connection.execute("CREATE TABLE vmType (vmTypeId, machineId, core, memory, hdd, ssd, nic)")
        rows = [(1, "t", 7, 0, 0.0, 1.0), (2, "u", 7, 0, 0.5, None)]
        connection.executemany("INSERT INTO vm VALUES (?, ?, ?, ?, ?, ?)", rows)
        sizes = [(7, 0, 0.25, 0.5, 0, 0, 0), (7, 1, 0.125, 0.25, 0, 0, 0)]
        connection.executemany("INSERT INTO vmType VALUES (?, ?, ?, ?, ?, ?, ?)", sizes)
    trace = read_trace(path, format="azure_packing_2020").trace
    assert trace.end.tolist() == [86400.0, 86400.0]
    assert trace.request.tolist() == [[0.125, 0.25]] * 2
    path.write_bytes(b"no database")
    with pytest.raises(ValueError, match="is no packing trace"):
        read_trace(path, format="azure_packing_2020")


def test_huawei_east_1(tmp_path):
    path = tmp_path / "h.csv"
    good = "vmid,cpu,memory,time,type\n1,2,4,0,0\n2,1,1,10,0\n1,2,4,600,1\n"
    path.write_text(good)
    trace = read_trace(path, format="huawei_east_1").trace
    assert trace.arrival.tolist() == [0.0, 10.0]
    assert trace.end.tolist() == [600.0, 900.0]
    assert trace.request.tolist() == [[2.0, 4096.0], [1.0, 1024.0]]
    path.write_text(good + "3,1,1,20,1\n4,1,1,5,2\n1,2,4,700,0\n5,1,1,50,0\n5,1,1,40,1\n")
    with pytest.raises(ValueError, match="has 4 broken rows") as error:
        read_trace(path, format="huawei_east_1")
    for clause in (
        "type is neither 0 nor 1: 1 (lines 6)",
        "vmid is created twice: 1 (lines 7)",
        "vmid is deleted but never created: 1 (lines 5)",
        "vmid is deleted no later than it is created: 1 (lines 8)",
    ):
        assert clause in str(error.value)


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_a_file_of_another_kind_is_refused(format, tmp_path):
    path = tmp_path / "other_invocations.csv"
    path.write_text("colour,taste\nred,sweet\n")
    if format == "planetlab":
        path = tmp_path / "other.parquet"
        pd.DataFrame({"colour": ["red"]}).to_parquet(path)
    with pytest.raises(ValueError, match=r"has no column|is no|broken"):
        read_trace(path, format=format)


def test_unknown_names(tmp_path):
    with pytest.raises(ValueError, match="format is 'excel'; accepted: azure_functions_2019"):
        read_trace(tmp_path, format="excel")
    with pytest.raises(ValueError, match="does not exist"):
        read_trace(tmp_path / "none.csv")


def test_real_samples(shared_data):
    """Counts and quartiles that were published, or computed from the files by other means."""
    try:
        files = find_recordings()
    except DataNotFoundError:
        pytest.skip("the folder has no traces")
    openb = read_trace(files[0], format="openb", skip_broken=True)
    life = openb.trace.end - openb.trace.arrival
    assert openb.trace.num_vms == 8150
    assert openb.broken.count == 2
    np.testing.assert_allclose(np.quantile(life, [0.25, 0.5, 0.75]), [167, 540, 1972], rtol=0.01)
    assert life.mean() == pytest.approx(25_839, rel=0.01)
    planetlab = read_trace(files[1], format="planetlab").trace
    assert planetlab.num_vms == 8426
    assert planetlab.use.mean() == pytest.approx(0.11, abs=0.005)
