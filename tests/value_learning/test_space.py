"""States, legal actions and schedules, without compiling anything."""

import random
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys_ray.value_learning.operators import Conv2d, LayerNorm, MatMul, Pool2d, chain
from mlsys_ray.value_learning.random_pipelines import random_pipeline
from mlsys_ray.value_learning.space import (
    INLINE,
    MAX_ACTIONS,
    Action,
    Site,
    State,
    directives_from_source,
    initial,
    legal_actions,
    schedule_from_json,
    schedule_of,
)
from mlsys_ray.value_learning.target import Target

SMALL = Target(halide="x86-64-linux", lanes=4, registers=16, caches=(2**15, 2**18, 2**22), cores=4)
AVX2 = Target(halide="x86-64-linux-avx2", lanes=8, registers=16, caches=SMALL.caches, cores=2)
AVX512 = Target(halide="x86-64-linux-avx512", lanes=16, registers=32, caches=SMALL.caches, cores=64)
TARGETS = st.sampled_from([SMALL, AVX2, AVX512])
CONV = chain((64, 56, 56, 1), Conv2d(out_channels=64, kernel=3, padding=1, activation="relu"))


def tiled(tile, block=(64, 56, 56, 1), order=(2, 0, 1), **changes):
    return Action(compute="root", vector=8, tile=tile, block=block, order=order, **changes)


def draw(pipeline, target, seed):
    generator = random.Random(seed)
    states = [initial(pipeline, target)]
    while not states[-1].is_complete:
        states.append(states[-1].take(generator.choice(legal_actions(states[-1]))))
    return states


@settings(max_examples=40, deadline=None)
@given(pipeline=st.integers(0, 10**6).map(random_pipeline), target=TARGETS, seed=st.integers())
def test_every_state_has_few_distinct_actions_that_fit(pipeline, target, seed):
    for state in draw(pipeline, target, seed)[:-1]:
        actions = legal_actions(state)
        assert 1 <= len(actions) <= MAX_ACTIONS
        assert len(set(actions)) == len(actions)
        assert legal_actions(State(pipeline, target, state.actions)) == actions
        for action in actions:
            if action.compute == "inline":
                assert state.stage.reduction is None
                continue
            placement = state.take(action).placements[-1]
            assert action.vector <= target.lanes
            assert prod(action.tile) <= action.vector * target.registers or (
                state.stage.reduction is None
            )
            for tile, block, extent in zip(
                action.tile, action.block, placement.region, strict=True
            ):
                assert 1 <= tile <= block <= extent


@settings(max_examples=40, deadline=None)
@given(pipeline=st.integers(0, 10**6).map(random_pipeline), target=TARGETS, seed=st.integers())
def test_schedules_as_json_and_as_source(pipeline, target, seed):
    schedule = schedule_of(draw(pipeline, target, seed)[-1])
    assert schedule_from_json(schedule.to_json()) == schedule
    assert directives_from_source(schedule.source(pipeline)) == schedule.directives(pipeline)


def test_states_are_values():
    state = initial(CONV, AVX2)
    action = legal_actions(state)[3]
    assert state.take(action) == State(CONV, AVX2, (action,))
    assert hash(state.take(action)) == hash(State(CONV, AVX2, (action,)))
    assert state.take(action).placements == State(CONV, AVX2, (action,)).placements
    assert not state.actions


def test_a_complete_state_has_no_actions():
    state = draw(CONV, AVX2, 0)[-1]
    with pytest.raises(ValueError, match="complete"):
        legal_actions(state)
    with pytest.raises(ValueError, match="'conv2d0_sum' is not scheduled"):
        schedule_of(initial(CONV, AVX2).take(legal_actions(initial(CONV, AVX2))[0]))


def test_regions_by_hand():
    """A conv 3x3 tiled 16 channels by 6 pixels, in tasks of 7 rows."""
    state = initial(CONV, AVX2).take(tiled((16, 6, 1, 1), (64, 56, 7, 1)))
    loops = state.placements[0].loops
    assert [(loop.name, loop.count) for loop in loops] == [
        ("task", 8),
        ("y", 7) if loops[1].name == "y" else ("y_o", 7),
        ("c_o", 4),
        ("x_o", 10),
    ]
    assert state.sites == tuple(Site(0, place) for place in range(4))
    assert state.required(1, Site(0, 3)) == (16, 6, 1, 1)
    sums = Action(
        compute="at", site=Site(0, 3), vector=8, tile=(16, 6, 1, 1), block=(16, 6, 1, 1),
        reduction_order=(2, 1, 0),
    )  # fmt: skip
    assert sums in legal_actions(state)
    state = state.take(sums)
    assert state.required(2, Site(0, 0)) == (64, 58, 9, 1)
    assert state.required(2, Site(0, 3)) == (64, 8, 3, 1)
    assert state.placements[1].realisations == 8 * 7 * 4 * 10
    assert state.placements[1].evaluations == 56 * 64 * 60  # 10 tiles of 6 cover 56 pixels


def test_a_window_slides_over_rows():
    state = initial(CONV, AVX2).take(tiled((16, 6, 1, 1), (64, 56, 7, 1)))
    state = state.take(next(a for a in legal_actions(state) if a.site == Site(0, 3)))
    sliding = [a for a in legal_actions(state) if a.site == Site(0, 1) and a.store]
    assert sliding
    assert {action.store for action in sliding} == {Site(0, 0)}
    placement = state.take(sliding[0]).placements[-1]
    assert placement.region == (64, 58, 3, 1)
    assert placement.stored == (64, 58, 9, 1)
    assert placement.evaluations == 8 * 64 * 58 * 9


def test_known_good_tiles_are_there():
    tiles = {action.tile for action in legal_actions(initial(CONV, AVX2))}
    assert {(16, 6, 1, 1), (16, 4, 1, 1), (24, 4, 1, 1), (8, 12, 1, 1)} <= tiles
    assert (16, 7, 1, 1) not in tiles  # 17 registers
    wide = {action.tile for action in legal_actions(initial(CONV, AVX512))}
    assert {(32, 12, 1, 1), (64, 6, 1, 1)} <= wide
    product = chain((768, 384), MatMul(out_features=768, panel=24))
    assert (24, 4) in {action.tile for action in legal_actions(initial(product, AVX2))}


def test_rows_are_folded_in_several_vectors():
    state = draw(chain((96, 20), LayerNorm()), AVX2, 0)[1]
    partial = {action.accumulators for action in legal_actions(state)}
    assert {1, 2, 4, 8} <= partial
    columns = initial(chain((96, 20), MatMul(out_features=8)), AVX2)
    columns = columns.take(legal_actions(columns)[0])
    assert {action.accumulators for action in legal_actions(columns)} == {0}


def test_heavy_windows_are_not_inlined():
    twice = chain((8, 9, 9, 1), Conv2d(out_channels=8, kernel=1), Conv2d(out_channels=8, kernel=1))
    state = draw(twice, AVX2, 0)[2]
    assert state.stage.name == "conv2d0"
    assert INLINE in legal_actions(state)
    state = initial(twice, AVX2)
    state = state.take(legal_actions(state)[0])
    assert INLINE not in legal_actions(state)  # a sum


@pytest.mark.parametrize(
    "text", ["x = 1", "import os", "f.split(g())", "f.split(*a)", "f.update(1)(2)", "f.split(", "f"]
)
def test_what_is_no_scheduling_call_is_refused(text):
    with pytest.raises(ValueError, match=r"no scheduling call|no argument"):
        directives_from_source(text)


@pytest.mark.parametrize("record", ["{", "{}", '{"format": "other"}', "[]"])
def test_damaged_schedules_are_refused(record):
    with pytest.raises(ValueError, match="no schedule"):
        schedule_from_json(record)


def test_a_schedule_of_another_pipeline_is_refused():
    schedule = schedule_of(draw(CONV, AVX2, 0)[-1])
    with pytest.raises(ValueError, match="3 actions"):
        schedule.source(chain((8, 8), LayerNorm(), LayerNorm()))


def test_no_window_slides_with_loops_that_step_back():
    """Halide computes something else there: a padding of three rows for each row of sums."""
    pipeline = chain(
        (768, 28, 28, 1),
        Pool2d(kind="max", kernel=2, stride=1, padding=1),
        Conv2d(out_channels=24, kernel=3, padding=1),
    )
    out = Action(compute="root", vector=8, tile=(8, 2, 1, 1), block=(24, 29, 4, 1), order=(2, 0, 1))
    total = Action(
        compute="root", tile=(1, 1, 1, 1), block=(24, 29, 15, 1), order=(2, 1, 0), guarded=True,
        reduction_order=(2, 1, 0),
    )  # fmt: skip
    rows = Action(
        compute="at", site=Site(1, 1), vector=8, tile=(8, 1, 1, 1), block=(768, 31, 3, 1),
        order=(2, 1, 0),
    )  # fmt: skip
    state = State(pipeline, AVX2, (out, total, rows))
    stored = {action.site: action.store for action in legal_actions(state) if action.store}
    assert Site(2, 0) not in stored
    assert Site(1, 1) in stored
