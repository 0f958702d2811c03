"""CIFAR-10 from the hub's parquet files or the official python batches."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mlsys_ray.byzshield.data.base import ImageDataset
from mlsys_ray.data import cache_dir, find_data

CANDIDATES = ("cifar10", "cifar10/plain_text", "cifar-10-batches-py")
_BATCHES = [f"data_batch_{i}" for i in range(1, 6)]


def load_cifar10(data_dir: Path | None = None) -> ImageDataset:
    """50,000 + 10,000 colour images of 32 x 32 pixels in 10 classes (Krizhevsky 2009).

    Args:
        data_dir: searched before the other places (`mlsys_ray.data.find_data`).

    Raises:
        DataNotFoundError: no place holds either layout.
        ValueError: a file is not what it should be.
    """
    folder = find_data("cifar10", CANDIDATES, data_dir)
    if any(folder.glob("*.parquet")):
        train, test = _read_parquet(folder, "train"), _read_parquet(folder, "test")
    else:
        parts = [read_batch(_batch_path(folder, name)) for name in _BATCHES]
        images, labels = zip(*parts, strict=True)
        train = np.concatenate(images), np.concatenate(labels)
        test = read_batch(_batch_path(folder, "test_batch"))
    return ImageDataset("cifar10", *train, *test)


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read one official python batch, plain or `.xz`, without running code it may hold.

    Returns:
        (images uint8 `[n, 3, 32, 32]`, labels int64 `[n]`).

    Raises:
        ValueError: the pickle asks for anything but an array, or has another content.
    """
    raw = path.read_bytes()
    if path.suffix == ".xz":
        raw = lzma.decompress(raw)
    try:
        batch = _ArrayUnpickler(io.BytesIO(raw), encoding="bytes").load()
        images = np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(batch[b"labels"], dtype=np.int64)
    except (pickle.UnpicklingError, KeyError, TypeError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a CIFAR-10 python batch: {error}") from error
    if len(images) != len(labels):
        raise ValueError(f"{path} has {len(images)} images but {len(labels)} labels")
    return images, labels


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 of Python 3 writes bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}, not latin1")
    return text.encode(encoding)


class _ArrayUnpickler(pickle.Unpickler):
    """Knows NumPy arrays and nothing else; files may be written by Python 2 or 3."""

    _ALLOWED: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, only arrays are allowed")
        return self._ALLOWED[module, name]


def _batch_path(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.xz"):
        if path.exists():
            return path
    raise ValueError(f"{folder} lacks {name}; all of {', '.join(_BATCHES)}, test_batch are needed")


def _read_parquet(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Decode the images of a split, or take them from the cache of an earlier call."""
    paths = sorted(folder.glob(f"{split}-*.parquet"))
    if not paths:
        raise ValueError(f"{folder} has no {split}-*.parquet")
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    key = hashlib.sha256(repr(states).encode()).hexdigest()[:16]
    cached = cache_dir() / "decoded" / f"cifar10-{split}-{key}.npz"
    if not cached.exists():
        _decode(paths, cached)
    with np.load(cached, allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"]


def _decode(paths: list[Path], cached: Path) -> None:
    import pyarrow.parquet as pq
    from PIL import Image

    images, labels = [], []
    for path in paths:
        table = pq.read_table(path, columns=["img", "label"])
        labels.append(table["label"].to_numpy())
        for item in table["img"].to_pylist():
            images.append(np.asarray(Image.open(io.BytesIO(item["bytes"])).convert("RGB")))
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cached.parent, suffix=".npz", delete=False) as file:
        np.savez(
            file,
            images=np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)),
            labels=np.concatenate(labels).astype(np.int64),
        )
    os.replace(file.name, cached)
