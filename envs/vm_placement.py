"""The Gymnasium environment VMPlacement, and its vector version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from mlsys_ray.envs.placement_core import (
    Observation,
    PlacementCore,
    feature_shapes,
)
from mlsys_ray.envs.rendering import render_ansi, render_rgb
from mlsys_ray.fireplace.machines import equal_machines
from mlsys_ray.fireplace.policies.features import LARGEST_FEATURE
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.trace import Trace
from mlsys_ray.fireplace.traces.microvm import microvm

TraceSource = Trace | Callable[[int], Trace]
_SEEDS = 1_000_000


class VMPlacementEnv(gym.Env[dict[str, np.ndarray], np.int64]):
    """Place micro-VMs on physical machines (PMs) as they arrive.

    ## Description
    VMs arrive, use CPU and memory for as long as they live, and leave. Each must be placed on a PM
    when it arrives, from what is known then: what it requests, which function it runs, and the use
    of every PM in the last telemetry interval (tick). The goal is a small peak-to-average ratio
    (PAR): the largest use of a PM divided by the mean, for each resource and tick.

    ## Action Space
    `Discrete(P)`: the PM. A PM that does not admit the VM (`action_mask` 0) raises
    `gymnasium.error.InvalidAction`.

    ## Observation Space
    A `Dict` of Boxes with finite bounds, P machines and D resources:

    | key | shape | content |
    |---|---|---|
    | `pms` | `[P, 13 D + 1]` | standardised logarithm of the certainty-equivalent score; then for
    each resource: telemetry, running average, telemetry residual, spread, requests, requests since
    telemetry, expected load 0, 1, 2, 4, 8, 16 and 32 ticks ahead; all relative to the cluster's
    means and clipped to -3 .. 3 |
    | `vm` | `[2 D + 8]` | for each resource the request and the expected use; the part of the tick
    that is left; the expected presence 0 to 32 ticks ahead |
    | `action_mask` | `[P]` | 1 where the PM admits the VM |

    Without `statistics` every VM is expected to use what it requests and to stay.

    ## Rewards
    Minus the sum of PAR - 1, mean over resources, of the ticks that have ended since the last
    decision. So an episode's return is minus the sum of its excess PAR over ticks. Most rewards
    are 0: many VMs arrive in a tick.

    ## Starting State
    An empty cluster in which the first `warm_up` part of the trace was placed on the least
    requested PMs.

    ## Episode Termination
    The episode terminates after the last arrival. VMs that no PM admits are refused without a
    decision, and counted in `info["refused"]`.

    ## Information
    `par`: mean PAR of the ticks rewarded so far, 1 before the first; `refused`.

    ## Arguments
    - `trace`: a `Trace`, or a function from a seed to one; by default the generator's, of
      `num_vms` VMs. A function is called at every reset.
    - `num_pms`, `num_vms`: of the default trace and machines.
    - `capacity`: float `[P, D]`, the machines; by default equal ones that suit the trace.
    - `statistics`: `Statistics` of the functions, from another trace.
    - `warm_up`: part of the VMs placed before the first decision.
    - `telemetry_delay`: age of the newest telemetry in ticks.
    - `overcommit`: the part of a PM's capacity that requests may take.
    - `render_mode`: `"rgb_array"` (bars of every PM's load) or `"ansi"`.

    ## Version History
    v0: first version.
    """

    # Gymnasium declares it for instances.
    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 10,
    }

    def __init__(
        self,
        *,
        trace: TraceSource | None = None,
        num_pms: int = 50,
        num_vms: int = 5000,
        capacity: np.ndarray | None = None,
        statistics: Statistics | None = None,
        warm_up: float = 0.2,
        telemetry_delay: int = 1,
        overcommit: float = 1.0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(
                f"render_mode is {render_mode!r}; accepted: {self.metadata['render_modes']}"
            )
        if not 0 <= warm_up < 1:
            raise ValueError(f"warm_up is {warm_up}; it must be in 0 .. 1, without 1")
        self._source: TraceSource = trace or _generated(num_vms, num_pms)
        self._trace = trace if isinstance(trace, Trace) else None
        self._capacity = capacity
        self._num_pms = len(capacity) if capacity is not None else num_pms
        self._statistics = statistics
        self._warm_up = warm_up
        self._options: dict[str, Any] = {
            "telemetry_delay": telemetry_delay,
            "overcommit": overcommit,
        }
        self.render_mode = render_mode
        resources = self._num_resources()
        pm_features, vm_features = feature_shapes(resources)
        self.action_space = spaces.Discrete(self._num_pms)
        self.observation_space = spaces.Dict(
            {
                "pms": _box((self._num_pms, pm_features)),
                "vm": _box((vm_features,)),
                "action_mask": spaces.Box(0, 1, (self._num_pms,), np.int8),
            }
        )
        self.core: PlacementCore | None = None
        self._observation = empty_observation(self.observation_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; a generated trace follows from the seed."""
        super().reset(seed=seed)
        self.begin(self._observation)
        return self._copied(), self.info()

    def step(
        self, action: np.int64 | int
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Place the VM that waits."""
        reward, terminated = self.advance(int(action), self._observation)
        return self._copied(), reward, terminated, False, self.info()

    def begin(self, observation: Observation) -> None:
        """Start an episode and write its first observation to arrays of the caller."""
        trace = self._trace
        if trace is None:
            source: Any = self._source
            trace = source(int(self.np_random.integers(_SEEDS)))
        capacity = self._capacity
        if capacity is None:
            capacity = equal_machines(trace, self._num_pms)
        self.core = PlacementCore(
            trace,
            capacity,
            self._statistics,
            warm_up_vms=int(self._warm_up * trace.num_vms),
            **self._options,
        )
        if not self.core.begin(observation):
            raise ValueError("the trace holds no VM that any PM admits after the warm-up")

    def advance(self, pm: int, observation: Observation) -> tuple[float, bool]:
        """Step, and write the observation to arrays of the caller; reward and termination.

        Raises:
            gymnasium.error.ResetNeeded: there is no episode.
            gymnasium.error.InvalidAction: the PM does not admit the VM.
        """
        if self.core is None:
            raise gym.error.ResetNeeded("call reset before step")
        if not (0 <= pm < self._num_pms and self.core.admits(pm)):
            raise gym.error.InvalidAction(
                f"action is {pm}; the action_mask allows PMs"
                f" {np.flatnonzero(observation.action_mask).tolist()}"
            )
        return self.core.step(pm, observation)

    def info(self) -> dict[str, Any]:
        """The information of the present step."""
        core = self.core
        assert core is not None
        return {"par": core.mean_par, "refused": core.refused}

    def render(self) -> Any:
        """The load of every PM in the present tick, as a picture or as text."""
        if self.core is None or self.render_mode is None:
            return None
        state = self.core.state
        load = state.load[max(int(state.clock[0]), 0)] / state.capacity
        if self.render_mode == "ansi":
            return render_ansi(load, int(state.clock[0]), self.core.mean_par)
        return render_rgb(load)

    def _num_resources(self) -> int:
        if self._capacity is not None:
            return self._capacity.shape[1]
        return len(self._trace.resources) if self._trace is not None else 2

    def _copied(self) -> dict[str, np.ndarray]:
        return {name: array.copy() for name, array in self._observation._asdict().items()}


class VMPlacementVectorEnv(VectorEnv[dict[str, np.ndarray], np.ndarray, np.ndarray]):
    """Several `VMPlacementEnv` in one process, observed in place.

    Sub-environments reset in the step after they terminate (`AutoresetMode.NEXT_STEP`).

    Args:
        num_envs: of sub-environments.
        options: arguments of `VMPlacementEnv`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        **VMPlacementEnv.metadata,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}; it must be at least 1")
        self.num_envs = num_envs
        self.render_mode = options.get("render_mode")
        self._envs = [VMPlacementEnv(**options) for _ in range(num_envs)]
        self.single_observation_space = self._envs[0].observation_space
        self.single_action_space = self._envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._batch = empty_observation(self.observation_space)
        self._rows = [Observation(*(array[i] for array in self._batch)) for i in range(num_envs)]
        self._ended = np.zeros(num_envs, dtype=bool)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Reset all; one seed makes seeds for all, as in Gymnasium's own vector environments."""
        seeds: Sequence[int | None]
        if seed is None or isinstance(seed, int):
            seeds = [None if seed is None else seed + i for i in range(self.num_envs)]
        else:
            seeds = seed
        for env, row, own in zip(self._envs, self._rows, seeds, strict=True):
            gym.Env.reset(env, seed=own)
            env.begin(row)
        self._ended[:] = False
        return self._copied(), self._infos()

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step all; those that ended in the last step reset instead, with reward 0."""
        rewards = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, dtype=bool)
        for i, (env, row) in enumerate(zip(self._envs, self._rows, strict=True)):
            if self._ended[i]:
                env.begin(row)
            else:
                rewards[i], terminated[i] = env.advance(int(actions[i]), row)
        self._ended = terminated
        return self._copied(), rewards, terminated.copy(), np.zeros_like(terminated), self._infos()

    def render(self) -> tuple[Any, ...] | None:
        """The pictures of all sub-environments."""
        return tuple(env.render() for env in self._envs) if self.render_mode else None

    def _infos(self) -> dict[str, Any]:
        everywhere = np.ones(self.num_envs, dtype=bool)
        infos = [env.info() for env in self._envs]
        return {
            "par": np.array([info["par"] for info in infos]),
            "_par": everywhere,
            "refused": np.array([info["refused"] for info in infos]),
            "_refused": everywhere.copy(),
        }

    def _copied(self) -> dict[str, np.ndarray]:
        return {name: array.copy() for name, array in self._batch._asdict().items()}


def empty_observation(space: spaces.Space[Any]) -> Observation:
    """Arrays for observations of a space."""
    assert isinstance(space, spaces.Dict)
    boxes: dict[str, Any] = dict(space.spaces)
    return Observation(**{name: np.zeros(box.shape, box.dtype) for name, box in boxes.items()})


def _box(shape: tuple[int, ...]) -> spaces.Box:
    return spaces.Box(-LARGEST_FEATURE, LARGEST_FEATURE, shape, np.float32)


def _generated(num_vms: int, num_pms: int) -> Callable[[int], Trace]:
    return lambda seed: microvm(num_vms=num_vms, alive=45.0 * num_pms, seed=seed)
