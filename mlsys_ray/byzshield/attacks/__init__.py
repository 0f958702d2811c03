"""Attacks: what Byzantine workers send instead of the true gradients."""

from __future__ import annotations

from dataclasses import fields

from mlsys_ray.byzshield.attacks.alie import Alie, alie_z
from mlsys_ray.byzshield.attacks.base import Adversary, Attack
from mlsys_ray.byzshield.attacks.constant import Constant
from mlsys_ray.byzshield.attacks.reversed_gradient import ReversedGradient

ATTACKS: dict[str, type[Attack]] = {
    attack.name: attack for attack in (Alie, Constant, ReversedGradient)
}


def make_attack(name: str, strength: float | None = None) -> Attack:
    """Build an attack from its name.

    Args:
        name: a key of `ATTACKS`.
        strength: the attack's one parameter (ALIE: z; constant: the value; reversed gradient: the
            scale); None takes its default.

    Raises:
        ValueError: no attack has that name.
    """
    if name not in ATTACKS:
        raise ValueError(f"attack is {name!r}, must be one of {', '.join(ATTACKS)}")
    attack = ATTACKS[name]
    if strength is None:
        return attack()
    (parameter,) = fields(attack)  # type: ignore[arg-type]
    return attack(**{parameter.name: strength})


__all__ = [
    "ATTACKS",
    "Adversary",
    "Alie",
    "Attack",
    "Constant",
    "ReversedGradient",
    "alie_z",
    "make_attack",
]
