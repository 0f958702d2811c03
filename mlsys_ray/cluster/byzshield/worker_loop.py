"""A worker process: answers what the server asks until it is told to stop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import zmq

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import ImageDataset
from mlsys_ray.byzshield.transport import Task
from mlsys_ray.byzshield.worker import WorkerGroup
from mlsys_ray.cluster.byzshield import protocol
from mlsys_ray.cluster.byzshield.contact import Contact, harden
from mlsys_ray.cluster.byzshield.protocol import Header, Kind
from mlsys_ray.cluster.environment import cpu_model, vector_bits

IDLE_MILLISECONDS = 500


@dataclass(frozen=True, eq=False)
class Order:
    """What a worker process is started for.

    Attributes:
        config: the run.
        dataset: what it trains on.
        workers: the logical workers that live here.
        contact: where the server is and how to prove who this is.
        num_parameters: d.
    """

    config: TrainConfig
    dataset: ImageDataset
    workers: tuple[int, ...]
    contact: Contact
    num_parameters: int

    def carry_out(self) -> None:
        """Answer the server until it says stop."""
        group = WorkerGroup(self.config, self.dataset, self.workers)
        num_files = self.config.make_assignment().num_files
        serve(self.contact, group, num_files, self.num_parameters)


def serve(contact: Contact, group: WorkerGroup, num_files: int, num_parameters: int) -> None:
    """Connect, prove who this is, and answer tasks; returns when the server says so.

    An idle process says hello now and then, so that a connection that broke is proved anew.

    Args:
        contact: where the server is and how to prove who this is.
        group: the logical workers that live here.
        num_files: f.
        num_parameters: d.
    """
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        harden(socket, longest_message=-1)
        if contact.server_key:
            socket.curve_serverkey = contact.server_key
            socket.curve_publickey, socket.curve_secretkey = contact.keys
        socket.connect(contact.endpoint)
        _Session(socket, contact, group, num_files, num_parameters).run()


def describe_arithmetic() -> str:
    """What the bits of a gradient depend on."""
    import torch

    return (
        f"{cpu_model()}, {vector_bits()}-bit vectors, torch {torch.__version__},"
        f" {torch.backends.cpu.get_cpu_capability()}"
    )


class _Session:
    def __init__(
        self,
        socket: zmq.Socket[bytes],
        contact: Contact,
        group: WorkerGroup,
        num_files: int,
        num_parameters: int,
    ) -> None:
        self._socket = socket
        self._contact = contact
        self._group = group
        self._num_files = num_files
        self._num_parameters = num_parameters

    def run(self) -> None:
        self._send(Header(Kind.HELLO, self._contact.process))
        while True:
            if not self._socket.poll(IDLE_MILLISECONDS):
                self._send(Header(Kind.HELLO, self._contact.process))
                continue
            header, bodies = protocol.parse(self._socket.recv_multipart())
            if header.kind is Kind.STOP:
                return
            if header.kind is Kind.CHALLENGE:
                proof = protocol.prove(self._contact.secret, self._contact.process, bodies[0])
                self._send(Header(Kind.PROOF, self._contact.process), proof)
            elif header.kind is Kind.PROBE:
                parameters = np.frombuffer(bodies[0], dtype="<f4")
                found = self._group.probe(parameters, np.frombuffer(bodies[1], dtype="<i8"))
                self._send(Header(Kind.PROBED), found, describe_arithmetic().encode())
            elif header.kind is Kind.FETCH:
                self._send_values(header.iteration, protocol.unpack_pairs(bodies[0]))
            elif header.kind is Kind.COMPUTE and not self._socket.poll(0):
                # With another message behind it, this task is one the server gave up on.
                self._compute(header.iteration, bodies)

    def _compute(self, iteration: int, bodies: list[bytes]) -> None:
        parameters = np.frombuffer(bodies[0], dtype="<f4", count=self._num_parameters)
        files = np.frombuffer(bodies[1], dtype="<i8").reshape(self._num_files, -1)
        answers = self._group.compute(Task(iteration, parameters, files))
        self._send(
            Header(Kind.DIGESTS, iteration=iteration, seconds=answers.compute_seconds),
            protocol.pack_digests(self._group.held, answers.replies),
        )

    def _send_values(self, iteration: int, pairs: list[tuple[int, int]]) -> None:
        for worker, file in pairs:
            value = self._group.fetch(iteration, worker, file)
            body = b"" if value is None else np.ascontiguousarray(value).tobytes()
            self._send(Header(Kind.VALUE, worker, file, iteration), body)

    def _send(self, header: Header, *bodies: bytes) -> None:
        self._socket.send_multipart([header.pack(), *bodies])
