"""Stages: what the scheduler decides about, one after another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal

from mlsys_ray.value_learning.operators.expression import Expression, Load, loads


@dataclass(frozen=True)
class Tensor:
    """A float32 array by its name and extents, the dimension innermost in memory first."""

    name: str
    extents: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """As numpy and PyTorch count it: outermost first."""
        return self.extents[::-1]


@dataclass(frozen=True)
class Reduction:
    """What is folded into each point of a stage.

    Attributes:
        variables: of the reduction domain, the one that walks through memory closest first.
        extents: of each.
        combine: how a term is folded in.
        term: what is folded in.
    """

    variables: tuple[str, ...]
    extents: tuple[int, ...]
    combine: Literal["add", "maximum"]
    term: Expression


@dataclass(frozen=True)
class Stage:
    """A function of a static domain: a value for each point, or a reduction that starts from it.

    Attributes:
        name: unique in a pipeline.
        variables: of the pure loops, innermost in memory first.
        extents: of the domain, which begins at 0.
        value: at each point, or what its reduction starts from.
        reduction: None for an elementwise stage.
    """

    name: str
    variables: tuple[str, ...]
    extents: tuple[int, ...]
    value: Expression
    reduction: Reduction | None = None

    @cached_property
    def loads(self) -> tuple[Load, ...]:
        """All loads, of the start value first."""
        found = loads(self.value)
        return tuple(found + loads(self.reduction.term) if self.reduction else found)

    @cached_property
    def sources(self) -> frozenset[str]:
        """Names of what it reads."""
        return frozenset(load.source for load in self.loads)

    @cached_property
    def points(self) -> int:
        """Number of values."""
        return prod(self.extents)

    @cached_property
    def terms(self) -> int:
        """Number of terms folded into each point; 1 for an elementwise stage."""
        return prod(self.reduction.extents) if self.reduction else 1

    @cached_property
    def tensor(self) -> Tensor:
        """What it makes."""
        return Tensor(self.name, self.extents)
