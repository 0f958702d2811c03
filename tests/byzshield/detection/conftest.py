from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mlsys_ray.byzshield.attacks import Adversary


def sent(adversary: Adversary) -> dict[int, dict[int, bytes]]:
    """Digests of all workers: colluders send the same lie on the files they attack."""
    attacked = adversary.attacked_files()
    return {
        worker: {
            file: b"lie" if worker in adversary.byzantine and attacked[file] else b"truth"
            for file in adversary.assignment.files_of(worker)
        }
        for worker in range(adversary.assignment.num_workers)
    }


@pytest.fixture
def digests() -> Callable[[Adversary], dict[int, dict[int, bytes]]]:
    return sent


@pytest.fixture
def graph() -> Callable[..., np.ndarray]:
    """Build a history of one iteration from the pairs that disagreed."""

    def build(num_workers: int, pairs: list[tuple[int, int]]) -> np.ndarray:
        matrix = np.zeros((1, num_workers, num_workers), dtype=bool)
        for one, other in pairs:
            matrix[0, one, other] = matrix[0, other, one] = True
        return matrix

    return build
