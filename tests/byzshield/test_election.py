"""Elections with scripted workers."""

import numpy as np
import pytest

from mlsys_ray.byzshield.assignment import frc, mols
from mlsys_ray.byzshield.detection import NOBODY, Verdict
from mlsys_ray.byzshield.election import elect
from mlsys_ray.byzshield.transport import Reply, Task
from mlsys_ray.byzshield.voting import digest

CODE = frc(num_workers=6, replication=3)
TASK = Task(7, np.zeros(4, np.float32), np.zeros((2, 1), np.int64))
GOOD = [np.full(4, file + 1, np.float32) for file in range(2)]
BAD = np.full(4, -9, np.float32)


class Script:
    """Workers that vote for `claims[worker]` and send `values[worker]`; by default the truth."""

    def __init__(self, claims=None, values=None, silent=()):
        self.claims = claims or {}
        self.values = values or {}
        self.silent = silent
        self.fetched = []

    def replies(self):
        return {worker: self.reply(worker) for worker in range(6)}

    def reply(self, worker):
        if worker in self.silent:
            return Reply(failure="late")
        file = worker // 3
        return Reply({file: digest(7, file, self.claims.get(worker, GOOD[file]))})

    def compute(self, task, deadline):
        raise AssertionError("elections do not compute")

    def fetch(self, iteration, wanted, deadline):
        self.fetched += wanted
        return {
            (worker, file): self.values.get(worker, self.claims.get(worker, GOOD[file]))
            for worker, file in wanted
        }

    def close(self):
        """Nothing to end."""


def hold(script, verdict=NOBODY):
    return elect(CODE, script.replies(), TASK, script, deadline=1.0, verdict=verdict)


def test_one_copy_of_each_file_is_fetched_when_all_agree():
    script = Script()
    outcome = hold(script)
    assert script.fetched == [(0, 0), (3, 1)]
    assert outcome.files == (0, 1)
    np.testing.assert_array_equal(outcome.votes, GOOD)
    assert outcome.holders == ((0, 1, 2), (3, 4, 5))
    assert len(outcome.votes) == 2
    assert not +outcome.events


def test_a_minority_is_outvoted():
    outcome = hold(Script(claims={0: BAD}))
    np.testing.assert_array_equal(outcome.votes, GOOD)
    assert outcome.events["outvoted"] == 1
    assert outcome.outvoted == {0: 1}
    assert outcome.proved == set()


def test_a_majority_of_liars_distorts_the_file():
    outcome = hold(Script(claims={0: BAD, 1: BAD}))
    np.testing.assert_array_equal(outcome.votes, [BAD, GOOD[1]])
    assert outcome.holders[0] == (0, 1)


def test_who_sends_something_else_than_it_voted_for_is_a_liar_and_the_next_is_asked():
    script = Script(values={0: BAD})
    outcome = hold(script)
    assert script.fetched == [(0, 0), (3, 1), (1, 0)]
    np.testing.assert_array_equal(outcome.votes, GOOD)
    assert outcome.events["mismatch"] == 1
    assert outcome.proved == {0}
    assert outcome.holders[0] == (1, 2)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(3, np.float32),
        np.zeros((1, 4), np.float32),
        np.zeros(4, np.float64),
        np.zeros(4, np.int32),
        [1.0, 2.0, 3.0, 4.0],
        b"x" * 16,
        "text",
        object(),
    ],
    ids=repr,
)
def test_values_of_another_form_are_refused(value):
    outcome = hold(Script(values={0: value}))
    np.testing.assert_array_equal(outcome.votes, GOOD)
    assert outcome.events["malformed"] == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_a_winner_that_is_not_finite_is_none_and_the_honest_copy_wins(bad):
    worst = np.array([1, 2, bad, 4], np.float32)
    outcome = hold(Script(claims={0: worst, 1: worst}))
    np.testing.assert_array_equal(outcome.votes, GOOD)
    assert outcome.events["nonfinite"] == 1


def test_two_silent_holders_leave_a_file_undecided_and_the_others_go_on():
    outcome = hold(Script(silent=(0, 1)))
    assert outcome.files == (1,)
    assert +outcome.events == {"late": 2, "undecided": 1}


def test_one_silent_holder_beside_a_liar_leaves_it_undecided():
    outcome = hold(Script(claims={0: BAD}, silent=(1,)))
    assert outcome.files == (1,)
    assert outcome.events["undecided"] == 1


def test_copies_that_cannot_be_fetched_are_lost_one_by_one():
    class Deaf(Script):
        def fetch(self, iteration, wanted, deadline):
            self.fetched += wanted
            return {}

    script = Deaf()
    outcome = hold(script)
    assert outcome.files == ()
    assert outcome.votes.shape == (0, 4)
    # After two of three copies are lost, the third alone decides nothing.
    assert len(script.fetched) == 4
    assert +outcome.events == {"lost": 4, "undecided": 2}


def test_copies_of_convicted_workers_are_left_out():
    script = Script(claims={0: BAD, 1: BAD})
    outcome = hold(script, Verdict(frozenset({0, 1})))
    np.testing.assert_array_equal(outcome.votes, GOOD)
    assert outcome.holders == ((2,), (3, 4, 5))
    assert not +outcome.outvoted


def test_a_file_of_convicted_workers_alone_is_undecided():
    outcome = hold(Script(), Verdict(frozenset({0, 1, 2})))
    assert outcome.files == (1,)
    assert +outcome.events == {"undecided": 1}


def test_missing_copies_cannot_overturn_what_is_proved():
    script = Script(silent=(1, 2))
    assert hold(script).files == (1,)
    assert hold(script, Verdict(at_large=1)).files == (1,)
    assert hold(script, Verdict(at_large=0)).files == (0, 1)


@pytest.mark.parametrize(("at_large", "proved"), [(None, False), (0, True), (2, True), (3, False)])
def test_votes_are_proved_by_more_equal_copies_than_liars_are_left(at_large, proved):
    verdict = Verdict(at_large=at_large)
    assert hold(Script(), verdict).is_proved_by(verdict) == proved


def test_one_vote_that_is_not_proved_leaves_the_whole_unproved():
    verdict = Verdict(at_large=2)
    assert not hold(Script(claims={0: BAD}), verdict).is_proved_by(verdict)


def test_votes_for_files_a_worker_does_not_hold_are_not_counted():
    code = mols(5, 3)
    gradient = np.ones(4, np.float32)
    replies = {
        worker: Reply({file: digest(7, file, gradient) for file in range(25)})
        for worker in range(15)
    }
    task = Task(7, np.zeros(4, np.float32), np.zeros((25, 1), np.int64))

    class Honest(Script):
        def fetch(self, iteration, wanted, deadline):
            return dict.fromkeys(wanted, gradient)

    outcome = elect(code, replies, task, Honest(), deadline=1.0)
    assert outcome.holders == tuple(code.holders_of(file) for file in range(25))
