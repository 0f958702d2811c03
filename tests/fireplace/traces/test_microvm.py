"""The generator against the published statistics (Shahrad et al., ATC 2020)."""

import numpy as np
import pytest

from mlsys_ray.fireplace.traces.microvm import MEMORY_LAW, microvm


@pytest.fixture(scope="module")
def short():
    return microvm(law="microvm-short", num_vms=60_000, seed=5)


def test_lives_follow_the_published_execution_times(short):
    """Log-normal, ln-mean -0.38 and ln-sigma 2.36; the longest are cut at 900 s."""
    life = np.log(short.end - short.arrival)
    assert np.median(life) == pytest.approx(-0.38, abs=0.25)
    quartiles = np.quantile(life, [0.25, 0.75])
    np.testing.assert_allclose(quartiles, -0.38 + 2.36 * np.array([-0.674, 0.674]), atol=0.35)
    assert (short.end - short.arrival).max() <= 900.0 + 1e-6


def test_memory_follows_the_published_law(short):
    """At least half the functions allocate at most 170 MB, 90% at most 400 MB."""
    for size in (120.0, 170.0, 400.0):
        law = 1 - (1 + (size / 107.083) ** 11.652) ** -0.221
        assert MEMORY_LAW.cdf(size) == pytest.approx(law)
    assert MEMORY_LAW.cdf(170) > 0.5
    assert MEMORY_LAW.cdf(400) > 0.9
    sizes = np.array([short.request[short.function == f, 1][:1] for f in np.unique(short.function)])
    assert (sizes <= 192).mean() > 0.5
    assert (sizes <= 512).mean() > 0.9
    assert (sizes[:, 0] == short.request[np.unique(short.function, return_index=True)[1], 1]).all()


def test_few_functions_are_popular_and_arrivals_are_bursty(short):
    counts = np.sort(np.bincount(short.function, minlength=2000))[::-1]
    assert counts[:400].sum() / counts.sum() > 0.8
    per_second = np.bincount(short.arrival.astype(int))
    assert per_second.var() / per_second.mean() > 2


def test_as_many_are_alive_as_asked_for():
    trace = microvm(num_vms=60_000, alive=900.0, seed=1)
    settled = trace.alive[len(trace.alive) // 3 :]
    assert settled.mean() == pytest.approx(900, rel=0.15)
    assert trace.num_vms == 60_000


def test_seeds():
    one, same = (microvm(num_vms=500, alive=50, seed=3) for _ in "ab")
    other = microvm(num_vms=500, alive=50, seed=4)
    np.testing.assert_array_equal(one.use, same.use)
    assert not np.isin(one.arrival, other.arrival).any()
    stranger = microvm(num_vms=500, alive=50, seed=3, population=1)
    assert not np.isin(one.arrival, stranger.arrival).all()


def test_use_stays_within_the_request():
    trace = microvm(num_vms=3000, alive=300, seed=0)
    request = np.repeat(trace.request, np.diff(trace.use_offset), axis=0)
    assert (trace.use <= request * (1 + 1e-5)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"law": "vm"}, "law is 'vm'; accepted: microvm"), ({"num_vms": 0}, "num_vms 0")],
)
def test_refuses_what_it_cannot_draw(options, message):
    with pytest.raises(ValueError, match=message):
        microvm(**options)
