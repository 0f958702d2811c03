"""The schedule space as a decision process: states, actions, schedules."""

from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.space.action import INLINE, Action, Site, action_from_json
from mlsys_ray.value_learning.space.directives import Directive
from mlsys_ray.value_learning.space.legal import MAX_ACTIONS, legal_actions
from mlsys_ray.value_learning.space.schedule import (
    Schedule,
    directives_from_source,
    schedule_from_json,
    schedule_of,
)
from mlsys_ray.value_learning.space.state import State
from mlsys_ray.value_learning.target import Target

__all__ = [
    "INLINE",
    "MAX_ACTIONS",
    "Action",
    "Directive",
    "Schedule",
    "Site",
    "State",
    "action_from_json",
    "directives_from_source",
    "initial",
    "legal_actions",
    "schedule_from_json",
    "schedule_of",
]


def initial(pipeline: Pipeline, target: Target) -> State:
    """The state in which nothing is scheduled."""
    return State(pipeline, target)
