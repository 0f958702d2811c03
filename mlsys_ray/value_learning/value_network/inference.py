"""Evaluation of the networks in NumPy, for the search: many states that have much in common.

States that the search compares share what has been decided before, so the LSTM steps over a common
beginning are computed once. Weights carry the members of the ensemble as their first axis.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlsys_ray.value_learning.value_network.normalisation import stage_mask

Weights = Mapping[str, np.ndarray]
NOTHING, FLOOR = -1e4, -12.0
"""See `modules`, which needs PyTorch to be imported."""


def evaluate(
    kind: str, weights: Weights, inputs: np.ndarray, lengths: np.ndarray, num_intrinsic: int
) -> np.ndarray:
    """Logarithms of runtimes.

    Args:
        kind: see `modules.Kind`.
        weights: named as in the module, float32 [E, ...].
        inputs: float32 [B, S, F], see `Normalisation.apply`.
        lengths: int64 [B].
        num_intrinsic: how many of the F are intrinsic.

    Returns:
        float32 [E, B].
    """
    if kind == "feed_forward":
        return _feed_forward(weights, inputs, num_intrinsic)
    return _recurrent(weights, inputs, lengths, bidirectional=kind == "bidirectional")


def _recurrent(
    weights: Weights, inputs: np.ndarray, lengths: np.ndarray, *, bidirectional: bool
) -> np.ndarray:
    num_stages = inputs.shape[1]
    there = stage_mask(lengths, num_stages)
    forward = _Direction(weights, "forwards", inputs)
    # Stages, then states: a step's rows are together.
    states = [forward.step(inputs[:, stage]) for stage in range(num_stages)]
    if bidirectional:
        backward = _Direction(weights, "backwards", inputs)
        back = [
            backward.step(inputs[:, stage], active=there[:, stage])
            for stage in reversed(range(num_stages))
        ]
        states = [
            np.concatenate([state, other], -1)
            for state, other in zip(states, reversed(back), strict=True)
        ]
    times = np.full((weights["out.bias"].shape[0], *inputs.shape[:2]), NOTHING, np.float32)
    for stage, state in enumerate(states):
        times[:, :, stage] = np.where(
            there[:, stage], _stage_times(weights, state, inputs[:, stage]), NOTHING
        )
    return _log_sum_exp(times)


def _stage_times(weights: Weights, state: np.ndarray, rows: np.ndarray) -> np.ndarray:
    width = state.shape[-1]
    hidden_weight, out_weight = weights["hidden.weight"], weights["out.weight"]
    hidden = state @ _t(hidden_weight[:, :, :width]) + rows @ _t(hidden_weight[:, :, width:])
    hidden += weights["hidden.bias"][:, None]
    np.maximum(hidden, 0, out=hidden)
    size = hidden.shape[-1]
    times = hidden @ _t(out_weight[:, :, :size]) + rows @ _t(out_weight[:, :, size:])
    return (times + weights["out.bias"][:, None])[..., 0]


class _Direction:
    """An LSTM that walks over the stages, one evaluation for states equal so far."""

    def __init__(self, weights: Weights, name: str, inputs: np.ndarray) -> None:
        self.input_weight = weights[f"{name}.inputs.weight"]
        self.state_weight = weights[f"{name}.state.weight"]
        self.bias = weights[f"{name}.inputs.bias"]
        members, width = self.state_weight.shape[0], self.state_weight.shape[-1]
        self.state = np.zeros((members, len(inputs), width), np.float32)
        self.cell = np.zeros_like(self.state)
        self._probe = np.random.default_rng(0).standard_normal(inputs.shape[-1])
        self._history = np.zeros(len(inputs))

    def step(self, rows: np.ndarray, active: np.ndarray | None = None) -> np.ndarray:
        """The state [E, B, width] after a stage's rows [B, F]; inactive ones keep theirs."""
        seen = rows @ self._probe
        self._history = 0.6180339887 * self._history + seen
        first, group = _distinct(self._history)
        # Rows of a stage that none has scheduled yet are equal; at the first stage the states are.
        some, which = _distinct(seen[first])
        gates = (rows[first[some]] @ _t(self.input_weight) + self.bias[:, None])[:, which]
        if self.state.any():
            gates += self.state[:, first] @ _t(self.state_weight)
        keep, forget, new, out = np.split(gates, 4, axis=-1)
        cell = _sigmoid(forget) * self.cell[:, first] + _sigmoid(keep) * np.tanh(new)
        state = _sigmoid(out) * np.tanh(cell)
        if active is None:
            self.cell, self.state = cell[:, group], state[:, group]
        else:
            self.cell = np.where(active[:, None], cell[:, group], self.cell)
            self.state = np.where(active[:, None], state[:, group], self.state)
        return self.state


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the different values, and for each place which of them is there."""
    _, first, which = np.unique(values, return_index=True, return_inverse=True)
    return first, which


def _feed_forward(weights: Weights, inputs: np.ndarray, num_intrinsic: int) -> np.ndarray:
    rows = inputs.reshape(-1, inputs.shape[-1])
    head1 = _linear(weights, "head1", rows[:, :num_intrinsic])
    head2 = np.maximum(_linear(weights, "head2", rows[:, num_intrinsic:]), 0)
    trunk = np.maximum(_linear(weights, "trunk", np.concatenate([head1, head2], -1)), 0)
    times = _linear(weights, "out", trunk)[..., 0].reshape(-1, *inputs.shape[:2])
    counted = np.where(inputs[..., -1] == 0, np.float32(NOTHING), times)
    return _log_sum_exp(np.pad(counted, ((0, 0), (0, 0), (0, 1)), constant_values=FLOOR))


def _linear(weights: Weights, name: str, rows: np.ndarray) -> np.ndarray:
    return rows @ _t(weights[f"{name}.weight"]) + weights[f"{name}.bias"][:, None]


def _t(matrices: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrices, -1, -2)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * values) + np.float32(0.5)


def _log_sum_exp(times: np.ndarray) -> np.ndarray:
    highest = times.max(-1, keepdims=True)
    total: np.ndarray = np.log(np.exp(times - highest).sum(-1)) + highest[..., 0]
    return total
