from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlsys_ray.byzshield.voting import DIGEST_BYTES, Ballot, digest

COPIES = st.dictionaries(st.integers(0, 20), st.sampled_from([b"a", b"b", b"c"]), max_size=7)


def test_a_digest_depends_on_iteration_file_and_every_bit():
    gradient = np.arange(5, dtype=np.float32)
    other = gradient.copy()
    other[0] = -0.0
    digests = {
        digest(1, 2, gradient),
        digest(2, 1, gradient),
        digest(1, 3, gradient),
        digest(1, 2, other),
    }
    assert len(digests) == 4
    assert all(len(value) == DIGEST_BYTES for value in digests)
    strided = np.arange(10, dtype=np.float32)[::2] / 2
    assert digest(1, 2, strided) == digest(1, 2, gradient)


@given(COPIES)
def test_with_all_copies_the_winner_is_the_plurality(copies):
    counts = Counter(copies.values()).most_common()
    tie = len(counts) > 1 and counts[0][1] == counts[1][1]
    expected = counts[0][0] if counts and not tie else None
    assert Ballot(copies, replication=len(copies)).winner() == expected


@given(COPIES, st.integers(0, 4))
def test_a_winner_stands_whatever_the_unknown_copies_are(copies, unknown):
    winner = Ballot(copies, replication=len(copies) + unknown).winner()
    if winner is None:
        return
    for value in (b"a", b"b", b"c", b"new"):
        completed = copies | {100 + i: value for i in range(unknown)}
        assert Ballot(completed, replication=len(completed)).winner() == winner


@given(COPIES, st.integers(0, 4))
def test_a_majority_of_all_copies_always_wins(copies, unknown):
    replication = len(copies) + unknown
    counts = Counter(copies.values())
    for value, votes in counts.items():
        if votes >= (replication + 1) // 2 and votes > replication - votes:
            assert Ballot(copies, replication).winner() == value


def test_enough_equal_copies_win_whatever_the_others_are():
    copies = {0: b"good", 1: b"good", 2: b"bad"}
    assert Ballot(copies, replication=5).winner() is None
    assert Ballot(copies, replication=5, enough=2).winner() == b"good"
    assert Ballot(copies, replication=5, enough=3).winner() is None
    assert Ballot({4: b"good"}, replication=5, enough=1).winner() == b"good"
    assert Ballot({}, replication=5, enough=0).winner() is None


def test_a_struck_copy_no_longer_counts_and_a_lost_one_may_be_anything():
    ballot = Ballot({0: b"bad", 1: b"bad", 2: b"good"}, replication=3)
    assert (ballot.winner(), ballot.holders(b"bad"), ballot.dissenters(b"bad")) == (
        b"bad",
        [0, 1],
        [2],
    )
    ballot.strike(0)
    assert ballot.winner() is None
    ballot.strike(1)
    assert ballot.winner() == b"good"
    ballot.lose(2)
    assert ballot.winner() is None
