"""Schedules: what the search finds, what engines run, what a file holds (section 3)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch

from mlsys_ray.ios.blocks import Block
from mlsys_ray.ios.devices import Precision
from mlsys_ray.ios.graph import Graph
from mlsys_ray.ios.primitives import Primitive

FORMAT = "mlsys-ray ios schedule 2"

Group = tuple[str, ...]
Stage = tuple[Group, ...]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Stages that run one after another; a stage's groups run side by side.

    Attributes:
        graph: digest of the graph that it is for, see `digest`.
        device: that it was optimised on, such as the processor's name.
        batch_size: that it was optimised for [samples].
        versions: of the libraries that it was measured with.
        stages: groups of operators' names, each in the order in which it runs.
        strategies: of each stage, `concurrent` or `merge`; all concurrent where empty.
        workers: of each stage and group the first of its threads and how many; shared out evenly
            where empty.
        kernels: of each operator how it is computed, in the engine's words.
        precision: of the arithmetic, see `devices.Precision`.
        runtime: the runtime that runs the whole network faster than the stages are, a name of
            `peers.PEERS`; None where there is none.
        stopped_early: whether the search was ended before it was sure that nothing is better.
    """

    graph: str
    device: str
    batch_size: int
    versions: dict[str, str]
    stages: tuple[Stage, ...]
    strategies: tuple[str, ...] = ()
    workers: tuple[tuple[tuple[int, int], ...], ...] = ()
    kernels: dict[str, str] = field(default_factory=dict)
    precision: Precision = "fp32"
    runtime: str | None = None
    stopped_early: bool = False

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1))


def load_schedule(path: Path) -> Schedule:
    """Read a schedule file.

    Raises:
        ValueError: it is missing, damaged, or no schedule.
    """
    try:
        record = json.loads(path.read_text())
        if record.pop("format") != FORMAT:
            raise ValueError(f"{path} is not a schedule: its format is not {FORMAT!r}")
        stages = tuple(tuple(map(tuple, stage)) for stage in record.pop("stages"))
        strategies = tuple(record.pop("strategies"))
        workers = tuple(
            tuple((int(first), int(count)) for first, count in stage)
            for stage in record.pop("workers")
        )
        schedule = Schedule(stages=stages, strategies=strategies, workers=workers, **record)
    except FileNotFoundError as error:
        raise ValueError(f"schedule {path} does not exist") from error
    except (
        json.JSONDecodeError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise ValueError(f"schedule {path} is damaged: {error}") from error
    return schedule


def stages_of(graph: Graph, block: Block, masks: Sequence[int]) -> tuple[Stage, ...]:
    """Stages of a block that are bit masks of its operators, as groups of operators' names."""
    return tuple(
        tuple(
            tuple(graph.operators[operator].name for operator in group)
            for group in _components(
                graph, [operator for i, operator in enumerate(block) if mask >> i & 1]
            )
        )
        for mask in masks
    )


def _components(graph: Graph, operators: Sequence[int]) -> list[list[int]]:
    """The connected components of some operators, each in topological order."""
    component = {operator: {operator} for operator in operators}
    for operator in operators:
        for source in graph.predecessors[operator]:
            if source in component and component[source] is not component[operator]:
                merged = component[source] | component[operator]
                component.update(dict.fromkeys(merged, merged))
    distinct = {id(group): group for group in component.values()}
    return [sorted(group) for group in distinct.values()]


def check(schedule: Schedule, graph: Graph) -> None:
    """Refuse a schedule that is not one of a graph.

    Raises:
        ValueError: it was made for another graph; or an operator is unknown, missing, there twice,
            before one that it needs, or beside it in another group.
    """
    if schedule.graph != digest(graph):
        raise ValueError(
            f"the schedule is for the graph {schedule.graph}, and this one is {digest(graph)}:"
            " another model, or other input shapes"
        )
    for name, extra in (("strategies", schedule.strategies), ("workers", schedule.workers)):
        if extra and len(extra) != len(schedule.stages):
            raise ValueError(
                f"the schedule has {len(schedule.stages)} stages and {len(extra)} {name}"
            )
    done: set[str] = set()
    for number, stage in enumerate(schedule.stages):
        before = set(done)
        for group in stage:
            own = set(before)
            for name in group:
                if name not in graph.index:
                    raise ValueError(f"stage {number} names {name!r}, which is no operator")
                if name in done:
                    raise ValueError(f"stage {number} runs {name!r}, which has run already")
                needed = graph.operators[graph.index[name]].inputs
                if missing := [n for n in needed if n in graph.index and n not in own]:
                    raise ValueError(f"stage {number} runs {name!r} before or beside {missing[0]}")
                own.add(name)
                done.add(name)
    if left := [name for name in graph.index if name not in done]:
        raise ValueError(f"the schedule leaves {left[0]!r} out")


def digest(graph: Graph) -> str:
    """What a schedule depends on: operators, wiring, shapes and dtypes, but not weights' values."""
    lines = [f"{tuple(x.shape)} {x.dtype}" for x in graph.examples]
    for operator in graph.operators:
        lines += [
            f"{operator.name} {node.name} {node.inputs} {node.shape} {node.dtype}"
            f" {_attributes(node.primitive)}"
            for node in operator.nodes
        ]
    lines.append(" ".join(graph.outputs))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _attributes(primitive: Primitive) -> str:
    values = {each.name: getattr(primitive, each.name) for each in fields(primitive)}
    described = {
        name: tuple(value.shape) if isinstance(value, torch.Tensor) else value
        for name, value in values.items()
        if not callable(value)
    }
    return f"{type(primitive).__name__} {described}"
