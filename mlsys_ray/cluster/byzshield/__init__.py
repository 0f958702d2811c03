"""ByzShield on a cluster: Ray starts and ends processes, ZeroMQ carries values between them.

Importing it loads no Ray, which isolated worker processes do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsys_ray.cluster.byzshield.actors import train_on_ray

__all__ = ["train_on_ray"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mlsys_ray.cluster.byzshield import actors

    return getattr(actors, name)
