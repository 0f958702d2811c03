"""Detection against the tables of Aspis, and in whole training rounds."""

from itertools import combinations
from math import comb

import numpy as np
import pytest

from mlsys_ray.byzshield.assignment import aspis, aspis_plus
from mlsys_ray.byzshield.attacks import Adversary
from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import load_dataset
from mlsys_ray.byzshield.detection import DegreeDetector, agreement, honest_clique
from mlsys_ray.byzshield.training import train_in_process
from mlsys_ray.byzshield.transport import Reply


def replies(code, lie, silent=()):
    """Digests of all workers; `lie(worker, file)` is what one sends, None the truth."""
    return {
        worker: Reply(
            {}
            if worker in silent
            else {file: lie(worker, file) or b"true" for file in code.files_of(worker)}
        )
        for worker in range(code.num_workers)
    }


def test_agreement_is_symmetric_and_silence_is_no_evidence():
    code = aspis(5, 3)
    found = agreement(code, replies(code, lambda w, f: b"lie" if w == 2 else None, silent=(4,)))
    assert found.answered.tolist() == [True, True, True, True, False]
    expected = np.zeros((5, 5), dtype=bool)
    expected[2, [0, 1, 3]] = expected[[0, 1, 3], 2] = True
    np.testing.assert_array_equal(found.disagree, expected)


@pytest.mark.parametrize(
    ("num_workers", "expected"),
    [
        (15, {2: 2, 3: 10, 4: 28, 5: 60, 6: 110, 7: 182}),
        (21, {2: 2, 3: 10, 4: 28, 5: 60, 6: 110, 7: 182, 8: 280, 9: 408, 10: 570}),
    ],
)
def test_colluders_in_disguise_distort_half_of_the_files_of_both_groups(num_workers, expected):
    code = aspis(num_workers, 3)
    for q, c_max in expected.items():
        adversary = Adversary(code, tuple(range(q)), disguise=True)
        attacked = adversary.attacked_files()
        assert attacked.sum() == adversary.distorted_files().sum() == c_max == comb(2 * q, 3) // 2


def test_colluders_in_disguise_cannot_be_told_from_their_victims():
    code = aspis(9, 3)
    adversary = Adversary(code, (0, 3, 7), disguise=True)
    attacked = adversary.attacked_files()

    def lie(worker, file):
        return b"lie" if worker in adversary.byzantine and attacked[file] else None

    assert honest_clique(agreement(code, replies(code, lie))) is None


@pytest.mark.parametrize("q", [1, 3, 6])
def test_liars_that_do_not_collude_are_all_found_and_lose_only_files_of_their_own(q):
    code = aspis(15, 3)
    liars = set(range(5, 5 + q))

    def lie(worker, file):
        return bytes([worker]) if worker in liars else None

    clique = honest_clique(agreement(code, replies(code, lie)))
    assert clique == frozenset(range(15)) - liars
    lost = sum(liars.issuperset(code.holders_of(file)) for file in range(code.num_files))
    assert lost == comb(q, 3)


def test_workers_that_say_nothing_are_not_in_the_clique_and_do_not_hide_it():
    code = aspis(9, 3)
    found = agreement(code, replies(code, lambda w, f: b"lie" if w == 0 else None, silent=(4,)))
    assert honest_clique(found) == frozenset({1, 2, 3, 5, 6, 7, 8})


@pytest.mark.parametrize(("num_workers", "q"), [(9, 2), (15, 3), (15, 6), (25, 5), (25, 9)])
def test_the_degree_finds_all_liars_in_five_iterations_and_no_honest_worker(num_workers, q):
    generator = np.random.default_rng(num_workers)
    liars = set(generator.choice(num_workers, q, replace=False).tolist())
    detector = DegreeDetector(num_workers, q)
    flagged = frozenset()
    for iteration in range(5):
        code = aspis_plus(num_workers).permuted(generator.permutation(num_workers))

        def lie(worker, file, code=code):
            """Lie where liars have the majority, as one that will not be outvoted would."""
            if worker not in liars or len(liars.intersection(code.holders_of(file))) < 2:
                return None
            return b"lie"

        flagged = detector.observe(iteration, agreement(code, replies(code, lie)))
        assert flagged <= liars
    assert flagged == liars


def test_a_new_window_forgives_and_flags_are_kept():
    code = aspis_plus(7)
    detector = DegreeDetector(7, 1, window=3)

    def observe(iteration, liar):
        def lie(worker, file):
            return b"lie" if worker == liar else None

        return detector.observe(iteration, agreement(code, replies(code, lie)))

    assert observe(0, 2) == {2}
    assert observe(1, None) == {2}
    assert observe(3, None) == {2}
    assert observe(4, 5) == {5}


def test_a_detector_goes_on_from_its_state():
    code = aspis_plus(9)
    generator = np.random.default_rng(0)
    whole, resumed = DegreeDetector(9, 2), DegreeDetector(9, 2)
    for iteration in range(12):
        liars = set(generator.choice(9, 2, replace=False).tolist())
        found = agreement(code, replies(code, lambda w, f, who=liars: b"x" if w in who else None))
        resumed.restore(whole.state())
        assert resumed.observe(iteration, found) == whole.observe(iteration, found)


SMALL = {"iterations": 4, "eval_interval": 2}
ASPIS = {"scheme": "aspis", "num_workers": 9, "replication": 3, "batch_size": 84}


def run(**fields):
    config = TrainConfig(**{**SMALL, **fields})
    return [row for row, _ in train_in_process(config, load_dataset("digits"), share_replicas=True)]


def test_training_with_aspis_leaves_out_liars_and_keeps_the_curve_of_honest_training():
    honest = run(**ASPIS, rule="average")
    attacked = run(**ASPIS, byzantine=3, attack="constant", detection="clique")
    for row in attacked:
        assert row["distrusted_workers"] == [0, 1, 2]
        assert row["distorted_files"] == 0
    lost = sum(set(holders) <= {0, 1, 2} for holders in combinations(range(9), 3))
    assert {row["decided_files"] for row in attacked} == {84 - lost}
    assert abs(attacked[-1]["test_accuracy"] - honest[-1]["test_accuracy"]) < 0.1


def test_in_disguise_training_with_aspis_falls_back_to_the_vote():
    for row in run(**ASPIS, byzantine=3, attack="constant", detection="clique", disguise=True):
        assert row["distrusted_workers"] == []
        assert row["distorted_files"] == 10
        assert row["decided_files"] == 84


def test_training_with_aspis_plus_leaves_out_liars_and_resumes():
    fields = {"scheme": "aspis_plus", "num_workers": 9, "batch_size": 84, **SMALL, "iterations": 8}
    config = TrainConfig(**fields, byzantine=2, attack="constant", detection="degree")
    dataset = load_dataset("digits")

    def measured(rows):
        return [{k: v for k, v in row.items() if "seconds" not in k} for row, _ in rows]

    whole = list(train_in_process(config, dataset, checkpoint_interval=3))
    assert whole[-1][0]["distrusted_workers"] == list(config.byzantine_at(0))
    resumed = train_in_process(config, dataset, state=whole[2][1])
    assert measured(resumed) == measured(whole[3:])


def test_an_unknown_detection_is_refused():
    with pytest.raises(ValueError, match="detection is x, must be one of none, clique, degree"):
        TrainConfig(detection="x")
