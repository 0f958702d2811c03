"""Carries tasks to worker processes and values back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from mlsys_ray.byzshield.assignment import Assignment
from mlsys_ray.byzshield.transport import Answers, Reply, Task
from mlsys_ray.cluster.byzshield import protocol
from mlsys_ray.cluster.byzshield.contact import Contact
from mlsys_ray.cluster.byzshield.hub import Hub, Message
from mlsys_ray.cluster.byzshield.protocol import Header, Kind, ProtocolError

START_SECONDS = 300.0
TICK_SECONDS = 0.2
# Iterations in a row without a word from a process, after which it is taken to hang.
SILENT_ITERATIONS = 3
MAX_RESTARTS = 3


class Process(Protocol):
    """A started worker process."""

    def is_dead(self) -> bool:
        """Whether it has ended; never looks at anything it returned."""

    def end(self) -> None:
        """End it, without waiting."""


Start = Callable[[Contact, tuple[int, ...]], Process]
"""Starts a process that serves these workers, without waiting for it."""


class SocketTransport:
    """See `mlsys_ray.byzshield.transport.Transport`.

    Workers that share a process share its fate. A process that has died, or that has not been
    heard of for some iterations, is ended and started again, up to `MAX_RESTARTS` times; it joins
    as soon as it has proved itself. Until then its workers are erasures.

    Args:
        assignment_at: the assignment of an iteration.
        num_parameters: d.
        workers: the logical workers of each process.
        hub: the server's socket.
        start: how to start a process.
    """

    def __init__(
        self,
        assignment_at: Callable[[int], Assignment],
        num_parameters: int,
        workers: Sequence[tuple[int, ...]],
        hub: Hub,
        start: Start,
    ) -> None:
        self._num_parameters = num_parameters
        self._workers = list(workers)
        self._assignment_at = assignment_at
        self._home = {worker: index for index, group in enumerate(workers) for worker in group}
        self._hub = hub
        self._start = start
        # Iterations in a row; a process that is still starting is not silent yet.
        self._silent = [0] * len(workers)
        self._has_joined = [False] * len(workers)
        self._restarts = [0] * len(workers)
        self._processes = [start(hub.invite(index), group) for index, group in enumerate(workers)]
        self._wait_for_start()

    def compute(self, task: Task, deadline: float) -> Answers:
        """See `Transport.compute`."""
        end = time.monotonic() + deadline
        assignment = self._assignment_at(task.iteration)
        held = [
            {worker: assignment.files_of(worker) for worker in group} for group in self._workers
        ]
        header = Header(Kind.COMPUTE, iteration=task.iteration)
        bodies = task.parameters.astype("<f4").tobytes(), task.files.astype("<i8").tobytes()
        for index in range(len(self._workers)):
            self._hub.send(index, header, *bodies)
        replies: dict[int, dict[int, Reply]] = {}
        seconds, received = 0.0, 0
        for heard in self._listen(end, lambda: self._hub.connected - replies.keys()):
            if isinstance(heard, int):
                self._hub.send(heard, header, *bodies)
                continue
            self._silent[heard.process] = 0
            if heard.header.kind is not Kind.DIGESTS or heard.header.iteration != task.iteration:
                continue
            try:
                (body,) = heard.bodies
                answer = protocol.unpack_digests(held[heard.process], body)
            except (ProtocolError, ValueError):
                replies[heard.process] = self._failed(heard.process, "malformed")
                continue
            replies[heard.process] = answer
            seconds = max(seconds, heard.header.seconds)
            received += len(body)
        for index in range(len(self._workers)):
            if index not in replies:
                dead = self._processes[index].is_dead()
                replies[index] = self._failed(index, "dead" if dead else "late")
                self._replace_if_gone(index, dead)
        merged = {worker: reply for answer in replies.values() for worker, reply in answer.items()}
        return Answers(merged, seconds, received)

    def fetch(
        self, iteration: int, wanted: Sequence[tuple[int, int]], deadline: float
    ) -> dict[tuple[int, int], object]:
        """See `Transport.fetch`; values are copies of what came in, in memory of their own."""
        end = time.monotonic() + deadline
        by_process: dict[int, list[tuple[int, int]]] = {}
        for worker, file in wanted:
            by_process.setdefault(self._home[worker], []).append((worker, file))
        header = Header(Kind.FETCH, iteration=iteration)
        open_pairs = {
            pair
            for index, pairs in by_process.items()
            if self._hub.send(index, header, protocol.pack_pairs(pairs))
            for pair in pairs
        }
        values: dict[tuple[int, int], object] = {}
        homes = partial(self._homes, open_pairs)
        for heard in self._listen(end, homes):
            if isinstance(heard, int):
                # It comes from a new process or over a new connection: nothing sent to the old
                # one will be answered.
                open_pairs.difference_update(by_process.get(heard, ()))
                continue
            pair = heard.header.index, heard.header.file
            if (
                heard.header.kind is not Kind.VALUE
                or heard.header.iteration != iteration
                or pair not in open_pairs
                or self._home[pair[0]] != heard.process
            ):
                continue
            open_pairs.remove(pair)
            if heard.bodies and heard.bodies[0]:
                values[pair] = self._vector(heard.bodies[0])
        return values

    def probe(
        self, parameters: np.ndarray, samples: np.ndarray, deadline: float
    ) -> dict[int, tuple[bytes, str]]:
        """Have every process compute one gradient honestly.

        Args:
            parameters: float32 `[d]`.
            samples: training rows int64 `[n]`.
            deadline: seconds to wait.

        Returns:
            (digest, what it was computed with) by process; those that did not answer are left out.
        """
        bodies = parameters.astype("<f4").tobytes(), samples.astype("<i8").tobytes()
        asked = {
            index
            for index in range(len(self._workers))
            if self._hub.send(index, Header(Kind.PROBE), *bodies)
        }
        found: dict[int, tuple[bytes, str]] = {}
        end = time.monotonic() + deadline
        for heard in self._listen(end, lambda: asked - found.keys()):
            if isinstance(heard, Message) and heard.header.kind is Kind.PROBED:
                value, text = (*heard.bodies, b"", b"")[:2]
                found[heard.process] = value, protocol.readable(text)
        return found

    def close(self) -> None:
        """End the processes."""
        self._hub.close()
        for process in self._processes:
            process.end()

    def _wait_for_start(self) -> None:
        end = time.monotonic() + START_SECONDS
        waiting = set(range(len(self._workers)))
        awaited: Callable[[], set[int]] = partial(set, waiting)
        while waiting and time.monotonic() < end:
            for heard in self._listen(time.monotonic() + TICK_SECONDS, awaited):
                if isinstance(heard, int):
                    waiting.discard(heard)
            waiting.difference_update([index for index in waiting if self._is_lost(index)])

    def _listen(self, end: float, awaited: Callable[[], set[int]]) -> Iterator[Message | int]:
        """Yield what is heard until nobody alive is awaited any more, or the time is up.

        Args:
            end: of the time.
            awaited: the processes that have not said yet what they should.
        """
        while (remaining := end - time.monotonic()) > 0 and (waiting := awaited()):
            silence = True
            for heard in self._hub.receive(min(remaining, TICK_SECONDS)):
                silence = False
                if isinstance(heard, int):
                    self._has_joined[heard] = True
                yield heard
            # Asking Ray costs more than listening, so it is asked only when there is nothing.
            if silence and all(self._processes[index].is_dead() for index in waiting):
                return

    def _homes(self, pairs: set[tuple[int, int]]) -> set[int]:
        return {self._home[worker] for worker, _ in pairs}

    def _is_lost(self, index: int) -> bool:
        """Whether a process died and was not started again; a dead one is started again here."""
        if not self._processes[index].is_dead():
            return False
        return not self._restart(index)

    def _replace_if_gone(self, index: int, dead: bool) -> None:
        self._silent[index] += self._has_joined[index]
        if dead or self._silent[index] >= SILENT_ITERATIONS:
            self._restart(index)

    def _restart(self, index: int) -> bool:
        if self._restarts[index] >= MAX_RESTARTS:
            self._hub.forget(index)
            return False
        self._restarts[index] += 1
        self._silent[index] = 0
        self._has_joined[index] = False
        self._processes[index].end()
        self._processes[index] = self._start(self._hub.invite(index), self._workers[index])
        return True

    def _failed(self, index: int, failure: str) -> dict[int, Reply]:
        return {worker: Reply(failure=failure) for worker in self._workers[index]}

    def _vector(self, body: bytes) -> np.ndarray:
        """The bytes as float32 if they are as many as a gradient has, else as they are."""
        known = len(body) == 4 * self._num_parameters
        return np.frombuffer(body, dtype="<f4" if known else np.uint8)
