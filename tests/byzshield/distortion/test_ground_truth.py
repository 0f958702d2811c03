"""Worst cases against the paper's tables, brute force and an integer programme."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from mlsys_ray.byzshield.assignment import (
    Assignment,
    affine,
    baseline,
    frc,
    mols,
    ramanujan1,
    ramanujan2,
)
from mlsys_ray.byzshield.distortion import (
    count_worst_sets,
    distortion_row,
    gamma,
    pair_bound,
    upper_bound,
    worst_case,
)

# (code, first q, c_max from there on); the paper's tables and more rows computed for them.
TABLES = {
    "Table 3": (mols(5, 3), 2, (1, 3, 5, 8, 12, 14, 17)),
    "Table 3, Ramanujan": (ramanujan1(5, 3), 2, (1, 3, 5, 8, 12, 14, 17)),
    "Table 4": (ramanujan2(5, 5), 3, (1, 1, 2, 4, 5, 7, 9, 12, 14, 17, 19)),
    "Table 4, affine plane": (affine(5, 5), 3, (1, 1, 2, 4, 5, 7, 9, 12, 14, 17, 19)),
    "Table 5 and beyond": (mols(7, 5), 3, (1, 1, 2, 4, 5, 8, 10, 11, 14, 16, 20, 24, 27)),
    "Table 5, Ramanujan": (ramanujan1(7, 5), 3, (1, 1, 2, 4, 5, 8, 10, 11, 14, 16)),
    "Table 6": (mols(7, 3), 2, (1, 3, 5, 8, 12, 16, 21, 25, 29)),
    "Table 6, Ramanujan": (ramanujan1(7, 3), 2, (1, 3, 5, 8, 12, 16, 21, 25, 29)),
    "K = 9": (ramanujan2(3, 3), 1, (0, 1, 3, 5, 6)),
    "K = 9, m = 6": (ramanujan2(6, 3), 1, (0, 2, 6, 10, 12)),
    "K = 12": (mols(4, 3), 1, (0, 1, 3, 5, 8, 12)),
    "K = 24": (mols(8, 3), 1, (0, 1, 3, 5, 8, 12, 16, 21, 27, 33, 40, 48)),
    "K = 25, m = 10": (ramanujan2(10, 5), 1, (0, 0, 2, 2, 4, 8, 10, 14, 18, 24, 28, 34)),
    "K = 27": (mols(9, 3), 1, (0, 1, 3, 5, 8, 12, 16, 21, 27, 33, 39, 45, 48)),
    "K = 33": (mols(11, 3), 1, (0, 1, 3, 5, 8, 12, 16, 21, 27, 33, 40, 48)),
    "K = 40": (mols(8, 5), 1, (0, 0, 1, 1, 2, 4, 6, 7, 9, 11)),
}


@pytest.mark.parametrize(("code", "first", "expected"), TABLES.values(), ids=TABLES)
def test_c_max_is_that_of_the_tables(code, first, expected):
    found = tuple(worst_case(code, first + i).c_max for i in range(len(expected)))
    assert found == expected


@pytest.mark.slow
def test_more_than_the_paper_could_do():
    expected = {16: 30, 17: 33}
    assert {q: worst_case(mols(7, 5), q).c_max for q in expected} == expected
    assert worst_case(mols(8, 5), 11).c_max == 14


def test_codes_with_closed_forms_take_no_time_at_any_size():
    assert worst_case(frc(100, 5), 20).byzantine[:8] == (0, 1, 2, 3, 4, 5, 6, 7)
    assert worst_case(baseline(100), 40).byzantine == tuple(range(40))


def test_what_was_found_in_the_time_is_marked_as_not_proved():
    found = worst_case(ramanujan2(7, 7), 20, time_limit=0.5)
    assert not found.exact
    assert len(found.byzantine) == 20
    assert ramanujan2(7, 7).distorted_by(found.byzantine).sum() == found.c_max > 0


@pytest.mark.parametrize(
    ("code", "first", "counts"),
    [
        (mols(5, 3), 2, (75, 100, 450, 450, 50, 300)),
        (ramanujan2(5, 5), 3, (250, 5125, 9000, 1000, 8500, 5000, 11500, 2000, 4750, 1000)),
        (mols(7, 3), 2, (147, 294, 2205, 4410, 1764, 2646, 441, 294, 441)),
        (mols(7, 5), 3, (490, 14945, 26460, 1764, 14700)),
    ],
)
def test_how_many_sets_are_worst(code, first, counts):
    assert tuple(count_worst_sets(code, first + i) for i in range(len(counts))) == counts


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (mols(5, 3), {0, 5}),
        (mols(5, 3), {0, 5, 11}),
        (mols(5, 3), {0, 1, 5, 11}),
        (mols(5, 3), {0, 1, 5, 6, 13}),
        (mols(5, 3), {0, 1, 5, 7, 11, 12}),
        (mols(5, 3), {0, 1, 2, 5, 7, 10, 11}),
        (ramanujan2(5, 5), {0, 5, 10}),
        (ramanujan2(5, 5), {0, 1, 5, 6, 18}),
        (ramanujan2(5, 5), {0, 1, 2, 5, 6, 12, 13, 15, 21}),
    ],
)
def test_the_first_worst_set_is_that_of_the_authors(code, expected):
    found = worst_case(code, len(expected))
    assert set(found.byzantine) == expected
    assert code.distorted_by(found.byzantine).sum() == found.c_max


def test_a_row_of_table_4():
    row = distortion_row(ramanujan2(5, 5), 9)
    assert row.pop("seconds") >= 0
    assert row.pop("gamma") == pytest.approx(13.28, abs=0.005)
    assert row == {
        "num_workers": 25,
        "num_files": 25,
        "load": 5,
        "replication": 5,
        "byzantine": 9,
        "c_max": 9,
        "epsilon": 0.36,
        "baseline": 0.36,
        "frc": 0.6,
        "exact": True,
    }


# Printed values; gamma(2) of Table 6 is printed as 2.23.
GAMMAS = {
    "3": (mols(5, 3), {2: 2.11, 3: 4.29, 4: 6.96, 5: 10, 6: 13.33, 7: 16.9}),
    "4": (ramanujan2(5, 5), {3: 2.43, 4: 3.9, 5: 5.56, 8: 11.23, 12: 19.73}),
    "5": (mols(7, 5), {3: 2.68, 4: 4.39, 9: 15.97, 13: 27.2}),
    "6": (mols(7, 3), {2: 2.24, 3: 4.67, 6: 15.27, 10: 34.15}),
}


@pytest.mark.parametrize(("code", "expected"), GAMMAS.values(), ids=GAMMAS)
def test_gamma_is_that_of_the_tables(code, expected):
    for num_byzantine, value in expected.items():
        assert gamma(code, num_byzantine) == pytest.approx(value, abs=0.006)


def test_the_pair_bound_is_the_squared_thirds_where_r_is_3_and_never_too_small():
    thirds = [q * q // 3 for q in range(15)]
    assert [pair_bound(mols(11, 3), q) for q in range(15)] == thirds
    for code, first, expected in TABLES.values():
        for q, c_max in enumerate(expected, start=first):
            assert c_max <= pair_bound(code, q)
    assert pair_bound(baseline(5), 2) is None


def test_frc_and_baseline_follow_their_formulas():
    for q in range(13):
        assert worst_case(frc(25, 5), q).c_max == q // 3
        assert worst_case(baseline(25), q).c_max == q
        row = distortion_row(frc(25, 5), q)
        assert row["frc"] == row["epsilon"]
        assert row["baseline"] == q / 25
    assert gamma(baseline(25), 3) is None
    # 7 workers do not stand in groups of 3, so there is no FRC to compare with.
    assert distortion_row(fano(), 2)["frc"] is None


@st.composite
def biregular(draw):
    """A random biregular graph: random permutations laid over one another."""
    num_files = draw(st.integers(3, 8))
    replication = draw(st.sampled_from([3, 5]))
    load = draw(st.sampled_from([1, 2, 3]))
    num_workers = num_files * replication // load
    if num_files * replication % load or num_workers > 12 or load > num_files:
        num_workers, load = num_files, replication
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    for _ in range(200):
        stubs = rng.permutation(np.repeat(np.arange(num_files), replication))
        matrix = np.zeros((num_workers, num_files), dtype=int)
        np.add.at(matrix, (np.repeat(np.arange(num_workers), load), stubs), 1)
        if matrix.max() == 1:
            break
    else:
        matrix = np.ones((replication, num_files), dtype=int)
    return Assignment("random", matrix)


@settings(deadline=None, max_examples=60)
@given(biregular(), st.data())
def test_worst_cases_are_those_of_brute_force(code, data):
    q = data.draw(st.integers(0, code.num_workers))
    sets = list(combinations(range(code.num_workers), q))
    values = [int(code.distorted_by(workers).sum()) for workers in sets]
    found = worst_case(code, q)
    assert found.exact
    assert found.c_max == max(values)
    assert found.byzantine == sets[values.index(max(values))]
    assert count_worst_sets(code, q) == values.count(max(values))
    assert found.c_max <= upper_bound(code, q)


@pytest.mark.parametrize(("code", "q"), [(mols(5, 3), 5), (mols(7, 3), 6), (ramanujan2(5, 5), 6)])
def test_an_integer_programme_agrees(code, q):
    workers, files = code.biadjacency.shape
    holders = np.hstack([code.biadjacency.T.astype(float), -code.majority * np.eye(files)])
    chosen = np.r_[np.ones(workers), np.zeros(files)]
    result = milp(
        -np.r_[np.zeros(workers), np.ones(files)],
        constraints=[LinearConstraint(holders, lb=0), LinearConstraint(chosen[None], ub=q)],
        integrality=np.ones(workers + files),
        bounds=Bounds(0, 1),
    )
    assert round(-result.fun) == worst_case(code, q).c_max


@pytest.mark.parametrize("q", [-1, 16])
def test_q_out_of_range_is_refused(q):
    for function in (worst_case, count_worst_sets, distortion_row):
        with pytest.raises(ValueError, match=f"byzantine is {q}, must be from 0 to the 15"):
            function(mols(5, 3), q)


def fano():
    lines = [(i, (i + 1) % 7, (i + 3) % 7) for i in range(7)]
    matrix = np.zeros((7, 7), dtype=int)
    for file, line in enumerate(lines):
        matrix[list(line), file] = 1
    return Assignment("fano", matrix)
