"""Actions: one stage's whole choice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple


class Site(NamedTuple):
    """A loop inside which something is computed or stored.

    Attributes:
        stage: whose loop it is, by its place in the pipeline's stages.
        loop: place among that stage's loops, outermost first.
    """

    stage: int
    loop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """How one stage is computed.

    The loops of a stage, outermost first: one over tasks, if `block` cuts its region, which is
    parallel; one a dimension over tiles, in `order`; those of the reduction; and within, unrolled
    and vectorised, the points of one tile, whose sums thus stay in registers.

    Attributes:
        compute: as part of its consumers ("inline"), before them ("root"), or inside a loop of one.
        site: that loop, where compute is "at".
        store: the loop outside of it where its memory lives, so that the values of an iteration
            are kept for the next (sliding window); None for the same.
        vector: values in one vector, of the innermost dimension, or of partial sums.
        tile: points of a tile in each dimension, innermost first; unrolled.
        block: points of a task in each dimension; the whole region where nothing is cut.
        order: dimensions of the tile loops, outermost first.
        reduction_order: variables of the reduction, outermost first, by their places.
        unroll: iterations of the innermost reduction loop that are written out; 0 for all
            iterations of all reduction loops.
        accumulators: vectors into which a reduction along memory is split (rfactor); 0 for none.
        guarded: how the rest is done where a tile does not divide: by a condition at each point, or
            else by shifting the last tile inwards.
    """

    compute: Literal["inline", "root", "at"]
    site: Site | None = None
    store: Site | None = None
    vector: int = 1
    tile: tuple[int, ...] = ()
    block: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    reduction_order: tuple[int, ...] = ()
    unroll: int = 1
    accumulators: int = 0
    guarded: bool = False

    def to_json(self) -> dict[str, Any]:
        """A record from which `action_from_json` makes it again."""
        return asdict(self)


INLINE = Action(compute="inline")


def action_from_json(record: dict[str, Any]) -> Action:
    """The action that `Action.to_json` has written.

    Raises:
        ValueError: it is no such record.
    """
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
    }
    try:
        for name in ("site", "store"):
            if fields.get(name) is not None:
                fields[name] = Site(*fields[name])
        return Action(**fields)
    except TypeError as error:
        raise ValueError(f"no action: {error}") from error
