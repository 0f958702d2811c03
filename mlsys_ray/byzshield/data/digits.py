"""Handwritten digits bundled with scikit-learn: real images without a download."""

from __future__ import annotations

import numpy as np

from mlsys_ray.byzshield.data.base import ImageDataset


def load_digits() -> ImageDataset:
    """1,797 grey images of 8 x 8 pixels in 17 levels, 360 of them for testing.

    The split is stratified by class and always the same. Source: test set of the UCI "Optical
    Recognition of Handwritten Digits" data (Alpaydin and Kaynak 1998), CC BY 4.0.
    """
    from sklearn.datasets import load_digits as load_bundled
    from sklearn.model_selection import train_test_split

    bundle = load_bundled()
    images = bundle.images.astype(np.uint8)[:, None]
    labels = bundle.target.astype(np.int64)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=360, stratify=labels, random_state=0
    )
    return ImageDataset("digits", train_images, train_labels, test_images, test_labels)
