"""Schedules as engines run them: stages of operators' indices at their places."""

from __future__ import annotations

from dataclasses import dataclass

from mlsys_ray.ios.bounds import share_out
from mlsys_ray.ios.graph import Graph
from mlsys_ray.ios.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A group of operators at its place in a stage.

    Attributes:
        operators: indices, in the order in which they run.
        workers: threads that share it; on a GPU a single one, its stream.
    """

    operators: tuple[int, ...]
    workers: range


@dataclass(frozen=True, kw_only=True)
class PlacedStage:
    """A stage as an engine runs it.

    Attributes:
        groups: side by side.
        variants: of each operator.
        merged: whether the operators are merged (operator merge).
    """

    groups: tuple[Placed, ...]
    variants: dict[int, str]
    merged: bool = False

    @property
    def operators(self) -> list[int]:
        """Of all groups, one group after another."""
        return [operator for group in self.groups for operator in group.operators]


def placed(graph: Graph, schedule: Schedule, num_workers: int) -> list[PlacedStage]:
    """The stages of a schedule; workers are shared evenly, where it names none.

    Raises:
        ValueError: it is for more workers.
    """
    result = []
    for number, stage in enumerate(schedule.stages):
        groups = [[graph.index[name] for name in group] for group in stage]
        if schedule.workers:
            shares = [range(first, first + count) for first, count in schedule.workers[number]]
        else:
            shares = share_out([len(group) for group in groups], num_workers)
        if any(share.stop > num_workers for share in shares):
            raise ValueError(
                f"stage {number} is for {max(share.stop for share in shares)} threads or more,"
                f" and there are {num_workers}"
            )
        names = [graph.operators[i].name for group in groups for i in group]
        variants = {
            graph.index[name]: schedule.kernels[name] for name in names if name in schedule.kernels
        }
        result.append(
            PlacedStage(
                groups=tuple(
                    Placed(operators=tuple(group), workers=share)
                    for group, share in zip(groups, shares, strict=True)
                ),
                variants=variants,
                merged=bool(schedule.strategies) and schedule.strategies[number] == "merge",
            )
        )
    return result
