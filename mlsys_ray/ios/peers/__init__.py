"""Whole networks in today's runtimes: what IOS is compared with, and points of its own space.

Each is optional and found when it is asked for.
"""

from __future__ import annotations

from importlib import import_module

from mlsys_ray.ios.peers.base import (
    ON_CPU,
    ON_GPU,
    MissingPeerError,
    Peer,
    PeerFailedError,
    PeerTask,
    Prepare,
)

__all__ = [
    "ON_CPU",
    "ON_GPU",
    "PEERS",
    "MissingPeerError",
    "Peer",
    "PeerFailedError",
    "PeerTask",
    "prepare_peer",
]

PEERS = tuple(dict.fromkeys((*ON_CPU, *ON_GPU)))
"""Names of the tools, each a module of this package."""


def prepare_peer(name: str, task: PeerTask) -> Peer:
    """A model made ready in a tool.

    Args:
        name: of `PEERS`.
        task: the model, and what the tool may use.

    Raises:
        ValueError: no tool has that name.
        MissingPeerError: the tool is not installed.
        PeerFailedError: the tool cannot run the model.
    """
    if name not in PEERS:
        raise ValueError(f"peer {name!r} is unknown; accepted: {', '.join(PEERS)}")
    prepare: Prepare = import_module(f"{__name__}.{name}").prepare
    return prepare(task)
