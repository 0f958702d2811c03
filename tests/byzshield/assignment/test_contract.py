"""All codes against the contract that users' codes are tested with."""

import numpy as np
import pytest

from mlsys_ray.byzshield.assignment import (
    SCHEMES,
    Assignment,
    affine,
    aspis,
    aspis_plus,
    baseline,
    frc,
    mols,
    ramanujan1,
    ramanujan2,
)
from mlsys_ray.testing import AssignmentTests


class TestAffine(AssignmentTests):
    def make(self):
        return affine(load=4, replication=5)


class TestAspis(AssignmentTests):
    def make(self):
        return aspis(num_workers=7, replication=3)


class TestAspisPlus(AssignmentTests):
    def make(self):
        return aspis_plus(num_workers=13)


class TestAspisOfFive(AssignmentTests):
    def make(self):
        return aspis(num_workers=9, replication=5)


class TestBaseline(AssignmentTests):
    def make(self):
        return baseline(num_workers=9)


class TestFrc(AssignmentTests):
    def make(self):
        return frc(num_workers=12, replication=3)


class TestMols(AssignmentTests):
    def make(self):
        return mols(load=5, replication=3)


class TestRamanujan1(AssignmentTests):
    def make(self):
        return ramanujan1(load=5, replication=3)


class TestRamanujan2(AssignmentTests):
    def make(self):
        return ramanujan2(load=6, replication=3)


def test_no_code_is_left_out():
    tested = {cls().make().scheme for cls in AssignmentTests.__subclasses__()}
    assert tested >= set(SCHEMES)


def test_the_contract_refuses_a_code_whose_votes_can_tie():
    class Even(AssignmentTests):
        def make(self):
            return Assignment("even", np.ones((2, 3)))

    with pytest.raises(AssertionError):
        Even().test_a_vote_cannot_tie()
