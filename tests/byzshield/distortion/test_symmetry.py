"""Symmetries, and what they leave of a search."""

import importlib
from itertools import combinations

import numpy as np
import pytest

from mlsys_ray.byzshield.assignment import frc, mols, ramanujan1, ramanujan2
from mlsys_ray.byzshield.distortion.symmetry import automorphisms, canonical_prefixes

# The function of the same name hides the module.
worst_case_module = importlib.import_module("mlsys_ray.byzshield.distortion.worst_case")

CODES = [mols(4, 3), mols(5, 3), ramanujan1(5, 3), ramanujan2(3, 3), ramanujan2(5, 5), frc(9, 3)]
EACH = pytest.mark.parametrize("code", CODES, ids=lambda code: f"{code.scheme}-{code.load}")


def files(code):
    return sorted(code.holders_of(file) for file in range(code.num_files))


@EACH
def test_automorphisms_keep_the_files(code):
    elements = automorphisms(code)
    assert len(elements) > 1
    assert len(np.unique(elements, axis=0)) == len(elements)
    for element in elements[:: max(1, len(elements) // 50)]:
        images = sorted(tuple(sorted(element[list(holders)])) for holders in files(code))
        assert images == files(code)


@pytest.mark.parametrize(("code", "order"), [(mols(5, 3), 600), (ramanujan2(5, 5), 2000)])
def test_translations_homotheties_and_swaps_of_squares_are_found(code, order):
    assert len(automorphisms(code)) == order


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_set_has_an_image_among_those_kept_and_the_first_of_each_orbit_is_kept(code, size):
    elements = automorphisms(code)
    kept = list(canonical_prefixes(elements, size, promising=lambda prefix: True))
    assert kept == sorted(kept)
    for workers in combinations(range(code.num_workers), size):
        images = {tuple(sorted(element[list(workers)])) for element in elements}
        assert images & set(kept)
        assert (workers in kept) == (workers == min(images))


@pytest.mark.parametrize(("code", "q"), [(mols(5, 3), 6), (ramanujan2(5, 5), 7), (mols(7, 3), 7)])
def test_the_search_finds_the_same_set_with_symmetries_and_without(code, q, monkeypatch):
    plain = worst_case_module.worst_case(code, q)
    monkeypatch.setattr(worst_case_module, "SETS_WORTH_SYMMETRY", 0)
    assert worst_case_module.worst_case(code, q) == plain
