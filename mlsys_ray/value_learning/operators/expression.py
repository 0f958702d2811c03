"""What a stage computes at one point: expressions whose loads have affine indices.

The one description serves Halide (`lowering`), the bounds of the schedule space and the features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Term(NamedTuple):
    """`coefficient * (variable / divide)`, rounding down; both numbers are at least 1."""

    variable: str
    coefficient: int = 1
    divide: int = 1


@dataclass(frozen=True)
class Index:
    """One coordinate of a load: the sum of terms and an offset.

    Attributes:
        terms: of different loop variables.
        offset: constant term.
        modulo: the sum is taken modulo this; 0 for not.
        clamp: the result is forced into 0 .. clamp - 1; 0 for not.
        whole: what is forced there are whole multiples of this, which divides clamp and offset; so
            the values of an aligned vector stay neighbours.
    """

    terms: tuple[Term, ...] = ()
    offset: int = 0
    modulo: int = 0
    clamp: int = 0
    whole: int = 1

    def extent(self, extents: Mapping[str, int]) -> int:
        """How many values it spans while each variable runs over so many consecutive ones."""
        span = 1
        for name, coefficient, divide in self.terms:
            span += coefficient * ((extents[name] - 1) // divide)
        if self.modulo:
            span = min(span, self.modulo)
        return min(span, self.clamp) if self.clamp else span


@dataclass(frozen=True)
class Load:
    """A value of another stage or of an input.

    Attributes:
        source: its name.
        indices: coordinates, innermost in memory first.
    """

    source: str
    indices: tuple[Index, ...]


@dataclass(frozen=True)
class Constant:
    """A number."""

    value: float


@dataclass(frozen=True)
class Apply:
    """A function of expressions; `FUNCTIONS` has the names."""

    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Inside:
    """A value where every index lies within 0 .. extent - 1, and otherwise another.

    Attributes:
        indices: what is asked about.
        extents: as many.
        value: where all are inside.
        otherwise: where one is not.
    """

    indices: tuple[Index, ...]
    extents: tuple[int, ...]
    value: Expression
    otherwise: Expression


Expression = Load | Constant | Apply | Inside

FUNCTIONS = (
    *("add", "subtract", "multiply", "divide", "maximum", "minimum"),
    *("exp", "fast_exp", "erf", "rsqrt"),
)


def variable(name: str) -> Index:
    """The index that is a loop variable itself."""
    return Index((Term(name),))


def in_panels(panel: int, *between: Index) -> tuple[Index, ...]:
    """Coordinates of a weight of channel `c` that lies in panels `[c / panel, ..., panel]`."""
    return Index((Term("c"),), modulo=panel), *between, Index((Term("c", divide=panel),))


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and all that it is made of."""
    yield expression
    match expression:
        case Apply(arguments=arguments):
            for argument in arguments:
                yield from walk(argument)
        case Inside(value=value, otherwise=otherwise):
            yield from walk(value)
            yield from walk(otherwise)


def loads(expression: Expression) -> list[Load]:
    """All loads in it, in the order in which they are written."""
    return [part for part in walk(expression) if isinstance(part, Load)]
