"""Gradients of one file, the same bits on every worker that computes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from mlsys_ray.byzshield.attacks import flip_labels
from mlsys_ray.byzshield.data.base import ImageDataset, Normaliser
from mlsys_ray.byzshield.models import load_parameters, make_model


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Compute on one thread inside: another number sums in another order and changes bits."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class GradientComputer:
    """Mean cross-entropy gradients of a model on rows of the training data.

    The paper sums over a file's samples, its authors' code averages; this averages, which only
    scales the step size by b/f.
    """

    def __init__(self, model: str, dataset: ImageDataset) -> None:
        self._model = make_model(model, dataset.input_shape, dataset.num_classes)
        self._dataset = dataset
        self._normalise = Normaliser(dataset.train_images)

    def load(self, parameters: np.ndarray) -> None:
        """Take float32 `[d]` as the point at which gradients are computed."""
        load_parameters(self._model, parameters)

    def gradient(self, samples: np.ndarray, flip: bool = False) -> np.ndarray:
        """The gradient on training rows int64 `[b/f]`, float32 `[d]`; `flip` flips labels."""
        import torch

        images = torch.from_numpy(self._normalise(self._dataset.train_images[samples]))
        truth = self._dataset.train_labels[samples]
        labels = torch.from_numpy(flip_labels(truth, self._dataset.num_classes) if flip else truth)
        with one_torch_thread():
            loss = torch.nn.functional.cross_entropy(self._model(images), labels)
            gradients = torch.autograd.grad(loss, list(self._model.parameters()))
        return torch.cat([gradient.reshape(-1) for gradient in gradients]).numpy()


class Evaluator:
    """Accuracy of a model on the test images."""

    def __init__(self, model: str, dataset: ImageDataset) -> None:
        self._model = make_model(model, dataset.input_shape, dataset.num_classes)
        self._images = Normaliser(dataset.train_images)(dataset.test_images)
        self._labels = dataset.test_labels

    def accuracy(self, parameters: np.ndarray) -> float:
        """Share of test images classified correctly under float32 `[d]`."""
        import torch

        load_parameters(self._model, parameters)
        correct = 0
        with torch.no_grad(), one_torch_thread():
            for start in range(0, len(self._labels), 1000):
                logits = self._model(torch.from_numpy(self._images[start : start + 1000]))
                labels = self._labels[start : start + 1000]
                correct += int((logits.argmax(dim=1).numpy() == labels).sum())
        return correct / len(self._labels)
