"""Worker code as another user: where it is refused, and what it cannot reach where it is not."""

import json
import os
import pwd
import signal
import stat
import subprocess
import sys

import psutil
import pytest
from waiting import first_row, wait_until

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import load_dataset
from mlsys_ray.byzshield.training import train_in_process
from mlsys_ray.cluster.byzshield import train_on_ray
from mlsys_ray.cluster.byzshield.isolation import (
    CAPABILITIES,
    FOLDER_PREFIX,
    Isolation,
    _remove_left_folders,
)
from mlsys_ray.cluster.place import Place
from mlsys_ray.cluster.training import Training

SMALL = {"batch_size": 75, "iterations": 6, "eval_interval": 3}
USER = "nobody"
CHILD = "mlsys_ray.cluster.byzshield.isolated"


@pytest.fixture(autouse=True)
def token_mode(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")


@pytest.fixture
def as_root():
    if os.geteuid() != 0:
        pytest.skip("only root runs processes of other users")


@pytest.fixture
def isolation(as_root):
    """With the first interpreter that nobody can run."""
    refusals = []
    for python in (None, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"):
        candidate = Isolation(user=USER, python=python)
        try:
            candidate.check()
        except ValueError as error:
            refusals.append(str(error))
            continue
        return candidate
    return pytest.skip("; ".join(refusals))


def refused(isolation, match):
    with pytest.raises(ValueError, match=match):
        isolation.check()


def test_an_unknown_user_is_refused():
    refused(Isolation(user="no-such-user"), "'no-such-user'.*no such user; name one of every node")


@pytest.mark.parametrize("uid", [0, os.geteuid()])
def test_root_and_the_user_of_ray_are_refused(uid):
    refused(Isolation(user=pwd.getpwuid(uid).pw_name), "user of Ray itself; name another")


def test_a_cluster_without_a_token_is_refused(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    refused(Isolation(user=USER), "any user may use the cluster; set RAY_AUTH_MODE=token")


def test_who_may_not_change_users_is_refused(monkeypatch):
    monkeypatch.setitem(CAPABILITIES, "CAP_OF_NOBODY", 63)
    refused(Isolation(user=USER), "lacks.* CAP_OF_NOBODY; start Ray as root")


def test_an_interpreter_that_the_user_cannot_reach_is_refused(as_root, tmp_path):
    (tmp_path / "bin").mkdir(mode=0o700)
    python = tmp_path / "bin" / "python"
    python.symlink_to(sys.executable)
    refused(Isolation(user=USER, python=str(python)), "cannot be run.*Permission.*every user can")


def test_what_is_not_this_python_is_refused(as_root):
    refused(Isolation(user=USER, python="/bin/false"), "/bin/false was tried: it failed; install")
    refused(Isolation(user=USER, python="/bin/nothing"), "cannot be run: .*No such file")


def test_a_token_that_the_user_can_read_is_refused(isolation, monkeypatch, user_modules):
    token = user_modules / "auth_token"
    token.write_text("0" * 64)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    refused(isolation, "it can read or write .*auth_token; keep it in a folder")
    token.chmod(0o600)
    isolation.check()


def test_a_session_folder_that_the_user_can_enter_is_refused(isolation, user_modules, tmp_path):
    # Ray gives it this mode, and everybody may then put another socket into it.
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for parent in (user_modules, private):
        (parent / "session").mkdir()
        (parent / "session").chmod(0o777)
    isolation.check(private / "session")
    with pytest.raises(ValueError, match=r"can read or write .*session; .* --temp-dir"):
        isolation.check(user_modules / "session")


def test_the_command_refuses_before_it_makes_a_run_directory(tmp_path):
    place = Place(run_dir=tmp_path / "run", isolate="no-such-user")
    with (
        pytest.raises(ValueError, match="no such user"),
        Training.open(TrainConfig(**SMALL), place),
    ):
        raise AssertionError("it went on")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [{"isolate_python": "x"}, {"isolate": "x", "in_process": True}])
def test_isolation_that_would_be_none_is_refused(options):
    with pytest.raises(ValueError, match="isolate"):
        Place(**options)


LOOK = """
import json, os, socket, sys
parent = os.getppid()
def can(action):
    try:
        action()
    except OSError:
        return False
    return True
print(json.dumps({
    "uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(),
    "variables": list(os.environ),
    "reads environment": can(lambda: open(f"/proc/{parent}/environ").read(1)),
    "opens memory": can(lambda: open(f"/proc/{parent}/mem", "r+b")),
    "reads maps": can(lambda: open(f"/proc/{parent}/maps").read(1)),
    "signals": can(lambda: os.kill(parent, 0)),
    "writes folder": can(lambda: open("file", "w").close()),
    "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1],
}))
"""


def test_a_child_has_nothing_of_its_parent(isolation, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with isolation.start("-c", LOOK, stdout=subprocess.PIPE) as child:
        seen = json.loads(child.communicate(timeout=60)[0])
    account = pwd.getpwnam(USER)
    assert seen.pop("uids") == [account.pw_uid] * 3
    assert seen.pop("gids") == [account.pw_gid] * 3
    assert seen.pop("groups") == []
    variables = seen.pop("variables")
    assert not [name for name in variables if "RAY" in name or "TOKEN" in name]
    assert "OMP_NUM_THREADS" in variables
    assert seen.pop("descriptors") == [0, 1, 2]
    assert seen.pop("writes folder")
    assert not any(seen.values())


def test_a_child_and_its_own_children_and_folder_are_gone_afterwards(isolation):
    code = (
        "import os, subprocess; subprocess.Popen(['sleep', '60']); print(os.getcwd(), flush=True)"
    )
    with isolation.start("-c", code, stdout=subprocess.PIPE) as child:
        folder = child.stdout.readline().decode().strip()
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert not os.path.exists(folder)
    account = pwd.getpwnam(USER)
    assert not [
        process
        for process in psutil.process_iter(["name", "uids", "status"])
        if process.info["name"] == "sleep"
        and process.info["uids"].real == account.pw_uid
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def test_folders_that_a_killed_parent_left_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    parent = subprocess.Popen(["true"])
    parent.wait()
    left = tmp_path / f"{FOLDER_PREFIX}{parent.pid}-x"
    own = tmp_path / f"{FOLDER_PREFIX}{os.getpid()}-y"
    other = tmp_path / "something-else"
    for folder in (left, own, other):
        folder.mkdir()
    _remove_left_folders()
    assert sorted(tmp_path.iterdir()) == sorted([own, other])


def children():
    return {
        process.pid: process
        for process in psutil.process_iter(["cmdline", "uids"])
        if CHILD in (process.info["cmdline"] or [])
    }


def measured(rows):
    left_out = ("seconds_", "bytes_")
    return [
        {name: value for name, value in row.items() if not name.startswith(left_out)}
        for row, _ in rows
    ]


@pytest.mark.slow
def test_the_curve_is_the_same_and_the_children_end_with_the_run(isolation, cluster):
    config = TrainConfig(byzantine=3, attack="alie", **SMALL)
    dataset = load_dataset("digits")
    rows = train_on_ray(config, dataset, num_processes=2, isolation=isolation)
    expected = measured(train_in_process(config, dataset))
    assert measured(rows) == expected
    wait_until(lambda: not children(), "children go on", 20)


def test_worker_code_runs_as_the_other_user_without_ray(isolation, cluster, user_modules):
    evidence = user_modules / "evidence"
    evidence.mkdir()
    evidence.chmod(0o777)
    (user_modules / "telling_model.py").write_text(
        "import json, os, sys\n"
        "from mlsys_ray.byzshield.models import small_cnn\n"
        "def model(shape, classes):\n"
        f"    with open(os.path.join({str(evidence)!r}, str(os.getpid())), 'w') as file:\n"
        "        json.dump([os.getuid(), 'ray' in sys.modules, list(os.environ)], file)\n"
        "    return small_cnn(shape, classes)\n"
    )
    config = TrainConfig(model="telling_model:model", **SMALL)
    rows = train_on_ray(config, load_dataset("digits"), num_processes=2, isolation=isolation)
    assert all(row["decided_files"] == 25 for row, _ in rows)
    uid = pwd.getpwnam(USER).pw_uid
    told = [
        json.loads(file.read_text()) for file in evidence.iterdir() if file.stat().st_uid == uid
    ]
    assert len(told) == 2
    for user, has_ray, variables in told:
        assert (user, has_ray) == (uid, False)
        assert not [name for name in variables if name.startswith("RAY")]


@pytest.mark.slow
@pytest.mark.parametrize("which", ["child", "parent"])
def test_a_killed_child_or_parent_is_an_erasure_and_comes_back(isolation, cluster, which):
    config = TrainConfig(**{**SMALL, "iterations": 5000, "eval_interval": 5000})
    rows = train_on_ray(config, load_dataset("digits"), num_processes=3, isolation=isolation)
    next(rows)
    victim = min(children().items())[1]
    folder = victim.environ()["HOME"]
    os.kill(victim.pid if which == "child" else victim.ppid(), signal.SIGKILL)
    assert erased(first_row(rows, lambda row: erased(row) > 0)) == 5
    assert first_row(rows, lambda row: erased(row) == 0)["decided_files"] == 25
    assert victim.pid not in children()
    assert not os.path.exists(folder)
    rows.close()
    wait_until(lambda: not children(), "children go on", 20)


def test_every_node_is_asked_before_it_starts(cluster):
    rows = train_on_ray(
        TrainConfig(**SMALL), load_dataset("digits"), isolation=Isolation(user="no-such-user")
    )
    with pytest.raises(ValueError, match=r"node [\d.]+: isolate is 'no-such-user'"):
        next(rows)


def erased(row):
    return row["event_dead"] + row["event_late"]
