"""The interface of what is compared: something that makes a pipeline run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.target import Target


@dataclass(frozen=True, eq=False)
class Prepared:
    """A pipeline ready to run.

    Attributes:
        run: runs it once on the example arguments.
        result: what the last run gave, in the layout of the pipeline's reference.
        search_seconds: it took to decide how.
    """

    run: Callable[[], object]
    result: Callable[[], np.ndarray]
    search_seconds: float


@dataclass(frozen=True)
class Baseline(ABC):
    """A way to run pipelines; must be picklable, as it works in a process of its own."""

    @property
    @abstractmethod
    def name(self) -> str:
        """In tables."""

    @property
    def prepare_seconds(self) -> float | None:
        """How long `prepare` may take [s]; None for what is usual."""
        return None

    @abstractmethod
    def prepare(self, pipeline: Pipeline, target: Target) -> Prepared:
        """Decide how to run, and compile; may raise anything, hang or die."""
