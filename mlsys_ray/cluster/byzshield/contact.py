"""How a worker process reaches the server."""

from __future__ import annotations

from dataclasses import dataclass

import zmq


@dataclass(frozen=True, repr=False)
class Contact:
    """What the server gives to a process when it starts it; never sent over the socket.

    Attributes:
        endpoint: `tcp://host:port` of the server.
        process: index of the process.
        secret: 32 bytes that no other process knows.
        server_key: the server's public CURVE key where messages are encrypted, else empty.
        keys: (public, secret) CURVE keys of the process, else empty.
    """

    endpoint: str
    process: int
    secret: bytes
    server_key: bytes = b""
    keys: tuple[bytes, bytes] = (b"", b"")


def harden(socket: zmq.Socket[bytes], longest_message: int) -> None:
    """Options of both ends: no lingering, heartbeats, and a limit to what may come in.

    A peer that sends a longer message, or that is not heard of for 10 s, is disconnected.
    """
    socket.linger = 0
    socket.maxmsgsize = longest_message
    socket.heartbeat_ivl = 2_000
    socket.heartbeat_timeout = 10_000
    socket.heartbeat_ttl = 10_000
