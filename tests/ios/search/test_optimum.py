"""The dynamic programme against an enumeration of all schedules by the definitions alone."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys_ray.ios.machine_model import Device, stage_costs
from mlsys_ray.ios.search.baselines import greedy, sequential
from mlsys_ray.ios.search.dynamic_programme import cheapest, search
from mlsys_ray.ios.search.endings import stage_space


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 7))
    return tuple(
        tuple(sorted(draw(st.sets(st.integers(0, i - 1), max_size=2)))) if i else ()
        for i in range(n)
    )


def components(stage, predecessors):
    left = set(stage)
    groups = []
    while left:
        group = {left.pop()}
        while near := {
            o for o in left for g in group if o in predecessors[g] or g in predecessors[o]
        }:
            group |= near
            left -= near
        groups.append(group)
    return groups


def endings(state, predecessors, kind, max_size, max_groups):
    """Endings of a state, straight from the definition."""
    for size in range(1, len(state) + 1):
        for stage in map(set, combinations(sorted(state), size)):
            if any(p in stage for o in state - stage for p in predecessors[o]):
                continue
            groups = components(stage, predecessors)
            if len(groups) > max_groups or any(len(group) > max_size for group in groups):
                continue
            sources = [sum(not group & set(predecessors[o]) for o in group) for group in groups]
            if kind == "general" or all(count == 1 for count in sources):
                yield frozenset(stage)


def schedules(state, *rules):
    if not state:
        yield ()
    for stage in endings(state, *rules):
        for earlier in schedules(state - stage, *rules):
            yield (*earlier, stage)


def mask(stage):
    return sum(1 << operator for operator in stage)


def cost_of(stage):
    return np.random.default_rng(mask(stage)).uniform(0.1, 1) * len(stage) ** 0.5


@settings(max_examples=60, deadline=None)
@given(
    graphs(),
    st.sampled_from(["general", "single-source"]),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_optimum_and_counts_equal_brute_force(predecessors, kind, max_size, max_groups):
    everything = frozenset(range(len(predecessors)))
    known = list(schedules(everything, predecessors, kind, max_size, max_groups))
    space = stage_space(predecessors, endings=kind, max_group_size=max_size, max_groups=max_groups)
    assert space.num_schedules() == len(known)
    least = min(sum(map(cost_of, stages)) for stages in known)
    costs = np.array(
        [cost_of({o for o in everything if stage >> o & 1}) for stage in map(int, space.stages)]
    )
    total, path = cheapest(space, costs)
    assert total == pytest.approx(least)
    stages = [int(space.stages[i]) for i in path]
    assert tuple(stages) in {tuple(map(mask, stages)) for stages in known}


@settings(max_examples=60, deadline=None)
@given(graphs(), st.floats(0, 1), st.integers(0, 1000))
def test_lazy_search_finds_the_same_optimum(predecessors, tightness, seed):
    space = stage_space(predecessors)
    costs = np.random.default_rng(seed).uniform(0.1, 1, len(space.stages))
    by_mask = dict(zip(map(int, space.stages), costs, strict=True))
    asked = []

    def measure(stages):
        asked.extend(stages)
        return [by_mask[stage] for stage in stages]

    found = search(space, tightness * costs, measure)
    assert found.complete
    assert found.cost == pytest.approx(cheapest(space, costs)[0])
    assert len(asked) == len(set(asked)) == found.num_measured


def test_exact_bounds_leave_only_the_optimum_to_measure():
    space = stage_space([(), (), (0, 1), (2,), (2,), (3, 4)])
    costs = np.random.default_rng(0).uniform(0.1, 1, len(space.stages))
    by_mask = dict(zip(map(int, space.stages), costs, strict=True))
    found = search(space, costs, lambda stages: [by_mask[stage] for stage in stages])
    assert found.num_measured == len(found.stages)


def test_a_search_that_is_stopped_gives_the_best_known():
    space = stage_space([(), (), (), (0, 1, 2)])
    rounds = []

    def measure(stages):
        rounds.append(stages)
        return [10.0] * len(stages)

    found = search(space, np.zeros(len(space.stages)), measure, lambda: len(rounds) >= 2)
    assert not found.complete
    assert found.num_measured == sum(map(len, rounds))
    with pytest.raises(TimeoutError, match="before any whole schedule"):
        search(space, np.zeros(len(space.stages)), measure, lambda: True)


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(1, 9), st.integers(0, 1000))
def test_the_optimum_on_a_simulated_device_is_no_worse_than_the_baselines(
    predecessors, lanes, seed
):
    rng = np.random.default_rng(seed)
    tiles = rng.integers(1, 12, (len(predecessors), 1))
    table = rng.uniform(1, 5, tiles.shape) * np.ceil(tiles / np.arange(1, lanes + 1)) / tiles
    device = Device(lanes=lanes, stage_overhead=0.01)
    space = stage_space(predecessors)
    best, _ = cheapest(space, stage_costs(space.stages, predecessors, table, device))
    for baseline in (sequential, greedy):
        stages = baseline(predecessors)
        assert mask(range(len(predecessors))) == sum(stages)
        assert best <= stage_costs(stages, predecessors, table, device).sum() + 1e-9


def test_one_lane_gains_nothing_but_overheads():
    table = np.array([[1.0], [2.0], [3.0]])
    device = Device(lanes=1, stage_overhead=0.0)
    costs = stage_costs([0b111], ((), (), ()), table, device)
    assert costs == pytest.approx([6.0])


def test_what_is_no_block_is_refused():
    with pytest.raises(ValueError, match="1 to 64 operators, there are 65"):
        stage_space([()] * 65)
    with pytest.raises(ValueError, match="max_groups must be 1 or more, is 0"):
        stage_space([()], max_groups=0)


@pytest.mark.parametrize("kind", ["general", "single-source"])
def test_a_block_that_is_too_wide_is_refused(kind):
    with pytest.raises(ValueError, match="more than 67,108,864 transitions; lower max_group"):
        stage_space([()] * 40, endings=kind)
    assert len(stage_space([()] * 12, endings=kind, max_groups=2).states) == 2**12 - 1
