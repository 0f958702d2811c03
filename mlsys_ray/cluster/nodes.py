"""Checks on every node of the connected cluster, before any work is sent there."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import mlsys_ray
from mlsys_ray.cluster.storage import Storage, StorageError
from mlsys_ray.exit_codes import EnvironmentMissingError

ANSWER_SECONDS = 120.0
"""For a node to start a process and answer."""
FULL_SHARE = 0.95
"""Of a disk, from which on Ray stores nothing more there."""
_SUFFIXES = (".py", ".cpp", ".h", ".jinja", ".safetensors")


def on_every_node(function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """Call a function once on each living node that runs tasks.

    Returns:
        By the node's address what the function returned there, or the exception it ended with.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, max_retries=0)(function)
    pending = {
        _name(node): remote.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(*arguments)
        for node in ray.nodes()
        if node["Alive"]
    }
    ray.wait(list(pending.values()), num_returns=len(pending), timeout=ANSWER_SECONDS)
    return {name: _answer(reference) for name, reference in pending.items()}


def _name(node: Mapping[str, Any]) -> str:
    host, address = node["NodeManagerHostname"], node["NodeManagerAddress"]
    return f"{address}:{node['NodeManagerPort']} ({host})"


def _answer(reference: Any) -> Any:
    import ray

    try:
        return ray.get(reference, timeout=0)
    except ray.exceptions.GetTimeoutError:
        return TimeoutError(f"no answer within {ANSWER_SECONDS:.0f} s")
    except Exception as error:
        return error


@cache
def package_digest() -> str:
    """A digest of the content of the package's files."""
    root = Path(mlsys_ray.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in _SUFFIXES):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def versions() -> dict[str, str]:
    """What has to be the same in all processes of a run."""
    found = {name: _version(name) for name in ("ray", "torch", "numpy")}
    return {
        "mlsys_ray": mlsys_ray.__version__,
        "files of mlsys_ray": package_digest(),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        **found,
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def check_versions() -> None:
    """Compare this process's versions with those of worker processes on every node.

    Raises:
        EnvironmentMissingError: naming each node that differs, and in what.
    """

    # Defined here, so that it is sent as code: a node may not have the package at all.
    def theirs() -> dict[str, str]:
        from mlsys_ray.cluster.nodes import versions

        return versions()

    ours = versions()
    differing = [
        f"node {node}: {difference}"
        for node, answer in on_every_node(theirs).items()
        if (difference := _difference(ours, answer))
    ]
    if differing:
        raise EnvironmentMissingError(
            "not every node runs what this process runs:\n"
            + "\n".join(differing)
            + "\nSend the package along (ray job submit --working-dir . -- ...), or install the"
            " same versions on each node."
        )


def _difference(ours: Mapping[str, str], answer: Any) -> str:
    if isinstance(answer, Exception):
        return f"cannot run mlsys_ray: {_last_line(answer)}"
    return ", ".join(
        f"{name} is {answer.get(name)}, here {value}"
        for name, value in ours.items()
        if answer.get(name) != value
    )


def check_storage(storage: Storage) -> None:
    """Write to a storage from every node, and see that all see the same folder.

    Raises:
        StorageError: naming each node that cannot, and why.
    """
    marker = ".probe-driver"
    storage.write(marker, b"driver")
    try:
        answers = on_every_node(_probe, storage, marker)
    finally:
        storage.remove(marker)
    refusals = [
        f"node {node}: {_last_line(answer)}"
        for node, answer in answers.items()
        if isinstance(answer, Exception)
    ]
    if refusals:
        raise StorageError("\n".join(["a node cannot use the storage:", *refusals]))


def _probe(storage: Storage, marker: str) -> None:
    storage.probe()
    if storage.read(marker) is None:
        raise StorageError(
            f"storage {storage} is another folder here than where the driver runs; it must be on"
            " a disk that all nodes share, or in an object store"
        )


def little_room() -> list[str]:
    """A line for each node whose disk could not take what its object store holds.

    Ray moves objects there when the store is full, until `FULL_SHARE` of the disk is used.
    """
    import ray

    stores = {
        _name(node): node["Resources"].get("object_store_memory", 0)
        for node in ray.nodes()
        if node["Alive"]
    }
    # A single node is the driver's own: no process need be started to look.
    alone = len(stores) == 1
    disks = dict.fromkeys(stores, disk_of_session()) if alone else on_every_node(disk_of_session)
    lines = []
    for node, answer in disks.items():
        if not isinstance(answer, tuple):
            continue
        folder, free, total = answer
        room = max(0.0, free - (1 - FULL_SHARE) * total)
        if room < stores[node]:
            lines.append(
                f"node {node}: its object store of {stores[node]:,.0f} bytes spills to {folder},"
                f" which takes {room:,.0f} bytes until its disk is {FULL_SHARE:.0%} full"
            )
    return lines


def full_disks() -> list[str]:
    """A line for each node on whose disk Ray stores nothing more: node, folder and bytes."""
    import ray

    # Where the driver's own disk is full, no task may start any more.
    here = {ray.util.get_node_ip_address(): disk_of_session()}
    return _full(here) or _full(on_every_node(disk_of_session))


def _full(disks: Mapping[str, Any]) -> list[str]:
    return [
        f"node {node}: disk of {answer[0]} is {1 - answer[1] / answer[2]:.0%} full,"
        f" {answer[1]:,} of {answer[2]:,} bytes free"
        for node, answer in disks.items()
        if isinstance(answer, tuple) and answer[1] < (1 - FULL_SHARE) * answer[2]
    ]


def disk_of_session() -> tuple[str, int, int]:
    """The folder of Ray's files on this node, and the free and all bytes of its disk."""
    import ray

    folder = ray._private.worker.global_worker.node.get_session_dir_path()
    usage = shutil.disk_usage(folder)
    return folder, usage.free, usage.total


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
