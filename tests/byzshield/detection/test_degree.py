"""Detection by degrees over a window."""

import numpy as np
import pytest

from mlsys_ray.byzshield.assignment import aspis_plus
from mlsys_ray.byzshield.attacks import Adversary
from mlsys_ray.byzshield.detection import DegreeDetector, agreement


def iterations_until_found(num_workers, byzantine, attacks, seed, replies):
    """Iterations after which all liars are flagged; no honest worker ever is."""
    draw = np.random.default_rng([seed, 1])
    detector = DegreeDetector(num_workers, len(byzantine))
    for iteration in range(15):
        code = aspis_plus(num_workers).permuted(draw.permutation(num_workers))
        found = agreement(code, replies(Adversary(code, byzantine, attacks=attacks)))
        flagged = detector.observe(iteration, found)
        assert flagged <= set(byzantine)
        if flagged == set(byzantine):
            return iteration + 1
    raise AssertionError("not found within the window")


@pytest.mark.parametrize(
    ("num_workers", "q"), [(9, 2), (15, 2), (15, 4), (15, 6), (25, 3), (25, 5), (25, 9)]
)
def test_liars_are_mostly_found_within_five_iterations_as_in_the_paper(num_workers, q, replies):
    found = []
    for seed in range(10):
        chosen = np.random.default_rng([seed, q]).choice(num_workers, q, replace=False)
        byzantine = tuple(sorted(chosen.tolist()))
        found.append(iterations_until_found(num_workers, byzantine, "majority", seed, replies))
    assert np.median(found) <= 5


@pytest.mark.parametrize("q", range(1, 8))
def test_liars_on_all_files_are_found_at_once(q, replies):
    assert iterations_until_found(15, tuple(range(q)), "held", 0, replies) <= 2


def test_a_worker_is_flagged_by_one_more_than_q_disagreements(graph):
    found = graph(7, [(0, 1), (0, 2), (0, 3)])
    assert DegreeDetector(7, 3).observe(0, found) == set()
    assert DegreeDetector(7, 2).observe(0, found) == {0}
    assert DegreeDetector(7, 0).observe(0, found) == set()


def test_disagreements_add_up_over_the_window_only(graph):
    for start, flagged in [(0, {0}), (2, set())]:
        detector = DegreeDetector(7, 1, window=3)
        assert detector.observe(start, graph(7, [(0, 1)])) == set()
        assert detector.observe(start + 1, graph(7, [(0, 2)])) == flagged


def test_a_new_window_forgives_and_flags_are_kept(graph):
    detector = DegreeDetector(7, 1, window=3)
    liar = [(2, other) for other in (0, 1, 3)]
    assert detector.observe(0, graph(7, liar)) == {2}
    assert detector.observe(1, graph(7, [])) == {2}
    assert detector.observe(3, graph(7, [])) == {2}
    assert detector.observe(4, graph(7, [(5, other) for other in (0, 1, 3)])) == {5}


def test_a_detector_goes_on_from_its_state(replies):
    code = aspis_plus(9)
    draw = np.random.default_rng(0)
    whole, resumed = DegreeDetector(9, 2), DegreeDetector(9, 2)
    for iteration in range(12):
        liars = tuple(sorted(draw.choice(9, 2, replace=False).tolist()))
        found = agreement(code, replies(Adversary(code, liars)))
        resumed.restore(whole.state())
        assert resumed.observe(iteration, found) == whole.observe(iteration, found)
