"""Contenders that misbehave; in a module of their own, as other processes import them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np

from mlsys_ray.value_learning.baselines.base import Baseline, Prepared
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.target import Target


@dataclass(frozen=True, eq=False)
class Misbehaving(Baseline):
    """Does what its way says: dies, hangs, raises, is wrong, dies later, or is good."""

    way: str
    expected: np.ndarray

    @property
    def name(self) -> str:
        return self.way

    def prepare(self, pipeline: Pipeline, target: Target) -> Prepared:
        result = self.expected
        match self.way:
            case "dies":
                os.abort()
            case "hangs":
                time.sleep(1000)
            case "raises":
                raise RuntimeError("out of luck")
            case "wrong":
                result = result + 1
            case "wrong in one point":
                result = result.copy()
                result.flat[7] = np.nan
        runs = [0]

        def run() -> None:
            runs[0] += 1
            time.sleep(0.001)
            if self.way == "dies later" and runs[0] > 5:
                os.abort()

        return Prepared(run, lambda: result, 0.25)
