"""Schedules: one action for each stage, as JSON and as Halide source."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.operators.packing import packed, panels_of
from mlsys_ray.value_learning.space.action import Action, action_from_json
from mlsys_ray.value_learning.space.directives import GUARD, SHIFT, Directive, directives
from mlsys_ray.value_learning.space.state import State
from mlsys_ray.value_learning.target import Target

FORMAT = "mlsys-ray value-learning schedule 1"


@dataclass(frozen=True)
class Schedule:
    """A complete tuple of actions.

    Attributes:
        target: what it was made for.
        actions: of each stage, consumers first.
        panels: for each node of the pipeline, the columns of a panel in which it takes its weights,
            see `operators.packing`; 0 for weights as they are.
    """

    target: Target
    actions: tuple[Action, ...]
    panels: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A record from which `schedule_from_json` makes it again."""
        return {
            "format": FORMAT,
            "target": asdict(self.target),
            "panels": list(self.panels),
            "actions": [action.to_json() for action in self.actions],
        }

    def source(self, pipeline: Pipeline) -> str:
        """The scheduling calls in Python, which `directives_from_source` reads again."""
        return "\n".join(map(_written, self.directives(pipeline))) + "\n"

    def directives(self, pipeline: Pipeline) -> tuple[Directive, ...]:
        """The scheduling calls.

        Raises:
            ValueError: it has more or fewer actions than the pipeline has stages.
        """
        if len(self.actions) != len(pipeline.stages):
            raise ValueError(
                f"the schedule has {len(self.actions)} actions, the pipeline"
                f" {len(pipeline.stages)} stages"
            )
        return directives(State(self.packed(pipeline), self.target, self.actions))

    def packed(self, pipeline: Pipeline) -> Pipeline:
        """The pipeline with weights in the schedule's panels.

        Raises:
            ValueError: they do not fit it.
        """
        return packed(pipeline, self.panels) if self.panels else pipeline


def schedule_of(state: State) -> Schedule:
    """The schedule of a complete state.

    Raises:
        ValueError: stages are left.
    """
    if not state.is_complete:
        raise ValueError(f"the stage {state.stage.name!r} is not scheduled yet")
    panels = panels_of(state.pipeline)
    return Schedule(state.target, state.actions, panels if any(panels) else ())


def schedule_from_json(record: dict[str, Any] | str) -> Schedule:
    """The schedule that `Schedule.to_json` has written, as a record or as text.

    Raises:
        ValueError: it is no such record.
    """
    try:
        fields = json.loads(record) if isinstance(record, str) else record
        if fields["format"] != FORMAT:
            raise ValueError(f"no schedule: its format is {fields['format']!r}, not {FORMAT!r}")
        actions = tuple(action_from_json(action) for action in fields["actions"])
        target = fields["target"]
        panels = tuple(fields.get("panels", ()))
        return Schedule(Target(**{**target, "caches": tuple(target["caches"])}), actions, panels)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"no schedule: {error!r}") from error


def _written(directive: Directive) -> str:
    arguments = ", ".join(
        f"TailStrategy.{a}" if a in (SHIFT, GUARD) else repr(a).replace("'", '"')
        for a in directive.arguments
    )
    update = ".update()" if directive.part == "update" else ""
    call = f"{directive.function}{update}.{directive.method}({arguments})"
    return f"{directive.result} = {call}" if directive.result else call


def directives_from_source(source: str) -> tuple[Directive, ...]:
    """The scheduling calls that `Schedule.source` has written, read without running anything.

    Raises:
        ValueError: a line is no such call.
    """
    try:
        lines = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno} is no scheduling call: {error.msg}") from error
    return tuple(map(_read, lines))


def _read(line: ast.stmt) -> Directive:
    match line:
        case ast.Assign(targets=[ast.Name(id=result)], value=ast.Call() as call):
            pass
        case ast.Expr(value=ast.Call() as call):
            result = ""
        case _:
            raise ValueError(f"line {line.lineno} is no scheduling call: {ast.unparse(line)}")
    match call:
        case ast.Call(
            func=ast.Attribute(
                value=ast.Call(func=ast.Attribute(value=ast.Name(id=function), attr="update")),
                attr=method,
            ),
            keywords=[],
        ):
            return Directive(function, "update", method, _arguments(call.args), result)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=function), attr=method), keywords=[]):
            return Directive(function, "pure", method, _arguments(call.args), result)
    raise ValueError(f"line {line.lineno} is no scheduling call: {ast.unparse(line)}")


def _arguments(nodes: Sequence[ast.expr]) -> tuple[str | int, ...]:
    found: list[str | int] = []
    for node in nodes:
        match node:
            case ast.Constant(value=str() | int() as value):
                found.append(value)
            case ast.Attribute(value=ast.Name(id="TailStrategy"), attr=tail):
                found.append(tail)
            case _:
                raise ValueError(f"{ast.unparse(node)} is no argument of a scheduling call")
    return tuple(found)
