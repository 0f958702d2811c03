"""Votes with a tolerance: scripted workers whose honest copies differ a little."""

from itertools import combinations, cycle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlsys_ray.byzshield.assignment import frc
from mlsys_ray.byzshield.closeness import BLOCK, choose, distances, gather
from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import load_dataset
from mlsys_ray.byzshield.detection import agreement
from mlsys_ray.byzshield.election import elect
from mlsys_ray.byzshield.server import ParameterServer
from mlsys_ray.byzshield.transport import Metered, Reply, Task
from mlsys_ray.byzshield.voting import digest
from mlsys_ray.byzshield.worker import InProcessTransport, WorkerGroup

CODE = frc(num_workers=5, replication=5)
TASK = Task(3, np.zeros(4, np.float32), np.zeros((1, 1), np.int64))
TOLERANCE = 1e-3

units = st.floats(-1, 1, width=32)
vectors = arrays(np.float32, 4, elements=units)
liar_sets = st.sets(st.integers(0, 4), max_size=2)


def distance(one, other):
    return distances([one, other])[0, 1]


class Copies:
    """Workers that send `values[worker]` and vouch for it, or for `claims[worker]`."""

    def __init__(self, values, claims=None):
        self.values = dict(enumerate(values)) if isinstance(values, list) else values
        claims = claims or {}
        self.replies = {
            worker: Reply({0: digest(3, 0, claims.get(worker, self.values.get(worker)))})
            for worker in range(5)
        }
        self.fetched = []

    def fetch(self, iteration, wanted, deadline):
        self.fetched += wanted
        return {pair: self.values[pair[0]] for pair in wanted if pair[0] in self.values}

    def poll(self, tolerance=TOLERANCE):
        return gather(CODE, self.replies, TASK, self, 1.0, tolerance)

    def hold(self, tolerance=TOLERANCE, liars=frozenset()):
        poll = self.poll(tolerance).settle(liars)
        return elect(CODE, poll.replies, TASK, poll, 1.0)


@st.composite
def honest_copies(draw):
    """Five vectors of which any two are close, the largest value being 1."""
    truth = draw(vectors)
    copies = [truth + np.float32(0.49 * TOLERANCE) * draw(vectors) for _ in range(5)]
    for copy in copies:
        copy[0] = 1
    return copies


@st.composite
def lies(draw, honest):
    """Anything: far off, near the edge of the tolerance, or another's copy."""
    near = honest[0] + np.float32(TOLERANCE) * np.float32(draw(st.floats(0, 2))) * draw(vectors)
    far = np.float32(draw(st.sampled_from([1e-30, 1, 1e15]))) * draw(vectors)
    odd = np.array([np.nan, np.inf, 1, 1], np.float32)
    return draw(st.sampled_from([near, far, odd, honest[draw(st.integers(0, 4))]]))


@given(st.data(), honest_copies(), liar_sets)
def test_liars_move_the_vote_of_an_honest_majority_by_the_tolerance_at_most(data, copies, liars):
    honest = [copies[worker] for worker in range(5) if worker not in liars]
    for liar in liars:
        copies[liar] = data.draw(lies(copies))
    outcome = Copies(copies).hold()
    assert outcome.files == (0,)
    assert min(distance(outcome.votes[0], copy) for copy in honest) <= TOLERANCE
    assert set(outcome.holders[0]) - liars


@given(st.data(), honest_copies(), liar_sets)
def test_honest_workers_never_disagree(data, copies, liars):
    for liar in liars:
        copies[liar] = data.draw(lies(copies))
    poll = Copies(copies).poll()
    found = agreement(CODE, poll.replies, poll.close())
    for one, other in combinations(set(range(5)) - liars, 2):
        assert not found.disagree[one, other]


@given(honest_copies(), liar_sets)
def test_far_off_liars_are_all_outvoted_and_all_disagree_with_the_honest(copies, liars):
    for liar in liars:
        copies[liar] = np.full(4, -100, np.float32)
    script = Copies(copies)
    outcome, poll = script.hold(), script.poll()
    assert set(outcome.outvoted) == liars
    assert set(outcome.holders[0]) == set(range(5)) - liars
    disagree = agreement(CODE, poll.replies, poll.close()).disagree
    assert all(disagree[liar, other] for liar in liars for other in set(range(5)) - liars)


@given(st.lists(st.sampled_from([0, 1, 2]), min_size=5, max_size=5), st.floats(1e-9, 0.1))
def test_where_copies_are_equal_or_far_apart_the_outcome_is_that_of_digests(kinds, tolerance):
    copies = [np.full(4, kind + 1, np.float32) for kind in kinds]
    exact, close = Copies(copies).hold(0.0), Copies(copies).hold(tolerance)
    np.testing.assert_array_equal(exact.votes, close.votes)
    assert exact.holders == close.holders
    assert (exact.events, exact.outvoted) == (close.events, close.outvoted)


@given(st.lists(vectors, min_size=5, max_size=5))
def test_without_tolerance_nothing_is_fetched_or_changed(copies):
    script = Copies(copies)
    poll = script.poll(0.0)
    assert script.fetched == []
    assert poll.close() == frozenset()
    assert poll.settle(frozenset()).replies == script.replies


@given(st.lists(st.floats(0, 10), min_size=1, max_size=8), st.data())
def test_every_copy_votes_for_a_close_one_that_votes_for_itself(places, data):
    distances = np.abs(np.subtract.outer(places, places))
    among = np.array(data.draw(st.lists(st.booleans(), min_size=len(places), max_size=len(places))))
    chosen = choose(distances, 1.0, among)
    voters = np.flatnonzero(among)
    assert (chosen[~among] == -1).all()
    assert among[chosen[voters]].all()
    assert (chosen[chosen[voters]] == chosen[voters]).all()
    assert (distances[voters, chosen[voters]] <= 1.0).all()
    if len(voters):
        most = ((distances <= 1.0) & among)[voters].sum(axis=1).max()
        assert np.bincount(chosen[voters]).max() == most


@given(vectors, vectors, st.integers(-20, 20))
def test_the_distance_is_symmetric_and_relative(one, other, exponent):
    scale = np.float32(2.0**exponent)
    assume(all(value == 0 or abs(value) > 1e-20 for value in [*one, *other, *(one - other)]))
    assert distance(one, other) == distance(other, one) == distance(scale * one, scale * other)
    assert distance(one, one) == 0
    assert 0 <= distance(one, other) <= 2


def test_the_largest_difference_is_found_wherever_it_is():
    vectors = np.zeros((3, 2 * BLOCK + 5), np.float32)
    vectors[0, BLOCK - 1], vectors[1, BLOCK], vectors[2, -1] = 1, -2, 4
    assert distances(list(vectors)).tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    vectors[2, BLOCK] = -2
    assert distances(list(vectors))[1, 2] == 1
    assert distances(list(vectors[:, : BLOCK + 1])).tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]


def test_a_negative_zero_is_close_to_a_zero():
    assert distance(np.zeros(4, np.float32), -np.zeros(4, np.float32)) == 0


def test_files_of_which_all_agree_cost_one_copy():
    meter = Metered(script := Copies([np.ones(4, np.float32)] * 5))
    poll = gather(CODE, script.replies, TASK, meter, 1.0, TOLERANCE).settle(frozenset())
    elect(CODE, poll.replies, TASK, poll, 1.0)
    assert meter.bytes_received == 16


def test_files_of_which_two_differ_cost_all_copies_once():
    copies = [np.full(4, 1 + 1e-5 * worker, np.float32) for worker in range(5)]
    meter = Metered(script := Copies(copies))
    poll = gather(CODE, script.replies, TASK, meter, 1.0, TOLERANCE).settle(frozenset())
    outcome = elect(CODE, poll.replies, TASK, poll, 1.0)
    assert meter.bytes_received == 5 * 16
    assert outcome.holders == ((0, 1, 2, 3, 4),)
    np.testing.assert_array_equal(outcome.votes, [copies[2]])


def test_the_copy_of_a_convicted_worker_is_not_elected_though_close():
    copies = [np.full(4, 1 + 1e-5 * worker, np.float32) for worker in range(5)]
    (vote,) = Copies(copies).hold(liars=frozenset({2})).votes
    assert vote[0] in (copies[1][0], copies[3][0])


def test_copies_that_do_not_come_are_unknown_and_their_workers_lost():
    copies = {worker: np.full(4, 1 + 1e-5 * worker, np.float32) for worker in range(5)}
    sent = {worker: copies[worker] for worker in (0, 2, 4)}
    outcome = Copies(sent, claims=copies).hold()
    assert outcome.holders == ((0, 2, 4),)
    assert +outcome.events == {"lost": 2}
    del sent[4]
    outcome = Copies(sent, claims=copies).hold()
    assert +outcome.events == {"lost": 3, "undecided": 1}


@pytest.mark.parametrize(
    ("value", "event"),
    [
        (np.zeros(3, np.float32), "malformed"),
        (b"x" * 16, "malformed"),
        (np.zeros(4, np.float32), "mismatch"),
    ],
    ids=["shape", "bytes", "other value"],
)
def test_what_does_not_match_its_digest_is_close_to_nothing_and_proved_if_it_wins(value, event):
    copies = [np.full(4, 1 + 1e-5 * place, np.float32) for place in (0, 1, 2, 2, 4)]
    claims = {0: copies[2]}
    copies[0] = value
    outcome = Copies(copies, claims).hold()
    np.testing.assert_array_equal(outcome.votes, [copies[2]])
    assert outcome.events[event] == 1
    assert outcome.proved == {0}
    assert outcome.holders == ((1, 2, 3, 4),)


@pytest.fixture
def uneven(monkeypatch):
    """Every worker's arithmetic is a little different."""
    exact = WorkerGroup._compute

    def compute(self, task, file, flip=False):
        return exact(self, task, file, flip) * np.float32(1 + 1e-6 * next(noise))

    noise = cycle(range(53))
    monkeypatch.setattr(WorkerGroup, "_compute", compute)


def train(**options):
    config = TrainConfig(batch_size=75, iterations=4, eval_interval=2, **options)
    dataset = load_dataset("digits")
    server = ParameterServer(config, dataset, InProcessTransport(config, dataset))
    return [row for row, _ in server.train(None)], server.state.parameters


ATTACK = {"byzantine": 3, "attack": "constant"}


def test_uneven_workers_train_like_equal_ones(uneven):
    rows, parameters = train(vote_tolerance=1e-4, **ATTACK)
    assert [row["distorted_files"] for row in rows] == [3] * 4
    assert [row["decided_files"] for row in rows] == [25] * 4
    assert np.isfinite(parameters).all()


def test_uneven_workers_are_not_taken_for_liars(uneven):
    rows, _ = train(vote_tolerance=1e-4, detection="clique", **ATTACK)
    liars = list(TrainConfig(byzantine=3).byzantine_at(0))
    assert [row["distrusted_workers"] for row in rows] == [liars] * 4
    assert [row["distorted_files"] for row in rows] == [0] * 4


def test_without_tolerance_uneven_workers_decide_little(uneven):
    rows, _ = train(**ATTACK)
    assert all(row["event_undecided"] >= 10 for row in rows)


def test_with_equal_workers_a_tolerance_changes_nothing():
    attack = {"byzantine": 3, "attack": "alie"}
    rows, parameters = train(**attack)
    tolerant, same = train(vote_tolerance=1e-9, **attack)
    np.testing.assert_array_equal(parameters, same)
    assert [row["disagreements"] for row in rows] == [row["disagreements"] for row in tolerant]
    assert rows[0]["bytes_received"] < tolerant[0]["bytes_received"] < 3 * rows[0]["bytes_received"]
