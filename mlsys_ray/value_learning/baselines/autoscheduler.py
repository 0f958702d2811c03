"""Halide's autoschedulers, which come with its wheel as plugins."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import halide as hl
import numpy as np

from mlsys_ray.value_learning.baselines.base import Baseline, Prepared
from mlsys_ray.value_learning.baselines.planar import Planar, planar
from mlsys_ray.value_learning.buffers import placed
from mlsys_ray.value_learning.lowering import Built, build
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.target import Target

Layout = Literal["channels_last", "planar"]
WEIGHTS_HEAD = struct.pack("<4I", 0x68776631, 3, 3, 6)
"""How a file of Adams2019's weights begins: signature, two versions, number of buffers."""
WEIGHTS_BYTES = 17_136
DEFAULT_BEAM = "adams2019_default_beam"
"""Adams2019 as it is without parameters: a beam of 32, five times."""
DEFAULT_BEAM_SECONDS = 600.0
"""For its search, which takes minutes for some convolutions."""


@dataclass(frozen=True, kw_only=True)
class Autoscheduler(Baseline):
    """One of Halide's autoschedulers.

    Attributes:
        plugin: Mullapudi2016, Li2018 or Adams2019.
        title: name in tables, without the layout.
        layout: of images.
        parameters: further ones of the plugin, as pairs.
        seconds: to prepare at most; None for what is usual.
    """

    plugin: Literal["Mullapudi2016", "Li2018", "Adams2019"]
    title: str
    layout: Layout = "channels_last"
    parameters: tuple[tuple[str, str | int], ...] = ()
    seconds: float | None = None

    @property
    def name(self) -> str:
        """See `Baseline.name`."""
        return self.title if self.layout == "channels_last" else f"{self.title} planar"

    @property
    def prepare_seconds(self) -> float | None:
        """See `Baseline.prepare_seconds`."""
        return self.seconds

    def prepare(self, pipeline: Pipeline, target: Target) -> Prepared:
        """See `Baseline.prepare`.

        Raises:
            ValueError: the pipeline has no planar layout, or a file of weights is missing.
            halide.HalideError: Halide refuses.
        """
        shape = laid_out(pipeline, self.layout)
        built = build(cast(Pipeline, shape))
        found = autoschedule(self, built, shape, target)
        kernel = found.pipeline.compile_to_callable(built.arguments, hl.Target(target.halide))
        arrays = pipeline.example()
        back: Any = None
        if isinstance(shape, Planar):
            arrays = [
                np.ascontiguousarray(array.transpose(shape.numpy_axes(tensor.name)))
                for tensor, array in zip(pipeline.arguments, arrays, strict=True)
            ]
            back = np.argsort(shape.numpy_axes(shape.output.name))
        arguments = placed([*arrays, np.full(shape.output.shape, np.nan, np.float32)])
        buffers = [hl.Buffer(array) for array in arguments]
        return Prepared(
            lambda: kernel(*buffers),
            lambda: arguments[-1] if back is None else arguments[-1].transpose(back),
            found.seconds,
        )


@dataclass(frozen=True, eq=False)
class Autoscheduled:
    """What an autoscheduler has done.

    Attributes:
        pipeline: Halide's, scheduled.
        source: the schedule in C++.
        featurization: Adams2019's features of it, float32 as bytes; empty from others.
        seconds: the search took.
    """

    pipeline: Any
    source: str
    featurization: bytes
    seconds: float


def autoschedule(
    scheduler: Autoscheduler, built: Built, laid_out: Pipeline | Planar, target: Target
) -> Autoscheduled:
    """Schedule Halide's functions in place."""
    parameters: dict[str, Any] = {"parallelism": target.cores, **dict(scheduler.parameters)}
    weights = parameters.get("weights_path")
    if weights is not None and not Path(weights).is_file():
        # The plugin would go on with random weights.
        raise ValueError(f"weights {weights} do not exist")
    if scheduler.plugin == "Mullapudi2016":
        parameters |= {"last_level_cache_size": target.caches[2], "balance": 40}
    load_plugin(scheduler.plugin)
    _set_estimates(built, laid_out)
    pipeline = hl.Pipeline(built.output)
    begin = time.perf_counter()
    result = pipeline.apply_autoscheduler(
        hl.Target(target.halide),
        hl.AutoschedulerParams(scheduler.plugin, {k: str(v) for k, v in parameters.items()}),
    )
    seconds = time.perf_counter() - begin
    return Autoscheduled(pipeline, result.schedule_source, bytes(result.featurization), seconds)


def load_plugin(name: str) -> None:
    """Make an autoscheduler of the wheel known to Halide."""
    folder = Path(cast(str, hl.__file__)).parent / "lib64"
    hl.load_plugin(str(folder / f"libautoschedule_{name.lower()}.so"))


def built_in_weights() -> bytes:
    """Adams2019's own weights, as a file: they lie in the plugin.

    Raises:
        RuntimeError: this version of the plugin keeps them elsewhere.
    """
    folder = Path(cast(str, hl.__file__)).parent / "lib64"
    content = (folder / "libautoschedule_adams2019.so").read_bytes()
    begin = content.find(WEIGHTS_HEAD)
    if begin < 0:
        raise RuntimeError(f"no weights in Adams2019's plugin of Halide in {folder}")
    return content[begin : begin + WEIGHTS_BYTES]


def autoschedulers(
    retrained: Path | None = None, default_beam: bool = False
) -> list[Autoscheduler]:
    """Those that answer at once, each on both layouts of images.

    Args:
        retrained: weights of Adams2019 that were trained on this machine.
        default_beam: with Adams2019 at its default beam, which takes minutes for some layers.
    """
    beam_1: tuple[tuple[str, str | int], ...] = (("beam_size", 1),)
    found: list[Autoscheduler] = []
    layouts: Sequence[Layout] = ("channels_last", "planar")
    for layout in layouts:
        found += [
            Autoscheduler(plugin="Mullapudi2016", title="mullapudi2016", layout=layout),
            Autoscheduler(plugin="Li2018", title="li2018", layout=layout),
            Autoscheduler(
                plugin="Adams2019", title="adams2019_beam1", layout=layout, parameters=beam_1
            ),
        ]
        if retrained is not None:
            weights = (*beam_1, ("weights_path", str(retrained)))
            found.append(
                Autoscheduler(
                    plugin="Adams2019", title="adams2019_retrained", layout=layout,
                    parameters=weights,
                )
            )  # fmt: skip
        if default_beam:
            found.append(
                Autoscheduler(
                    plugin="Adams2019", title=DEFAULT_BEAM, layout=layout,
                    seconds=DEFAULT_BEAM_SECONDS,
                )
            )  # fmt: skip
    return found


def laid_out(pipeline: Pipeline, layout: Layout) -> Pipeline | Planar:
    """The pipeline with images in a layout.

    Raises:
        ValueError: it has none.
    """
    if layout == "channels_last":
        return pipeline
    found = planar(pipeline)
    if found is None:
        raise ValueError("no images")
    return found


def _set_estimates(built: Built, laid_out: Pipeline | Planar) -> None:
    for image, tensor in zip(built.arguments, laid_out.arguments, strict=True):
        for dimension, extent in enumerate(tensor.extents):
            image.dim(dimension).set_estimate(0, extent)
    output = laid_out.stages[0]
    for name, extent in zip(output.variables, output.extents, strict=True):
        built.output.set_estimate(built.variables[output.name][name], 0, extent)
