"""Storages: local folders, and S3 by a local moto server."""

import os
import subprocess
import sys
import threading

import pytest

from mlsys_ray.cluster import storage
from mlsys_ray.cluster.run_directory import RunDirectory, RunInUseError
from mlsys_ray.cluster.run_reader import load_run
from mlsys_ray.cluster.storage import Storage, StorageError, keep


@pytest.fixture
def s3(s3_server, monkeypatch):
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path):
    if request.param == "local":
        return str(tmp_path / "storage")
    request.getfixturevalue("s3")
    return f"s3://bucket-of-tests/{tmp_path.name}"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(storage, "SETTLE_SECONDS", 0.05)


def write_run(path, *, resume=False):
    with RunDirectory.create(path, {"seed": 0}, experiment="test", resume=resume) as run:
        run.log({"iteration": run.num_rows + 1})
        run.write("deep/file.bin", b"\0\1")
        run.finish({})


def test_a_run_is_kept_and_goes_on_elsewhere(place, tmp_path):
    with keep(tmp_path / "here/run", place) as home:
        write_run(home.folder)
    with keep(tmp_path / "there/run", place) as home:
        assert load_run(home.folder).status == "done"
        assert (home.folder / "deep/file.bin").read_bytes() == b"\0\1"
        write_run(home.folder, resume=True)
    Storage.open(place).fetch("run", tmp_path / "again")
    run = load_run(tmp_path / "again")
    assert list(run.metrics["iteration"]) == [1, 2]
    assert not (tmp_path / "again/lock.json").exists()


def test_what_has_no_summary_yet_has_none_in_the_storage(place, tmp_path):
    with keep(tmp_path / "run", place) as home:
        write_run(home.folder)
    with (
        keep(tmp_path / "other/run", place) as home,
        RunDirectory.create(home.folder, {"seed": 0}, experiment="test", resume=True) as run,
    ):
        home.upload()
        assert Storage.open(place).read("run/summary.json") is None
        run.finish({})
    assert Storage.open(place).read("run/summary.json") is not None


def test_a_run_that_fails_is_kept_too(place, tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        keep(tmp_path / "run", place) as home,
        RunDirectory.create(home.folder, {"seed": 0}, experiment="test"),
    ):
        raise ZeroDivisionError
    Storage.open(place).fetch("run", tmp_path / "again")
    assert load_run(tmp_path / "again").status == "failed"


def test_one_run_is_run_once_at_a_time(place, tmp_path):
    with (
        keep(tmp_path / "here/run", place),
        pytest.raises(RunInUseError, match="in use by process"),
        keep(tmp_path / "there/run", place),
    ):
        pass
    with keep(tmp_path / "there/run", place):
        pass


def test_of_several_that_claim_a_run_at_once_at_most_one_gets_it(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "SETTLE_SECONDS", 0.5)
    held, refused = [], []
    start = threading.Barrier(4)

    def claim(number):
        start.wait()
        try:
            with keep(tmp_path / str(number) / "run", str(tmp_path / "storage")):
                held.append(number)
                start.wait()
        except RunInUseError:
            refused.append(number)
            start.wait()

    threads = [threading.Thread(target=claim, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) <= 1
    assert len(held) + len(refused) == 4


def test_the_run_of_a_process_that_was_killed_is_taken_over(place, tmp_path):
    code = (
        "import os, sys, signal; from mlsys_ray.cluster.storage import keep\n"
        "with keep(sys.argv[1], sys.argv[2]): os.kill(os.getpid(), signal.SIGKILL)"
    )
    code = code.replace("keep(sys.argv[1]", "keep(__import__('pathlib').Path(sys.argv[1])")
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run"), place], check=False)
    assert Storage.open(place).read("run/lock.json") is not None
    with keep(tmp_path / "run", place):
        pass


def test_a_folder_that_vanished_is_not_made_anew(tmp_path):
    place = tmp_path / "storage"
    kept = Storage.open(str(place))
    kept.probe()
    place.rename(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=f"storage {place}.*not there any more"):
        kept.probe()
    place.mkdir()  # as where a disk was mounted
    with pytest.raises(StorageError, match="not there any more"):
        kept.write("file", b"")


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        ("ftp://host/folder", ValueError, "accepted are a path, s3://"),
        ("/proc/storage", StorageError, "/proc/storage"),
    ],
)
def test_what_is_no_storage_is_refused(place, error, message):
    with pytest.raises(error, match=message):
        Storage.open(place)


def test_a_bucket_that_is_missing_is_named(s3):
    with pytest.raises(StorageError, match="s3://no-such-bucket/runs"):
        Storage.open("s3://no-such-bucket/runs").probe()


def test_keys_travel_with_the_storage(s3, monkeypatch):
    import cloudpickle

    sent = cloudpickle.dumps(Storage.open("s3://bucket-of-tests/keys"))
    for name in s3:
        monkeypatch.delenv(name)
    kept = cloudpickle.loads(sent)
    kept.probe()
    assert os.environ["AWS_ACCESS_KEY_ID"] == "test"
    assert "test" not in repr(kept).replace("bucket-of-tests", "")
