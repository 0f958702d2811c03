from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from mlsys_ray.byzshield.aggregation import make_rule

ROWS, DIMENSION = 15, 1_500_000


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    "name", ["average", "median", "trimmed_mean", "meamed", "multi_krum", "bulyan", "nnm+median"]
)
@pytest.mark.parametrize("bad_rows", [0, 1])
def test_needs_at_most_a_fifth_of_the_input_besides(name: str, bad_rows: int) -> None:
    gradients = np.random.default_rng(0).standard_normal((ROWS, DIMENSION), dtype=np.float32)
    gradients[:bad_rows, 5] = np.nan
    rule = make_rule(name, num_gradients=ROWS, num_byzantine=0)
    rule.aggregate(gradients[:, :1000])  # compiles
    tracemalloc.start()
    rule.aggregate(gradients)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 0.2 * gradients.nbytes
