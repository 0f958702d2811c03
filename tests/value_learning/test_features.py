"""Features by hand, and what must hold of all of them."""

import numpy as np
import pytest

from mlsys_ray.value_learning.features import (
    ACQUIRED_NAMES,
    FEATURE_NAMES,
    INTRINSIC_NAMES,
    featurise,
)
from mlsys_ray.value_learning.operators import Conv2d, LayerNorm, chain
from mlsys_ray.value_learning.operators.packing import packed
from mlsys_ray.value_learning.random_pipelines import random_pipeline
from mlsys_ray.value_learning.space import Action, Site, State, initial, legal_actions
from mlsys_ray.value_learning.target import Target

TARGET = Target(
    halide="x86-64-linux-avx2", lanes=8, registers=16, caches=(2**15, 2**19, 2**24), cores=2
)
CONV = chain((64, 56, 56, 1), Conv2d(out_channels=64, kernel=3, padding=1, activation="relu"))
OUT = Action(compute="root", vector=8, tile=(16, 6, 1, 1), block=(64, 56, 7, 1), order=(2, 0, 1))
SUM = Action(
    compute="at", site=Site(0, 3), vector=8, tile=(16, 6, 1, 1), block=(16, 6, 1, 1),
    reduction_order=(2, 1, 0), unroll=2,
)  # fmt: skip


def rows(state):
    batch = featurise([state])
    return [
        dict(zip(FEATURE_NAMES, np.concatenate(parts).tolist(), strict=True))
        for parts in zip(batch.intrinsic[0], batch.acquired[0], strict=True)
    ]


def test_intrinsic_by_hand():
    out, total, pad = rows(initial(CONV, TARGET))
    assert total["points"] == pytest.approx(np.log2(64 * 56 * 56))
    assert total["terms"] == pytest.approx(np.log2(9 * 64))
    assert total["fold_0"] == 6
    assert total["operations"] == pytest.approx(np.log2(1 + 2 * 64 * 64 * 9 * 56 * 56))
    assert total["loads"] == 2
    assert total["unit_stride"] == total["broadcast"] == 0.5  # weights; image
    assert total["along_memory"] == 0.5
    read = 4 * (64 * 58 * 58 + 64 * 64 * 9 + 64)
    assert total["input_bytes"] == pytest.approx(np.log2(read / 2**19))
    assert total["window"] == pytest.approx(np.log2(9 * 64 + 9 * 64))
    assert (out["is_output"], out["comparisons"], out["is_reduction"]) == (1, 1, 0)
    assert (total["is_reduction"], total["consumers"], total["producers"]) == (1, 1, 1)
    assert (pad["selections"], pad["clamped"], pad["inputs"]) == (1, 1, 1)


def test_acquired_by_hand():
    out, total, pad = rows(State(CONV, TARGET, (OUT, SUM)))
    assert out["tasks"] == out["own_tasks"] == 3
    assert out["tasks_per_core"] == 2
    assert out["imbalance"] == 0
    assert out["overhang"] == pytest.approx(np.log2(60 / 56))
    assert (out["inner_is_0"], out["outer_is_0"]) == (0, 0)
    assert out["inner_loop"] == pytest.approx(np.log2(10))
    assert out["tile_loops"] == pytest.approx(np.log2(4 * 10 * 7))
    assert total["tile_operations"] == pytest.approx(np.log2(12))
    assert total["pressure"] == 15 / 16
    assert total["loads_per_operation"] == pytest.approx((2 + 6) / 12)
    assert total["gathers_per_operation"] == 0
    assert total["unroll"] == 1
    assert total["fold_inner"] == 6
    assert total["realisations"] == pytest.approx(np.log2(8 * 7 * 4 * 10))
    # An image of 64 channels, 8 by 3 pixels, 9 * 64 * 16 weights, 16 biases.
    read = 4 * (64 * 8 * 3 + 9 * 64 * 16 + 16)
    assert total["tile_bytes_1"] == pytest.approx(np.log2(read / 2**15))
    assert total["in_registers"] == 1
    operations = 64 * 60 * 56 * 9 * 64 / 8
    assert total["vector_operations"] == pytest.approx(np.log2(operations))
    assert total["critical_path"] == pytest.approx(np.log2(operations / 2))
    assert all(pad[name] == 0 for name in ACQUIRED_NAMES)


def test_reads_from_beyond_the_caches_by_hand():
    total = rows(State(CONV, TARGET, (OUT, SUM)))[1]
    # What a tile reads is more than the first-level cache: 8 tasks of 7 rows of 4 by 10 tiles do.
    tile = 4 * (64 * 8 * 3 + 9 * 64 * 16 + 16)
    assert tile > TARGET.caches[0]
    assert total["misses_1"] == pytest.approx(np.log2(1 + 8 * 7 * 4 * 10 * tile / 2**20))
    # What a task of 7 rows reads fits the second-level cache, all 56 rows do not.
    task, whole = (4 * (64 * 58 * rows + 9 * 64 * 64 + 64) for rows in (9, 58))
    assert task <= TARGET.caches[1] < whole <= TARGET.caches[2]
    assert total["misses_2"] == pytest.approx(np.log2(1 + 8 * task / 2**20))
    assert total["misses_3"] == pytest.approx(np.log2(1 + whole / 2**20))


def test_memory_of_arguments_by_hand():
    plain = rows(State(CONV, TARGET, (OUT, SUM)))[1]
    # 16 of 64 channels at 64 * 9 places, and 16 biases; 9 planes of weights are 16 KiB apart.
    assert plain["tile_stretches"] == pytest.approx(np.log2(1 + 64 * 9 + 1))
    reach = 1 + 15 + 63 * 64 + 2 * 64 * 64 + 2 * 3 * 64 * 64
    assert plain["tile_pages"] == pytest.approx(np.log2(1 + 1 + reach / 1024 + 1 + 16 / 1024))
    assert plain["tile_aliased"] == pytest.approx(np.log2(9))
    panels = rows(State(packed(CONV, [16]), TARGET, (OUT, SUM)))[1]
    assert panels["tile_stretches"] == pytest.approx(np.log2(1 + 1 + 1))
    assert panels["tile_aliased"] == 0


def test_an_inlined_stage_has_its_recomputation():
    state = State(CONV, TARGET, (OUT, SUM, Action(compute="inline")))
    pad = rows(state)[2]
    evaluations = 64 * 60 * 56 * 9 * 64
    assert pad["inlined"] == 1
    assert pad["evaluations"] == pytest.approx(np.log2(evaluations))
    assert pad["recomputation"] == pytest.approx(np.log2(evaluations / (64 * 58 * 58)))


def test_partial_sums_are_vectors():
    pipeline = chain((96, 20), LayerNorm())
    state = initial(pipeline, TARGET)
    state = state.take(legal_actions(state)[0])
    found = {
        action.accumulators: state.take(action)
        for action in legal_actions(state)
        if action.accumulators and action.compute == "root"
    }
    one, four = (rows(found[count])[1] for count in (1, 4))
    assert (one["tile_operations"], four["tile_operations"]) == (0, 2)
    assert one["vector_operations"] == pytest.approx(np.log2(20 * 96 / 8))
    # Vectors of the row, and its one mean.
    assert (one["loads_per_operation"], four["loads_per_operation"]) == (2, (4 + 1) / 4)


def test_batches_are_their_states(completed):
    states = []
    for seed in range(12):
        pipeline = random_pipeline(seed)
        state = completed(initial(pipeline, TARGET), seed)
        prefixes = (state.actions[:n] for n in range(len(state.actions) + 1))
        states += [State(pipeline, TARGET, actions) for actions in prefixes]
    batch = featurise(states)
    count, longest = len(states), max(len(state.pipeline.stages) for state in states)
    assert batch.intrinsic.shape == (count, longest, len(INTRINSIC_NAMES))
    assert batch.acquired.shape == (count, longest, len(ACQUIRED_NAMES))
    assert batch.intrinsic.dtype == batch.acquired.dtype == np.float32
    assert batch.lengths.dtype == np.int64
    assert np.isfinite(batch.acquired).all()
    assert np.isfinite(batch.intrinsic).all()
    assert not batch.acquired[~batch.scheduled].any()
    for place, state in enumerate(states):
        length = len(state.pipeline.stages)
        assert batch.lengths[place] == length
        assert batch.scheduled[place].sum() == len(state.actions)
        alone = featurise([State(state.pipeline, TARGET, state.actions)])
        np.testing.assert_array_equal(alone.acquired[0], batch.acquired[place, :length])
        np.testing.assert_array_equal(alone.intrinsic[0], batch.intrinsic[place, :length])
        assert not batch.intrinsic[place, length:].any()


def test_producers_change_nothing_of_their_consumers(completed):
    state = completed(initial(CONV, TARGET), seed=4)
    whole = featurise([state]).acquired[0]
    part = featurise([State(CONV, TARGET, state.actions[:2])]).acquired[0]
    np.testing.assert_array_equal(whole[:2], part[:2])


def test_names_are_distinct():
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)
