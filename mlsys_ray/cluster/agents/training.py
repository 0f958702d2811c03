"""Training of RLlib agents (new API stack) for a fixed time, and their policies afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np

from mlsys_ray.cluster.agents.config import OFFLINE, AgentConfig
from mlsys_ray.envs.placement_core import (
    Observation,
    admits_anywhere,
    feature_shapes,
    observe,
    plain_tracker,
)
from mlsys_ray.envs.vm_placement import VMPlacementEnv
from mlsys_ray.fireplace.machines import equal_machines
from mlsys_ray.fireplace.policies.base import Knowledge, Policy
from mlsys_ray.fireplace.policies.certainty_equivalent import CertaintyEquivalentPolicy
from mlsys_ray.fireplace.policies.tracker import place_vm, to_arrival
from mlsys_ray.fireplace.simulator import NOT_PLACED, State, simulate
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.trace import Trace
from mlsys_ray.fireplace.workload import make_trace

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

ENV_NAME = "mlsys_ray_vm_placement"
CHECKPOINT = "checkpoint"
MODULE_FOLDER = Path("learner_group", "learner", "rl_module", "default_policy")
HISTORY_VMS = 40_000
RECORDED_EPISODES = 8
PIECE = 50
"""Steps of the pieces that recorded episodes are cut into."""
PIECES_READ = 10
OFFLINE_BATCH = PIECE * PIECES_READ
SAMPLE_SECONDS = 600.0
"""How long environment steps may stay away. RLlib's own limit is 60 s, after which it throws away
what comes later and goes on with nothing [s]."""
FILLING = 4.0
"""VMs of the warm-up, in mean numbers of VMs alive."""


def make_env(config: AgentConfig) -> VMPlacementEnv:
    """The environment that agents train in: windows of the training segment."""
    warm_up = int(FILLING * config.workload.alive)
    num_vms = warm_up + config.episode_vms
    return VMPlacementEnv(
        trace=lambda seed: make_trace(config.workload, "train", 1 + seed % 10_000, num_vms),
        num_pms=config.workload.num_pms,
        statistics=history(config),
        warm_up=warm_up / num_vms,
        telemetry_delay=config.workload.telemetry_delay,
        overcommit=config.workload.overcommit,
    )


class RunnersFailedError(RuntimeError):
    """No environment steps came, because runners died or were too slow."""


@cache
def history(config: AgentConfig) -> Statistics:
    """Statistics of the functions, from the training segment."""
    return Statistics.learn(make_trace(config.workload, "train", 0, HISTORY_VMS))


def train_agent(
    config: AgentConfig,
    folder: Path,
    on_progress: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Path:
    """Train on the connected cluster until the time is up, and save a checkpoint.

    Args:
        config: of the agent.
        folder: the checkpoint goes to its `checkpoint`, recorded episodes to `episodes`.
        on_progress: called with seconds, environment steps and mean return of each iteration.

    Returns:
        The checkpoint's folder.

    Raises:
        RunnersFailedError: the environment was not stepped.
    """
    from ray.exceptions import RayError
    from ray.tune.registry import register_env

    register_env(ENV_NAME, lambda _: make_env(config))
    if config.algorithm in OFFLINE:
        record_expert(config, folder / "episodes")
    algorithm: Algorithm | None = None
    try:
        algorithm = _algorithm_config(config, folder).build_algo()
        _train_for(algorithm, config, on_progress)
        algorithm.save_to_path((folder / CHECKPOINT).absolute())
    except RayError as error:
        # Without a runner of its own there is no process that could have died of the environment.
        if not config.num_env_runners:
            raise
        raise RunnersFailedError(
            f"an environment runner failed: {error}\nWith num_env_runners=0 the learner's process"
            " steps the environment, and shows what goes wrong in it"
        ) from error
    finally:
        if algorithm is not None:
            algorithm.stop()
    return folder / CHECKPOINT


def _train_for(
    algorithm: Algorithm, config: AgentConfig, on_progress: Callable[[dict[str, Any]], None]
) -> None:
    """Train until the time is up.

    Raises:
        RunnersFailedError: for `SAMPLE_SECONDS`, or until the end, there were no new steps.
    """
    begin = last = time.monotonic()
    sampled = 0
    while (seconds := time.monotonic() - begin) < config.train_seconds:
        result = algorithm.train()
        runners = result.get("env_runners", {})
        steps = runners.get("num_env_steps_sampled_lifetime")
        on_progress(
            {
                "seconds": seconds,
                "iteration": result["training_iteration"],
                "env_steps": steps,
                "episode_return": runners.get("episode_return_mean"),
            }
        )
        if config.algorithm in OFFLINE:
            continue
        if (steps or 0) > sampled:
            sampled, last = steps, time.monotonic()
        elif time.monotonic() - last > SAMPLE_SECONDS:
            break
    else:
        if sampled or config.algorithm in OFFLINE:
            return
    raise RunnersFailedError(
        f"no environment step came in {time.monotonic() - last:.0f} s, after {sampled} before. Are"
        f" there CPUs for {config.num_env_runners} runners beside the learner? Fewer PMs or"
        " episode_vms make a step cheaper; num_env_runners=0 steps in the learner's process"
    )


def _algorithm_config(config: AgentConfig, folder: Path) -> AlgorithmConfig:
    from ray.rllib.algorithms.appo import APPOConfig
    from ray.rllib.algorithms.bc import BCConfig
    from ray.rllib.algorithms.dqn import DQNConfig
    from ray.rllib.algorithms.impala import IMPALAConfig
    from ray.rllib.algorithms.marwil import MARWILConfig
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    from mlsys_ray.cluster.agents.modules import PolicyModule, QModule

    # `training` takes what the algorithm's own class adds.
    base: Any = {
        "ppo": PPOConfig,
        "dqn": DQNConfig,
        "appo": APPOConfig,
        "impala": IMPALAConfig,
        "bc": BCConfig,
        "marwil": MARWILConfig,
    }[config.algorithm]()
    module = QModule if config.algorithm == "dqn" else PolicyModule
    spaces = make_spaces(config)
    result = (
        base.framework("torch")
        .debugging(seed=config.seed, log_level="ERROR")
        .rl_module(rl_module_spec=RLModuleSpec(module_class=module))
        .training(lr=config.learning_rate, gamma=config.discount)
        .learners(num_learners=0)
    )
    if config.algorithm in OFFLINE:
        options = {"beta": 1.0} if config.algorithm == "marwil" else {}
        return (
            result.environment(observation_space=spaces[0], action_space=spaces[1])
            .offline_data(
                input_=[str((folder / "episodes").absolute())],
                input_read_episodes=True,
                # A read gives one update; a pass over all of them is one pipeline of seconds.
                input_read_batch_size=PIECES_READ,
                dataset_num_iters_per_learner=_num_pieces(config) // PIECES_READ,
                # One reader: by default there are two, and Ray waits for a CPU for each.
                map_batches_kwargs={"concurrency": 1, "num_cpus": 0},
            )
            .training(train_batch_size_per_learner=OFFLINE_BATCH, **options)
        )
    result = (
        result.environment(ENV_NAME)
        .env_runners(
            num_env_runners=config.num_env_runners,
            num_envs_per_env_runner=4,
            sample_timeout_s=SAMPLE_SECONDS,
        )
        # By default RLlib puts another in a dead runner's place, again and again, and is silent.
        .fault_tolerance(restart_failed_env_runners=False)
    )
    if config.algorithm == "ppo":
        return result.training(train_batch_size_per_learner=4000, minibatch_size=500, num_epochs=6)
    if config.algorithm == "dqn":
        return result.training(
            replay_buffer_config={"type": "EpisodeReplayBuffer", "capacity": 50_000},
            num_atoms=1,
            dueling=False,
            double_q=True,
            train_batch_size_per_learner=64,
        )
    return result.training(train_batch_size_per_learner=1000)


def make_spaces(config: AgentConfig) -> tuple[gym.Space[Any], gym.Space[Any]]:
    """Observation and action space, without making a trace."""
    env = VMPlacementEnv(num_pms=config.workload.num_pms)
    return env.observation_space, env.action_space


def record_expert(config: AgentConfig, folder: Path) -> None:
    """Replay the certainty-equivalent policy's placements, and store the episodes as parquet."""
    import msgpack
    import msgpack_numpy
    import pandas as pd
    from ray.rllib.env.single_agent_episode import SingleAgentEpisode

    statistics = history(config)
    warm_up = int(FILLING * config.workload.alive)
    pieces = []
    for number in range(RECORDED_EPISODES):
        trace = make_trace(config.workload, "train", 1 + number, warm_up + config.episode_vms)
        capacity = equal_machines(trace, config.workload.num_pms)
        run = simulate(trace, capacity, CertaintyEquivalentPolicy(statistics))
        env = VMPlacementEnv(trace=trace, capacity=capacity, statistics=statistics, warm_up=0.0)
        # The expert's own placements fill the cluster; what is recorded begins behind them.
        moves = run.placement[run.placement != NOT_PLACED].tolist()
        observation, _ = env.reset(seed=0)
        for move in moves[:warm_up]:
            observation, _, _, _, _ = env.step(move)
        moves = moves[warm_up:]
        for start in range(0, len(moves) - PIECE + 1, PIECE):
            episode = SingleAgentEpisode(
                observation_space=env.observation_space, action_space=env.action_space
            )
            episode.add_env_reset(observation)
            for step, move in enumerate(moves[start : start + PIECE], 1):
                observation, reward, terminated, _, _ = env.step(move)
                truncated = step == PIECE and not terminated
                episode.add_env_step(
                    observation, np.int64(move), reward, terminated=terminated, truncated=truncated
                )
            state = episode.to_numpy().get_state()
            pieces.append(msgpack.packb(state, default=msgpack_numpy.encode))
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"item": pieces}).to_parquet(folder / "episodes.parquet")


def _num_pieces(config: AgentConfig) -> int:
    return max(RECORDED_EPISODES * (config.episode_vms // PIECE), PIECES_READ)


class AgentPolicy(Policy):
    """A trained agent: the admitting PM of the greatest score.

    Args:
        name: of the policy.
        checkpoint: folder that `train_agent` returned.
        statistics: of the functions, as in training.

    Raises:
        ValueError: the folder holds no checkpoint.
    """

    knowledge: ClassVar[Knowledge] = "learned"

    def __init__(self, name: str, checkpoint: Path, statistics: Statistics) -> None:
        from ray.rllib.core.rl_module.rl_module import RLModule

        folder = (checkpoint / MODULE_FOLDER).absolute()
        if not folder.is_dir():
            raise ValueError(f"{checkpoint} holds no checkpoint of an agent")
        self.name = name
        self.module = RLModule.from_checkpoint(folder)
        self._statistics = statistics

    def run(self, state: State, trace: Trace, seed: int) -> None:
        """Place all VMs; see `Policy.run`. Nothing is random."""
        import torch

        tracker = plain_tracker(state, trace, self._statistics)
        pm_features, vm_features = feature_shapes(len(trace.resources))
        observation = Observation(
            np.zeros((len(state.capacity), pm_features), dtype=np.float32),
            np.zeros(vm_features, dtype=np.float32),
            np.zeros(len(state.capacity), dtype=np.int8),
        )
        batch = {
            name: torch.from_numpy(array)[None] for name, array in observation._asdict().items()
        }
        module: Any = self.module
        scorer = module.q_net if hasattr(module, "q_net") else module.policy
        with torch.no_grad():
            while (vm := to_arrival(state, trace.arrays, tracker)) >= 0:
                pm = NOT_PLACED
                if admits_anywhere(state, trace.arrays, vm):
                    observe(state, trace.arrays, tracker, vm, *observation)
                    scores = scorer(batch)[0]
                    scores[batch["action_mask"][0] == 0] = -torch.inf
                    pm = int(scores.argmax())
                place_vm(state, trace.arrays, tracker, vm, pm)
