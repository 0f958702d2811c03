"""Training of an ensemble of value networks on states and the best runtimes known from them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from mlsys_ray.value_learning.value_network.model import ValueNetwork
from mlsys_ray.value_learning.value_network.normalisation import Features, Normalisation

VALIDATION_SHARE = 0.15
"""Of the pipelines, held out to choose the epoch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkConfig:
    """How a value network is trained."""

    kind: Literal["lstm", "bidirectional", "feed_forward"] = "lstm"
    """LSTM over the stages, in one or both directions, or Adams2019's kind of network."""
    members: int = 3
    """Networks in the ensemble, from different seeds."""
    epochs: int = 60
    """Passes over the states at most; the best one on held-out pipelines is kept."""
    patience: int = 12
    """Passes without a better one until training stops."""
    batch_size: int = 128
    """States of a step."""
    learning_rate: float = 2e-3
    """First one, decaying to 0 by a cosine."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    huber: float = 0.5
    """Errors of log-runtime beyond this count linearly, not squared."""
    bound: float = 0.25
    """Weight of errors below the target of an incomplete state, which only bounds its value."""
    seed: int = 0
    """Of the weights and of the order of the states."""

    def __post_init__(self) -> None:
        """Check values.

        Raises:
            ValueError: a value makes no sense.
        """
        positive = (
            "members",
            "epochs",
            "patience",
            "batch_size",
            "learning_rate",
            "huber",
            "bound",
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class Arrays:
    """Features of states as plain arrays; see `normalisation.Features`."""

    intrinsic: np.ndarray
    acquired: np.ndarray
    scheduled: np.ndarray
    lengths: np.ndarray


def select(features: Features, rows: np.ndarray) -> Arrays:
    """The features of some of the states."""
    return Arrays(
        features.intrinsic[rows],
        features.acquired[rows],
        features.scheduled[rows],
        features.lengths[rows],
    )


def is_validation(group: str) -> bool:
    """Whether a pipeline is held out to choose the epoch: by its name, so always the same ones."""
    return hashlib.sha256(group.encode()).digest()[0] < 256 * VALIDATION_SHARE


def train(
    features: Features,
    log_ms: np.ndarray,
    groups: Sequence[str],
    config: NetworkConfig,
    *,
    exact: np.ndarray | None = None,
    card: Mapping[str, Any] | None = None,
    start: ValueNetwork | None = None,
    on_epoch: Callable[[int, int, float], None] = lambda member, epoch, error: None,
) -> ValueNetwork:
    """Train an ensemble.

    Args:
        features: of B states.
        log_ms: targets, natural logarithms of runtimes in ms, [B].
        groups: the pipeline of each state; whole pipelines are held out.
        config: of the training.
        exact: whether a target is the value itself and not only an upper bound of it, bool [B];
            by default where a state is complete.
        card: facts for the network's card, beside those of this training or in their place.
        start: weights and normalisation to go on from; must be of the same kind and size.
        on_epoch: called with member, epoch and mean squared error on the held-out pipelines.

    Raises:
        ValueError: there are no states, or `start` does not fit the config.
    """
    import torch

    from mlsys_ray.value_learning.value_network.modules import make_module

    if len(log_ms) == 0:
        raise ValueError("no measured schedules to train on")
    if start is not None and (start.kind, _members(start)) != (config.kind, config.members):
        raise ValueError(
            f"the network to go on from is of {_members(start)} {start.kind}, not of"
            f" {config.members} {config.kind}"
        )
    held_out = np.array([is_validation(group) for group in groups])
    if held_out.all() or not held_out.any():
        # Too few pipelines to hold one out whole: every eighth state stands in.
        held_out = np.arange(len(groups)) % 8 == 7
    if start is None:
        normalisation = Normalisation.fit(select(features, np.flatnonzero(~held_out)))
    else:
        normalisation = start.normalisation
    inputs = torch.from_numpy(normalisation.apply(features))
    lengths = torch.from_numpy(np.asarray(features.lengths, np.int64))
    targets = torch.from_numpy(np.asarray(log_ms, np.float32))
    complete = torch.from_numpy(features.scheduled.sum(1) == features.lengths)
    data = _Data(
        inputs,
        lengths,
        targets,
        complete if exact is None else torch.from_numpy(exact),
        np.flatnonzero(~held_out),
        np.flatnonzero(held_out),
    )
    judged = replace(data, exact=complete)
    centre = float(targets[data.training].mean())
    members, errors = [], []
    for member in range(config.members):
        torch.manual_seed(config.seed * 1000 + member)
        module = make_module(config.kind, inputs.shape[-1], features.intrinsic.shape[-1])
        with torch.no_grad():
            if start is None:
                module.get_parameter("out.bias").fill_(centre)
            else:
                for name, parameter in module.named_parameters():
                    parameter.copy_(torch.from_numpy(start.weights[name][member].copy()))
        with _one_thread():
            _fit(
                module,
                data,
                config,
                np.random.default_rng((config.seed, member)),
                lambda epoch, error, member=member: on_epoch(member, epoch, error),  # type: ignore[misc]
            )
            errors.append(_error(module, judged))
        members.append({k: v.detach().numpy().copy() for k, v in module.named_parameters()})
    return ValueNetwork(
        kind=config.kind,
        weights={name: np.stack([m[name] for m in members]) for name in members[0]},
        normalisation=normalisation,
        card={
            "training": asdict(config),
            **(card or {}),
            "states": len(log_ms),
            "pipelines": len(set(groups)),
            "validation_msle": errors,
        },
    )


@dataclass(frozen=True, eq=False)
class _Data:
    inputs: Any
    lengths: Any
    targets: Any
    exact: Any
    training: np.ndarray
    validation: np.ndarray


def _fit(
    module: Any,
    data: _Data,
    config: NetworkConfig,
    rng: np.random.Generator,
    on_epoch: Callable[[int, float], None],
) -> None:
    """Train one member in place; the epoch that is best on held-out states with exact targets.

    Other targets are the best of the completions that were measured: values may be lower and not
    higher.
    """
    import torch

    optimiser = torch.optim.AdamW(
        module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.epochs)
    loss = torch.nn.HuberLoss(reduction="none", delta=config.huber)
    best, best_epoch, best_weights = _error(module, data), 0, _copy(module)
    for epoch in range(1, config.epochs + 1):
        for rows in _batches(rng.permutation(data.training), config.batch_size):
            optimiser.zero_grad()
            predicted, targets = module(data.inputs[rows], data.lengths[rows]), data.targets[rows]
            counts = data.exact[rows] | (predicted > targets)
            weights = torch.where(counts, 1.0, config.bound)
            (weights * loss(predicted, targets)).mean().backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
        schedule.step()
        error = _error(module, data)
        on_epoch(epoch, error)
        if error < best:
            best, best_epoch, best_weights = error, epoch, _copy(module)
        elif epoch - best_epoch >= config.patience:
            break
    module.load_state_dict(best_weights)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Steps are too small to be worth sharing, and threads that wait for each other spin."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _error(module: Any, data: _Data) -> float:
    import torch

    exact = data.validation[data.exact[data.validation].numpy()]
    with torch.no_grad():
        parts = [
            (module(data.inputs[rows], data.lengths[rows]) - data.targets[rows]).square().sum()
            for rows in _batches(exact, 4096)
        ]
    return float(sum(parts) / max(1, len(exact)))


def _batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _copy(module: Any) -> dict[str, Any]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _members(network: ValueNetwork) -> int:
    return len(network.weights["out.bias"])
