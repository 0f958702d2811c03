import json
import subprocess
import sys

import psutil
import pytest

from mlsys_ray.cluster.local_cluster import main


@pytest.fixture
def sleepers():
    """A parent with a child, and a process that has nothing to do with them."""
    sleep = [sys.executable, "-c", "import time; time.sleep(100)"]
    nested = f"import subprocess; subprocess.run({sleep!r})"
    processes = [subprocess.Popen(sleep), subprocess.Popen([sys.executable, "-c", nested])]
    parent = psutil.Process(processes[1].pid)
    while not parent.children():
        pass
    yield psutil.Process(processes[0].pid), parent
    for process in processes:
        process.kill()
        process.wait()


def leave_state(folder, processes):
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"processes": processes}))


def test_down_ends_the_processes_it_started_with_their_children_and_no_other(tmp_path, sleepers):
    other, parent = sleepers
    (child,) = parent.children()
    reused = [other.pid, other.create_time() - 100]
    leave_state(tmp_path / "c", [[parent.pid, parent.create_time()], reused])
    assert main(["down", "--folder", str(tmp_path / "c")]) == 0
    assert not child.is_running()
    assert other.is_running()
    assert not (tmp_path / "c").exists()


def test_down_twice_is_no_error(tmp_path, capsys):
    assert main(["down", "--folder", str(tmp_path / "c")]) == 0
    assert "no cluster was started" in capsys.readouterr().err


def test_up_refuses_where_a_cluster_runs(tmp_path, capsys):
    leave_state(tmp_path / "c", [])
    assert main(["up", "--folder", str(tmp_path / "c")]) == 2
    assert "end it first" in capsys.readouterr().err
