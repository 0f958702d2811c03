"""Our Slurm script, run by Debian's Slurm on two hosts."""

import json
import os
import shutil
from pathlib import Path

import pytest
from waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[3]
DAEMONS = ("munged", "slurmctld", "slurmd")
CONFIG = """
ClusterName=test
SlurmctldHost={head}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=/run/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool_%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SwitchType=switch/none
MpiDefault=none
{nodes}
PartitionName=all Nodes=ALL Default=YES State=UP
"""
CGROUP = """
CgroupPlugin=cgroup/v1
CgroupAutomount=no
ConstrainCores=no
ConstrainDevices=no
ConstrainRAMSpace=no
ConstrainSwapSpace=no
"""


@pytest.fixture(scope="module")
def slurm(lan, tmp_path_factory):
    """Runs a command on the first of two nodes of a Slurm cluster."""
    places = {name: shutil.which(name, path="/usr/sbin:/usr/bin") for name in DAEMONS}
    if missing := [name for name, place in places.items() if not place]:
        pytest.skip(f"{', '.join(missing)} not installed")
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "state").mkdir()
    hosts = [lan.add(name) for name in ("n1", "n2")]
    names = "127.0.0.1 localhost\n" + "".join(f"{h.address} {h.name}\n" for h in hosts)
    (key := folder / "munge.key").write_bytes(os.urandom(128))
    key.chmod(0o400)
    nodes = "\n".join(f"NodeName={h.name} NodeAddr={h.address} CPUs=2" for h in hosts)
    config = folder / "slurm.conf"
    config.write_text(
        CONFIG.format(head=hosts[0].name, address=hosts[0].address, folder=folder, nodes=nodes)
    )
    (folder / "cgroup.conf").write_text(CGROUP)
    environment = {"SLURM_CONF": str(config)}

    def start(host, *command):
        done = host.run(command, **environment)
        assert done.returncode == 0, done.stdout + done.stderr

    for host in hosts:
        (host.folder / "etc" / "hosts").write_text(names)
        start(host, "mount", "-t", "tmpfs", "cgroup", "/sys/fs/cgroup")
        munge = [f"--key-file={key}", "--socket=/run/munge.socket", "--pid-file=/run/munge.pid"]
        munge += ["--log-file=/run/munge.log", "--seed-file=/run/munge.seed", "--force"]
        start(host, places["munged"], *munge)
    start(hosts[0], places["slurmctld"], "-f", str(config))
    for host in hosts:
        start(host, places["slurmd"], "-N", host.name, "-f", str(config))

    def run(*command, timeout=800):
        return hosts[0].run(command, timeout, **environment)

    wait_until(
        lambda: run("sinfo", "-h", "-o", "%D %t").stdout.strip() == "2 idle",
        lambda: run("sinfo", "-R").stdout + run("sinfo").stdout,
    )
    return run


def test_the_script_runs_an_experiment_on_all_nodes_of_a_job(slurm, tmp_path):
    log = tmp_path / "log"
    script = ROOT / "experiments" / "cluster" / "slurm.sh"
    options = ["--wait", "--nodes=2", f"--chdir={ROOT}", f"--output={log}"]
    experiment = [str(ROOT / "experiments" / "byzshield_train.py"), "--iterations", "3"]
    experiment += ["--batch-size", "75", "--processes", "4", "--run-dir", str(tmp_path / "run")]
    done = slurm("sbatch", *options, str(script), *experiment)
    assert done.returncode == 0, done.stdout + done.stderr + log.read_text()
    assert "2 node(s), 4 CPUs" in log.read_text()
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "done"
