"""What a schedule gives to the streams of a GPU, in which order, with which waits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mlsys_ray.ios.engines.stages import PlacedStage
from mlsys_ray.ios.graph import Graph

MAIN = 0
"""The stream on which everything begins and ends."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Operators that a stream runs: one, or several as one convolution."""

    stage: int
    operators: tuple[int, ...]
    variant: str | None
    stream: int
    merged: bool


@dataclass(frozen=True)
class Record:
    """An event that happens when a stream has come this far."""

    event: int
    stream: int


@dataclass(frozen=True)
class Wait:
    """A stream goes on only when an event has happened."""

    event: int
    stream: int


@dataclass(frozen=True)
class Mark:
    """When a stream comes this far is measured."""

    mark: int
    stream: int


@dataclass(frozen=True)
class Drop:
    """Values that nothing takes any more: their memory may be used again."""

    values: tuple[str, ...]


Instruction = Launch | Record | Wait | Mark | Drop


def launches(
    graph: Graph,
    stages: Sequence[PlacedStage],
    kept: Collection[str],
    *,
    marked_stages: Collection[int] = (),
    marked_launches: bool = False,
) -> list[Instruction]:
    """Stages one after another, the groups of each on their streams.

    A stream that a stage uses waits for all others of the stage before, no more. Memory is taken
    and given back by a stream in its own order, also by a value that another one reads; so a value
    is dropped at the end of the stage that takes it last, behind which all streams wait.

    Args:
        graph: whose operators the stages are of; the first worker of a group is its stream.
        stages: in the order in which they run.
        kept: values that stay.
        marked_stages: numbers of stages before which a mark is set on the main stream, all that
            comes before being over; one past the last marks the end.
        marked_launches: whether each launch has a mark before and one behind it.

    Returns:
        What is to be done, in the order in which it is given to the GPU. Marks are numbered from 0.
    """
    maker = _Maker()
    last_use = {
        name: number
        for number, stage in enumerate(stages)
        for operator in stage.operators
        for name in (graph.operators[operator].name, *graph.operators[operator].inputs)
    }
    for number, stage in enumerate(stages):
        if number in marked_stages:
            maker.boundary()
        units = _units(stage)
        maker.begin({stream for stream, _ in units})
        for stream, operators in units:
            if marked_launches:
                maker.mark(stream)
            maker.instructions.append(
                Launch(
                    stage=number,
                    operators=operators,
                    variant=stage.variants.get(operators[0]),
                    stream=stream,
                    merged=stage.merged,
                )
            )
            if marked_launches:
                maker.mark(stream)
        maker.end()
        dropped = [name for name, last in last_use.items() if last == number and name not in kept]
        maker.instructions.append(Drop(tuple(dropped)))
    maker.join()
    if len(stages) in marked_stages:
        maker.boundary()
    awaited = {step.event for step in maker.instructions if isinstance(step, Wait)}
    return [
        step
        for step in maker.instructions
        if not (isinstance(step, Record) and step.event not in awaited)
    ]


def _units(stage: PlacedStage) -> list[tuple[int, tuple[int, ...]]]:
    """Streams and the operators that each launches at once, in order."""
    if stage.merged:
        return [(MAIN, tuple(stage.operators))]
    return [
        (group.workers.start, (operator,)) for group in stage.groups for operator in group.operators
    ]


class _Maker:
    """Writes instructions, knowing the last event of each stream that is to be waited for."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self._frontier: dict[int, int] = {}
        self._used: set[int] = {MAIN}
        self._events = self._marks = 0
        self.end()

    def begin(self, streams: set[int]) -> None:
        """Streams go on where all of the frontier are."""
        self._used = streams
        for stream in sorted(streams):
            self.instructions += [
                Wait(event, stream) for other, event in self._frontier.items() if other != stream
            ]

    def end(self) -> None:
        """The streams in use are the frontier."""
        self._frontier = {}
        for stream in sorted(self._used):
            self._frontier[stream] = self._events
            self.instructions.append(Record(self._events, stream))
            self._events += 1

    def join(self) -> None:
        """The main stream has everything behind it."""
        if set(self._frontier) != {MAIN}:
            self.begin({MAIN})
            self.end()

    def boundary(self) -> None:
        """A mark between all that came before and all that comes."""
        self.join()
        self.mark(MAIN)
        self.end()

    def mark(self, stream: int) -> None:
        """The next mark."""
        self.instructions.append(Mark(self._marks, stream))
        self._marks += 1
