"""The workers of one process: honest ones, Byzantine ones and faulty ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mlsys_ray.byzshield.attacks import Adversary
from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import ImageDataset
from mlsys_ray.byzshield.faults import apply_fault, parse_faults
from mlsys_ray.byzshield.gradients import GradientComputer
from mlsys_ray.byzshield.transport import Answers, Reply, Task
from mlsys_ray.byzshield.voting import digest


class WorkerGroup:
    """Logical workers that share a process.

    Each computes all its files by itself, unless `share_replicas`: then each file is computed
    once, for all honest workers that hold it, which sends the same bits in less time.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: ImageDataset,
        workers: Sequence[int],
        *,
        share_replicas: bool = False,
    ) -> None:
        self._config = config
        self._assignment = config.make_assignment()
        self._workers = tuple(workers)
        self._attack = config.make_attack()
        self._adversary = Adversary(
            self._assignment,
            (),
            rule=config.make_rule(),
            seed=config.seed,
            attacks=config.attacked_files,
        )
        self._deadline = config.deadline
        self._faults = parse_faults(config.faults, self._assignment.num_workers)
        self._computer = GradientComputer(config.model, dataset)
        self._share_replicas = share_replicas
        self._computed: dict[tuple[int, bool], np.ndarray] = {}
        self._iteration = -1
        self._gradients: dict[tuple[int, int], np.ndarray] = {}

    @property
    def held(self) -> dict[int, tuple[int, ...]]:
        """The files of each worker here, in the last iteration."""
        return {worker: self._assignment.files_of(worker) for worker in self._workers}

    def compute(self, task: Task) -> Answers:
        """Compute the gradients of every worker's files and keep them for `fetch`."""
        start = time.perf_counter()
        self._iteration, self._gradients, self._computed = task.iteration, {}, {}
        self._computer.load(task.parameters)
        self._assignment = self._config.assignment_at(task.iteration)
        self._adversary = replace(
            self._adversary,
            assignment=self._assignment,
            byzantine=self._config.byzantine_at(task.iteration),
            iteration=task.iteration,
        )
        lies = self._craft(task)
        replies = {worker: self._reply(task, worker, lies) for worker in self._workers}
        received = sum(len(d) for reply in replies.values() for d in reply.digests.values())
        return Answers(replies, time.perf_counter() - start, received)

    def probe(self, parameters: np.ndarray, samples: np.ndarray) -> bytes:
        """Digest of the true gradient at `parameters` on training rows int64 `[n]`.

        Processes whose arithmetic is the same in every bit give the same.
        """
        self._computer.load(parameters)
        return digest(0, 0, self._computer.gradient(samples))

    def fetch(self, iteration: int, worker: int, file: int) -> np.ndarray | None:
        """The gradient float32 `[d]` of the last iteration; None if it is not this one."""
        return self._gradients.get((worker, file)) if iteration == self._iteration else None

    def _craft(self, task: Task) -> dict[int, np.ndarray]:
        """The lies of Byzantine workers here by file; the omniscient adversary computes all."""
        if self._attack is None or not set(self._workers) & set(self._adversary.byzantine):
            return {}
        flip = self._attack.flips_labels
        truth = np.stack([self._compute(task, file, flip) for file in range(len(task.files))])
        crafted = np.broadcast_to(self._attack.craft(truth, self._adversary), truth.shape)
        attacked = np.flatnonzero(self._adversary.attacked_files())
        return {file: crafted[file] for file in attacked.tolist()}

    def _reply(self, task: Task, worker: int, lies: Mapping[int, np.ndarray]) -> Reply:
        digests, detail = {}, ""
        for file in self._assignment.files_of(worker):
            try:
                gradient = self._gradient(task, worker, file, lies)
            except Exception as error:
                detail = f"{type(error).__name__}: {error}"
                continue
            self._gradients[worker, file] = gradient
            digests[file] = digest(task.iteration, file, gradient)
        return Reply(digests, "error" if detail else None, detail)

    def _gradient(
        self, task: Task, worker: int, file: int, lies: Mapping[int, np.ndarray]
    ) -> np.ndarray:
        if file in lies and worker in self._adversary.byzantine:
            return lies[file]
        gradient = self._compute(task, file)
        fault = self._faults.get(worker)
        return gradient if fault is None else apply_fault(fault, gradient, self._deadline)

    def _compute(self, task: Task, file: int, flip: bool = False) -> np.ndarray:
        if not self._share_replicas:
            return self._computer.gradient(task.files[file], flip)
        if (file, flip) not in self._computed:
            self._computed[file, flip] = self._computer.gradient(task.files[file], flip)
        return self._computed[file, flip]


class InProcessTransport:
    """All workers in the server's own process, where no deadline can be enforced.

    Raises:
        ValueError: a `slow` fault is asked for.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: ImageDataset,
        *,
        share_replicas: bool = False,
    ) -> None:
        if any(fault.endswith(":slow") for fault in config.faults):
            raise ValueError(
                f"faults is {config.faults}; a slow worker needs worker processes, in one process"
                " the server would wait for it"
            )
        workers = range(config.make_assignment().num_workers)
        self._group = WorkerGroup(config, dataset, workers, share_replicas=share_replicas)

    def compute(self, task: Task, deadline: float) -> Answers:
        """See `Transport.compute`."""
        return self._group.compute(task)

    def fetch(
        self, iteration: int, wanted: Sequence[tuple[int, int]], deadline: float
    ) -> dict[tuple[int, int], object]:
        """See `Transport.fetch`."""
        return {pair: self._group.fetch(iteration, *pair) for pair in wanted}

    def close(self) -> None:
        """Nothing to end."""
