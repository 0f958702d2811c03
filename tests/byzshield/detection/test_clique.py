"""Detection by cliques against networkx, which finds all of them."""

import time

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys_ray.byzshield.assignment import aspis
from mlsys_ray.byzshield.attacks import Adversary
from mlsys_ray.byzshield.detection import NOBODY, Agreement, Verdict, agreement, convict

WORKERS = 9
PAIRS = st.lists(st.tuples(st.integers(0, WORKERS - 1), st.integers(0, WORKERS - 1)), max_size=25)


def cliques_of(found):
    agree = ~found.disagree
    np.fill_diagonal(agree, False)
    return [set(clique) for clique in nx.find_cliques(nx.from_numpy_array(agree))]


@given(PAIRS, st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_the_convicted_are_in_no_clique_of_k_minus_q(pairs, q):
    matrix = np.zeros((WORKERS, WORKERS), dtype=np.int64)
    for one, other in pairs:
        matrix[one, other] = matrix[other, one] = one != other
    found = Agreement(matrix)
    large = [clique for clique in cliques_of(found) if len(clique) >= WORKERS - q]
    verdict = convict(found, q)
    if not large:
        assert verdict == NOBODY
        return
    liars = set(range(WORKERS)).difference(*large)
    assert verdict == Verdict(frozenset(liars), q - len(liars))


@given(st.integers(0, 6), st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_honest_workers_are_never_convicted(q, seed):
    draw = np.random.default_rng(seed)
    lied = np.zeros((15, 15), dtype=bool)
    lied[:q] = draw.random((q, 15)) < draw.random()
    np.fill_diagonal(lied, False)
    verdict = convict(Agreement((lied | lied.T).astype(np.int64)), q)
    assert verdict.liars <= set(range(q))
    assert verdict.at_large is not None


@pytest.mark.parametrize("q", range(1, 8))
def test_liars_who_do_not_choose_their_files_are_all_convicted(q, replies):
    adversary = Adversary(aspis(15, 3), tuple(range(q)))
    verdict = convict(agreement(adversary.assignment, replies(adversary)), q)
    assert verdict == Verdict(frozenset(range(q)), at_large=0)


@pytest.mark.parametrize("q", range(2, 8))
def test_liars_who_frame_as_many_as_they_are_cannot_be_told_from_these(q, replies):
    adversary = Adversary(aspis(15, 3), tuple(range(q)), attacks="framing")
    found = agreement(adversary.assignment, replies(adversary))
    assert convict(found, q) == Verdict(frozenset(), at_large=q)


@pytest.mark.parametrize("q", range(2, 8))
def test_the_unique_maximum_clique_is_that_of_the_liars_where_they_frame_one_less(q, graph):
    liars, framed = range(q), range(q, 2 * q - 1)
    found = graph(15, [(liar, worker) for liar in liars for worker in framed])
    sizes = sorted(map(len, cliques_of(found)))
    assert sizes == [15 - q, 15 - q + 1]
    assert set(liars) < max(cliques_of(found), key=len)
    assert convict(found, q).liars == set()


def test_if_more_than_q_must_have_lied_nobody_is_convicted(graph):
    assert convict(graph(7, [(0, 1), (2, 3)]), 1) == NOBODY
    assert convict(graph(7, [(0, 1)]), 0) == NOBODY


def test_lies_that_nobody_honest_can_check_are_not_seen(graph):
    verdict = convict(graph(7, []), 3)
    assert verdict == Verdict(frozenset(), at_large=3)
    # A file has three copies, so that no vote is proved by three equal ones.
    assert verdict.enough == 4


@pytest.mark.parametrize("kind", ["held", "framing"])
def test_a_hundred_workers_are_judged_in_milliseconds(kind):
    q, workers = 49, 100
    last = workers if kind == "held" else 2 * q
    matrix = np.zeros((workers, workers), dtype=np.int64)
    matrix[:q, q:last] = matrix[q:last, :q] = 1
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        verdict = convict(Agreement(matrix), q)
        seconds.append(time.perf_counter() - start)
    assert len(verdict.liars) == (q if kind == "held" else 0)
    # 2 ms where it was measured.
    assert min(seconds) < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_liars_cannot_keep_the_server_busy(seed):
    # Each pair of liars and one honest worker disagree all round: 3^24 maximal cliques.
    q, workers = 49, 100
    order = np.random.default_rng(seed).permutation(workers)
    matrix = np.zeros((workers, workers), dtype=np.int64)
    for i in range(q // 2):
        triangle = order[[2 * i, 2 * i + 1, q + i]]
        matrix[np.ix_(triangle, triangle)] = ~np.eye(3, dtype=bool)
    start = time.perf_counter()
    verdict = convict(Agreement(matrix), q)
    assert time.perf_counter() - start < 5
    assert verdict.liars == set()
