"""The configuration of an RLlib agent; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from mlsys_ray.fireplace.config import WorkloadConfig

Algorithm = Literal["ppo", "dqn", "appo", "impala", "bc", "marwil"]
OFFLINE = ("bc", "marwil")


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentConfig:
    """Training of an RLlib agent on a placement workload.

    Raises:
        ValueError: naming the field, its value and what is accepted.
    """

    workload: WorkloadConfig = field(default_factory=WorkloadConfig)
    algorithm: str = "ppo"
    """Algorithm: ppo, dqn, appo, impala; bc or marwil, which imitate the certainty-equivalent
    policy from recorded episodes."""
    train_seconds: float = 120.0
    """Wall time of training, without the start [s]."""
    learning_rate: float = 5e-4
    """Learning rate [ratio]."""
    discount: float = 0.99
    """Discount of the rewards, gamma [ratio]."""
    episode_vms: int = 2000
    """Decisions of an episode, after a warm-up that fills the cluster [VMs]."""
    num_env_runners: int = 0
    """Processes of one CPU each that step the environment; 0: the learner's own does. A study's
    trials and bc and marwil, which read recorded episodes, have none [processes]."""
    seed: int = 0
    """Seed of the agent; training traces have seeds of their own."""

    def __post_init__(self) -> None:
        if self.algorithm not in get_args(Algorithm):
            raise ValueError(
                f"algorithm is {self.algorithm!r}; accepted: {', '.join(get_args(Algorithm))}"
            )
        for name in ("train_seconds", "learning_rate", "episode_vms"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.num_env_runners < 0:
            raise ValueError(f"num_env_runners is {self.num_env_runners}; it must be at least 0")
        if self.num_env_runners and self.algorithm in OFFLINE:
            raise ValueError(
                f"num_env_runners is {self.num_env_runners}; {self.algorithm} reads recorded"
                " episodes, so it must be 0"
            )
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount is {self.discount}; it must be above 0 and at most 1")
