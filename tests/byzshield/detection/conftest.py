from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mlsys_ray.byzshield.attacks import Adversary
from mlsys_ray.byzshield.detection import Agreement
from mlsys_ray.byzshield.transport import Reply


def answers(adversary: Adversary) -> dict[int, Reply]:
    """Replies of all workers: colluders send the same lie on the files they attack."""
    attacked = adversary.attacked_files()
    return {
        worker: Reply(
            {
                file: b"lie" if worker in adversary.byzantine and attacked[file] else b"truth"
                for file in adversary.assignment.files_of(worker)
            }
        )
        for worker in range(adversary.assignment.num_workers)
    }


@pytest.fixture
def replies() -> Callable[[Adversary], dict[int, Reply]]:
    return answers


@pytest.fixture
def graph() -> Callable[..., Agreement]:
    """Build what an iteration says from the pairs that disagreed."""

    def build(num_workers: int, pairs: list[tuple[int, int]]) -> Agreement:
        matrix = np.zeros((num_workers, num_workers), dtype=np.int64)
        for one, other in pairs:
            matrix[one, other] = matrix[other, one] = one != other
        return Agreement(matrix)

    return build
