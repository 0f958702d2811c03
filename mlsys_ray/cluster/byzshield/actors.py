"""The parameter server and the worker processes as Ray actors.

Ray starts and ends processes here and does nothing else with workers: what a worker method
returns or raises is never read, because reading it would run code that the worker chose.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import ray
import ray.util
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import ImageDataset
from mlsys_ray.byzshield.models import flatten_parameters, make_model
from mlsys_ray.byzshield.sampling import FileSampler
from mlsys_ray.byzshield.server import ParameterServer, Row, ServerState
from mlsys_ray.byzshield.voting import DIGEST_BYTES
from mlsys_ray.cluster.byzshield.contact import Contact
from mlsys_ray.cluster.byzshield.hub import Hub
from mlsys_ray.cluster.byzshield.isolation import Isolation, IsolationError
from mlsys_ray.cluster.byzshield.transport import SocketTransport
from mlsys_ray.cluster.byzshield.worker_loop import Order
from mlsys_ray.exit_codes import EnvironmentMissingError


@ray.remote(max_restarts=0, max_task_retries=0)
class WorkerProcess:
    """One process with one or more logical workers, stateless between iterations."""

    def __init__(self, workers: tuple[int, ...]) -> None:
        self._workers = workers

    def __repr__(self) -> str:
        # How the dashboard and the logs call it.
        return f"WorkerProcess(workers {', '.join(map(str, self._workers))})"

    def serve(
        self,
        config: TrainConfig,
        dataset: ImageDataset,
        contact: Contact,
        num_parameters: int,
        isolation: Isolation | None,
    ) -> None:
        """Answer the server until it says stop; the caller must never get the result."""
        order = Order(config, dataset, self._workers, contact, num_parameters)
        if isolation is None:
            order.carry_out()
        else:
            isolation.run(order)


class RayProcess:
    """A `WorkerProcess` as the transport sees it."""

    def __init__(self, actor: ActorHandle, serving: ray.ObjectRef) -> None:
        self._actor = actor
        self._serving = serving

    def is_dead(self) -> bool:
        """Whether its one call has ended, however; waiting does not read what it returned."""
        done, _ = ray.wait([self._serving], timeout=0, fetch_local=False)
        return bool(done)

    def end(self) -> None:
        """Kill it."""
        ray.kill(self._actor)


def ignore_unread_errors() -> None:
    """Keep Ray from unpickling the exceptions of calls whose result nobody reads, to print them.

    There is no public setting that keeps it from unpickling.
    """
    worker = ray._private.worker.global_worker
    worker.raise_errors = lambda *_: None  # type: ignore[method-assign]


@ray.remote(num_cpus=0)
class Server:
    """The parameter server; unnamed, so that workers cannot look it up."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: list[ray.ObjectRef],
        num_processes: int,
        state: ServerState | None,
        encrypt: bool,
        isolation: Isolation | None,
    ) -> None:
        ignore_unread_errors()
        self._title = f"{config.scheme} {config.rule} against {config.attack or 'nobody'}"
        (reference,) = dataset
        images: ImageDataset = ray.get(reference)
        model = make_model(config.model, images.input_shape, images.num_classes)
        num_parameters = len(flatten_parameters(model))
        assignment = config.make_assignment()
        num_workers = assignment.num_workers
        # Ray shows fractions of a CPU in hundredths.
        share = int(100 * min(1.0, ray.cluster_resources()["CPU"] / num_processes)) / 100

        def start(contact: Contact, workers: tuple[int, ...]) -> RayProcess:
            actor = WorkerProcess.options(  # type: ignore[attr-defined]
                num_cpus=share, scheduling_strategy="SPREAD"
            ).remote(workers)
            serving = actor.serve.remote(config, reference, contact, num_parameters, isolation)
            return RayProcess(actor, serving)

        longest = max(4 * num_parameters, num_workers * assignment.load * (1 + DIGEST_BYTES))
        transport = SocketTransport(
            config.assignment_at,
            num_parameters,
            [tuple(range(num_workers))[i::num_processes] for i in range(num_processes)],
            Hub(ray.util.get_node_ip_address(), longest, encrypt=encrypt),
            start,
        )
        self._server = ParameterServer(config, images, transport, state)
        samples = FileSampler(images.train_labels, assignment.num_files, config.batch_size, 0)
        self._probed = transport.probe(
            self._server.state.parameters, samples.files(0)[0], config.deadline
        )

    def __repr__(self) -> str:
        return f"Server({self._title})"

    def differences(self) -> list[str]:
        """What processes compute with whose arithmetic is not that of the most; empty if all agree.

        Their honest copies would lose every vote, unless there is a tolerance for them.
        """
        digests = Counter(value for value, _ in self._probed.values())
        common = digests.most_common(1)[0][0] if digests else b""
        return [
            f"process {index} ({text})"
            for index, (value, text) in sorted(self._probed.items())
            if value != common
        ]

    def train(self, checkpoint_interval: int | None) -> Iterator[tuple[Row, ServerState | None]]:
        """See `ParameterServer.train`."""
        yield from self._server.train(checkpoint_interval)


@ray.remote(num_cpus=0, max_retries=0)
def _refusal(isolation: Isolation) -> str | None:
    """Why this node refuses, None if it does not; runs before any worker code does."""
    session = Path(ray._private.worker.global_worker.node.get_session_dir_path())
    try:
        isolation.check(session)
    except IsolationError as error:
        return str(error)
    return None


def _check_on_every_node(isolation: Isolation) -> None:
    """Raises IsolationError where a node cannot do it, all nodes with their reasons."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    answers = [
        _refusal.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(isolation)
        for node in nodes
    ]
    refusals = [
        f"node {node['NodeManagerAddress']}: {refusal}"
        for node, refusal in zip(nodes, ray.get(answers), strict=True)
        if refusal
    ]
    if refusals:
        raise IsolationError("\n".join(refusals))


def train_on_ray(
    config: TrainConfig,
    dataset: ImageDataset,
    *,
    num_processes: int | None = None,
    state: ServerState | None = None,
    checkpoint_interval: int | None = None,
    encrypt: bool = False,
    isolation: Isolation | None = None,
) -> Generator[tuple[Row, ServerState | None]]:
    """Train over actors of the connected cluster; ends them when closed.

    Args:
        config: the run.
        dataset: given to every process through the object store.
        num_processes: worker processes, each with an equal share of the K workers; None takes as
            many as the cluster has CPUs.
        state: where to go on; None starts anew.
        checkpoint_interval: iterations after which the state comes with the metrics.
        encrypt: encrypt what travels between server and workers.
        isolation: run worker code as another user.

    Yields:
        The metrics of each iteration, and the state where one is due.

    Raises:
        ValueError: `num_processes` is below 1 or above K.
        IsolationError: a node cannot isolate workers; a ValueError, too.
        EnvironmentMissingError: the parameter server's process ended.
    """
    num_workers = config.make_assignment().num_workers
    if num_processes is None:
        num_processes = min(num_workers, max(1, int(ray.cluster_resources()["CPU"])))
    if not 1 <= num_processes <= num_workers:
        raise ValueError(f"processes is {num_processes}, must be 1 to the {num_workers} workers")
    if isolation is not None:
        _check_on_every_node(isolation)
    ignore_unread_errors()
    # Beside the driver, whose end is the end of the run anyway: no other node's loss is.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    server: Any = Server.options(scheduling_strategy=here).remote(  # type: ignore[attr-defined]
        config, [ray.put(dataset)], num_processes, state, encrypt, isolation
    )
    try:
        if different := [] if config.vote_tolerance else ray.get(server.differences.remote()):
            warnings.warn(
                f"{len(different)} of {num_processes} worker processes compute other bits than the"
                f" rest, and honest workers there will be outvoted: {'; '.join(different)}",
                stacklevel=2,
            )
        for row in server.train.options(num_returns="streaming").remote(checkpoint_interval):
            yield ray.get(row)
    except ray.exceptions.RayActorError as error:
        raise EnvironmentMissingError(
            f"the parameter server's process ended ({str(error).splitlines()[0]}); the run goes on"
            " from its last checkpoint with --resume and the same --run-dir"
        ) from error
    finally:
        ray.kill(server)
