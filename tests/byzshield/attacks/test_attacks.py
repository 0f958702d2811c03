from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from mlsys_ray.byzshield.aggregation import AggregationRule, make_rule
from mlsys_ray.byzshield.assignment import make_assignment
from mlsys_ray.byzshield.attacks import (
    ATTACKS,
    Adversary,
    Alie,
    Gaussian,
    InnerProductManipulation,
    Mimic,
    OptimalAlie,
    OptimalInnerProductManipulation,
    flip_labels,
    make_attack,
)
from mlsys_ray.byzshield.attacks.line_search import largest

FILES = 15
GRADIENTS = (np.random.default_rng(0).standard_normal((FILES, 200)) + 0.5).astype(np.float32)


def adversary(rule: str | None = "median", num_byzantine: int = 4) -> Adversary:
    made: AggregationRule | None = None
    if rule is not None:
        made = make_rule(rule, num_gradients=FILES, num_byzantine=num_byzantine)
    assignment = make_assignment("baseline", num_workers=FILES)
    return Adversary(assignment, tuple(range(num_byzantine)), rule=made, seed=3)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_colluders_send_the_same_bits_and_leave_their_input(name: str) -> None:
    gradients = GRADIENTS.copy()
    gradients.setflags(write=False)
    sent = make_attack(name).craft(gradients, adversary())
    assert sent.dtype == np.float32
    assert np.broadcast_to(sent, gradients.shape).shape == gradients.shape
    elsewhere = pickle.loads(pickle.dumps(adversary()))
    assert make_attack(name).craft(gradients, elsewhere).tobytes() == sent.tobytes()
    np.testing.assert_array_equal(gradients, GRADIENTS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sign_flipping", -GRADIENTS.mean(axis=0)),
        ("ipm", -2 * GRADIENTS.mean(axis=0)),
        ("foe", -100 * GRADIENTS.mean(axis=0)),
        ("mimic", GRADIENTS[0]),
        ("inf", np.full(200, np.inf)),
        ("nan", np.full(200, np.nan)),
        ("label_flipping", GRADIENTS),
        ("constant", np.full(200, -100.0)),
        ("reversed_gradient", -100 * GRADIENTS),
    ],
)
def test_definitions(name: str, expected: np.ndarray) -> None:
    sent = make_attack(name).craft(GRADIENTS, adversary())
    np.testing.assert_allclose(sent, expected, rtol=1e-6)


def test_gaussian_is_new_every_iteration_and_seed() -> None:
    known = adversary()
    noise = Gaussian(3.0).craft(np.zeros((FILES, 20_000), np.float32), known)
    assert abs(noise.mean()) < 0.1
    assert noise.std() == pytest.approx(3, rel=0.03)
    for other in (replace(known, iteration=1), replace(known, seed=4)):
        assert not np.array_equal(noise[:200], Gaussian(3.0).craft(GRADIENTS, other))


def test_flipped_labels_come_back_when_flipped_again() -> None:
    labels = np.arange(10)
    np.testing.assert_array_equal(flip_labels(labels, 10), labels[::-1])
    np.testing.assert_array_equal(flip_labels(flip_labels(labels, 10), 10), labels)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_only_label_flipping_is_on_the_data(name: str) -> None:
    assert ATTACKS[name].flips_labels == (name == "label_flipping")


@pytest.mark.parametrize("rule", ["median", "trimmed_mean", "geometric_median"])
@pytest.mark.parametrize(
    ("searched", "fixed"),
    [
        (OptimalAlie(), [Alie(0.5), Alie(1.0), Alie(1.5), Alie()]),
        (OptimalInnerProductManipulation(), [InnerProductManipulation(s) for s in (0.1, 2, 100)]),
    ],
)
def test_the_search_beats_fixed_strengths(rule: str, searched: object, fixed: list) -> None:
    known = adversary(rule)
    assert known.rule is not None

    def harm(sent: np.ndarray) -> float:
        votes = GRADIENTS.copy()
        votes[:4] = sent
        assert known.rule is not None
        return float(np.linalg.norm(known.rule.aggregate(votes) - GRADIENTS.mean(axis=0)))

    most = max(harm(attack.craft(GRADIENTS, known)) for attack in fixed)
    # The search is a line search on a function with several maxima.
    assert harm(searched.craft(GRADIENTS, known)) >= 0.9 * most  # type: ignore[attr-defined]


def test_search_needs_the_rule() -> None:
    with pytest.raises(ValueError, match="optimal_alie searches against the server's rule"):
        OptimalAlie().craft(GRADIENTS, adversary(rule=None))


def test_search_counts_on_distorted_files_only() -> None:
    assignment = make_assignment("mols", load=5, replication=3)
    gradients = np.random.default_rng(0).standard_normal((25, 50)).astype(np.float32)
    rule = make_rule("median", num_gradients=25, num_byzantine=1)
    one, two = (Adversary(assignment, chosen, rule=rule) for chosen in ((0,), (0, 5)))
    assert one.distorted_files().sum() == 0
    assert two.distorted_files().sum() == 1
    sent = OptimalInnerProductManipulation().craft(gradients, one)
    np.testing.assert_array_equal(sent, 0)
    assert np.abs(OptimalInnerProductManipulation().craft(gradients, two)).max() > 0


def test_line_search_finds_a_peak() -> None:
    assert largest(lambda x: -((x - 37) ** 2)) == pytest.approx(37, rel=0.2)
    assert largest(lambda x: -x) == 0


@pytest.mark.parametrize(
    ("name", "strength", "message"),
    [
        ("ipm2", None, "attack is 'ipm2', must be one of"),
        ("nan", 1.0, "strength is 1.0, but nan has no parameter"),
        ("gaussian", -1.0, "deviation is -1.0"),
        ("mimic", -1, "file is -1"),
        ("mimic", 0.5, "file is 0.5"),
    ],
)
def test_refusals(name: str, strength: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_attack(name, strength)


def test_mimic_refuses_a_file_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="file is 15, must be below the 15 files"):
        Mimic(FILES).craft(GRADIENTS, adversary())


def test_strength_is_the_attacks_parameter() -> None:
    assert make_attack("ipm", 0.5) == InnerProductManipulation(0.5)
    assert make_attack("alie", 1.5) == Alie(1.5)
    assert make_attack("mimic", 2) == Mimic(2)
