"""Every operator, under random schedules, computes what PyTorch does."""

import halide as hl
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsys_ray.value_learning.lowering import apply, build, compiled, lower, run
from mlsys_ray.value_learning.operators import (
    Activate,
    Add,
    BlockedConv2d,
    Concat,
    Conv2d,
    GlobalAveragePool,
    LayerNorm,
    MatMul,
    Node,
    Pipeline,
    Pool2d,
    Softmax,
    Tensor,
    chain,
    pipeline_from_json,
)
from mlsys_ray.value_learning.operators.packing import pack, packed, packings, panels_of, unpacked
from mlsys_ray.value_learning.random_pipelines import random_pipeline
from mlsys_ray.value_learning.space import directives_from_source, schedule_from_json, schedule_of
from mlsys_ray.value_learning.target import Target

IMAGE = (12, 9, 10, 2)

PIPELINES = {
    "conv2d": chain(IMAGE, Conv2d(out_channels=20, kernel=3, padding=1, activation="relu")),
    "conv2d, strided": chain(IMAGE, Conv2d(out_channels=16, kernel=5, stride=2, padding=2)),
    "conv2d, panels": chain(IMAGE, Conv2d(out_channels=24, kernel=3, padding=1, panel=8)),
    "conv2d, no bias": chain((3, 9, 9, 1), Conv2d(out_channels=8, kernel=2, bias=False)),
    "grouped": chain((16, 7, 7, 1), Conv2d(out_channels=24, kernel=3, padding=1, groups=2)),
    "depthwise": chain(
        (17, 9, 8, 1), Conv2d(out_channels=17, kernel=3, padding=1, groups=17, activation="relu6")
    ),
    "depthwise, two each": chain((8, 7, 7, 1), Conv2d(out_channels=16, kernel=3, groups=8)),
    "in blocks": chain(
        (8, 9, 7, 2),
        BlockedConv2d(
            out_blocks=3,
            block=8,
            kernel=(3, 2),
            stride=(1, 2),
            padding=(1, 0, 2, 1),
            activation="relu",
        ),
    ),
    "in blocks of another size": chain(
        (1, 9, 7, 3), BlockedConv2d(out_blocks=2, block=16, kernel=(3, 3), dilation=(2, 1))
    ),
    "depthwise in blocks, and pointwise": chain(
        (8, 9, 7, 2),
        BlockedConv2d(out_blocks=2, block=8, kernel=(3, 3), padding=(1, 1, 1, 1), depthwise=True),
        BlockedConv2d(out_blocks=4, block=8, kernel=(1, 1)),
    ),
    "weighted sum": Pipeline(
        (Tensor("x", (16, 6, 6, 2)), Tensor("y", (16, 6, 6, 2))),
        (Node("sum", Add(activation="relu", weighted=True), ("x", "y")),),
    ),
    "pointwise": chain(IMAGE, Conv2d(out_channels=24, kernel=1, activation="gelu")),
    "matmul": chain((24, 10), MatMul(out_features=36)),
    "matmul, packed here": chain((24, 10), MatMul(out_features=48, panel=16, layout="outer")),
    "matmul, packed before": chain((24, 10), MatMul(out_features=48, panel=24, packed=True)),
    "matrix-vector": chain((100, 1), MatMul(out_features=30, layout="outer", activation="relu")),
    "max pool": chain(IMAGE, Pool2d(kind="max", kernel=3, stride=2, padding=1)),
    "average pool": chain(IMAGE, Pool2d(kind="average", kernel=3, stride=1, padding=1)),
    "global pool": chain(IMAGE, GlobalAveragePool()),
    "softmax": chain((50, 9), Softmax()),
    "fast softmax": chain((64, 9), Softmax(fast=True)),
    "layer norm": chain((72, 9), LayerNorm()),
    "activation": chain((20, 7), Activate(activation="gelu")),
    "residual": Pipeline(
        (Tensor("x", (16, 6, 6, 1)),),
        (
            Node("conv", Conv2d(out_channels=16, kernel=3, padding=1), ("x",)),
            Node("sum", Add(activation="relu"), ("conv", "x")),
        ),
    ),
    "concat": Pipeline(
        (Tensor("x", (16, 6, 6, 1)), Tensor("y", (3, 6, 6, 1))),
        (
            Node("one", Conv2d(out_channels=8, kernel=1), ("x",)),
            Node("three", Conv2d(out_channels=16, kernel=3, padding=1), ("x",)),
            Node("all", Concat(), ("three", "one", "y")),
        ),
    ),
    "strided after strided": chain(
        (8, 10, 10, 1), Conv2d(out_channels=8, kernel=1), Conv2d(out_channels=8, kernel=1, stride=2)
    ),
    "pool of a conv": chain(
        (8, 9, 9, 1),
        Conv2d(out_channels=8, kernel=1, activation="relu"),
        Pool2d(kind="max", kernel=3, stride=2, padding=1),
    ),
    "chain": chain(
        (8, 8, 8, 1),
        Conv2d(out_channels=16, kernel=1, activation="relu"),
        Conv2d(out_channels=16, kernel=3, padding=1, groups=16, activation="relu"),
        Pool2d(kind="max", kernel=2, stride=2),
        GlobalAveragePool(),
        MatMul(out_features=10),
        Softmax(),
    ),
}


def difference(pipeline, kernel):
    arrays = pipeline.example()
    expected = pipeline.reference(arrays)
    result = run(kernel, pipeline, arrays)
    assert result.shape == expected.shape
    return np.abs(result - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", PIPELINES)
def test_one_random_schedule(name, host, random_state):
    pipeline = PIPELINES[name]
    schedule = schedule_of(random_state(pipeline, host, seed=len(name)))
    assert difference(pipeline, lower(pipeline, schedule)) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", PIPELINES)
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 10**6))
def test_random_schedules(name, host, random_state, seed):
    pipeline = PIPELINES[name]
    schedule = schedule_of(random_state(pipeline, host, seed))
    assert difference(pipeline, lower(pipeline, schedule)) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_random_pipelines(seed, host, random_state):
    pipeline = random_pipeline(seed)
    schedule = schedule_of(random_state(pipeline, host, seed))
    assert difference(pipeline, lower(pipeline, schedule)) < 1e-3


PACKED = ("conv2d, strided", "pointwise", "matmul", "concat", "chain")


@pytest.mark.parametrize("name", PACKED)
def test_packed_weights_give_the_same(name):
    pipeline = PIPELINES[name]
    arrays = pipeline.example()
    found = packings(pipeline, lanes=4)
    assert found[0] == pipeline
    assert len(found) > 1
    for packing in found:
        panels = panels_of(packing)
        own = pack(pipeline, panels, arrays)
        assert [array.shape for array in own] == [tensor.shape for tensor in packing.arguments]
        np.testing.assert_allclose(packing.reference(own), pipeline.reference(arrays), atol=1e-5)
        assert unpacked(packing) == pipeline
        assert packed(packing, panels) == packing


def test_a_schedule_says_how_weights_are_packed(host, random_state):
    pipeline = chain((16, 12), MatMul(out_features=48, layout="outer"))
    schedule = schedule_of(random_state(packed(pipeline, [16]), host, seed=1))
    again = schedule_from_json(schedule.to_json())
    assert again == schedule
    assert again.panels == (16,)
    arrays = pipeline.example()
    result = run(lower(pipeline, again), pipeline, pack(pipeline, again.panels, arrays))
    np.testing.assert_allclose(result, pipeline.reference(arrays), atol=1e-4)


@pytest.mark.parametrize(
    ("panels", "message"), [([7], "do not fit"), ([16, 16], "for each of 1 nodes")]
)
def test_panels_that_do_not_fit_are_refused(panels, message):
    with pytest.raises(ValueError, match=message):
        packed(chain((16, 12), MatMul(out_features=48)), panels)


def test_source_applies_again(host, random_state):
    pipeline = PIPELINES["residual"]
    source = schedule_of(random_state(pipeline, host, seed=3)).source(pipeline)
    built = build(pipeline)
    apply(built, directives_from_source(source))
    assert difference(pipeline, compiled(built, host)) < 1e-3


@pytest.mark.parametrize(
    ("name", "lanes", "registers"),
    [
        ("x86-64-linux-sse41", 4, 16),
        ("x86-64-linux-avx-avx2-avx512-avx512_skylake-f16c-fma-sse41", 16, 32),
        ("arm-64-linux", 4, 32),
    ],
)
def test_other_targets_compile(name, lanes, registers, tmp_path, random_state):
    caches = (2**15, 2**19, 2**23)
    target = Target(halide=name, lanes=lanes, registers=registers, caches=caches, cores=8)
    pipeline = PIPELINES["conv2d"]
    built = build(pipeline)
    apply(built, schedule_of(random_state(pipeline, target, seed=1)).directives(pipeline))
    path = tmp_path / "kernel.o"
    built.output.compile_to_object(str(path), built.arguments, "kernel", hl.Target(name))
    assert path.stat().st_size > 0


def test_calls_of_what_is_not_there_are_refused():
    built = build(PIPELINES["activation"])
    with pytest.raises(ValueError, match="'other' is no stage"):
        apply(built, directives_from_source("other.compute_root()"))
    with pytest.raises(ValueError, match="unknown loop 'z'"):
        apply(built, directives_from_source('activate0.unroll("z")'))


@pytest.mark.parametrize("name", PIPELINES)
def test_pipeline_as_json(name):
    pipeline = PIPELINES[name]
    again = pipeline_from_json(pipeline.to_json())
    assert again == pipeline
    assert again.stages == pipeline.stages
