"""What liars reach under Aspis, as printed, voted file by file."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys_ray.byzshield.assignment import aspis
from mlsys_ray.byzshield.attacks import Adversary
from mlsys_ray.byzshield.detection import agreement, convict, undetected_c_max
from mlsys_ray.byzshield.transport import Reply

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


@given(st.integers(2, 4), st.integers(0, 10**6))
@settings(max_examples=300, deadline=None)
def test_whoever_each_liar_sides_against_the_bound_holds(q, seed):
    draw = np.random.default_rng(seed)
    code, share = aspis(9, 3), draw.random()
    enemies = draw.random((q, 9)) < share
    shy = draw.random() / 2
    copies = {
        worker: {file: b"truth" for file in code.files_of(worker)}
        for worker in range(code.num_workers)
    }
    for file in range(code.num_files):
        holders = code.holders_of(file)
        for liar in (worker for worker in holders if worker < q):
            honest = [worker for worker in holders if worker >= q]
            if enemies[liar, honest].all() and draw.random() >= shy:
                copies[liar][file] = b"lie"
    votes = {worker: Reply(digests) for worker, digests in copies.items()}
    verdict = convict(agreement(code, votes), q)
    assert verdict.liars <= set(range(q))
    won = 0
    for file in range(code.num_files):
        heard = [copies[w][file] for w in code.holders_of(file) if w not in verdict.liars]
        lies = heard.count(b"lie")
        won += lies > len(heard) - lies
        # What is proved is true.
        assert lies < verdict.enough
    assert won <= undetected_c_max(q, 3)


@pytest.mark.parametrize("q", range(4, 8))
def test_trust_in_the_unique_maximum_clique_would_lose_more(q):
    # Liars side against q - 1 workers: the largest clique is they and all the others.
    code, liars, framed = aspis(15, 3), set(range(q)), set(range(q, 2 * q - 1))
    attacked = [
        file
        for file in range(code.num_files)
        if liars & set(code.holders_of(file)) and liars | framed >= set(code.holders_of(file))
    ]
    assert len(attacked) == comb(2 * q - 1, 3) - comb(q - 1, 3) > undetected_c_max(q, 3)
