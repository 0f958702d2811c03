"""`ray up`, `ray submit` and `ray down` with our configuration, over ssh to a host of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[3]
PORT = 2222
SSHD = f"""
Port {PORT}
ListenAddress 127.0.0.1
PidFile none
AuthorizedKeysFile .ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
"""
ENVIRONMENT = {"RAY_AUTH_MODE": "token", "RAY_UP_enable_autoscaler_v2": "0"}


@pytest.fixture(scope="module")
def launcher(lan):
    """A host with an sshd, on which somebody with another home launches a cluster."""
    if missing := [tool for tool in ("sshd", "ssh", "rsync") if not find(tool)]:
        pytest.skip(f"{', '.join(missing)} not installed")
    host = lan.add("head")
    ssh = host.home / ".ssh"
    ssh.mkdir(mode=0o700)
    for key in (ssh / "id_ed25519", host.folder / "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    shutil.copy(ssh / "id_ed25519.pub", ssh / "authorized_keys")
    (ssh / "config").write_text(f"Host 127.0.0.1\nPort {PORT}\n")
    # As an administrator would have put python and ray on the path.
    (host.home / ".bashrc").write_text(f"export PATH={Path(sys.executable).parent}:$PATH\n")
    config = host.folder / "sshd_config"
    config.write_text(f"{SSHD}HostKey {host.folder / 'host_key'}\n")
    done = host.run([find("sshd"), "-f", str(config), "-E", str(host.folder / "sshd.log")])
    assert done.returncode == 0, done.stderr
    return Launcher(host)


def find(tool):
    return shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin")


class Launcher:
    """Who launches: their token is not that of the host until it has been shipped."""

    def __init__(self, host):
        self.host, self._laptop = host, host.folder / "laptop"
        self._laptop.mkdir()
        self.config = host.folder / "cluster.yaml"
        self.config.write_text(yaml.safe_dump(on_this_host()))
        self.ray("get-auth-token", "--generate")

    def ray(self, *arguments):
        """A command of Ray, from the repository's root."""
        command = ["bash", "-c", 'cd "$0" && exec ray "$@"', str(ROOT), *map(str, arguments)]
        return self.host.run(command, 600, **ENVIRONMENT, HOME=str(self._laptop))


def on_this_host():
    """Our configuration for hosts by ssh, of one host, on which the package's needs are met."""
    config = yaml.safe_load((ROOT / "experiments/cluster/onprem.yaml").read_text())
    config["provider"] |= {"head_ip": "127.0.0.1", "worker_ips": []}
    config["min_workers"] = config["max_workers"] = 0
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(Path.home() / ".ssh/id_ed25519")}
    config["setup_commands"] = [c for c in config["setup_commands"] if "pip install" not in c]
    return config


def test_an_experiment_runs_on_the_cluster_that_ray_up_has_made(launcher):
    host = launcher.host
    up = launcher.ray("up", "-y", "--no-config-cache", launcher.config)
    assert up.returncode == 0, up.stdout + up.stderr
    token = host.home / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o777 == 0o600

    script = ROOT / "experiments" / "byzshield_train.py"
    flags = ["--iterations", "3", "--batch-size", "75", "--processes", "1"]
    good = launcher.ray("submit", launcher.config, script, "--", *flags, "--run-dir", "good")
    assert good.returncode == 0, good.stdout + good.stderr
    assert "attached to" in good.stdout
    assert json.loads((host.home / "good" / "summary.json").read_text())["status"] == "done"

    # Whatever the script's exit code, here 2, that of `ray submit` is 1.
    bad = launcher.ray("submit", launcher.config, script, "--", *flags, "--rule", "best")
    assert bad.returncode == 1
    assert "best" in bad.stdout + bad.stderr

    # Arguments are joined with blanks: quoted twice they arrive whole.
    name = "'two words'"
    twice = launcher.ray("submit", launcher.config, script, "--", *flags, "--run-dir", name)
    assert twice.returncode == 0, twice.stdout + twice.stderr
    assert (host.home / "two words" / "summary.json").exists()

    down = launcher.ray("down", "-y", launcher.config)
    assert down.returncode == 0, down.stdout + down.stderr
    assert not host.runs("raylet")
