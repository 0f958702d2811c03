"""The networks of the RLlib agents: one score for each PM, so that any number of PMs works."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import (
    TARGET_NETWORK_ACTION_DIST_INPUTS,
    TargetNetworkAPI,
    ValueFunctionAPI,
)
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from ray.rllib.utils.schedules.scheduler import Scheduler
from torch import nn

WIDTH = 64
MASKED = -1e9


class Scorer(nn.Module):
    """A perceptron shared by the PMs over (PM, VM) features, and a value of their mean."""

    def __init__(self, pm_features: int, vm_features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(pm_features + vm_features, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
        )
        self.score = nn.Linear(WIDTH, 1)
        self.value = nn.Linear(WIDTH, 1)

    def hidden(self, observation: dict[str, torch.Tensor]) -> torch.Tensor:
        """Features of each PM beside the VM, `[B, P, WIDTH]`."""
        pms, vm = observation["pms"].float(), observation["vm"].float()
        return self.body(torch.cat([pms, vm[:, None].expand(-1, pms.shape[1], -1)], dim=2))

    def forward(self, observation: dict[str, torch.Tensor]) -> torch.Tensor:
        """Scores `[B, P]`, before masking."""
        return self.score(self.hidden(observation)).squeeze(2)


class PolicyModule(TorchRLModule, ValueFunctionAPI, TargetNetworkAPI):
    """For PPO, APPO, IMPALA, BC and MARWIL."""

    def setup(self) -> None:
        """Build the networks; the value network is one of its own."""
        sizes = _feature_sizes(self.observation_space)
        self.policy, self.critic = Scorer(*sizes), Scorer(*sizes)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: _masked(self.policy, batch[Columns.OBS], MASKED)}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> torch.Tensor:
        """The value of each observation, `[B]`."""
        hidden = self.critic.hidden(batch[Columns.OBS])
        return self.critic.value(hidden.mean(dim=1)).squeeze(1)

    def make_target_networks(self) -> None:
        """A copy of the policy, for APPO."""
        self._target_policy = make_target_network(self.policy)

    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """What is copied to what."""
        return [(self.policy, self._target_policy)]

    def forward_target(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """The target policy's scores."""
        scores = _masked(self._target_policy, batch[Columns.OBS], MASKED)
        return {TARGET_NETWORK_ACTION_DIST_INPUTS: scores}


class QModule(DefaultDQNTorchRLModule):
    """For DQN: the scores are Q values; no distribution, no duelling heads."""

    def setup(self) -> None:
        """Build the network instead of an encoder and heads."""
        options: Any = self.model_config
        self.uses_dueling, self.num_atoms = False, 1
        self.uses_double_q = options["double_q"]
        self.epsilon_schedule = Scheduler(
            fixed_value_or_schedule=options["epsilon"], framework=self.framework
        )
        self.q_net = Scorer(*_feature_sizes(self.observation_space))

    def is_stateful(self) -> bool:
        """No memory from step to step."""
        return False

    def get_initial_state(self) -> dict[str, Any]:
        """None, as there is no memory."""
        return {}

    def get_non_inference_attributes(self) -> list[str]:
        """What a runner does not need."""
        return ["_target_q_net"]

    def compute_q_values(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Q of each PM; RLlib's exploration and loss know a masked one by minus infinity."""
        return {"qf_preds": _masked(self.q_net, batch[Columns.OBS], -torch.inf)}

    def make_target_networks(self) -> None:
        """A copy of the Q network."""
        self._target_q_net = make_target_network(self.q_net)

    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """What is copied to what."""
        return [(self.q_net, self._target_q_net)]

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The target network's Q values."""
        return {"qf_preds": _masked(self._target_q_net, batch[Columns.OBS], -torch.inf)}


def _feature_sizes(space: Any) -> tuple[int, int]:
    return space["pms"].shape[1], space["vm"].shape[0]


def _masked(scorer: nn.Module, observation: dict[str, torch.Tensor], fill: float) -> torch.Tensor:
    return scorer(observation).masked_fill(observation["action_mask"] == 0, fill)
