"""What liars reach under Aspis, as printed, voted file by file."""

from math import comb

import pytest

from mlsys_ray.byzshield.assignment import aspis
from mlsys_ray.byzshield.attacks import Adversary
from mlsys_ray.byzshield.detection import agreement, convict, undetected_c_max

ATT_2 = {15: (2, 10, 28, 60, 110, 182), 21: (2, 10, 28, 60, 110, 182, 280, 408, 570)}


def won_by_liars(adversary, replies):
    """Files that liars win among the copies of those not convicted, and files without a copy."""
    copies = replies(adversary)
    found = agreement(adversary.assignment, copies)
    verdict = convict(found, len(adversary.byzantine))
    distorted = dropped = 0
    for file in range(adversary.assignment.num_files):
        holders = set(adversary.assignment.holders_of(file)) - verdict.liars
        lies = sum(copies[worker].digests[file] == b"lie" for worker in holders)
        distorted += lies > len(holders) - lies
        dropped += not holders
    return distorted, dropped


@pytest.mark.parametrize(
    ("num_workers", "q", "c_max"),
    [(k, q, c) for k, row in ATT_2.items() for q, c in enumerate(row, start=2)],
)
def test_att_2(num_workers, q, c_max, replies):
    code = aspis(num_workers, 3)
    adversary = Adversary(code, tuple(range(q)), attacks="framing")
    assert undetected_c_max(q, 3) == c_max
    assert won_by_liars(adversary, replies) == (c_max, 0)
    assert adversary.distorted_files().sum() == c_max


def test_att_2_at_replication_5(replies):
    adversary = Adversary(aspis(11, 5), (1, 3, 6, 10), attacks="framing")
    assert won_by_liars(adversary, replies) == (undetected_c_max(4, 5), 0)


@pytest.mark.parametrize("q", range(2, 8))
def test_att_1_loses_the_files_without_an_honest_holder_only(q, replies):
    adversary = Adversary(aspis(15, 3), tuple(range(q)))
    assert won_by_liars(adversary, replies) == (0, comb(q, 3))
    if q == 6:
        assert round(comb(q, 3) / 455, 3) == 0.044


@pytest.mark.parametrize("q", range(2, 8))
@pytest.mark.parametrize("attacks", ["held", "majority", "framing"])
def test_no_choice_of_files_does_better_than_the_bound(q, attacks, replies):
    adversary = Adversary(aspis(15, 3), tuple(range(q)), attacks=attacks)
    assert won_by_liars(adversary, replies)[0] <= undetected_c_max(q, 3)
