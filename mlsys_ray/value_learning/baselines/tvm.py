"""TVM's MetaSchedule (Shao et al. 2022), which tunes by measuring; an extra of its own.

Two traps of the wheels are avoided: other versions of `apache-tvm-ffi` than the one TVM was built
with end the process, and importing the intrinsics of all GPUs in each worker takes longer than the
builder's limit.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import numpy as np

from mlsys_ray.value_learning.baselines.base import Baseline, Prepared
from mlsys_ray.value_learning.operators import Pipeline, Stage
from mlsys_ray.value_learning.operators.expression import (
    Apply,
    Constant,
    Expression,
    Index,
    Inside,
    Load,
)
from mlsys_ray.value_learning.target import Target

INSTALL = "pip install 'mlsys-ray[tvm]'"
WANTED = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post0"}
"""Versions that work together; the extra `tvm` names them, too."""
TRIALS_A_ROUND = 32
"""TVM keeps what it has measured after each round only."""
INTRINSICS = "tvm.s_tir.tensor_intrin"


@dataclass(frozen=True, kw_only=True)
class MetaSchedule(Baseline):
    """MetaSchedule with its default search and cost model.

    Attributes:
        trials: schedules that are measured.
        seconds: for all of it.
    """

    trials: int = 64
    seconds: float = 900.0

    @property
    def name(self) -> str:
        """See `Baseline.name`."""
        return f"tvm_{self.trials}"

    @property
    def prepare_seconds(self) -> float:
        """See `Baseline.prepare_seconds`."""
        return self.seconds

    def prepare(self, pipeline: Pipeline, target: Target) -> Prepared:
        """See `Baseline.prepare`.

        Raises:
            RuntimeError: TVM is missing, or in versions that do not work together.
        """
        _require()
        os.environ["TVM_NUM_THREADS"] = str(target.cores)
        without_intrinsics()
        import tvm
        from tvm.s_tir import meta_schedule

        processor = tvm.get_global_func("target.llvm_get_system_cpu")()
        machine = tvm.target.Target({"kind": "llvm", "mcpu": processor, "num-cores": target.cores})
        function = te_function(pipeline)
        builder = meta_schedule.builder.LocalBuilder(initializer=without_intrinsics)
        runner = meta_schedule.runner.LocalRunner(initializer=without_intrinsics)
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found = meta_schedule.tune_tir(
                function,
                machine,
                folder,
                max_trials_global=self.trials,
                num_trials_per_iter=min(TRIALS_A_ROUND, self.trials),
                builder=builder,
                runner=runner,
                seed=0,
                num_tuning_cores=target.cores,
            )
            schedule = meta_schedule.tir_integration.compile_tir(found, function, machine)
        seconds = time.perf_counter() - begin
        if schedule is None:
            raise RuntimeError(f"none of {self.trials} trials gave a schedule")
        kernel = tvm.compile(schedule.mod, machine)["main"]
        result = np.full(pipeline.output.shape, np.nan, np.float32)
        tensors = [tvm.runtime.tensor(array) for array in (*pipeline.example(), result)]
        return Prepared(lambda: kernel(*tensors), lambda: tensors[-1].numpy(), seconds)


def _require() -> None:
    """Refuse to start without TVM, or with wheels that would end the process.

    Raises:
        RuntimeError: with what to install.
    """
    for package, wanted in WANTED.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            raise RuntimeError(f"{package} is not installed: {INSTALL}") from None
        if found != wanted:
            raise RuntimeError(f"{package} is {found}, must be {wanted}: {INSTALL}")


def without_intrinsics() -> None:
    """Have TVM know the intrinsics of x86 alone: those of GPUs are not needed for CPUs.

    Also run by the processes in which TVM builds and runs.
    """
    if INTRINSICS in sys.modules:
        return
    import tvm.s_tir

    package = ModuleType(INTRINSICS)
    package.__path__ = [f"{folder}/tensor_intrin" for folder in tvm.s_tir.__path__]
    sys.modules[INTRINSICS] = package
    tvm.s_tir.tensor_intrin = package
    import_module(f"{INTRINSICS}.x86")


def te_function(pipeline: Pipeline) -> Any:
    """A pipeline as TVM's tensor expressions: a function of its arguments and of the result."""
    from tvm import te

    tensors = {t.name: te.placeholder(t.shape, "float32", t.name) for t in pipeline.arguments}
    arguments = list(tensors.values())
    for stage in reversed(pipeline.stages):
        tensors[stage.name] = _computed(stage, tensors, te)
    return te.create_prim_func([*arguments, tensors[pipeline.output.name]])


def _computed(stage: Stage, tensors: Mapping[str, Any], te: Any) -> Any:
    def at(point: tuple[Any, ...]) -> dict[str, Any]:
        """Variables at a point, whose coordinates TVM gives outermost first."""
        return dict(zip(reversed(stage.variables), point, strict=True))

    shape, reduction = stage.tensor.shape, stage.reduction
    if reduction is None:
        return te.compute(
            shape, lambda *point: _expression(stage.value, at(point), tensors, te), stage.name
        )
    axes = [
        te.reduce_axis((0, extent), name)
        for name, extent in zip(reduction.variables, reduction.extents, strict=True)
    ]
    folds = dict(zip(reduction.variables, axes, strict=True))
    fold = te.sum if reduction.combine == "add" else te.max
    total = te.compute(
        shape,
        lambda *point: fold(_expression(reduction.term, at(point) | folds, tensors, te), axis=axes),
        f"{stage.name}_fold",
    )
    combine = _functions(te)[reduction.combine]
    return te.compute(
        shape,
        lambda *point: combine(_expression(stage.value, at(point), tensors, te), total(*point)),
        stage.name,
    )


def _functions(te: Any) -> dict[str, Any]:
    return {
        "add": lambda a, b: a + b,
        "subtract": lambda a, b: a - b,
        "multiply": lambda a, b: a * b,
        "divide": lambda a, b: a / b,
        "maximum": te.max,
        "minimum": te.min,
        "exp": te.exp,
        "fast_exp": te.exp,
        "erf": te.erf,
        "rsqrt": te.rsqrt,
    }


def _expression(
    expression: Expression, variables: Mapping[str, Any], tensors: Mapping[str, Any], te: Any
) -> Any:
    match expression:
        case Constant(value=value):
            return te.const(value, "float32")
        case Load(source=source, indices=indices):
            return tensors[source](*(_index(index, variables, te) for index in reversed(indices)))
        case Apply(function=function, arguments=arguments):
            parts = [_expression(argument, variables, tensors, te) for argument in arguments]
            return _functions(te)[function](*parts)
        case Inside(indices=indices, extents=extents, value=value, otherwise=otherwise):
            inside = [
                side
                for index, extent in zip(indices, extents, strict=True)
                for where in [_index(index, variables, te)]
                for side in (where >= 0, where < extent)
            ]
            return te.if_then_else(
                reduce(lambda a, b: te.all(a, b), inside),
                _expression(value, variables, tensors, te),
                _expression(otherwise, variables, tensors, te),
            )


def _index(index: Index, variables: Mapping[str, Any], te: Any) -> Any:
    total: Any = te.const(index.offset, "int32")
    for name, coefficient, divide in index.terms:
        term = variables[name]
        total = total + (te.floordiv(term, divide) if divide > 1 else term) * coefficient
    if index.modulo:
        total = te.floormod(total, index.modulo)
    if not index.clamp:
        return total
    if index.whole == 1:
        return te.max(te.min(total, index.clamp - 1), 0)
    part = te.max(te.min(te.floordiv(total, index.whole), index.clamp // index.whole - 1), 0)
    return part * index.whole + te.floormod(total, index.whole)
