"""From features of stages to the inputs of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

LIMIT = 6.0
"""Inputs beyond so many standard deviations are cut: they are outside what was trained on."""


class Features(Protocol):
    """Features of B states, padded to S stages; see `features.FeatureBatch`.

    Attributes:
        intrinsic: float32 [B, S, I], what each stage computes.
        acquired: float32 [B, S, A], what its schedule makes of it.
        scheduled: bool [B, S].
        lengths: int64 [B], stages of each state.
    """

    @property
    def intrinsic(self) -> np.ndarray:
        """See the class."""

    @property
    def acquired(self) -> np.ndarray:
        """See the class."""

    @property
    def scheduled(self) -> np.ndarray:
        """See the class."""

    @property
    def lengths(self) -> np.ndarray:
        """See the class."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Normalisation:
    """Mean and inverse standard deviation of every feature over the training set.

    Attributes:
        intrinsic_mean, intrinsic_scale: float32 [I], over all stages.
        acquired_mean, acquired_scale: float32 [A], over scheduled stages.
    """

    intrinsic_mean: np.ndarray
    intrinsic_scale: np.ndarray
    acquired_mean: np.ndarray
    acquired_scale: np.ndarray

    @classmethod
    def fit(cls, features: Features) -> Normalisation:
        """Learn it from a training set."""
        intrinsic = features.intrinsic[stage_mask(features.lengths, features.intrinsic.shape[1])]
        acquired = features.acquired[features.scheduled]
        return cls(
            intrinsic_mean=intrinsic.mean(0),
            intrinsic_scale=_inverse_deviation(intrinsic),
            acquired_mean=acquired.mean(0),
            acquired_scale=_inverse_deviation(acquired),
        )

    @property
    def num_inputs(self) -> int:
        """Width of what `apply` gives."""
        return len(self.intrinsic_mean) + len(self.acquired_mean) + 1

    def apply(self, features: Features) -> np.ndarray:
        """Inputs of a network: float32 [B, S, I + A + 1]; the last says whether it is scheduled.

        Unscheduled stages have no acquired features: theirs are zeros, as are those of padding.
        """
        num_intrinsic = len(self.intrinsic_mean)
        shape = (*features.intrinsic.shape[:2], self.num_inputs)
        inputs = np.empty(shape, np.float32)
        inputs[..., :num_intrinsic] = features.intrinsic - self.intrinsic_mean
        inputs[..., :num_intrinsic] *= self.intrinsic_scale
        inputs[..., num_intrinsic:-1] = features.acquired - self.acquired_mean
        inputs[..., num_intrinsic:-1] *= self.acquired_scale
        np.clip(inputs, -LIMIT, LIMIT, out=inputs)
        inputs[~features.scheduled, num_intrinsic:-1] = 0
        inputs[..., -1] = features.scheduled
        inputs[~stage_mask(features.lengths, shape[1])] = 0
        return inputs


def stage_mask(lengths: np.ndarray, num_stages: int) -> np.ndarray:
    """Which stages are there and not padding: bool [B, S]."""
    return np.arange(num_stages) < lengths[:, None]


def _inverse_deviation(rows: np.ndarray) -> np.ndarray:
    """Zero where a feature did not vary: nothing can be learned of it."""
    deviation = rows.std(0)
    varies = deviation > 1e-6
    return np.where(varies, 1 / np.where(varies, deviation, 1), 0).astype(np.float32)
