"""The papers' tables and figures beside what is found here: one file a system."""

from __future__ import annotations

from collections.abc import Sequence

from mlsys_ray.reproduction import byzshield, fireplace, ios, value_learning
from mlsys_ray.reproduction.base import (
    STATUSES,
    SYSTEMS,
    Block,
    Plan,
    Row,
    Scale,
    Status,
    Step,
    System,
)

PLANS = {
    "ios": ios.plan,
    "value-learning": value_learning.plan,
    "byzshield": byzshield.plan,
    "fireplace": fireplace.plan,
}


def plan(scale: Scale, systems: Sequence[System] = tuple(SYSTEMS)) -> Plan:
    """What the reproduction of some systems runs and compares."""
    plans = [PLANS[system](scale) for system in SYSTEMS if system in systems]
    return Plan(
        steps=tuple(step for one in plans for step in one.steps),
        blocks=tuple(block for one in plans for block in one.blocks),
    )


__all__ = [
    "PLANS",
    "STATUSES",
    "SYSTEMS",
    "Block",
    "Plan",
    "Row",
    "Scale",
    "Status",
    "Step",
    "System",
    "plan",
]
