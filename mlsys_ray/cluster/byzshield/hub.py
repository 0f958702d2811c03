"""The server's socket: who is connected, and what they send, checked before it is used."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

import zmq
from zmq.auth.thread import ThreadAuthenticator

from mlsys_ray.cluster.byzshield import protocol
from mlsys_ray.cluster.byzshield.contact import Contact, harden
from mlsys_ray.cluster.byzshield.protocol import Header, Kind, ProtocolError

MAX_PENDING_PROOFS = 1000


@dataclass(frozen=True)
class Message:
    """What a process that has proved itself sent."""

    process: int
    header: Header
    bodies: list[bytes]


class Hub:
    """A ROUTER socket on which only processes that prove their secret are heard.

    A connection is proved once; its routing id, which libzmq gives out and binds to it, stands
    for the process from then on. A process that proves itself on a new connection replaces its
    old one. Whatever else comes in is dropped unread.

    Args:
        host: address to listen on.
        longest_body: bytes of the longest body a worker may rightly send; a peer that sends a
            message of more than twice that is disconnected.
        encrypt: use CURVE, and let only processes with keys given out here connect.
    """

    def __init__(self, host: str, longest_body: int, *, encrypt: bool = False) -> None:
        self._context = zmq.Context()
        self._authenticator: ThreadAuthenticator | None = None
        self._keys: tuple[bytes, bytes] = (b"", b"")
        self._allowed: set[bytes] = set()
        self._socket = self._context.socket(zmq.ROUTER)
        # Twice, so that a value of the wrong type is seen as such instead of as silence.
        harden(self._socket, longest_message=2 * longest_body + 1024)
        self._socket.router_mandatory = True
        # A process that does not read must not fill the memory with models.
        self._socket.sndhwm = 4
        if encrypt:
            self._encrypt()
        port = self._socket.bind_to_random_port(f"tcp://{host}")
        self._endpoint = f"tcp://{host}:{port}"
        self._secrets: dict[int, bytes] = {}
        self._nonces: dict[bytes, tuple[int, bytes]] = {}
        self._connections: dict[int, bytes] = {}
        self._processes: dict[bytes, int] = {}

    @property
    def connected(self) -> set[int]:
        """Processes that have proved themselves."""
        return set(self._connections)

    def invite(self, process: int) -> Contact:
        """A new secret for a process; those it had before are void, and so is its connection."""
        self.forget(process)
        self._secrets[process] = secrets.token_bytes(protocol.SECRET_BYTES)
        keys = (b"", b"")
        if self._authenticator is not None:
            keys = zmq.curve_keypair()
            self._allowed.add(keys[0])
        return Contact(self._endpoint, process, self._secrets[process], self._keys[0], keys)

    def forget(self, process: int) -> None:
        """Hear nothing more from the process until it is invited again."""
        self._secrets.pop(process, None)
        routing_id = self._connections.pop(process, None)
        self._processes.pop(routing_id or b"", None)

    def send(self, process: int, header: Header, *bodies: bytes) -> bool:
        """Send to a process; False if it is not connected or does not read."""
        routing_id = self._connections.get(process)
        if routing_id is None:
            return False
        try:
            self._socket.send_multipart([routing_id, header.pack(), *bodies], flags=zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                self._disconnect(process)
            return False
        return True

    def receive(self, seconds: float) -> Iterator[Message | int]:
        """Wait for at most `seconds`, then yield what is there.

        Yields:
            A message of a proved process, or the index of a process that has just proved itself.
        """
        if not self._socket.poll(max(0, int(1000 * seconds))):
            return
        end = time.monotonic() + max(seconds, 0.001)
        while True:
            try:
                routing_id, *frames = self._socket.recv_multipart(flags=zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                heard = self._hear(routing_id, frames)
            except ProtocolError:
                heard = None
            if heard is not None:
                yield heard
            # A peer that floods the socket must not keep the server here.
            if time.monotonic() > end:
                return

    def close(self) -> None:
        """Close the socket; processes are told to stop before."""
        for process in self.connected:
            self.send(process, Header(Kind.STOP))
        # What is on its way to the processes, which otherwise linger until Ray ends them.
        self._socket.close(linger=200)
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.term()

    def _hear(self, routing_id: bytes, frames: list[bytes]) -> Message | int | None:
        header, bodies = protocol.parse(frames)
        process = self._processes.get(routing_id)
        if process is not None:
            return None if header.kind is Kind.HELLO else Message(process, header, bodies)
        if header.kind is Kind.HELLO:
            self._challenge(routing_id, header.index)
        elif header.kind is Kind.PROOF and bodies:
            return self._check(routing_id, header.index, bodies[0])
        return None

    def _challenge(self, routing_id: bytes, process: int) -> None:
        if process not in self._secrets:
            return
        while len(self._nonces) >= MAX_PENDING_PROOFS:
            del self._nonces[next(iter(self._nonces))]
        nonce = secrets.token_bytes(protocol.NONCE_BYTES)
        self._nonces[routing_id] = process, nonce
        challenge = [routing_id, Header(Kind.CHALLENGE).pack(), nonce]
        try:
            self._socket.send_multipart(challenge, flags=zmq.NOBLOCK)
        except zmq.ZMQError:
            del self._nonces[routing_id]

    def _check(self, routing_id: bytes, process: int, proof: bytes) -> int | None:
        asked, nonce = self._nonces.pop(routing_id, (-1, b""))
        secret = self._secrets.get(process)
        if asked != process or secret is None:
            return None
        if not protocol.proves(proof, secret, process, nonce):
            return None
        self._disconnect(process)
        self._connections[process] = routing_id
        self._processes[routing_id] = process
        return process

    def _disconnect(self, process: int) -> None:
        routing_id = self._connections.pop(process, None)
        if routing_id is not None:
            del self._processes[routing_id]

    def _encrypt(self) -> None:
        self._keys = zmq.curve_keypair()
        self._socket.curve_server = True
        self._socket.curve_publickey, self._socket.curve_secretkey = self._keys
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback("*", credentials_provider=self)

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether a public key may connect; the method the authenticator asks for."""
        return key in self._allowed
