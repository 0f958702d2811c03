from __future__ import annotations

import itertools

import pytest

from mlsys_ray.byzshield.aggregation.compiled.network import selection_network


@pytest.mark.parametrize("n", range(1, 11))
def test_zero_one_principle(n: int) -> None:
    """A network that sorts all inputs of zeros and ones sorts everything (Knuth, theorem Z)."""
    networks = {rank: selection_network(n, [rank]) for rank in range(n)}
    for bits in itertools.product((0, 1), repeat=n):
        for rank, network in networks.items():
            wires = list(bits)
            for low, high, keeps_low, keeps_high in network:
                smaller, larger = sorted((wires[low], wires[high]))
                wires[low] = smaller if keeps_low else -1
                wires[high] = larger if keeps_high else -1
            assert wires[rank] == sorted(bits)[rank]
