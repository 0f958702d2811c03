"""Labelled images as every data set gives them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images with labels, kept as bytes and normalised a batch at a time.

    Attributes:
        name: what the reports call it.
        train_images: uint8 `[n, channels, height, width]`.
        train_labels: int64 `[n]`, classes from 0.
        test_images: uint8 `[m, channels, height, width]`.
        test_labels: int64 `[m]`.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        """One more than the largest training label."""
        return int(self.train_labels.max()) + 1


class Normaliser:
    """Scales images to zero mean and unit deviation per channel of the training images."""

    def __init__(self, train_images: np.ndarray) -> None:
        self._mean = train_images.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64)
        self._deviation = train_images.std(axis=(0, 2, 3), keepdims=True, dtype=np.float64)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Map uint8 `[b, channels, height, width]` to float32 of the same shape."""
        return ((images - self._mean) / self._deviation).astype(np.float32)
