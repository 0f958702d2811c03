"""Gymnasium environments, registered when this package is imported.

>>> import gymnasium as gym
>>> env = gym.make("mlsys_ray.envs:mlsys_ray/VMPlacement-v0", num_pms=4, num_vms=50)
>>> observation, info = env.reset(seed=0)
>>> sorted(observation)
['action_mask', 'pms', 'vm']
"""

from gymnasium import register

from mlsys_ray.envs.vm_placement import VMPlacementEnv, VMPlacementVectorEnv

__all__ = ["VMPlacementEnv", "VMPlacementVectorEnv"]

register(
    "mlsys_ray/VMPlacement-v0",
    entry_point="mlsys_ray.envs.vm_placement:VMPlacementEnv",
    vector_entry_point="mlsys_ray.envs.vm_placement:VMPlacementVectorEnv",
)
