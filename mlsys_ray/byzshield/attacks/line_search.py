"""The strength of an attack that harms most, found by trying."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mlsys_ray.byzshield.attacks.base import Adversary

_EVALUATIONS = 20
_FIRST_STEP = 10.0
_SHRINK = 0.8


def largest(harm: Callable[[float], float]) -> float:
    """The argument >= 0 with the most harm met in 20 trials; ByzFL's search.

    From 0 the step doubles while it helps; after the first failure it shrinks by 0.8 a trial. It
    never steps back, so behind a peak narrower than the step it stays.
    """
    best, most, step, growing = 0.0, harm(0.0), _FIRST_STEP, True
    for _ in range(_EVALUATIONS - 1):
        tried = harm(best + step)
        improves = tried > most
        if improves:
            best, most = best + step, tried
        growing = growing and improves
        step *= 2 if growing else _SHRINK
    return best


def strongest(
    name: str,
    crafted: Callable[[float], np.ndarray],
    true_gradients: np.ndarray,
    adversary: Adversary,
) -> np.ndarray:
    """What moves the server's aggregate farthest from the true mean.

    The server is replayed: files whose majority is Byzantine are replaced, and the rule combines.
    Where no file can be distorted nothing matters, and strength 0 is sent.

    Args:
        name: of the attack, for errors.
        crafted: the vector `[d]` sent at a strength.
        true_gradients: float32 `[f, d]`.
        adversary: must know the rule.

    Raises:
        ValueError: the adversary does not know the rule.
    """
    rule = adversary.rule
    if rule is None:
        raise ValueError(f"{name} searches against the server's rule: give Adversary a rule")
    distorted = adversary.distorted_files()
    if not distorted.any():
        return crafted(0.0)
    votes = true_gradients.copy()
    mean = true_gradients.mean(axis=0, dtype=np.float32)

    def harm(strength: float) -> float:
        votes[distorted] = crafted(strength)
        return float(np.linalg.norm(rule.aggregate(votes) - mean))

    return crafted(largest(harm))
