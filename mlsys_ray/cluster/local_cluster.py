"""Several nodes of one cluster on this machine, with a token: for trying things out, and for tests.

    python -m mlsys_ray.cluster.local_cluster up
    python -m mlsys_ray.cluster.local_cluster down

Each node is a raylet of its own. Only processes started here are ever ended; `ray stop` would end
every Ray on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from mlsys_ray.cluster.session import MEASURE

START_SECONDS = 240.0
OBJECT_STORE_BYTES = 100_000_000
QUICK_TO_MISS_A_NODE = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""For the head: a node is taken for lost within seconds instead of a minute."""


class LocalCluster:
    """A head and further nodes on this machine.

    Only the head offers the resource `measure`: the nodes share the machine's cores.

    Args:
        folder: new, for sessions, logs and the token; sockets lie in it, so that its path must be
            short (about 40 characters).
        num_nodes: the head included.
        num_cpus: that each node offers.
        object_store_bytes: of each node.
        environment: further variables of the nodes' processes.

    Attributes:
        environment: what a process needs to use the cluster, token included.
        address: of the head, host:port.
        dashboard: where jobs are submitted, http://host:port.
        nodes: the first process of each node, the head's first.
    """

    def __init__(
        self,
        folder: Path,
        *,
        num_nodes: int = 2,
        num_cpus: int = 1,
        object_store_bytes: int = OBJECT_STORE_BYTES,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._num_nodes = num_nodes
        self._object_store_bytes = object_store_bytes
        self._num_cpus = num_cpus
        self.nodes: list[psutil.Process] = []
        self.address = ""
        self.dashboard = ""
        token = folder / "auth_token"
        # Jobs that say "python" mean the one of this environment, activated or not.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        self.environment = {
            **os.environ,
            "PATH": path,
            **(environment or {}),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": f"{START_SECONDS:.0f}",
        }
        self.environment.pop("RAY_AUTH_TOKEN", None)
        self.environment.pop("RAY_ADDRESS", None)
        folder.mkdir(parents=True, exist_ok=True)
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))

    def start(self) -> None:
        """Start the nodes, one after another.

        Raises:
            RuntimeError: a node does not start; with the end of its log.
        """
        dashboard = free_port()
        self.start_node(
            "--head",
            "--port=0",
            f"--dashboard-port={dashboard}",
            f"--ray-client-server-port={free_port()}",
            f"--resources={json.dumps({MEASURE: 1})}",
        )
        current = self._folder / "node-0" / "ray_current_cluster"
        self.address = current.read_text().strip()
        self.dashboard = f"http://127.0.0.1:{dashboard}"
        self.environment["RAY_API_SERVER_ADDRESS"] = self.dashboard
        for _ in range(1, self._num_nodes):
            self.add_node()

    def add_node(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        """Start one more node that joins the head.

        Args:
            arguments: further ones of `ray start`.
            environment: variables of this node's processes alone.
        """
        # Drivers look for the raylet with their own address, which is that of the head.
        host = f"127.0.0.{len(self.nodes) + 1}"
        self.start_node(
            f"--address={self.address}",
            f"--node-ip-address={host}",
            *arguments,
            environment=environment,
        )

    def start_node(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a node with arguments of `ray start`."""
        folder = self._folder / f"node-{len(self.nodes)}"
        folder.mkdir()
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *arguments]
        command += [
            f"--temp-dir={folder}",
            f"--num-cpus={self._num_cpus}",
            f"--object-store-memory={self._object_store_bytes}",
            f"--dashboard-agent-listen-port={free_port()}",
            f"--metrics-export-port={free_port()}",
        ]
        log = self._folder / f"{folder.name}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                command,
                env={**self.environment, **(environment or {})},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.nodes.append(psutil.Process(process.pid))
        deadline = time.monotonic() + START_SECONDS
        while "Ray runtime started" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{folder.name} does not start: {log.read_text()[-2000:]}")
            time.sleep(0.2)

    def raylet(self, node: int) -> psutil.Process:
        """The raylet of a node; killing it is the loss of the node."""
        (found,) = [process for process in family(self.nodes[node]) if process.name() == "raylet"]
        return found

    def close(self) -> None:
        """End the nodes."""
        end_processes([p for node in reversed(self.nodes) for p in family(node)], self._folder)
        self.nodes.clear()


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that descend from it; empty where it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def end_processes(processes: Sequence[psutil.Process], folder: Path) -> None:
    """Kill processes, and those left of nodes that live in the folder."""
    rest = [process for process in psutil.process_iter() if _belongs(process, folder)]
    ended = {process.pid: process for process in [*processes, *rest]}
    for process in ended.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(list(ended.values()), timeout=10)


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _belongs(process: psutil.Process, folder: Path) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(f"{folder}/node-" in argument for argument in process.cmdline())
    return False


def default_folder() -> Path:
    """One for each user and checkout."""
    digest = hashlib.sha256(os.getcwd().encode()).hexdigest()[:6]
    return Path(tempfile.gettempdir()) / f"mlsys-ray-{os.getuid()}-{digest}"


def up(folder: Path, num_nodes: int, num_cpus: int) -> int:
    """Start a cluster that outlives this process, and print what to export to use it."""
    if (folder / "state.json").exists():
        print(f"a cluster of {folder} was started already; end it first (down)", file=sys.stderr)
        return 2
    shutil.rmtree(folder, ignore_errors=True)
    cluster = LocalCluster(folder, num_nodes=num_nodes, num_cpus=num_cpus)
    print(f"starting {num_nodes} nodes of {num_cpus} CPU(s) in {folder}", file=sys.stderr)
    try:
        cluster.start()
    except BaseException:
        cluster.close()
        raise
    processes = [[node.pid, node.create_time()] for node in cluster.nodes]
    (folder / "state.json").write_text(json.dumps({"processes": processes}))
    exported = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": cluster.environment["RAY_AUTH_TOKEN_PATH"],
        "RAY_ADDRESS": cluster.address,
        "RAY_API_SERVER_ADDRESS": cluster.dashboard,
    }
    for name, value in exported.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def down(folder: Path) -> int:
    """End the cluster that `up` started, and nothing else."""
    state = folder / "state.json"
    if not state.exists():
        print(f"no cluster was started in {folder}", file=sys.stderr)
        return 0
    record: dict[str, Any] = json.loads(state.read_text())
    end_processes([p for pid, started in record["processes"] for p in _same(pid, started)], folder)
    shutil.rmtree(folder, ignore_errors=True)
    print(f"ended the cluster of {folder}", file=sys.stderr)
    return 0


def _same(pid: int, started: float) -> list[psutil.Process]:
    """The family of a process, unless its number means another one by now."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if abs(process.create_time() - started) < 1:
            return family(process)
    return []


def main(arguments: Sequence[str] | None = None) -> int:
    """The two commands."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=["up", "down"])
    parser.add_argument("--nodes", type=int, default=2, help="the head included (2)")
    parser.add_argument("--cpus", type=int, default=1, help="CPUs of each node (1)")
    parser.add_argument("--folder", type=Path, default=default_folder())
    given = parser.parse_args(arguments)
    commands: dict[str, Callable[[], int]] = {
        "up": lambda: up(given.folder, given.nodes, given.cpus),
        "down": lambda: down(given.folder),
    }
    return commands[given.command]()


if __name__ == "__main__":
    sys.exit(main())
