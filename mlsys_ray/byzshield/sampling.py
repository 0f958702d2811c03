"""Which training rows make up the files of an iteration."""

from __future__ import annotations

import numpy as np


class FileSampler:
    """Draws the files of any iteration from the seed alone, so that a run can go on anywhere.

    Args:
        labels: int64 `[n]`, classes of the training rows.
        num_files: f.
        batch_size: b [samples], over all files.
        seed: of all draws.
        alpha: None: the batches of an epoch are disjoint and in random order, each split at
            random into files (IID). Else the classes of file i have probabilities drawn once
            from a Dirichlet distribution with this concentration times the class frequencies,
            and its rows are drawn anew each iteration (non-IID as in Hsu et al. 2019): small
            alpha gives each file few classes.

    Raises:
        ValueError: the batch is larger than the data.
    """

    def __init__(
        self,
        labels: np.ndarray,
        num_files: int,
        batch_size: int,
        seed: int,
        alpha: float | None = None,
    ) -> None:
        if batch_size > len(labels):
            raise ValueError(
                f"batch_size is {batch_size}, must be at most the {len(labels)} training samples"
            )
        self._num_samples = len(labels)
        self._num_files = num_files
        self._batch_size = batch_size
        self._seed = seed
        self._mixtures = None
        if alpha is not None:
            self._classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
            frequencies = np.array([len(rows) for rows in self._classes]) / len(labels)
            generator = np.random.default_rng([seed, 1])
            self._mixtures = generator.dirichlet(alpha * frequencies, size=num_files)

    def files(self, iteration: int) -> np.ndarray:
        """The training rows of each file, int64 `[f, b/f]`."""
        if self._mixtures is not None:
            return self._skewed(iteration, self._mixtures)
        epoch, position = divmod(iteration, self._num_samples // self._batch_size)
        order = np.random.default_rng([self._seed, epoch]).permutation(self._num_samples)
        batch = order[position * self._batch_size : (position + 1) * self._batch_size]
        return batch.reshape(self._num_files, -1)

    def _skewed(self, iteration: int, mixtures: np.ndarray) -> np.ndarray:
        generator = np.random.default_rng([self._seed, 2, iteration])
        size = self._batch_size // self._num_files
        files = np.empty((self._num_files, size), dtype=np.int64)
        for file, mixture in enumerate(mixtures):
            counts = generator.multinomial(size, mixture)
            drawn = [
                generator.choice(rows, count)
                for rows, count in zip(self._classes, counts, strict=True)
            ]
            files[file] = np.concatenate(drawn)
        return files
