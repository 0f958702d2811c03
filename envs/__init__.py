"""Gymnasium environments, registered on import; usable without ray and torch.

Import this package as `mlsys_ray.envs`, which is a link to this folder: a top-level package of
the name `envs` would collide with one on the package index.
"""
