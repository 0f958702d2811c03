"""The environment as Gymnasium's users know one, and as a view of the simulator."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from mlsys_ray.envs import VMPlacementEnv, VMPlacementVectorEnv
from mlsys_ray.fireplace.machines import equal_machines
from mlsys_ray.fireplace.metrics import peak_to_average
from mlsys_ray.fireplace.policies.certainty_equivalent import CertaintyEquivalentPolicy
from mlsys_ray.fireplace.simulator import simulate
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.traces.microvm import microvm

ID = "mlsys_ray.envs:mlsys_ray/VMPlacement-v0"
SMALL = {"num_pms": 5, "num_vms": 200}


def play(env, seed, choose):
    observation, info = env.reset(seed=seed)
    rewards, terminated = [], False
    while not terminated:
        observation, reward, terminated, truncated, info = env.step(choose(observation))
        assert not truncated
        rewards.append(reward)
    return rewards, info


def first(observation):
    return int(np.argmax(observation["action_mask"]))


def test_gymnasium_checks_it():
    check_env(gym.make(ID, **SMALL).unwrapped)


def test_importing_needs_neither_torch_nor_ray():
    code = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "ray"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
import gymnasium
import mlsys_ray.envs
env = gymnasium.make("mlsys_ray/VMPlacement-v0", num_pms=3, num_vms=30)
env.reset(seed=0)
env.step(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_driven_by_a_policys_placements_it_is_the_simulator(history, present):
    trace = present.slice(0, 1500)
    capacity = equal_machines(trace, 10)
    statistics = Statistics.learn(history)
    run = simulate(trace, capacity, CertaintyEquivalentPolicy(statistics))
    env = VMPlacementEnv(trace=trace, capacity=capacity, statistics=statistics, warm_up=0.0)
    moves = iter(run.placement)
    rewards, info = play(env, 0, lambda observation: int(next(moves)))
    np.testing.assert_allclose(env.core.state.load / capacity, run.load)
    excess = peak_to_average(run.load).mean(axis=1) - 1
    assert sum(rewards) == pytest.approx(-excess.sum())
    assert info["par"] == pytest.approx(1 + excess.mean())


def test_the_score_in_the_observation_is_what_the_policy_ranks_by(history, present):
    """The least first feature is the certainty-equivalent policy's choice."""
    trace = present.slice(0, 800)
    capacity = equal_machines(trace, 10)
    statistics = Statistics.learn(history)
    run = simulate(trace, capacity, CertaintyEquivalentPolicy(statistics))
    env = VMPlacementEnv(trace=trace, capacity=capacity, statistics=statistics, warm_up=0.0)
    chosen = []

    def choose(observation):
        chosen.append(int(np.argmin(observation["pms"][:, 0])))
        return int(run.placement[len(chosen) - 1])

    play(env, 0, choose)
    assert (np.array(chosen) == run.placement).mean() > 0.97


def test_seeds_say_all():
    one, same, other = (play(VMPlacementEnv(**SMALL), seed, first)[0] for seed in (1, 1, 2))
    assert one == same != other


def test_better_placement_earns_more():
    spread = play(VMPlacementEnv(**SMALL), 0, lambda o: int(np.argmin(o["pms"][:, 5])))[0]
    piled = play(VMPlacementEnv(**SMALL), 0, first)[0]
    assert sum(spread) > sum(piled)


def test_masked_pms_are_refused_and_full_clusters_skip_decisions():
    trace = microvm(num_vms=400, alive=200, num_functions=20)
    capacity = np.tile(trace.peak_request / 4, (3, 1))
    env = VMPlacementEnv(trace=trace, capacity=capacity, warm_up=0.0)
    observation, info = env.reset(seed=0)
    masked, terminated = 0, False
    while not terminated:
        if not observation["action_mask"].all():
            masked += 1
            with pytest.raises(gym.error.InvalidAction, match="the action_mask allows PMs"):
                env.step(int(np.argmin(observation["action_mask"])))
        observation, _, terminated, _, info = env.step(first(observation))
    assert masked > 0
    assert info["refused"] > 0
    with pytest.raises(gym.error.ResetNeeded):
        VMPlacementEnv(**SMALL).step(0)


def test_vector_is_as_many_single_ones():
    options = {"num_pms": 4, "num_vms": 60}
    vector = gym.make_vec("mlsys_ray/VMPlacement-v0", num_envs=3, **options)
    assert isinstance(vector.unwrapped, VMPlacementVectorEnv)
    assert vector.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    singles = [VMPlacementEnv(**options) for _ in range(3)]
    batch, _ = vector.reset(seed=7)
    own = [env.reset(seed=7 + i)[0] for i, env in enumerate(singles)]
    ended = [False] * 3
    for step in range(150):
        for name, array in batch.items():
            np.testing.assert_array_equal(array, np.stack([o[name] for o in own]))
        actions = np.array([(step + i) % 4 for i in range(3)])
        batch, rewards, terminated, truncated, _ = vector.step(actions)
        for i, env in enumerate(singles):
            if ended[i]:
                own[i], reward, ended[i] = env.reset()[0], 0.0, False
            else:
                own[i], reward, ended[i], _, _ = env.step(actions[i])
            assert rewards[i] == reward
            assert terminated[i] == ended[i]
        assert not truncated.any()
    with pytest.raises(ValueError, match="num_envs is 0"):
        VMPlacementVectorEnv(0)


def test_rendering():
    env = VMPlacementEnv(render_mode="rgb_array", **SMALL)
    env.reset(seed=0)
    empty = env.render()
    assert empty.dtype == np.uint8
    assert empty.ndim == 3
    for _ in range(100):
        env.step(2)
    assert (env.render() != empty).any()
    text = VMPlacementEnv(render_mode="ansi", **SMALL)
    text.reset(seed=0)
    assert text.render().startswith("tick ")
    assert text.render().count("\n") == 3
    with pytest.raises(ValueError, match="render_mode is 'human'"):
        VMPlacementEnv(render_mode="human")
    with pytest.raises(ValueError, match="warm_up is 1"):
        VMPlacementEnv(warm_up=1)
