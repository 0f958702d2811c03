"""Messages between the server and worker processes: fixed layouts, never pickles.

Every message is a header and at most two bodies. The server knows the length of each body
beforehand and refuses any other; nothing a worker sends is parsed beyond that.

| kind | from | header fields | bodies |
|---|---|---|---|
| HELLO | worker | process | |
| CHALLENGE | server | | nonce |
| PROOF | worker | process | HMAC of the nonce |
| COMPUTE | server | iteration | parameters float32 `[d]`; files int64 `[f, b/f]` |
| DIGESTS | worker | iteration, seconds | per (worker, file) held: a flag and a digest |
| FETCH | server | iteration | (worker, file) pairs int32 `[n, 2]` |
| VALUE | worker | iteration, worker, file | the gradient's bytes, none if it is not there |
| PROBE | server | | parameters float32 `[d]`; training rows int64 `[n]` |
| PROBED | worker | | digest of the gradient on them; what it was computed with, ASCII |
| STOP | server | | |
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from mlsys_ray.byzshield.transport import Reply
from mlsys_ray.byzshield.voting import DIGEST_BYTES

MAGIC = b"MRBZ"
VERSION = 1
NONCE_BYTES = 32
SECRET_BYTES = 32
_HEADER = struct.Struct("<4sBBHiid")
_ENTRY_BYTES = 1 + DIGEST_BYTES


class ProtocolError(Exception):
    """A message has not the form that its kind has."""


class Kind(IntEnum):
    """What a message is."""

    HELLO = 1
    CHALLENGE = 2
    PROOF = 3
    COMPUTE = 4
    DIGESTS = 5
    FETCH = 6
    VALUE = 7
    STOP = 8
    PROBE = 9
    PROBED = 10


@dataclass(frozen=True)
class Header:
    """The first frame of a message, 24 bytes.

    Attributes:
        kind: what it is.
        index: of the process, or of the worker a value comes from.
        file: of the value.
        iteration: of the training run.
        seconds: that the process says it computed.
    """

    kind: Kind
    index: int = 0
    file: int = 0
    iteration: int = 0
    seconds: float = 0.0

    def pack(self) -> bytes:
        """As bytes."""
        return _HEADER.pack(
            MAGIC, VERSION, self.kind, self.index, self.file, self.iteration, self.seconds
        )


def parse(frames: Sequence[bytes], num_bodies: range = range(3)) -> tuple[Header, list[bytes]]:
    """Split a message into header and bodies.

    Raises:
        ProtocolError: it is not one of this version.
    """
    if not frames or len(frames[0]) != _HEADER.size or len(frames) - 1 not in num_bodies:
        raise ProtocolError("not a header and its bodies")
    magic, version, kind, index, file, iteration, seconds = _HEADER.unpack(frames[0])
    if magic != MAGIC or version != VERSION or kind not in Kind.__members__.values():
        raise ProtocolError("not a message of this version")
    if not 0 <= seconds < float("inf") or file < 0 or iteration < 0:
        raise ProtocolError("a field is out of range")
    return Header(Kind(kind), index, file, iteration, seconds), list(frames[1:])


def prove(secret: bytes, process: int, nonce: bytes) -> bytes:
    """The answer to a challenge: only who knows the secret of the process can give it."""
    return hmac.digest(secret, struct.pack("<H", process) + nonce, hashlib.sha256)


def proves(proof: bytes, secret: bytes, process: int, nonce: bytes) -> bool:
    """Whether an answer is right, in a time that does not depend on where it is wrong."""
    return hmac.compare_digest(proof, prove(secret, process, nonce))


def digests_bytes(held: Mapping[int, Sequence[int]]) -> int:
    """Length of the body of DIGESTS for the files held by each worker of a process."""
    return _ENTRY_BYTES * sum(len(files) for files in held.values())


def pack_digests(held: Mapping[int, Sequence[int]], replies: Mapping[int, Reply]) -> bytes:
    """The digests of all workers of a process, in the order of workers and files."""
    return b"".join(
        b"\1" + replies[worker].digests[file]
        if file in replies[worker].digests
        else bytes(_ENTRY_BYTES)
        for worker, files in held.items()
        for file in files
    )


def unpack_digests(held: Mapping[int, Sequence[int]], body: bytes) -> dict[int, Reply]:
    """What `pack_digests` packed; a worker with a digest missing has failed with an error.

    Raises:
        ProtocolError: the body has another length.
    """
    if len(body) != digests_bytes(held):
        raise ProtocolError(f"{len(body)} bytes of digests, not {digests_bytes(held)}")
    replies, position = {}, 0
    for worker, files in held.items():
        digests = {}
        for file in files:
            if body[position] == 1:
                digests[file] = body[position + 1 : position + _ENTRY_BYTES]
            position += _ENTRY_BYTES
        replies[worker] = Reply(digests, "error" if len(digests) < len(files) else None)
    return replies


def readable(text: bytes) -> str:
    """A worker's text, made harmless to print: at most 200 characters of printable ASCII."""
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in text[:200])


def pack_pairs(pairs: Sequence[tuple[int, int]]) -> bytes:
    """(worker, file) pairs as the body of FETCH."""
    return np.array(pairs, dtype="<i4").tobytes()


def unpack_pairs(body: bytes) -> list[tuple[int, int]]:
    """What `pack_pairs` packed."""
    pairs = np.frombuffer(body, dtype="<i4").reshape(-1, 2)
    return [(int(worker), int(file)) for worker, file in pairs]
