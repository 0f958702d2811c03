import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlsys_ray.byzshield.assignment import aspis, frc, mols
from mlsys_ray.byzshield.detection import agreement
from mlsys_ray.byzshield.transport import Reply


def compare(code, digests):
    replies = {worker: Reply(digests.get(worker, {})) for worker in range(code.num_workers)}
    return agreement(code, replies)


def test_nobody_disagrees_where_all_send_the_same():
    code = mols(5, 3)
    digests = {worker: dict.fromkeys(code.files_of(worker), b"truth") for worker in range(15)}
    assert compare(code, digests).pairs() == []


def test_every_differing_pair_of_a_file_is_counted():
    code = frc(num_workers=6, replication=3)
    digests = {0: {0: b"a"}, 1: {0: b"b"}, 2: {0: b"c"}, 3: {1: b"a"}, 4: {1: b"a"}, 5: {1: b"b"}}
    found = compare(code, digests)
    assert found.pairs() == [(0, 1, 1), (0, 2, 1), (1, 2, 1), (3, 5, 1), (4, 5, 1)]
    np.testing.assert_array_equal(found.disagree, found.disagree.T)
    assert found.disagree.sum() == 10


def test_copies_that_are_missing_or_of_files_not_held_disagree_with_nobody():
    code = frc(num_workers=6, replication=3)
    digests = {0: {0: b"a"}, 1: {}, 3: {1: b"a", 0: b"x"}, 5: {0: b"y"}}
    assert compare(code, digests).pairs() == []


@given(st.dictionaries(st.tuples(st.integers(0, 5), st.integers(0, 19)), st.sampled_from("ab")))
def test_it_is_the_number_of_common_files_that_differ(copies):
    code = aspis(6, 3)
    digests = {w: {f: v.encode() for (u, f), v in copies.items() if u == w} for w in range(6)}
    counts = compare(code, digests).disagreements
    for one in range(6):
        for other in range(6):
            differing = [
                file
                for file in set(code.files_of(one)) & set(code.files_of(other))
                if {(one, file), (other, file)} <= copies.keys()
                and copies[one, file] != copies[other, file]
            ]
            assert counts[one, other] == (len(differing) if one != other else 0)
