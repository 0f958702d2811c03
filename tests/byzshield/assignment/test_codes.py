"""Codes against what the paper prints and proves."""

from itertools import combinations

import numpy as np
import pytest

from mlsys_ray.byzshield.assignment import (
    SCHEMES,
    Assignment,
    affine,
    aspis,
    aspis_plus,
    baseline,
    frc,
    make_assignment,
    mols,
    ramanujan1,
    ramanujan2,
)

CODES = [
    *(mols(load, r) for load, r in [(4, 3), (5, 3), (7, 3), (7, 5), (8, 5), (9, 3), (9, 7)]),
    *(affine(load, r) for load, r in [(4, 5), (5, 5), (3, 3), (8, 9)]),
    *(ramanujan1(load, r) for load, r in [(5, 3), (7, 3), (7, 5), (11, 7)]),
    *(ramanujan2(load, r) for load, r in [(3, 3), (5, 5), (6, 3), (10, 5), (7, 7)]),
]
EXPANDERS = pytest.mark.parametrize(
    "code", CODES, ids=lambda code: f"{code.scheme}-{code.load}-{code.replication}"
)


@EXPANDERS
def test_codes_have_the_sizes_of_their_parameters(code):
    assert code.num_files * code.replication == code.num_workers * code.load
    assert (code.biadjacency.sum(axis=1) == code.load).all()
    assert (code.biadjacency.sum(axis=0) == code.replication).all()
    if code.scheme == "ramanujan2":
        assert code.num_workers == code.replication**2
    else:
        assert (code.num_workers, code.num_files) == (code.replication * code.load, code.load**2)


@EXPANDERS
def test_the_spectrum_is_that_of_lemma_2(code):
    load, r = code.load, code.replication
    second = r * (r - 1) if code.scheme == "ramanujan2" else r * (load - 1)
    expected = [(1.0, 1), (1 / r, second), (0.0, r - 1)]
    assert [(pytest.approx(value, abs=1e-8), count) for value, count in code.spectrum()] == expected
    assert code.second_eigenvalue == pytest.approx(1 / r)


@EXPANDERS
def test_codes_are_ramanujan_graphs(code):
    singular = np.linalg.svd(code.biadjacency.astype(float), compute_uv=False)
    assert singular[1] <= np.sqrt(code.load - 1) + np.sqrt(code.replication - 1) + 1e-9


@EXPANDERS
def test_two_workers_share_no_file_within_a_class_and_equally_many_across(code):
    size = code.replication if code.scheme == "ramanujan2" else code.load
    across = code.load // code.replication if code.scheme == "ramanujan2" else 1
    for first, second in combinations(range(code.num_workers), 2):
        common = len(set(code.files_of(first)) & set(code.files_of(second)))
        assert common == (0 if first // size == second // size else across)


def test_table_2_of_the_paper():
    code = mols(load=5, replication=3)
    assert code.files_of(0) == (0, 9, 13, 17, 21)
    assert code.files_of(1) == (1, 5, 14, 18, 22)
    assert code.files_of(5) == (0, 8, 11, 19, 22)
    assert code.files_of(10) == (0, 7, 14, 16, 23)
    assert code.holders_of(0) == (0, 5, 10)


def test_the_affine_plane_begins_with_mols():
    for load, replication in [(5, 3), (8, 5), (9, 7)]:
        mine, theirs = affine(load, replication), mols(load, replication)
        np.testing.assert_array_equal(mine.biadjacency, theirs.biadjacency)


def test_aspis_is_all_subsets():
    code = aspis(num_workers=7, replication=3)
    assert (code.num_files, code.load) == (35, 15)
    assert len({code.holders_of(file) for file in range(35)}) == 35
    assert aspis(15, 3).num_files == 455
    assert aspis(21, 3).num_files == 1330


@pytest.mark.parametrize("num_workers", [7, 9, 13, 15, 19, 21, 25, 27, 31, 33])
def test_aspis_plus_is_a_design_any_two_workers_share_one_file(num_workers):
    code = aspis_plus(num_workers)
    assert (code.num_files, code.replication) == (num_workers * (num_workers - 1) // 6, 3)
    common = code.biadjacency.astype(int) @ code.biadjacency.T.astype(int)
    assert (common[~np.eye(num_workers, dtype=bool)] == 1).all()


def test_frc_is_groups_that_hold_one_file_each():
    code = frc(num_workers=15, replication=3)
    assert (code.num_files, code.load, code.replication, code.majority) == (5, 1, 3, 2)
    assert [code.holders_of(file) for file in (0, 4)] == [(0, 1, 2), (12, 13, 14)]


def test_baseline_is_one_file_a_worker():
    code = baseline(num_workers=7)
    assert (code.num_files, code.load, code.replication, code.majority) == (7, 1, 1, 1)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"scheme": "mols", "load": 6, "replication": 3}, "load is 6, must be a prime power"),
        ({"scheme": "mols", "load": 5, "replication": 5}, "replication is 5, must be at most"),
        ({"scheme": "mols", "load": 5, "replication": 4}, "must be odd and at least 3"),
        ({"scheme": "affine", "load": 5, "replication": 7}, "must be at most load \\+ 1 = 6"),
        ({"scheme": "affine", "load": 6, "replication": 3}, "load is 6, must be a prime power"),
        ({"scheme": "aspis", "num_workers": 3, "replication": 5}, "at most the 3 workers"),
        ({"scheme": "aspis", "num_workers": 99, "replication": 5}, "makes 71523144 files"),
        ({"scheme": "aspis_plus", "num_workers": 11}, "must be 1 or 3 modulo 6"),
        ({"scheme": "ramanujan1", "load": 9, "replication": 3}, "load is 9, must be prime"),
        ({"scheme": "ramanujan1", "load": 5, "replication": 5}, "must be below the load 5"),
        ({"scheme": "ramanujan2", "load": 9, "replication": 9}, "replication is 9, must be prime"),
        ({"scheme": "ramanujan2", "load": 7, "replication": 5}, "a positive multiple of the repl"),
        ({"scheme": "frc", "num_workers": 16, "replication": 3}, "a positive multiple of the repl"),
        ({"scheme": "baseline", "num_workers": 0}, "num_workers is 0, must be at least 1"),
        ({"scheme": "mols", "load": 5}, "mols needs load and replication; missing: replication"),
        (
            {"scheme": "mols", "load": 5, "replication": 3, "num_workers": 16},
            "num_workers is 16, but mols with load=5, replication=3 has num_workers 15",
        ),
        ({"scheme": "x"}, "scheme is 'x', must be one of"),
    ],
)
def test_impossible_parameters_are_refused_with_the_reason(parameters, reason):
    with pytest.raises(ValueError, match=reason):
        make_assignment(**parameters)


@pytest.mark.parametrize("scheme", ["mols", "ramanujan1", "ramanujan2", "frc"])
def test_workers_and_replication_are_enough(scheme):
    num_workers, replication = (25, 5) if scheme == "ramanujan2" else (21, 3)
    code = make_assignment(scheme, num_workers=num_workers, replication=replication)
    assert (code.num_workers, code.replication) == (num_workers, replication)


def test_without_parameters_it_is_the_cluster_of_the_paper():
    workers = {scheme: make_assignment(scheme).num_workers for scheme in SCHEMES}
    assert workers.pop("ramanujan2") == 25
    assert set(workers.values()) == {15}


def test_a_graph_that_is_not_biregular_is_refused():
    with pytest.raises(ValueError, match=r"not biregular: workers hold \[.*1.*2.*\] files"):
        Assignment("mine", np.array([[1, 1], [0, 1]]))


def test_the_matrix_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        mols(5, 3).biadjacency[0, 0] = False
