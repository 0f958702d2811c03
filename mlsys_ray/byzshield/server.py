"""The parameter server: votes, aggregation and the optimiser step of every iteration."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlsys_ray.byzshield.aggregation import Average
from mlsys_ray.byzshield.attacks import Adversary
from mlsys_ray.byzshield.closeness import gather
from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import ImageDataset
from mlsys_ray.byzshield.detection import (
    NOBODY,
    Agreement,
    DegreeDetector,
    Verdict,
    agreement,
    convict,
)
from mlsys_ray.byzshield.election import EVENTS, Outcome, elect
from mlsys_ray.byzshield.gradients import Evaluator
from mlsys_ray.byzshield.models import flatten_parameters, make_model
from mlsys_ray.byzshield.sampling import FileSampler
from mlsys_ray.byzshield.transport import Metered, Task, Transport

Row = dict[str, Any]


@dataclass(eq=False)
class ServerState:
    """All that changes in training; everything else follows from the configuration.

    Attributes:
        iteration: the next one, from 0.
        parameters: float32 `[d]`.
        velocity: float32 `[d]`, the momentum buffer.
        detector: what a `DegreeDetector` has learned, int64 `[K + 1, K]`.
    """

    iteration: int
    parameters: np.ndarray
    velocity: np.ndarray
    detector: np.ndarray | None = None


class ParameterServer:
    """Synchronous robust SGD (ByzShield, Algorithm 1) over whatever transport it is given."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: ImageDataset,
        transport: Transport,
        state: ServerState | None = None,
    ) -> None:
        self._config = config
        self._transport = transport
        self._assignment = config.make_assignment()
        self._rule = config.make_rule()
        self._sampler = FileSampler(
            dataset.train_labels,
            self._assignment.num_files,
            config.batch_size,
            config.seed,
            config.dirichlet_alpha,
        )
        self._evaluator = Evaluator(config.model, dataset)
        self.state = state or _initial_state(config, dataset)
        self._detector = DegreeDetector(self._assignment.num_workers, config.num_byzantine)
        if self.state.detector is not None:
            self._detector.restore(self.state.detector)

    def train(self, checkpoint_interval: int | None) -> Iterator[tuple[Row, ServerState | None]]:
        """Run the remaining iterations.

        Yields:
            The metrics of each, with the state after every `checkpoint_interval` iterations.
        """
        while self.state.iteration < self._config.iterations:
            row = self.step()
            due = checkpoint_interval and self.state.iteration % checkpoint_interval == 0
            yield row, replace(self.state, detector=self._detector.state()) if due else None

    def step(self) -> Row:
        """Run one iteration and return its metrics (docs/byzshield.md lists them)."""
        config, state, start = self._config, self.state, time.perf_counter()
        task = Task(state.iteration, state.parameters, self._sampler.files(state.iteration))
        answers = self._transport.compute(task, config.deadline)
        answered = time.perf_counter()
        assignment, source = config.assignment_at(state.iteration), Metered(self._transport)
        poll = gather(
            assignment, answers.replies, task, source, config.deadline, config.vote_tolerance
        )
        found = agreement(assignment, poll.replies, poll.close())
        verdict = self._judge(state.iteration, found)
        heeded = NOBODY if config.detection == "none" else verdict
        poll = poll.settle(heeded.liars)
        outcome = elect(assignment, poll.replies, task, poll, config.deadline, heeded)
        elected = time.perf_counter()
        rate = step_size(config, state.iteration)
        if len(outcome.votes):
            # Among votes that are known to be true nothing has to be robust.
            rule = Average() if outcome.is_proved_by(heeded) else self._rule
            gradient = rule.aggregate(outcome.votes)
            state.velocity = np.float32(config.momentum) * state.velocity + gradient
            state.parameters = state.parameters - np.float32(rate) * state.velocity
        state.iteration += 1
        stepped = time.perf_counter()
        distorted = self._distorted(outcome, task.iteration)
        compute = min(answers.compute_seconds, answered - start)
        return {
            "iteration": state.iteration,
            "learning_rate": rate,
            "test_accuracy": self._accuracy_if_due(),
            "distorted_files": distorted,
            "distortion": distorted / self._assignment.num_files,
            "decided_files": len(outcome.files),
            "bytes_received": answers.bytes_received + source.bytes_received,
            "seconds_compute": compute,
            "seconds_communication": answered - start - compute + source.seconds,
            "seconds_vote": elected - answered - source.seconds,
            "seconds_aggregation": stepped - elected,
            "distrusted_workers": sorted(verdict.liars),
            "outvoted_workers": sorted(outcome.outvoted.elements()),
            "proved_workers": sorted(outcome.proved),
            "silent_workers": sorted(w for w, reply in poll.replies.items() if reply.failure),
            "disagreements": found.pairs(),
            **{f"event_{kind}": outcome.events[kind] for kind in EVENTS},
        }

    def _judge(self, iteration: int, found: Agreement) -> Verdict:
        """Who lied. Without detection this is evidence only, and cliques suit every code."""
        if self._config.detection == "degree":
            return Verdict(self._detector.observe(iteration, found))
        return convict(found, self._config.num_byzantine)

    def _accuracy_if_due(self) -> float | None:
        done, config = self.state.iteration, self._config
        if done % config.eval_interval and done != config.iterations:
            return None
        return self._evaluator.accuracy(self.state.parameters)

    def _distorted(self, outcome: Outcome, iteration: int) -> int:
        """Attacked files whose elected copy was sent by Byzantine workers alone."""
        config = self._config
        if config.attack is None:
            return 0
        adversary = Adversary(
            config.assignment_at(iteration),
            config.byzantine_at(iteration),
            attacks=config.attacked_files,
        )
        attacked, liars = adversary.attacked_files(), set(adversary.byzantine)
        return sum(
            bool(attacked[file]) and liars.issuperset(holders)
            for file, holders in zip(outcome.files, outcome.holders, strict=True)
        )


def _initial_state(config: TrainConfig, dataset: ImageDataset) -> ServerState:
    model = make_model(config.model, dataset.input_shape, dataset.num_classes, config.seed)
    parameters = flatten_parameters(model)
    return ServerState(0, parameters, np.zeros_like(parameters))


def step_size(config: TrainConfig, iteration: int) -> float:
    """The paper's (x, y, z) schedule: start at x, times y after every z iterations."""
    return config.learning_rate * config.decay ** (iteration // config.decay_interval)
