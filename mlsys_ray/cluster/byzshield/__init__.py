"""ByzShield on a cluster: Ray starts and ends processes, ZeroMQ carries values between them."""

from mlsys_ray.cluster.byzshield.actors import train_on_ray

__all__ = ["train_on_ray"]
