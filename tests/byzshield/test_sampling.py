import numpy as np
import pytest

from mlsys_ray.byzshield.sampling import FileSampler

LABELS = np.repeat(np.arange(10), 100)


def test_batches_of_an_epoch_are_disjoint_and_every_epoch_has_its_own_order():
    sampler = FileSampler(LABELS, num_files=25, batch_size=300, seed=0)
    epochs = [[sampler.files(3 * epoch + i) for i in range(3)] for epoch in range(2)]
    for files in epochs:
        assert files[0].shape == (25, 12)
        assert len(np.unique(files)) == 900
    assert np.any(epochs[0][0] != epochs[1][0])


def classes_per_file(alpha):
    sampler = FileSampler(LABELS, num_files=20, batch_size=800, seed=0, alpha=alpha)
    files = LABELS[sampler.files(0)]
    return np.mean([len(np.unique(file)) for file in files])


def test_a_small_alpha_gives_files_of_few_classes_and_a_large_one_files_of_all():
    assert classes_per_file(0.1) < 3
    assert classes_per_file(1000.0) > 9


def test_a_file_keeps_its_classes_over_iterations_but_not_its_rows():
    sampler = FileSampler(LABELS, num_files=20, batch_size=800, seed=0, alpha=0.05)
    first, second = (LABELS[sampler.files(i)[0]] for i in (0, 1))
    assert np.bincount(first).argmax() == np.bincount(second).argmax()
    assert np.any(sampler.files(0) != sampler.files(1))
    np.testing.assert_array_equal(sampler.files(7), sampler.files(7))


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="batch_size is 1025, must be at most the 1000 training"):
        FileSampler(LABELS, num_files=25, batch_size=1025, seed=0)
