import numpy as np
import pytest

from mlsys_ray.byzshield.data import Normaliser, load_dataset


def test_digits():
    dataset = load_dataset("digits")
    assert dataset.train_images.shape == (1437, 1, 8, 8)
    assert dataset.test_images.shape == (360, 1, 8, 8)
    assert (dataset.input_shape, dataset.num_classes) == ((1, 8, 8), 10)
    assert np.ptp(np.bincount(dataset.test_labels)) <= 2
    again = load_dataset("digits")
    np.testing.assert_array_equal(dataset.train_images, again.train_images)


def test_normalised_images_have_zero_mean_and_unit_deviation():
    images = load_dataset("digits").train_images
    normalised = Normaliser(images)(images)
    assert normalised.dtype == np.float32
    assert abs(normalised.mean()) < 1e-4
    assert abs(normalised.std() - 1) < 1e-4


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="data is 'mnist', must be one of digits, cifar10"):
        load_dataset("mnist")
