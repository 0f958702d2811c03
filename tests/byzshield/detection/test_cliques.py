"""Detection by cliques against networkx, which finds all of them."""

import time

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys_ray.byzshield.assignment import aspis
from mlsys_ray.byzshield.attacks import Adversary
from mlsys_ray.byzshield.detection import NOBODY, CliqueDetector, Verdict, disagreements

WORKERS = 9
PAIRS = st.lists(st.tuples(st.integers(0, WORKERS - 1), st.integers(0, WORKERS - 1)), max_size=25)


def cliques_of(history):
    agreement = nx.from_numpy_array(~history[-1])
    agreement.remove_edges_from(nx.selfloop_edges(agreement))
    return [set(clique) for clique in nx.find_cliques(agreement)]


@given(PAIRS, st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_the_convicted_are_in_no_clique_of_k_minus_q(pairs, q):
    history = np.zeros((1, WORKERS, WORKERS), dtype=bool)
    for one, other in pairs:
        if one != other:
            history[0, one, other] = history[0, other, one] = True
    large = [clique for clique in cliques_of(history) if len(clique) >= WORKERS - q]
    verdict = CliqueDetector(q).judge(history)
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
    verdict = CliqueDetector(q).judge((lied | lied.T)[None])
    assert verdict.liars <= set(range(q))
    assert verdict.at_large is not None


@pytest.mark.parametrize("q", range(1, 8))
def test_liars_who_do_not_choose_their_files_are_all_convicted(q, digests):
    adversary = Adversary(aspis(15, 3), tuple(range(q)))
    counts = disagreements(adversary.assignment, digests(adversary))
    verdict = CliqueDetector(q).judge(counts[None] > 0)
    assert verdict == Verdict(frozenset(range(q)), at_large=0)


@pytest.mark.parametrize("q", range(2, 8))
def test_liars_who_frame_as_many_as_they_are_cannot_be_told_from_these(q, digests):
    adversary = Adversary(aspis(15, 3), tuple(range(q)), attacks="framing")
    counts = disagreements(adversary.assignment, digests(adversary))
    assert CliqueDetector(q).judge(counts[None] > 0) == Verdict(frozenset(), at_large=q)


@pytest.mark.parametrize("q", range(2, 8))
def test_the_unique_maximum_clique_is_that_of_the_liars_where_they_frame_one_less(q, graph):
    liars, framed = range(q), range(q, 2 * q - 1)
    history = graph(15, [(liar, worker) for liar in liars for worker in framed])
    sizes = sorted(map(len, cliques_of(history)))
    assert sizes == [15 - q, 15 - q + 1]
    assert set(liars) < max(cliques_of(history), key=len)
    assert CliqueDetector(q).judge(history).liars == set()


def test_if_more_than_q_must_have_lied_nobody_is_convicted(graph):
    assert CliqueDetector(1).judge(graph(7, [(0, 1), (2, 3)])) == NOBODY
    assert CliqueDetector(0).judge(graph(7, [(0, 1)])) == NOBODY


def test_lies_that_nobody_honest_can_check_are_not_seen(graph):
    verdict = CliqueDetector(3).judge(graph(7, []))
    assert verdict == Verdict(frozenset(), at_large=3)
    # A file has three copies, so that no vote is proved by three equal ones.
    assert verdict.enough == 4


@pytest.mark.parametrize("kind", ["held", "framing"])
def test_a_hundred_workers_are_judged_in_milliseconds(kind):
    q, workers = 49, 100
    last = workers if kind == "held" else 2 * q
    history = np.zeros((1, workers, workers), dtype=bool)
    history[0, :q, q:last] = history[0, q:last, :q] = True
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        verdict = CliqueDetector(q).judge(history)
        seconds.append(time.perf_counter() - start)
    assert len(verdict.liars) == (q if kind == "held" else 0)
    # 2 ms where it was measured.
    assert min(seconds) < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_liars_cannot_keep_the_server_busy(seed):
    # Each pair of liars and one honest worker disagree all round: 3^24 maximal cliques.
    q, workers = 49, 100
    order = np.random.default_rng(seed).permutation(workers)
    history = np.zeros((1, workers, workers), dtype=bool)
    for i in range(q // 2):
        triangle = order[[2 * i, 2 * i + 1, q + i]]
        history[0][np.ix_(triangle, triangle)] = ~np.eye(3, dtype=bool)
    start = time.perf_counter()
    verdict = CliqueDetector(q).judge(history)
    assert time.perf_counter() - start < 5
    assert verdict.liars == set()
