"""A schedule that was found elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import halide as hl
import numpy as np

from mlsys_ray.value_learning.baselines.base import Baseline, Prepared
from mlsys_ray.value_learning.buffers import placed
from mlsys_ray.value_learning.lowering import lower
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.operators.packing import pack
from mlsys_ray.value_learning.space import Schedule
from mlsys_ray.value_learning.target import Target


@dataclass(frozen=True)
class FixedSchedule(Baseline):
    """Runs one schedule.

    Attributes:
        title: name in tables.
        schedule: the schedule.
        search_seconds: its search took.
    """

    title: str
    schedule: Schedule
    search_seconds: float = 0.0

    @property
    def name(self) -> str:
        """See `Baseline.name`."""
        return self.title

    def prepare(self, pipeline: Pipeline, target: Target) -> Prepared:
        """See `Baseline.prepare`."""
        kernel = lower(pipeline, self.schedule, target)
        arrays = pipeline.example()
        if self.schedule.panels:
            arrays = pack(pipeline, self.schedule.panels, arrays)
        arguments = placed([*arrays, np.full(pipeline.output.shape, np.nan, np.float32)])
        buffers = [hl.Buffer(array) for array in arguments]
        return Prepared(lambda: kernel(*buffers), lambda: arguments[-1], self.search_seconds)
