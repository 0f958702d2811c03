"""The networks as they are trained (PyTorch); `inference` evaluates them without it.

Both give one logarithm of time a stage and sum the times: a runtime is a sum over stages, so a
longer pipeline than any in training is no other task.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["lstm", "bidirectional", "feed_forward"]
WIDTH = 96
"""Units of the LSTM, per direction."""
READOUT = 32
"""Units of the layer between the LSTM and a stage's time."""
NOTHING = -1e4
"""Logarithm of the time of a stage that does not count: its exponential is zero."""
FLOOR = -12.0
"""Logarithm of the time [ms] of a state of which no stage counts."""


class Lstm(nn.Module):
    """One direction of an LSTM, over padded sequences of a handful of steps.

    For these PyTorch's own, which packs them, takes several times as long.
    """

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(num_inputs, 4 * WIDTH)
        self.state = nn.Linear(WIDTH, 4 * WIDTH, bias=False)

    def forward(self, inputs: Tensor, there: Tensor, *, backward: bool) -> Tensor:
        """States [B, S, WIDTH] after each stage; stages that are not there leave it as it is."""
        projected = self.inputs(inputs)
        state = cell = inputs.new_zeros(len(inputs), WIDTH)
        states = [state] * inputs.shape[1]
        stages = range(inputs.shape[1])
        for stage in reversed(stages) if backward else stages:
            keep, forget, new, out = (projected[:, stage] + self.state(state)).chunk(4, -1)
            grown = torch.sigmoid(forget) * cell + torch.sigmoid(keep) * torch.tanh(new)
            active = there[:, stage, None]
            cell = torch.where(active, grown, cell)
            state = torch.where(active, torch.sigmoid(out) * torch.tanh(grown), state)
            states[stage] = state
        return torch.stack(states, 1)


class RecurrentNetwork(nn.Module):
    """The value network: an LSTM over the stages, consumers first.

    Args:
        num_inputs: features of a stage, see `Normalisation.apply`.
        bidirectional: read the stages in both directions.
    """

    def __init__(self, num_inputs: int, *, bidirectional: bool = False) -> None:
        super().__init__()
        self.forwards = Lstm(num_inputs)
        self.backwards = Lstm(num_inputs) if bidirectional else None
        known = num_inputs + WIDTH * (2 if bidirectional else 1)
        self.hidden = nn.Linear(known, READOUT)
        self.out = nn.Linear(READOUT + num_inputs, 1)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Logarithms of runtimes, [B], of inputs [B, S, F] and lengths [B]."""
        there = torch.arange(inputs.shape[1]) < lengths[:, None]
        known = [self.forwards(inputs, there, backward=False), inputs]
        if self.backwards is not None:
            known.insert(1, self.backwards(inputs, there, backward=True))
        hidden = torch.relu(self.hidden(torch.cat(known, -1)))
        times = self.out(torch.cat([hidden, inputs], -1)).squeeze(-1)
        return torch.logsumexp(times.masked_fill(~there, NOTHING), 1)


class FeedForwardNetwork(nn.Module):
    """In the manner of Adams et al. 2019: each stage by itself, unscheduled ones count nothing.

    Heads of 8 and 24 units for what a stage computes and how it is scheduled and a trunk of 32
    are theirs; their hand-made terms of the cost are replaced by a learned layer.
    """

    def __init__(self, num_inputs: int, num_intrinsic: int) -> None:
        super().__init__()
        self.num_intrinsic = num_intrinsic
        self.head1 = nn.Linear(num_intrinsic, 8)
        self.head2 = nn.Linear(num_inputs - num_intrinsic, 24)
        self.trunk = nn.Linear(32, 32)
        self.out = nn.Linear(32, 1)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Logarithms of runtimes, [B], of inputs [B, S, F]; lengths are not needed."""
        del lengths
        head1 = self.head1(inputs[..., : self.num_intrinsic])
        head2 = torch.relu(self.head2(inputs[..., self.num_intrinsic :]))
        times = self.out(torch.relu(self.trunk(torch.cat([head1, head2], -1)))).squeeze(-1)
        counted = times.masked_fill(inputs[..., -1] == 0, NOTHING)
        return torch.logsumexp(nn.functional.pad(counted, (0, 1), value=FLOOR), 1)


def make_module(kind: Kind, num_inputs: int, num_intrinsic: int) -> nn.Module:
    """A network of a kind with weights yet to be trained."""
    if kind == "feed_forward":
        return FeedForwardNetwork(num_inputs, num_intrinsic)
    return RecurrentNetwork(num_inputs, bidirectional=kind == "bidirectional")
