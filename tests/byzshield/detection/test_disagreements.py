import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlsys_ray.byzshield.assignment import aspis, frc, mols
from mlsys_ray.byzshield.detection import disagreements


def test_nobody_disagrees_where_all_send_the_same():
    code = mols(5, 3)
    digests = {worker: dict.fromkeys(code.files_of(worker), b"truth") for worker in range(15)}
    assert not disagreements(code, digests).any()


def test_every_differing_pair_of_a_file_is_counted():
    code = frc(num_workers=6, replication=3)
    digests = {0: {0: b"a"}, 1: {0: b"b"}, 2: {0: b"c"}, 3: {1: b"a"}, 4: {1: b"a"}, 5: {1: b"b"}}
    expected = np.zeros((6, 6))
    for one, other in [(0, 1), (0, 2), (1, 2), (3, 5), (4, 5)]:
        expected[one, other] = expected[other, one] = 1
    np.testing.assert_array_equal(disagreements(code, digests), expected)


def test_copies_that_are_missing_or_of_files_not_held_disagree_with_nobody():
    code = frc(num_workers=6, replication=3)
    digests = {0: {0: b"a"}, 1: {}, 3: {1: b"a", 0: b"x"}, 5: {0: b"y"}}
    assert not disagreements(code, digests).any()


@given(st.dictionaries(st.tuples(st.integers(0, 5), st.integers(0, 19)), st.sampled_from("ab")))
def test_it_is_the_number_of_common_files_that_differ(copies):
    code = aspis(6, 3)
    digests = {w: {f: v.encode() for (u, f), v in copies.items() if u == w} for w in range(6)}
    counts = disagreements(code, digests)
    for one in range(6):
        for other in range(6):
            common = set(code.files_of(one)) & set(code.files_of(other))
            differing = [
                file
                for file in common
                if {(one, file), (other, file)} <= copies.keys()
                and copies[one, file] != copies[other, file]
            ]
            assert counts[one, other] == (len(differing) if one != other else 0)
