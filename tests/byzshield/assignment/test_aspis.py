"""The codes behind detection."""

from math import comb

import numpy as np
import pytest

from mlsys_ray.byzshield.assignment import aspis, aspis_plus, make_assignment
from mlsys_ray.byzshield.config import TrainConfig

SIZES = [7, 9, 13, 15, 19, 21, 25, 27, 31, 33, 37, 39]


def common_files(code):
    """Files that two workers share, for all pairs."""
    matrix = code.biadjacency.astype(int)
    return (matrix @ matrix.T)[np.triu_indices(code.num_workers, k=1)]


@pytest.mark.parametrize(("num_workers", "replication"), [(3, 3), (7, 3), (15, 3), (21, 3), (9, 5)])
def test_aspis_has_a_file_for_every_subset(num_workers, replication):
    code = aspis(num_workers, replication)
    assert code.num_files == comb(num_workers, replication)
    assert code.load == comb(num_workers - 1, replication - 1)
    assert len({code.holders_of(file) for file in range(code.num_files)}) == code.num_files
    assert set(common_files(code)) == {comb(num_workers - 2, replication - 2)}


@pytest.mark.parametrize("num_workers", SIZES)
def test_aspis_plus_is_a_steiner_triple_system(num_workers):
    code = aspis_plus(num_workers)
    assert (code.replication, code.load) == (3, (num_workers - 1) // 2)
    assert code.num_files == num_workers * (num_workers - 1) // 6
    assert set(common_files(code)) == {1}


def test_the_designs_of_the_paper_have_its_numbers_of_blocks():
    assert [aspis_plus(v).num_files for v in (7, 15, 25)] == [7, 35, 100]


def test_in_the_fano_plane_any_two_lines_meet_in_one_point():
    matrix = aspis_plus(7).biadjacency.astype(int)
    np.testing.assert_array_equal(matrix.T @ matrix, np.ones((7, 7)) + 2 * np.eye(7))


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"scheme": "aspis", "num_workers": 15, "replication": 4}, "must be odd and at least 3"),
        (
            {"scheme": "aspis", "num_workers": 4, "replication": 5},
            "replication is 5, must be at most the 4",
        ),
        ({"scheme": "aspis", "num_workers": 100, "replication": 5}, "makes 75287520 files"),
        ({"scheme": "aspis", "num_workers": 15}, "aspis needs num_workers and replication; miss"),
        ({"scheme": "aspis_plus", "num_workers": 11}, "num_workers is 11, must be 1 or 3 modulo 6"),
        (
            {"scheme": "aspis_plus", "num_workers": 3},
            "num_workers is 3, must be 1 or 3 modulo 6 and at least 7",
        ),
        (
            {"scheme": "aspis_plus", "num_workers": 15, "replication": 5},
            "replication is 5, but aspis_plus with num_workers=15 has replication 3",
        ),
    ],
)
def test_impossible_parameters_are_refused_with_the_reason(parameters, reason):
    with pytest.raises(ValueError, match=reason):
        make_assignment(**parameters)


def test_every_size_between_is_refused():
    for num_workers in range(7, 40):
        if num_workers in SIZES:
            continue
        with pytest.raises(ValueError, match="no Steiner triple system"):
            aspis_plus(num_workers)


def test_workers_of_a_design_move_and_every_configuration_agrees_on_where():
    config = TrainConfig(scheme="aspis_plus", batch_size=35, seed=3)
    elsewhere = TrainConfig(scheme="aspis_plus", batch_size=35, seed=3)
    graphs = set()
    for iteration in range(20):
        moved = config.assignment_at(iteration)
        np.testing.assert_array_equal(
            moved.biadjacency, elsewhere.assignment_at(iteration).biadjacency
        )
        assert set(common_files(moved)) == {1}
        graphs.add(moved.biadjacency.tobytes())
    assert len(graphs) == 20


def test_in_the_end_any_three_workers_meet_in_a_file():
    code, draw = aspis_plus(9), np.random.default_rng(0)
    moved = [code.permuted(draw.permutation(9)) for _ in range(200)]
    assert len({graph.holders_of(f) for graph in moved for f in range(12)}) == comb(9, 3)


@pytest.mark.parametrize("scheme", ["mols", "aspis"])
def test_workers_of_other_codes_stay(scheme):
    config = TrainConfig(scheme=scheme, batch_size=25 * 91)
    first, later = config.assignment_at(0), config.assignment_at(5)
    np.testing.assert_array_equal(first.biadjacency, later.biadjacency)
