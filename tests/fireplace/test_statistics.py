import numpy as np
import pytest

from mlsys_ray.fireplace.statistics import HORIZONS, NUM_RESTS, PRIOR_VMS, Statistics
from mlsys_ray.fireplace.trace import Trace, presence


def exponential(mean, n=40_000, horizon=40_000.0, tick=10.0, seed=0):
    """VMs of one function with exponential lives, using half their request, then all unknown."""
    rng = np.random.default_rng(seed)
    arrival = np.sort(rng.uniform(0, horizon, n))
    end = arrival + rng.exponential(mean, n)
    offset, share = presence(arrival, end, tick)
    request = np.full((n, 1), 4.0)
    return Trace(
        name="exponential",
        tick=tick,
        resources=("cpu",),
        arrival=arrival,
        end=end,
        request=request,
        function=np.zeros(n),
        functions=("f",),
        use=(2.0 * share)[:, None],
        use_offset=offset,
    )


@pytest.mark.parametrize("mean", [3.0, 60.0, 1000.0])
def test_exponential_lives_are_forecast(mean):
    """Memoryless: presence follows from the law at every age, whatever part is censored."""
    statistics = Statistics.learn(exponential(mean))
    tick = 10.0
    rate = 1 / mean
    starts = np.array(HORIZONS) * tick
    expected = (np.exp(-rate * starts) - np.exp(-rate * (starts + tick))) / (rate * tick)
    reached = statistics.survival[0] > 0.05
    np.testing.assert_allclose(
        statistics.presence[0][reached],
        expected[None] + 0 * statistics.presence[0][reached],
        atol=0.06,
    )
    rest = (np.arange(NUM_RESTS) + 0.5) / NUM_RESTS * tick
    first = (1 - np.exp(-rate * rest)) / (rate * tick)
    np.testing.assert_allclose(statistics.first_presence[0][:, 0], first, atol=0.03)
    np.testing.assert_allclose(statistics.survival[0], np.exp(-rate * statistics.ages), atol=0.03)


def test_censored_lives_are_no_bias():
    """Half the VMs outlive the trace; counting their truncated lives as ended would halve it."""
    trace = exponential(40_000.0, n=5000, tick=500.0)
    assert (trace.end > trace.arrival[-1]).mean() > 0.4
    survival = Statistics.learn(trace).survival[0]
    ages = Statistics.learn(trace).ages
    np.testing.assert_allclose(np.interp(20_000, ages, survival), np.exp(-0.5), atol=0.05)


def test_use_and_its_prior():
    trace = exponential(60.0)
    statistics = Statistics.learn(trace)
    np.testing.assert_allclose(statistics.use, 0.5, rtol=1e-6)
    np.testing.assert_allclose(statistics.spread, 0.0, atol=1e-3)
    rare = np.zeros(trace.num_vms)
    rare[:2] = 1
    use = trace.use.copy()
    use[: trace.use_offset[2]] = 0
    mixed = trace.replaced(function=rare, functions=("f", "rare"), use=use)
    learned = Statistics.learn(mixed)
    lived = (trace.end - trace.arrival)[:2].sum()
    prior = PRIOR_VMS * (trace.end - trace.arrival).mean()
    expected = 0.5 * prior / (prior + lived)
    np.testing.assert_allclose(learned.use[1, 0], expected, rtol=0.01)


def test_functions_are_matched_by_name(history):
    statistics = Statistics.learn(history)
    names = ("f3", "nobody", "f1")
    other = history.replaced(function=history.function % 3, functions=names)
    rows = statistics.rows(other)
    assert set(rows[other.function == 0]) == {3}
    assert set(rows[other.function == 1]) == {len(statistics.functions)}
    assert set(rows[other.function == 2]) == {1}
    unknown = history.replaced(function=np.full(history.num_vms, -1), functions=())
    assert set(statistics.rows(unknown)) == {len(statistics.functions)}


def test_another_tick_is_refused(history):
    statistics = Statistics.learn(history)
    other = exponential(60.0, n=100, tick=5.0)
    with pytest.raises(ValueError, match=r"tick is 5\.0 s, the statistics are for 10\.0 s"):
        statistics.rows(other)
