"""ByzShield as Ray actors: one parameter server and the processes of K workers."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np
import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import ImageDataset
from mlsys_ray.byzshield.server import ParameterServer, Row, ServerState
from mlsys_ray.byzshield.transport import Answers, Reply, Task
from mlsys_ray.byzshield.voting import DIGEST_BYTES
from mlsys_ray.byzshield.worker import WorkerGroup

START_SECONDS = 300.0


@ray.remote(max_restarts=3, max_task_retries=0)
class WorkerProcess:
    """One process with one or more logical workers.

    It is stateless between iterations, so a restarted one simply goes on. A task is never
    retried by Ray: the server's deadline decides, a lost answer is an erasure.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: ImageDataset,
        workers: Sequence[int],
        byzantine: tuple[int, ...],
    ) -> None:
        self._group = WorkerGroup(config, dataset, workers, byzantine)

    def ready(self) -> None:
        """Return once the process has started."""

    def compute(self, task: Task) -> Answers:
        """See `WorkerGroup.compute`."""
        return self._group.compute(task)

    def fetch(
        self, iteration: int, wanted: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], np.ndarray | None]:
        """The gradients of (worker, file) pairs that live here."""
        return {pair: self._group.fetch(iteration, *pair) for pair in wanted}


class RayTransport:
    """Carries tasks to `WorkerProcess` actors.

    A process that does not answer by the deadline is late; while its call hangs it gets no new
    one and stays late. Workers that share a process share its fate.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: ray.ObjectRef,
        byzantine: tuple[int, ...],
        num_processes: int,
    ) -> None:
        self._assignment = config.make_assignment()
        self._workers = [
            tuple(range(self._assignment.num_workers))[index::num_processes]
            for index in range(num_processes)
        ]
        self._home = {
            worker: index for index, workers in enumerate(self._workers) for worker in workers
        }
        share = min(1.0, ray.cluster_resources()["CPU"] / num_processes)
        self._processes: list[ActorHandle] = [
            WorkerProcess.options(  # type: ignore[attr-defined]
                name=f"byzshield-workers-{workers[0]}-step-{num_processes}-{time.time_ns()}",
                num_cpus=int(share * 100) / 100,
                scheduling_strategy="SPREAD",
            ).remote(config, dataset, workers, byzantine)
            for workers in self._workers
        ]
        self._hanging: dict[int, ray.ObjectRef] = {}
        starts: list[Any] = [process.ready.remote() for process in self._processes]
        ray.wait(starts, num_returns=len(starts), timeout=START_SECONDS)

    def compute(self, task: Task, deadline: float) -> Answers:
        """See `Transport.compute`."""
        shared = ray.put(task)
        calls: dict[int, Any] = {
            index: self._processes[index].compute.remote(shared) for index in self._free()
        }
        answers = self._collect(calls, deadline)
        replies: dict[int, Reply] = {}
        seconds, received = [0.0], 0
        for index, workers in enumerate(self._workers):
            answer = answers.get(index, "late")
            if isinstance(answer, str):
                replies |= dict.fromkeys(workers, Reply(failure=answer))
                continue
            if not isinstance(answer, Answers):
                replies |= dict.fromkeys(workers, Reply(failure="malformed"))
                continue
            replies |= {worker: self._checked(worker, answer.replies) for worker in workers}
            seconds.append(answer.compute_seconds)
            received += answer.bytes_received
        return Answers(replies, max(seconds), received)

    def fetch(
        self, iteration: int, wanted: Sequence[tuple[int, int]], deadline: float
    ) -> dict[tuple[int, int], object]:
        """See `Transport.fetch`."""
        by_process: dict[int, list[tuple[int, int]]] = {}
        free = self._free()
        for worker, file in wanted:
            if (index := self._home[worker]) in free:
                by_process.setdefault(index, []).append((worker, file))
        calls: dict[int, Any] = {
            index: self._processes[index].fetch.remote(iteration, pairs)
            for index, pairs in by_process.items()
        }
        values: dict[tuple[int, int], object] = {}
        for index, answer in self._collect(calls, deadline).items():
            if isinstance(answer, dict):
                values |= {pair: answer.get(pair) for pair in by_process[index]}
        return values

    def close(self) -> None:
        """End the worker processes."""
        for process in self._processes:
            ray.kill(process)

    def _free(self) -> set[int]:
        """Processes without a call that is still running."""
        done, _ = (
            ray.wait(list(self._hanging.values()), num_returns=len(self._hanging), timeout=0)
            if self._hanging
            else ([], [])
        )
        self._hanging = {i: ref for i, ref in self._hanging.items() if ref not in done}
        return set(range(len(self._processes))) - self._hanging.keys()

    def _collect(self, calls: dict[int, ray.ObjectRef], deadline: float) -> dict[int, Any]:
        """Answers by process; a call past the deadline is left out, an error is its kind."""
        if not calls:
            return {}
        done, _ = ray.wait(list(calls.values()), num_returns=len(calls), timeout=deadline)
        answers: dict[int, Any] = {}
        for index, ref in calls.items():
            if ref not in done:
                self._hanging[index] = ref
                continue
            try:
                answers[index] = ray.get(ref)
            except RayActorError:
                answers[index] = "dead"
            except RayError:
                answers[index] = "error"
        return answers

    def _checked(self, worker: int, replies: Any) -> Reply:
        """A worker's reply if it has the form it must have."""
        reply = replies.get(worker) if isinstance(replies, dict) else None
        files = set(self._assignment.files_of(worker))
        if (
            isinstance(reply, Reply)
            and isinstance(reply.digests, dict)
            and reply.digests.keys() <= files
            and all(isinstance(d, bytes) and len(d) == DIGEST_BYTES for d in reply.digests.values())
            and reply.failure in (None, "error")
        ):
            return reply
        return Reply(failure="malformed")


@ray.remote(num_cpus=0)
class Server:
    """The parameter server as an actor that streams the metrics of its iterations."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: list[ray.ObjectRef],
        byzantine: tuple[int, ...],
        num_processes: int,
        state: ServerState | None,
    ) -> None:
        (reference,) = dataset
        transport = RayTransport(config, reference, byzantine, num_processes)
        self._server = ParameterServer(config, ray.get(reference), transport, byzantine, state)

    def train(self, checkpoint_interval: int | None) -> Iterator[tuple[Row, ServerState | None]]:
        """See `ParameterServer.train`."""
        yield from self._server.train(checkpoint_interval)


def train_on_ray(
    config: TrainConfig,
    dataset: ImageDataset,
    byzantine: tuple[int, ...],
    *,
    num_processes: int | None = None,
    state: ServerState | None = None,
    checkpoint_interval: int | None = None,
) -> Generator[tuple[Row, ServerState | None]]:
    """Train over actors of the connected cluster; ends them when closed.

    Args:
        config: the run.
        dataset: given to every process through the object store.
        byzantine: sorted Byzantine workers.
        num_processes: worker processes, each with an equal share of the K workers; None takes as
            many as the cluster has CPUs.
        state: where to go on; None starts anew.
        checkpoint_interval: iterations after which the state comes with the metrics.

    Yields:
        The metrics of each iteration, and the state where one is due.

    Raises:
        ValueError: `num_processes` is below 1 or above K.
    """
    num_workers = config.make_assignment().num_workers
    if num_processes is None:
        num_processes = min(num_workers, max(1, int(ray.cluster_resources()["CPU"])))
    if not 1 <= num_processes <= num_workers:
        raise ValueError(f"processes is {num_processes}, must be 1 to the {num_workers} workers")
    server = Server.options(name=f"byzshield-server-{time.time_ns()}").remote(  # type: ignore[attr-defined]
        config, [ray.put(dataset)], byzantine, num_processes, state
    )
    try:
        for row in server.train.options(num_returns="streaming").remote(checkpoint_interval):
            yield ray.get(row)
    finally:
        ray.kill(server)
