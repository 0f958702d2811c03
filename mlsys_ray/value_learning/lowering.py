"""From a pipeline and a schedule to machine code, by Halide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import halide as hl
import numpy as np

from mlsys_ray.value_learning.operators import Pipeline, Stage, Tensor
from mlsys_ray.value_learning.operators.expression import (
    Apply,
    Constant,
    Expression,
    Index,
    Inside,
    Load,
)
from mlsys_ray.value_learning.space import Directive, Schedule
from mlsys_ray.value_learning.target import Target

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "maximum": hl.max,
    "minimum": hl.min,
    "exp": hl.exp,
    "fast_exp": hl.fast_exp,
    "erf": hl.erf,
    "rsqrt": lambda a: hl.f32(1.0) / hl.sqrt(a),
}


@dataclass(frozen=True)
class Built:
    """A pipeline as Halide's objects, unscheduled at first.

    Attributes:
        functions: of each stage, by its name.
        variables: of each stage, by their names.
        arguments: the input images.
        output: the function of the result.
    """

    functions: dict[str, hl.Func]
    variables: dict[str, dict[str, Any]]
    arguments: list[hl.ImageParam]
    output: hl.Func


def build(pipeline: Pipeline, part: Sequence[int] | None = None) -> Built:
    """Halide's functions of a pipeline, with static bounds of all arguments and of the result.

    Args:
        pipeline: what is computed.
        part: extents of what one call computes of the result; all of it by default. Where they are
            less than the result's, the buffer that is given for it says where the part begins.
    """
    sources: dict[str, Any] = {tensor.name: _image(tensor) for tensor in pipeline.arguments}
    arguments = list(sources.values())
    functions: dict[str, hl.Func] = {}
    variables: dict[str, dict[str, Any]] = {}
    for stage in reversed(pipeline.stages):
        functions[stage.name], variables[stage.name] = _function(stage, sources)
        sources[stage.name] = functions[stage.name]
    output = functions[pipeline.output.name]
    whole = pipeline.output.extents
    for name, extent, called in zip(
        pipeline.stages[0].variables, whole, part or whole, strict=True
    ):
        variable = variables[pipeline.output.name][name]
        if called == extent:
            output.bound(variable, 0, extent)
        else:
            output.bound_extent(variable, called)
    _fix(output.output_buffer(), pipeline.output, part)
    return Built(functions, variables, arguments, output)


def _image(tensor: Tensor) -> hl.ImageParam:
    image = hl.ImageParam(hl.Float(32), len(tensor.extents), tensor.name)
    _fix(image, tensor)
    return image


def _fix(buffer: Any, tensor: Tensor, part: Sequence[int] | None = None) -> None:
    """Bounds and strides of a dense array, or of a part of it that begins anywhere."""
    stride = 1
    for dimension, extent in enumerate(tensor.extents):
        called = part[dimension] if part else extent
        if called == extent:
            buffer.dim(dimension).set_bounds(0, extent)
        else:
            buffer.dim(dimension).set_extent(called)
        buffer.dim(dimension).set_stride(stride)
        stride *= extent


def _function(stage: Stage, sources: dict[str, Any]) -> tuple[hl.Func, dict[str, Any]]:
    function = hl.Func(stage.name)
    variables: dict[str, Any] = {name: hl.Var(name) for name in stage.variables}
    point = [variables[name] for name in stage.variables]
    function[point] = _expression(stage.value, variables, sources)
    if stage.reduction:
        ranges = [(0, extent) for extent in stage.reduction.extents]
        domain = hl.RDom(ranges, f"{stage.name}_r")
        for place, name in enumerate(stage.reduction.variables):
            variables[name] = domain[place]
        term = _expression(stage.reduction.term, variables, sources)
        combine = _FUNCTIONS[stage.reduction.combine]
        function[point] = combine(function[point], term)
    return function, variables


def _expression(
    expression: Expression, variables: dict[str, Any], sources: dict[str, Any]
) -> hl.Expr:
    match expression:
        case Constant(value=value):
            return hl.f32(float(np.float32(value)))
        case Load(source=source, indices=indices):
            return sources[source][[_index(index, variables) for index in indices]]
        case Apply(function=function, arguments=arguments):
            parts = [_expression(argument, variables, sources) for argument in arguments]
            return _FUNCTIONS[function](*parts)
        case Inside(indices=indices, extents=extents, value=value, otherwise=otherwise):
            outside = [
                side
                for index, extent in zip(indices, extents, strict=True)
                for where in [_index(index, variables)]
                for side in (where < 0, where >= extent)
            ]
            return hl.select(
                reduce(lambda a, b: a | b, outside),
                _expression(otherwise, variables, sources),
                _expression(value, variables, sources),
            )


def _index(index: Index, variables: dict[str, Any]) -> hl.Expr:
    total = hl.Expr(index.offset)
    for name, coefficient, divide in index.terms:
        term = variables[name] // divide if divide > 1 else variables[name]
        total = total + term * coefficient
    if index.modulo:
        total = total % index.modulo
    if not index.clamp:
        return total
    if index.whole == 1:
        return hl.clamp(total, 0, index.clamp - 1)
    part = hl.clamp(total // index.whole, 0, index.clamp // index.whole - 1)
    return part * index.whole + total % index.whole


def apply(built: Built, directives: Sequence[Directive]) -> None:
    """Give the functions a schedule.

    Raises:
        halide.HalideError: Halide refuses one of the calls.
        ValueError: a call is of an unknown function or variable.
    """
    for directive in directives:
        _apply(built, directive)


def _apply(built: Built, directive: Directive) -> None:
    name = directive.function
    if name not in built.functions:
        raise ValueError(f"{name!r} is no stage of the pipeline")
    function = built.functions[name]
    variables = built.variables[name]
    schedule = function.update() if directive.part == "update" else function
    method, arguments = directive.method, directive.arguments
    if method in ("compute_at", "store_at"):
        site, loop = arguments
        getattr(function, method)(built.functions[str(site)], built.variables[str(site)][str(loop)])
        return
    if method == "rfactor":
        kept, lane = arguments
        variables[str(lane)] = hl.Var(str(lane))
        partial = schedule.rfactor(variables[str(kept)], variables[str(lane)])
        built.functions[directive.result] = partial
        built.variables[directive.result] = dict(variables)
        return
    converted = [
        getattr(hl.TailStrategy, str(argument))
        if method == "split" and place == 4
        else _variable(variables, argument, method, arguments)
        if isinstance(argument, str)
        else argument
        for place, argument in enumerate(arguments)
    ]
    getattr(schedule, method)(*converted)


def _variable(
    variables: dict[str, Any], name: str, method: str, arguments: Sequence[str | int]
) -> Any:
    """The variable of a name; a new one is of its origin's kind, pure or of a reduction."""
    if name not in variables:
        if method not in ("split", "fuse", "rename"):
            raise ValueError(f"{method} of the unknown loop {name!r}")
        origin = variables[str(arguments[0])]
        variables[name] = hl.RVar(name) if isinstance(origin, hl.RVar) else hl.Var(name)
    return variables[name]


def compiled(built: Built, target: Target) -> Kernel:
    """Machine code of scheduled functions.

    Raises:
        halide.HalideError: Halide refuses the schedule.
    """
    halide_target = hl.Target(target.halide)
    return built.output.compile_to_callable(built.arguments, halide_target)


Kernel = Callable[..., None]
"""Called with arguments in the order of `Pipeline.arguments`, then the result, float32 arrays."""


def lower(pipeline: Pipeline, schedule: Schedule, target: Target | None = None) -> Kernel:
    """Compile a pipeline.

    Args:
        pipeline: what to compile; it takes weights in the schedule's panels.
        schedule: how.
        target: for what; what the schedule was made for by default.

    Returns:
        A function of float32 arrays: those of `pipeline.arguments`, then one for the result.

    Raises:
        halide.HalideError: Halide refuses the schedule.
        ValueError: the schedule is of another pipeline.
    """
    built = build(schedule.packed(pipeline))
    apply(built, schedule.directives(pipeline))
    return compiled(built, target or schedule.target)


def run(kernel: Kernel, pipeline: Pipeline, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The result of one call."""
    result = np.empty(pipeline.output.shape, np.float32)
    kernel(*map(hl.Buffer, arrays), hl.Buffer(result))
    return result
