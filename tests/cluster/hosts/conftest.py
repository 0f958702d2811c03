"""Hosts of their own kernel namespaces: each has its addresses, its processes, its home, its Ray.

`ray stop`, `ray up` and `ray down` end every Ray that they see, which in here is the host's own.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from waiting import wait_until

STARTS = 6
TOOLS = ("ip", "unshare", "nsenter")
# What a host runs as its first process: mounts, then nothing but reaping orphans.
INIT = """
mount --bind "$1/etc/hosts" /etc/hosts
mount --rbind "$1/home" "$HOME"
mkdir -p /tmp/ray && mount --bind "$1/ray" /tmp/ray
mount -t tmpfs tmpfs /run && mkdir /run/sshd
mount -t tmpfs -o size=6g tmpfs /dev/shm
touch "$1/up"
while :; do sleep 3600 & wait $!; done
"""


class Host:
    """One machine; its folder has what differs from this one: home, /tmp/ray, /etc/hosts."""

    def __init__(self, name, folder, namespace, address):
        self.name, self.folder, self.address = name, folder, address
        self.home = folder / "home"
        self._namespace = namespace
        for part in ("home", "ray", "etc"):
            (folder / part).mkdir(parents=True)
        (folder / "etc" / "hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")

    def boot(self):
        command = ["ip", "netns", "exec", self._namespace, "unshare", "--mount", "--uts", "--pid"]
        command += ["--fork", "--mount-proc", "--propagation", "private"]
        script = f"hostname {self.name}\n{keep_interpreter(self.home)}{INIT}"
        command += ["bash", "-ec", script, "init", str(self.folder)]
        self._outer = psutil.Popen(command)
        wait_until((self.folder / "up").exists, f"{self.name} does not boot")
        (self._init,) = self._outer.children()

    def off(self):
        """Pull the plug."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._init.kill()
        self._outer.wait()

    def popen(self, command, log, **environment):
        """Start a command on the host; what it prints goes to a file."""
        with log.open("a") as file:
            return psutil.Popen(
                self._entered(command, environment), stdout=file, stderr=subprocess.STDOUT
            )

    def run(self, command, timeout=900, **environment):
        """Run a command on the host to its end."""
        return subprocess.run(
            self._entered(command, environment),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def _entered(self, command, environment):
        variables = {
            "HOME": str(Path.home()),
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        enter = ["nsenter", "-t", str(self._init.pid), "--net", "--mount", "--pid", "--uts"]
        return [*enter, "env", "-i", *(f"{k}={v}" for k, v in variables.items()), *command]

    def ray_start(self, *arguments, **environment):
        """Start a node of a cluster.

        A raylet gives its agents some 15 s to start, whatever is set, and a busy machine takes
        longer: then it is tried again.
        """
        command = ["ray", "start", "--disable-usage-stats", "--object-store-memory=150000000"]
        for _ in range(STARTS):
            done = self.run([*command, *arguments], **environment)
            if done.returncode == 0:
                return
            self.run(["ray", "stop", "--force"])
        raise AssertionError(done.stdout + done.stderr)

    def runs(self, name):
        """Whether a process of this name runs on the host."""
        return any(p.name() == name for p in self._init.children(recursive=True))


class Lan:
    """A network of hosts, whose cables can be cut."""

    def __init__(self, folder):
        self._folder, self._tag, self._hosts = folder, f"mlsys{os.getpid()}", []
        self._bridge = f"{self._tag}-lan"
        ip("netns", "add", self._bridge)
        ip("-n", self._bridge, "link", "add", "br0", "type", "bridge")
        ip("-n", self._bridge, "addr", "add", "10.77.0.254/24", "dev", "br0")
        ip("-n", self._bridge, "link", "set", "br0", "up")

    def add(self, name):
        """A new host, running."""
        namespace, address = f"{self._tag}-{name}", f"10.77.0.{1 + len(self._hosts)}"
        ip("netns", "add", namespace)
        host = Host(name, self._folder / name, namespace, address)
        self._hosts.append(host)
        own = ["-n", namespace]
        peer = ["type", "veth", "peer", "name", name, "netns", self._bridge]
        ip(*own, "link", "add", "eth0", *peer)
        ip("-n", self._bridge, "link", "set", name, "master", "br0", "up")
        ip(*own, "addr", "add", f"{address}/24", "dev", "eth0")
        ip(*own, "link", "set", "lo", "up")
        ip(*own, "link", "set", "eth0", "up")
        # Ray takes for its own address that of the default route.
        ip(*own, "route", "add", "default", "via", "10.77.0.254")
        host.boot()
        return host

    def cut(self, host):
        """Unplug a host."""
        ip("-n", self._bridge, "link", "set", host.name, "down")

    def heal(self, host):
        """Plug it in again."""
        ip("-n", self._bridge, "link", "set", host.name, "up")

    def close(self):
        for host in self._hosts:
            host.off()
            ip("netns", "delete", f"{self._tag}-{host.name}")
        ip("netns", "delete", self._bridge)


def keep_interpreter(home):
    """Commands that show the interpreter under a home that is replaced."""
    base = Path(sys.base_prefix)
    if not base.is_relative_to(Path.home()):
        return ""
    inside = home / base.relative_to(Path.home())
    return f"mkdir -p {inside}\nmount --bind {base} {inside}\n"


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def lan():
    """A network without hosts."""
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        pytest.skip(f"{', '.join(missing)} not installed")
    allowed = subprocess.run(
        ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "true"], capture_output=True
    )
    if allowed.returncode:
        pytest.skip("namespaces are not allowed here")
    # Sockets lie in it, whose paths may not be long.
    with tempfile.TemporaryDirectory(prefix="lan-", ignore_cleanup_errors=True) as folder:
        network = Lan(Path(folder))
        try:
            yield network
        finally:
            network.close()
