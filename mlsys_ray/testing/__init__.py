"""Test classes for parts of your own; subclass one in a pytest module."""

from __future__ import annotations

from mlsys_ray.testing.aggregation import AggregationRuleTests
from mlsys_ray.testing.assignment import AssignmentTests
from mlsys_ray.testing.engine import EngineTests
from mlsys_ray.testing.placement import PlacementPolicyTests

__all__ = ["AggregationRuleTests", "AssignmentTests", "EngineTests", "PlacementPolicyTests"]
