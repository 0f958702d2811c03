"""Attacks: what Byzantine workers send instead of the true gradients."""

from __future__ import annotations

from dataclasses import fields

from mlsys_ray.byzshield.attacks.alie import Alie, alie_z
from mlsys_ray.byzshield.attacks.base import Adversary, Attack
from mlsys_ray.byzshield.attacks.constant import Constant
from mlsys_ray.byzshield.attacks.gaussian import Gaussian
from mlsys_ray.byzshield.attacks.inf import Inf
from mlsys_ray.byzshield.attacks.inner_product import FallOfEmpires, InnerProductManipulation
from mlsys_ray.byzshield.attacks.label_flipping import LabelFlipping, flip_labels
from mlsys_ray.byzshield.attacks.mimic import Mimic
from mlsys_ray.byzshield.attacks.nan import Nan
from mlsys_ray.byzshield.attacks.optimal_alie import OptimalAlie
from mlsys_ray.byzshield.attacks.optimal_ipm import OptimalInnerProductManipulation
from mlsys_ray.byzshield.attacks.reversed_gradient import ReversedGradient
from mlsys_ray.byzshield.attacks.sign_flipping import SignFlipping

ATTACKS: dict[str, type[Attack]] = {
    attack.name: attack
    for attack in (
        Alie,
        Constant,
        FallOfEmpires,
        Gaussian,
        Inf,
        InnerProductManipulation,
        LabelFlipping,
        Mimic,
        Nan,
        OptimalAlie,
        OptimalInnerProductManipulation,
        ReversedGradient,
        SignFlipping,
    )
}


def make_attack(name: str, strength: float | None = None) -> Attack:
    """Build an attack from its name.

    Args:
        name: a key of `ATTACKS`.
        strength: the attack's one parameter (alie: z; constant: the value; foe, ipm and
            reversed_gradient: the scale; gaussian: the deviation; mimic: the file); None takes its
            default. The other attacks have none.

    Raises:
        ValueError: no attack has that name, or it has no parameter to set.
    """
    if name not in ATTACKS:
        raise ValueError(f"attack is {name!r}, must be one of {', '.join(ATTACKS)}")
    attack = ATTACKS[name]
    if strength is None:
        return attack()
    parameters = fields(attack)  # type: ignore[arg-type]
    if not parameters:
        raise ValueError(f"strength is {strength}, but {name} has no parameter: leave it out")
    return attack(**{parameters[0].name: strength})


__all__ = [
    "ATTACKS",
    "Adversary",
    "Alie",
    "Attack",
    "Constant",
    "FallOfEmpires",
    "Gaussian",
    "Inf",
    "InnerProductManipulation",
    "LabelFlipping",
    "Mimic",
    "Nan",
    "OptimalAlie",
    "OptimalInnerProductManipulation",
    "ReversedGradient",
    "SignFlipping",
    "alie_z",
    "flip_labels",
    "make_attack",
]
