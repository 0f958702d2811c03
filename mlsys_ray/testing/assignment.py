"""What every assignment code must hold to."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from itertools import combinations
from math import comb

import numpy as np

from mlsys_ray.byzshield.assignment import Assignment
from mlsys_ray.byzshield.distortion import count_worst_sets, upper_bound, worst_case

MAX_SETS = 20_000


class AssignmentTests(ABC):
    """Subclass it as `class TestMyCode(AssignmentTests)` and write `make`.

    Brute force goes through at most 20,000 sets for each q.
    """

    @abstractmethod
    def make(self) -> Assignment:
        """The code, with the parameters to test."""

    def test_it_is_biregular(self) -> None:
        """Every worker holds l files, every file has r holders, and f r = K l."""
        code = self.make()
        assert (code.biadjacency.sum(axis=1) == code.load).all()
        assert (code.biadjacency.sum(axis=0) == code.replication).all()
        assert code.num_files * code.replication == code.num_workers * code.load

    def test_a_vote_cannot_tie(self) -> None:
        """The replication is odd."""
        assert self.make().replication % 2 == 1

    def test_it_is_the_same_at_every_call(self) -> None:
        """Workers in other processes build the same graph."""
        np.testing.assert_array_equal(self.make().biadjacency, self.make().biadjacency)

    def test_other_processes_get_the_same_graph(self) -> None:
        """Equal in its pickled copy, and in one whose workers take each other's places."""
        code = self.make()
        copy = pickle.loads(pickle.dumps(code))
        np.testing.assert_array_equal(code.biadjacency, copy.biadjacency)
        order = np.random.default_rng(0).permutation(code.num_workers)
        for worker, place in enumerate(order.tolist()):
            assert code.permuted(order).files_of(worker) == code.files_of(place)

    def test_the_largest_eigenvalue_is_one(self) -> None:
        """As for every biregular graph."""
        spectrum = self.make().spectrum()
        assert abs(spectrum[0][0] - 1) < 1e-8
        assert sum(count for _, count in spectrum) == self.make().num_workers

    def test_c_max_is_that_of_brute_force_and_within_the_bounds(self) -> None:
        """For every q with few enough sets: value, first set and number of worst sets."""
        code = self.make()
        for q in range(1, code.num_workers + 1):
            if comb(code.num_workers, q) > MAX_SETS:
                continue
            sets = list(combinations(range(code.num_workers), q))
            values = [int(code.distorted_by(workers).sum()) for workers in sets]
            found = worst_case(code, q)
            assert found.exact
            assert found.c_max == max(values) <= upper_bound(code, q)
            assert found.byzantine == sets[values.index(max(values))]
            assert count_worst_sets(code, q) == values.count(max(values))
