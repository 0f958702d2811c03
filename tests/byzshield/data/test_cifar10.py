import hashlib
import io
import lzma
import pickle

import numpy as np
import pytest
from PIL import Image

from mlsys_ray.byzshield.data import load_dataset
from mlsys_ray.byzshield.data.cifar10 import read_batch
from mlsys_ray.data import DataNotFoundError

BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def write_batch(path, images, labels):
    """As the official files are: protocol 2, bytes keys, rows of 3072 bytes."""
    batch = {b"data": images.reshape(len(images), -1), b"labels": labels.tolist()}
    raw = pickle.dumps(batch, protocol=2)
    path.write_bytes(lzma.compress(raw) if path.suffix == ".xz" else raw)


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8), np.array([3, 1, 4, 1])


@pytest.mark.parametrize("suffix", ["", ".xz"])
def test_official_batches_are_read_back(tmp_path, images, suffix):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in BATCHES:
        write_batch(folder / f"{name}{suffix}", *images)
    dataset = load_dataset("cifar10", tmp_path)
    assert dataset.train_images.shape == (20, 3, 32, 32)
    np.testing.assert_array_equal(dataset.test_images, images[0])
    np.testing.assert_array_equal(dataset.test_labels, images[1])


def test_a_missing_batch_is_named(tmp_path, images):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    write_batch(folder / "data_batch_1", *images)
    with pytest.raises(ValueError, match="lacks data_batch_2"):
        load_dataset("cifar10", tmp_path)


class Hostile:
    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return (open, (str(self._path), "w"))


def test_a_batch_with_code_is_refused_and_does_not_run(tmp_path):
    path, victim = tmp_path / "data_batch_1", tmp_path / "code ran"
    path.write_bytes(pickle.dumps({b"data": Hostile(victim), b"labels": []}, protocol=2))
    with pytest.raises(ValueError, match=r"asks for (io|__builtin__|_io)\.open"):
        read_batch(path)
    assert not victim.exists()


def test_a_codec_that_is_not_bytes_is_refused(tmp_path):
    raw = pickle.dumps({b"data": b"x"}, protocol=2).replace(b"latin1", b"utf-16")
    (tmp_path / "x").write_bytes(raw)
    with pytest.raises(ValueError, match="asks for the encoding"):
        read_batch(tmp_path / "x")


@pytest.mark.parametrize(
    "raw", [b"", b"no pickle", pickle.dumps([1, 2]), pickle.dumps({b"data": 1})]
)
def test_files_that_are_no_batch(tmp_path, raw):
    (tmp_path / "x").write_bytes(raw)
    with pytest.raises(ValueError, match="not a CIFAR-10 python batch"):
        read_batch(tmp_path / "x")


def test_parquet_of_the_hub(tmp_path, images):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "cifar10"
    folder.mkdir()
    encoded = []
    for image in images[0]:
        file = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(file, format="PNG")
        encoded.append({"bytes": file.getvalue(), "path": None})
    table = pa.table({"img": encoded, "label": images[1]})
    for split in ("train", "test"):
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")
    for _ in range(2):  # decoded, then from the cache
        dataset = load_dataset("cifar10", tmp_path)
        np.testing.assert_array_equal(dataset.train_images, images[0])
        np.testing.assert_array_equal(dataset.test_labels, images[1])


def test_the_real_files(shared_data):
    dataset = load_dataset("cifar10", shared_data)
    assert dataset.train_images.shape == (50_000, 3, 32, 32)
    assert np.bincount(dataset.train_labels).tolist() == [5_000] * 10
    assert np.bincount(dataset.test_labels).tolist() == [1_000] * 10


def test_a_real_official_batch(shared_data):
    path = shared_data / "data/cifar-10-batches-py/test_batch.xz"
    official = hashlib.md5(lzma.decompress(path.read_bytes())).hexdigest()
    assert official == "40351d587109b95175f43aff81a1287e"
    images, labels = read_batch(path)
    assert images.shape == (10_000, 3, 32, 32)
    assert labels[:6].tolist() == [3, 8, 8, 0, 6, 6]
    assert np.bincount(labels).tolist() == [1_000] * 10


def test_data_that_is_nowhere_names_the_three_places(tmp_path, monkeypatch):
    monkeypatch.setenv("MLSYS_RAY_DATA", str(tmp_path / "b"))
    with pytest.raises(DataNotFoundError) as error:
        load_dataset("cifar10", tmp_path / "a")
    for part in (
        f"--data-dir: {tmp_path / 'a'}",
        f"MLSYS_RAY_DATA: {tmp_path / 'b'}",
        "user cache",
    ):
        assert part in str(error.value)
    assert "mlsys-ray fetch cifar10" in str(error.value)
