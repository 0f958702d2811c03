"""Training of FirePlace's network by hindsight imitation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlsys_ray.fireplace.config import Labels
from mlsys_ray.fireplace.labels import counterfactual_regret
from mlsys_ray.fireplace.policies.certainty_equivalent import PotentialWeights
from mlsys_ray.fireplace.policies.features import num_pm_features, num_vm_features
from mlsys_ray.fireplace.policies.fireplace import (
    Decisions,
    FirePlacePolicy,
    Network,
)
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.workload import Workload

if TYPE_CHECKING:
    from torch.nn import Sequential


@dataclass(frozen=True, kw_only=True, slots=True)
class ImitationConfig:
    """How the network is trained.

    Attributes:
        rounds: times the policy is run, labelled and trained on.
        decisions: recorded in each round.
        kept_rounds: rounds trained on; labels of older ones are of another policy.
        epochs: passes over them in each round.
        batch_size: decisions of a step.
        learning_rate: first one of a round, decaying to 0 by a cosine.
        steepness: K of the labels.
        labels: regret, best or myopic, see `TrainingConfig`.
        width: of the hidden layers.
        seed: of the network and of which decisions are recorded.
    """

    rounds: int = 8
    decisions: int = 8192
    kept_rounds: int = 4
    epochs: int = 8
    batch_size: int = 256
    learning_rate: float = 2e-3
    steepness: float = 15.0
    labels: Labels = "regret"
    width: int = 32
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Imitated:
    """The outcome of training.

    Attributes:
        policy: of the round with the least PAR on the validation traces; round 0 is the
            certainty-equivalent policy itself.
        validation_par: PAR after each round, from round 0 on.
    """

    policy: FirePlacePolicy
    validation_par: list[float]


def imitate(
    statistics: Statistics,
    weights: PotentialWeights,
    training: Sequence[Workload],
    validation: Sequence[Workload],
    config: ImitationConfig,
    on_round: Callable[[int, float], None] = lambda number, par: None,
) -> Imitated:
    """Train a network on what hindsight says of the policy's own decisions.

    Each round runs the present policy on one of the training traces to its end, labels a sample of
    its decisions, and trains on the last rounds' decisions to lessen the expected regret of a
    softmax policy (or its cross-entropy with the best choice).

    Args:
        statistics: of the functions.
        weights: of the certainty-equivalent potential.
        training: traces, taken in turn.
        validation: traces that choose the round.
        config: of the training.
        on_round: called with the number of the round and its PAR on the validation traces.
    """
    import torch

    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    resources = len(training[0].trace.resources)
    module = _module(resources, config.width)

    def par(policy: FirePlacePolicy) -> float:
        return float(np.mean([workload.par(policy) for workload in validation]))

    best = FirePlacePolicy(statistics, weights, Network.zero(resources, config.width))
    policy, history = best, [par(best)]
    on_round(0, history[0])
    recent: deque[tuple[Decisions, np.ndarray]] = deque(maxlen=config.kept_rounds)
    for number in range(1, config.rounds + 1):
        workload = training[(number - 1) % len(training)]
        recent.append(_labelled(policy, workload, config, rng))
        _train(module, recent, config)
        policy = FirePlacePolicy(statistics, weights, _network(module))
        history.append(par(policy))
        on_round(number, history[-1])
        if history[-1] == min(history):
            best = policy
    return Imitated(best, history)


def _labelled(
    policy: FirePlacePolicy, workload: Workload, config: ImitationConfig, rng: np.random.Generator
) -> tuple[Decisions, np.ndarray]:
    trace = workload.trace
    wanted = np.zeros(trace.num_vms, dtype=bool)
    sample = min(config.decisions, trace.num_vms)
    wanted[rng.choice(trace.num_vms, sample, replace=False)] = True
    state = workload.open_state()
    decisions = policy.record(state, trace, wanted)
    count = decisions.num_recorded
    taken = Decisions(wanted, count, *(array[: count[0]] for array in decisions[2:]))
    horizon = 1 if config.labels == "myopic" else None
    return taken, counterfactual_regret(
        state, trace, taken, steepness=config.steepness, horizon=horizon
    )


def _module(resources: int, width: int) -> Sequential:
    from torch import nn

    inputs = num_pm_features(resources) + num_vm_features(resources)
    last = nn.Linear(width, 1)
    # Training starts from the certainty-equivalent score.
    nn.init.zeros_(last.weight)
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last
    )


def _network(module: Sequential) -> Network:
    arrays = [parameter.detach().numpy().T.copy() for parameter in module.parameters()]
    return Network(*arrays)


def _train(
    module: Sequential,
    recent: Iterable[tuple[Decisions, np.ndarray]],
    config: ImitationConfig,
) -> None:
    import torch

    pm = torch.from_numpy(np.concatenate([d.pm_features for d, _ in recent]))
    vm = torch.from_numpy(np.concatenate([d.vm_features for d, _ in recent]))
    base = torch.from_numpy(np.concatenate([d.base for d, _ in recent]))
    regret = torch.from_numpy(np.concatenate([r for _, r in recent]).astype(np.float32))
    absent = torch.isinf(regret)
    best = regret.argmin(dim=1)
    regret[absent] = 0.0
    regret = regret / regret.mean().clamp_min(1e-12)
    inputs = torch.cat([pm, vm[:, None].expand(-1, pm.shape[1], -1)], dim=2)
    optimiser = torch.optim.Adam(module.parameters(), lr=config.learning_rate)
    steps = config.epochs * -(-len(pm) // config.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(config.epochs):
        for rows in torch.randperm(len(pm)).split(config.batch_size):
            score = base[rows] + module(inputs[rows]).squeeze(2)
            preference = -score.masked_fill(absent[rows], torch.inf)
            if config.labels == "best":
                loss = torch.nn.functional.cross_entropy(preference, best[rows])
            else:
                loss = (torch.softmax(preference, dim=1) * regret[rows]).sum(dim=1).mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            schedule.step()
