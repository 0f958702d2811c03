"""Values of ByzFL 0.0.11, whose attacks see the honest gradients only, as those of all files."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from mlsys_ray.byzshield.assignment import make_assignment
from mlsys_ray.byzshield.attacks import Adversary, Alie, make_attack
from mlsys_ray.byzshield.attacks.line_search import largest
from mlsys_ray.testing.peers import import_byzfl

FILES = 12
GRADIENTS = (np.random.default_rng(0).standard_normal((FILES, 100)) + 0.3).astype(np.float32)
KNOWN = Adversary(make_assignment("baseline", num_workers=FILES), (0, 1))


@pytest.fixture(scope="module")
def byzfl() -> ModuleType:
    pytest.importorskip("torch")
    try:
        return import_byzfl("attacks")
    except ImportError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("sign_flipping", "SignFlipping"),
        ("ipm", "InnerProductManipulation"),
        ("mimic", "Mimic"),
        ("inf", "Inf"),
    ],
)
def test_same_vector(byzfl: ModuleType, name: str, theirs: str) -> None:
    expected = getattr(byzfl, theirs)()(GRADIENTS)
    sent = make_attack(name).craft(GRADIENTS, KNOWN)
    np.testing.assert_allclose(sent, expected, rtol=1e-6)


def test_alie_up_to_the_deviation_of_a_sample(byzfl: ModuleType) -> None:
    """ByzFL divides by n - 1, ByzShield's authors by n."""
    z = 1.5 * np.sqrt(FILES / (FILES - 1))
    expected = byzfl.ALittleIsEnough(1.5)(GRADIENTS)
    np.testing.assert_allclose(Alie(z).craft(GRADIENTS, KNOWN), expected, rtol=1e-4, atol=1e-6)


def test_label_flipping_averages_in_byzfl(byzfl: ModuleType) -> None:
    sent = make_attack("label_flipping").craft(GRADIENTS, KNOWN)
    np.testing.assert_allclose(sent.mean(axis=0), byzfl.LabelFlipping()(GRADIENTS), atol=1e-6)


@pytest.mark.parametrize("theirs", ["Optimal_InnerProductManipulation", "Optimal_ALittleIsEnough"])
@pytest.mark.parametrize("peak", [0.0, 3.3, 37.0, 1234.5])
def test_same_search(
    byzfl: ModuleType, theirs: str, peak: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = getattr(byzfl, theirs)()
    tried: list[float] = []

    def harm(strength: float) -> float:
        tried.append(strength)
        return -abs(strength - peak)

    monkeypatch.setattr(attack, "_evaluate", lambda vectors, mean, strength: harm(strength))
    attack(GRADIENTS)
    byzfls, tried = tried, []
    largest(harm)
    np.testing.assert_allclose(tried, byzfls)
