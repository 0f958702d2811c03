import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from matplotlib.figure import Figure
from waiting import wait_until

from mlsys_ray.cluster import plain_json, run_lock
from mlsys_ray.cluster.run_directory import (
    RunDirectory,
    RunInUseError,
    atomic_write,
    default_run_path,
)
from mlsys_ray.cluster.run_reader import load_run


@dataclass(frozen=True, kw_only=True)
class Constant:
    value: float = -1.0


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0
    learning_rate: float = 0.1
    attack: Constant = field(default_factory=Constant)
    run_dir: Path | None = None


def create(path, config=None, **keywords):
    return RunDirectory.create(path, config or Config(), experiment="training", **keywords)


def start(code, *arguments):
    """A second process; returns once it has printed a line."""
    prelude = "import sys, time\nfrom mlsys_ray.cluster.run_directory import *\n"
    process = subprocess.Popen(
        [sys.executable, "-c", prelude + textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


HOLD = """
    with RunDirectory.create(sys.argv[1], {"seed": 0}, experiment="training") as run:
        run.log({"iteration": 1})
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = start(HOLD, tmp_path / "run")
    yield process
    process.kill()
    process.communicate()


def test_a_run_is_read_back_as_it_was_written(tmp_path):
    with create(tmp_path / "run", Config(run_dir=tmp_path)) as run:
        run.log({"iteration": 1, "loss": np.float32(0.5), "accuracy": np.int64(1), "note": "Δ"})
        run.log({"iteration": 2, "loss": float("nan"), "ratio": -np.inf, "counts": np.arange(2)})
        run.save_plot("Accuracy of süß", Figure())
        run.save_table("distortion", [{"q": 2, "paper": 0.04}, {"q": 3, "paper": None}])
        run.write("checkpoints/last.bin", b"\0\1")
        run.finish({"accuracy": np.float64(0.9)})
    run = load_run(tmp_path / "run")
    assert (run.experiment, run.status) == ("training", "done")
    assert run.config == {
        "seed": 0,
        "learning_rate": 0.1,
        "attack": {"class": "Constant", "value": -1.0},
        "run_dir": str(tmp_path),
    }
    assert run.metrics["loss"].isna().tolist() == [False, True]
    assert run.metrics["ratio"].iloc[1] == -np.inf
    assert run.metrics["note"].iloc[0] == "Δ"
    assert run.metrics["counts"].iloc[1] == [0, 1]
    assert [plot.stem for plot in run.plots] == ["Accuracy of süß"]
    assert run.tables["distortion"]["q"].tolist() == [2, 3]
    assert run.summary["accuracy"] == 0.9
    assert run.summary["started"] <= run.summary["ended"]
    assert (tmp_path / "run/checkpoints/last.bin").read_bytes() == b"\0\1"
    assert not (tmp_path / "run/lock.json").exists()


def test_json_files_are_strict_json(tmp_path):
    with create(tmp_path, {"limit": float("inf")}) as run:
        run.log({"loss": float("nan")})
        run.finish({"best": float("-inf")})

    def refuse(name):
        raise AssertionError(name)

    for file in ["config.json", "metrics.jsonl", "summary.json"]:
        json.loads((tmp_path / file).read_text(), parse_constant=refuse)
    assert load_run(tmp_path).summary["best"] == -np.inf


def test_classes_and_functions_are_written_as_import_paths():
    plain = plain_json.to_plain({"dtype": np.float32, "rule": plain_json.loads})
    assert plain == {"dtype": "numpy:float32", "rule": "mlsys_ray.cluster.plain_json:loads"}


def test_values_without_json_are_refused_by_name():
    with pytest.raises(ValueError, match="of type generator cannot be written as JSON"):
        plain_json.dumps({"x": (i for i in range(2))})


def test_environment_tells_what_the_run_ran_on(tmp_path):
    with create(tmp_path) as run:
        run.finish({})
    environment = load_run(tmp_path).environment
    assert environment["packages"]["numpy"] == np.__version__
    assert environment["argv"] == sys.argv
    assert environment["memory_bytes"] > 2**28
    assert 1 <= environment["usable_cores"] <= environment["logical_cores"]
    assert environment["vector_bits"] in (128, 256, 512, None)
    assert environment["started"].endswith("Z")
    assert environment["cpu"]


def test_the_module_loads_neither_ray_nor_torch_nor_pandas():
    code = (
        "import sys, mlsys_ray.cluster.run_directory, mlsys_ray.cluster.run_reader;"
        "print({'ray', 'torch', 'pandas', 'numpy', 'matplotlib'} & sys.modules.keys())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "set()\n"


def test_a_second_process_is_refused_and_told_who_holds_the_run(tmp_path, holder):
    who = rf"run is in use by process {holder.pid} on host \S+ since \S+Z \(last heartbeat \d+ s"
    with pytest.raises(RunInUseError, match=who), create(tmp_path / "run", resume=True):
        pass
    assert load_run(tmp_path / "run").status == "running"
    assert not (tmp_path / "run/summary.json").exists()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    holder.kill()  # not waited for: a zombie counts as dead
    while load_run(tmp_path / "run").status == "running":
        time.sleep(0.01)
    assert load_run(tmp_path / "run").status == "interrupted"
    with create(tmp_path / "run", {"seed": 0}, resume=True) as run:
        assert run.num_rows == 1
        run.finish({})
    assert load_run(tmp_path / "run").status == "done"


def test_of_many_takeovers_of_a_stale_lock_one_succeeds(tmp_path):
    dead = start(HOLD, tmp_path)
    dead.kill()
    dead.communicate()
    code = """
        print("ready", flush=True)
        time.sleep(max(0, float(sys.argv[2]) - time.time()))
        try:
            with RunDirectory.create(
                sys.argv[1], {"seed": 0}, experiment="training", resume=True
            ) as run:
                time.sleep(3)
                run.finish({})
                print("held")
        except RunInUseError:
            print("refused")
    """
    together = time.time() + 1.5
    rivals = [start(code, tmp_path, together) for _ in range(4)]
    outcomes = sorted(rival.communicate()[0].strip() for rival in rivals)
    assert outcomes == ["held", "refused", "refused", "refused"]


def rewrite_lock(path, **changes):
    with FileLock(path / run_lock.GUARD_NAME):
        lock = json.loads((path / "lock.json").read_text())
        atomic_write(path / "lock.json", json.dumps(lock | changes))


def test_elsewhere_the_heartbeat_tells_whether_the_holder_lives(tmp_path, holder):
    holder.send_signal(signal.SIGSTOP)
    path = tmp_path / "run"
    rewrite_lock(path, host="other-host", pid_namespace="elsewhere", pid=1)
    with pytest.raises(RunInUseError, match="other-host"), create(path, resume=True):
        pass
    minutes_ago = time.time() - run_lock.STALE_SECONDS - 1
    os.utime(path / "lock.json", (minutes_ago, minutes_ago))
    with create(path, {"seed": 0}, resume=True) as run:
        run.finish({})


def test_a_pid_used_again_counts_as_dead_once_the_heartbeat_is_old(tmp_path, holder):
    holder.send_signal(signal.SIGSTOP)
    path = tmp_path / "run"
    rewrite_lock(path, process_started=1.0)
    assert load_run(path).status == "running"
    os.utime(path / "lock.json", (1, 1))
    assert load_run(path).status == "interrupted"


def log_under_another_lock(run):
    rewrite_lock(run.path, host="other", pid=4321, token="theirs")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        run.log({"iteration": 1})
        time.sleep(0.02)


def test_a_holder_whose_lock_was_taken_writes_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.02)
    with (
        pytest.raises(RunInUseError, match="taken over by process 4321 on host other"),
        create(tmp_path) as run,
    ):
        log_under_another_lock(run)
    assert json.loads((tmp_path / "lock.json").read_text())["token"] == "theirs"
    assert not (tmp_path / "summary.json").exists()


def test_the_heartbeat_refreshes_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.02)
    with create(tmp_path) as run:
        lock = tmp_path / "lock.json"
        before = lock.stat().st_mtime_ns
        wait_until(lambda: lock.stat().st_mtime_ns > before, "the lock is not refreshed", 5)
        run.finish({})


def test_a_damaged_lock_is_named(tmp_path):
    (tmp_path / "lock.json").write_text("{")
    with pytest.raises(ValueError, match=r"lock\.json is not the lock of a run"), create(tmp_path):
        pass


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path):
    code = """
        from pathlib import Path
        data = [letter * 3_000_000 for letter in ("a", "b")]
        atomic_write(Path(sys.argv[1]), data[0])
        print("ready", flush=True)
        while True:
            for text in data:
                atomic_write(Path(sys.argv[1]), text)
    """
    for wait in (0.003, 0.011, 0.02):
        writer = start(code, tmp_path / "file")
        time.sleep(wait)
        writer.kill()
        writer.communicate()
        content = (tmp_path / "file").read_bytes()
        assert len(content) == 3_000_000
        assert len(set(content)) == 1


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the platform
        atomic_write(tmp_path / "file", b"new")
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_names_as_long_as_the_file_system_takes(tmp_path):
    atomic_write(tmp_path / ("n" * 255), "text")
    assert (tmp_path / ("n" * 255)).read_text() == "text"


def finished(path, **config):
    with create(path, Config(**config)) as run:
        run.log({"iteration": 1})
        run.log({"iteration": 2})
        run.finish({"accuracy": 0.5})


def test_a_directory_with_a_run_is_refused_and_left_alone(tmp_path):
    finished(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    match = r"already holds a run \(done at \S+Z\); give another --run-dir, or --resume"
    with pytest.raises(ValueError, match=match), create(tmp_path):
        pass
    assert before == {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"not empty and holds no run \(it has 'thesis.tex'"):
        create(tmp_path).__enter__()


def test_resume_drops_a_line_cut_short_and_keeps_what_came_before(tmp_path):
    finished(tmp_path)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"iteration": 3, "los')
    (tmp_path / ".0123.tmp").write_text("half")
    assert load_run(tmp_path).metrics["iteration"].tolist() == [1, 2]
    with create(tmp_path, resume=True) as run:
        assert run.num_rows == 2
        assert load_run(tmp_path).status == "running"
        run.log({"iteration": 3})
        run.finish({"accuracy": 0.7})
    assert load_run(tmp_path).metrics["iteration"].tolist() == [1, 2, 3]
    assert load_run(tmp_path).summary["accuracy"] == 0.7
    assert json.loads((tmp_path / "summary-1.json").read_text())["accuracy"] == 0.5
    assert (tmp_path / "environment-1.json").exists()
    assert not (tmp_path / ".0123.tmp").exists()


def test_rewind_goes_back_to_a_checkpoint(tmp_path):
    finished(tmp_path)
    with create(tmp_path, resume=True) as run:
        with pytest.raises(ValueError, match=r"num_rows is 3, must be in 0 \.\. 2"):
            run.rewind(3)
        run.rewind(1)
        run.log({"iteration": 2, "again": True})
        run.finish({})
    assert load_run(tmp_path).metrics["again"].tolist()[1] is True
    assert len(load_run(tmp_path).metrics) == 2


def test_resume_with_another_config_names_what_differs(tmp_path):
    finished(tmp_path)
    config = Config(learning_rate=0.2, attack=Constant(value=1.0))
    match = r"attack\.value was -1\.0, is 1\.0; learning_rate was 0\.1, is 0\.2;"
    with pytest.raises(ValueError, match=match), create(tmp_path, config, resume=True):
        pass
    with (
        pytest.raises(ValueError, match="holds a run of experiment 'training'"),
        RunDirectory.create(tmp_path, Config(), experiment="other", resume=True),
    ):
        pass


def test_resume_may_name_the_place_in_another_way(tmp_path):
    finished(tmp_path)
    with create(tmp_path, Config(run_dir=Path("elsewhere")), resume=True) as run:
        run.finish({})


def test_an_exception_is_recorded_and_goes_on(tmp_path):
    with pytest.raises(ZeroDivisionError), create(tmp_path):
        1 / 0  # noqa: B018
    summary = load_run(tmp_path).summary
    assert summary["status"] == "failed"
    assert summary["error"] == "ZeroDivisionError: division by zero"


def finish_and_fail(run):
    run.finish({"accuracy": 0.5})
    run.save_plot("", Figure())


def test_an_exception_after_finish_keeps_the_numbers(tmp_path):
    with pytest.raises(ValueError, match="name is ''"), create(tmp_path) as run:
        finish_and_fail(run)
    assert load_run(tmp_path).status == "failed"
    assert load_run(tmp_path).summary["accuracy"] == 0.5


def test_a_run_without_summary_failed(tmp_path):
    with pytest.raises(RuntimeError, match=r"without calling finish\(\)"), create(tmp_path):
        pass
    assert load_run(tmp_path).status == "failed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_interrupt_the_run(tmp_path, holder, number):
    holder.send_signal(number)
    holder.communicate(timeout=10)
    run = load_run(tmp_path / "run")
    assert run.status == run.summary["status"] == "interrupted"
    assert not (tmp_path / "run/lock.json").exists()
    if number == signal.SIGTERM:
        assert holder.returncode == 143


def test_the_handler_of_sigterm_is_put_back(tmp_path):
    # Ray leaves one of its own behind.
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with create(tmp_path) as run:
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            run.finish({})
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_summary_and_names_are_checked(tmp_path):
    with create(tmp_path) as run:
        with pytest.raises(ValueError, match="holds error, status"):
            run.finish({"status": 1, "error": 2})
        with pytest.raises(ValueError, match="status is 'over', must be one of done, failed"):
            run.finish({}, status="over")
        with pytest.raises(ValueError, match=r"name is '\.\./x'"):
            run.save_table("../x", [])
        run.finish({})


@pytest.mark.parametrize("name", ["schön & gut", "a'b\"c<d>", "第一回", "-x", "new\nline"])
def test_unusual_directory_names(tmp_path, name):
    finished(tmp_path / name)
    assert load_run(tmp_path / name).status == "done"


def unwritable_paths(tmp_path):
    (tmp_path / "file").touch()
    yield tmp_path / "file" / "run"
    if Path("/proc").exists():
        yield Path("/proc/run")
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        yield tmp_path / "closed"


def test_a_place_that_cannot_be_written_is_named_with_the_reason(tmp_path):
    for path in unwritable_paths(tmp_path):
        match = rf"run directory {path} cannot be written: .+ \(errno \d+\); give another"
        with pytest.raises(ValueError, match=match), create(path):
            pass


def test_load_run_names_what_is_missing_or_damaged(tmp_path):
    with pytest.raises(ValueError, match="absent does not exist"):
        load_run(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"not a whole run directory: config\.json is missing"):
        load_run(tmp_path)
    finished(tmp_path / "run")
    (tmp_path / "run/metrics.jsonl").write_text('{"a": 1}\nrubbish\n{"a": 2}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 is damaged"):
        _ = load_run(tmp_path / "run").metrics
    (tmp_path / "run/tables").mkdir()
    (tmp_path / "run/tables/t.json").write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r"t\.json is no table: it must be a list of records"):
        _ = load_run(tmp_path / "run").tables
    (tmp_path / "run/environment.json").unlink()
    with pytest.raises(ValueError, match=r"environment\.json is missing"):
        load_run(tmp_path / "run")
    (tmp_path / "run/config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"config\.json is damaged: it must hold config, exp"):
        load_run(tmp_path / "run")


def test_default_paths_differ_within_a_second(tmp_path):
    paths = [default_run_path("byzshield train/a", root=tmp_path) for _ in range(3)]
    assert len(set(paths)) == 3
    assert all(path.name.startswith("byzshield-train-a-2") for path in paths)
    finished(paths[0])
