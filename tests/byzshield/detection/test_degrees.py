"""Detection by degrees over a window."""

import numpy as np
import pytest

from mlsys_ray.byzshield.assignment import aspis_plus
from mlsys_ray.byzshield.attacks import Adversary
from mlsys_ray.byzshield.detection import DegreeDetector, Verdict, disagreements


def iterations_until_found(code, byzantine, attacks, digests):
    """Iterations after which all liars are found; no honest worker ever is."""
    history = []
    for iteration in range(DegreeDetector.window):
        adversary = Adversary(code.at(iteration), byzantine, attacks=attacks)
        history.append(disagreements(adversary.assignment, digests(adversary)) > 0)
        verdict = DegreeDetector(len(byzantine)).judge(np.array(history))
        assert verdict.liars <= set(byzantine)
        if verdict.liars == set(byzantine):
            return iteration + 1
    raise AssertionError("not found within the window")


@pytest.mark.parametrize(
    ("num_workers", "q"), [(15, 2), (15, 3), (15, 4), (15, 5), (25, 3), (25, 5), (25, 9)]
)
def test_liars_are_found_within_five_iterations_as_in_the_paper(num_workers, q, digests):
    code = aspis_plus(num_workers)
    found = []
    for seed in range(10):
        draw = np.random.default_rng([seed, q])
        byzantine = tuple(sorted(draw.choice(num_workers, q, replace=False).tolist()))
        found.append(iterations_until_found(code, byzantine, "majority", digests))
    assert np.median(found) <= 5


@pytest.mark.parametrize("q", range(1, 8))
def test_liars_on_all_files_are_found_at_once(q, digests):
    assert iterations_until_found(aspis_plus(15), tuple(range(q)), "held", digests) <= 2


def test_a_worker_is_flagged_by_one_more_than_q_disagreements(graph):
    pairs = [(0, 1), (0, 2), (0, 3)]
    assert DegreeDetector(3).judge(graph(7, pairs)) == Verdict()
    assert DegreeDetector(2).judge(graph(7, pairs)) == Verdict(frozenset({0}))
    assert DegreeDetector(0).judge(graph(7, pairs)) == Verdict()


def test_disagreements_add_up_over_the_window(graph):
    history = np.concatenate([graph(7, [(0, 1)]), graph(7, [(0, 1)]), graph(7, [(0, 2)])])
    assert DegreeDetector(1).judge(history[:2]) == Verdict()
    assert DegreeDetector(1).judge(history) == Verdict(frozenset({0}))


def test_of_more_than_q_the_last_flagged_count(graph):
    early, late = [(0, 2), (0, 3), (0, 4)], [(1, 4), (1, 5), (1, 6)]
    history = np.concatenate([graph(9, early), graph(9, late), graph(9, [])])
    assert DegreeDetector(1).judge(history[:1]).liars == {0}
    # Worker 4 disagreed with both, with fewer than worker 1 did.
    assert DegreeDetector(1).judge(history).liars == {1}
    assert DegreeDetector(2).judge(history).liars == {0, 1}
