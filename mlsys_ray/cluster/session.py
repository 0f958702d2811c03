"""Attach to a running Ray cluster, or start a local one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlsys_ray.cluster.nodes import check_storage, check_versions, full_disks, little_room
from mlsys_ray.cluster.storage import Storage
from mlsys_ray.exit_codes import EnvironmentMissingError

PROBE_SECONDS = 5.0
HEALTH_CHECK_SECONDS = 60.0
MEASURE = "measure"
"""Resource of a node that trials which measure times take, so that they are alone there."""
TOKEN_HELP = (
    "A missing or wrong token is a likely cause; both lines are needed:\n"
    "  export RAY_AUTH_MODE=token\n"
    "  export RAY_AUTH_TOKEN_PATH=FILE   # with the cluster's token; by default ~/.ray/auth_token"
)
DISK_HELP = (
    "Delete files there, or start Ray with --temp-dir (RAY_TMPDIR) on a larger disk; what the run"
    " has recorded is kept, and the same command goes on from there."
)


def configure_environment() -> None:
    """Set what Ray reads when it is imported; values the user has set are kept.

    Raises:
        RuntimeError: ray is imported already and token authentication was not on by then, under
            which a local cluster would fail to start 20 s later.
    """
    if "ray" in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        raise RuntimeError(
            "ray was imported before RAY_AUTH_MODE was set;"
            " set it, or import mlsys_ray.cluster.session and call configure_environment(), first"
        )
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


def token_source() -> str | None:
    """Where Ray finds the token of the cluster, in its own order; None if nowhere."""
    for variable in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        if os.environ.get(variable):
            return variable
    default = Path.home() / ".ray" / "auth_token"
    return str(default) if default.exists() else None


@contextmanager
def ray_session(
    address: str | None = None,
    num_cpus: int | None = None,
    *,
    private: bool = False,
    storage: Storage | None = None,
) -> Iterator[str]:
    """A Ray cluster for the duration of the block.

    One that this process is connected to already is used and left running. Inside, what is printed
    goes to stderr: Ray prints where nobody asked it to, and stdout is for results. Each node of a
    cluster that somebody else runs must have this process's versions.

    Args:
        address: `host:port` or `auto` of a running cluster; None takes RAY_ADDRESS, and where
            that is not set a local cluster is started, and shut down afterwards.
        num_cpus: cores of a local cluster; None takes all.
        private: keep the files of a local cluster, which Ray makes writable for everybody, in a
            folder that other users cannot enter, and remove them afterwards.
        storage: that every node must be able to write to.

    Yields:
        One line saying which cluster this is and where its dashboard answers, and one for each node
        with little room for spilled objects; empty where this process was connected before.

    Raises:
        EnvironmentMissingError: no cluster answers at the address, a node has other versions or
            cannot write to the storage, or the disk of one is full.
    """
    configure_environment()
    import ray

    if ray.is_initialized():
        with redirect_stdout(sys.stderr):
            if storage:
                check_storage(storage)
            yield ""
        return
    address = address or os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))
        stack.callback(ray.shutdown)
        if address is None or address == "local":
            if private:
                # Sockets lie in it, whose paths may not be long.
                folder = TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
                quiet["_temp_dir"] = os.path.join(stack.enter_context(folder), "ray")
            quiet["resources"] = {MEASURE: 1}
            ray.init("local", num_cpus=num_cpus, include_dashboard=True, **quiet)
            how = "local"
        else:
            check_address(address)
            try:
                ray.init(address, **quiet)
            except (ConnectionError, ray.exceptions.AuthenticationError) as error:
                raise EnvironmentMissingError(
                    f"cannot attach to Ray at {address}: {error}\n{TOKEN_HELP}"
                ) from error
            check_versions()
            how = "attached to"
        if storage:
            check_storage(storage)
        with _full_disks_named():
            yield "\n".join([_describe(how), *little_room()])


@contextmanager
def _full_disks_named() -> Iterator[None]:
    """Say which node's disk is full, where Ray's error is one that a full disk leads to.

    Raises:
        EnvironmentMissingError: naming node, folder and bytes.
    """
    from ray import exceptions

    try:
        yield
    except (
        exceptions.OutOfDiskError,
        exceptions.ObjectStoreFullError,
        exceptions.WorkerCrashedError,
    ) as error:
        if full := full_disks():
            lines = [f"Ray cannot go on ({type(error).__name__}):", *full, DISK_HELP]
            raise EnvironmentMissingError("\n".join(lines)) from error
        raise


def check_address(address: str) -> None:
    """Find out quickly whether a cluster answers, since attaching to a dead port never ends.

    Raises:
        EnvironmentMissingError: the address is malformed, or nobody answers, or not with our token.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise EnvironmentMissingError(
            f"address is {address!r}, must be host:port of a Ray head (default port 6379) or auto;"
            " from outside the cluster use `ray job submit`"
        )
    try:
        socket.create_connection((host, int(port)), timeout=PROBE_SECONDS).close()
    except OSError as error:
        raise EnvironmentMissingError(
            f"nothing answers at {address}: {error}. Is the head running (`ray start --head`)?"
            f"\n{TOKEN_HELP}"
        ) from error
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        check = subprocess.run(command, capture_output=True, timeout=HEALTH_CHECK_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentMissingError(
            f"{address} does not answer as a Ray head within {HEALTH_CHECK_SECONDS:.0f} s."
            f"\n{TOKEN_HELP}"
        ) from error
    if check.returncode != 0:
        raise EnvironmentMissingError(f"Ray at {address} refuses this client.\n{TOKEN_HELP}")


def _describe(how: str) -> str:
    import ray

    context = ray.get_runtime_context()
    resources = ray.cluster_resources()
    nodes = sum(name.startswith("node:") and "__" not in name for name in resources)
    url = ray._private.worker.get_dashboard_url()
    dashboard = f"http://{url}" if url else "not available"
    return (
        f"Ray: {how} {context.gcs_address}, {nodes} node(s), {resources.get('CPU', 0):g} CPUs,"
        f" dashboard {dashboard}"
    )
