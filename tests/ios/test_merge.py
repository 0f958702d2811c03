from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from mlsys_ray.ios.blocks import blocks_of
from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.graph import Node, Operator
from mlsys_ray.ios.merge import merge, merge_class, mergeable_stages
from mlsys_ray.ios.primitives import Conv2d
from mlsys_ray.ios.search.counts import within
from mlsys_ray.ios.search.endings import stage_space


def operator_of(name, convolution, x, source="x"):
    shape = tuple(convolution(x).shape)
    node = Node(
        name=name, primitive=convolution, inputs=(source,), shape=shape, dtype=torch.float64
    )
    return Operator(nodes=(node,))


def classes_of(graph, block):
    return [merge_class(graph.operators[i]) for i in block]


def conv(kernel, padding=(0, 0, 0, 0), out=2, channels=3, bias=True, **rest):
    return Conv2d(
        weight=torch.randn(out, channels, *kernel, dtype=torch.float64),
        bias=torch.randn(out, dtype=torch.float64) if bias else None,
        padding=padding,
        **rest,
    )


def image(height=7, width=8, channels=3):
    return torch.randn(2, channels, height, width, dtype=torch.float64)


def assert_merged_is_the_same(operators, x):
    merged = merge(operators, tuple(x.shape[2:]))
    split = merged.split(merged.convolution(x))
    assert list(split) == [operator.name for operator in operators]
    for operator in operators:
        torch.testing.assert_close(split[operator.name], operator.nodes[0].primitive(x))
    return merged


@st.composite
def convolutions(draw):
    """Convolutions of one stride, dilation and activation; sizes and paddings as they come."""
    stride = draw(st.tuples(*[st.integers(1, 3)] * 2))
    dilation = draw(st.tuples(*[st.integers(1, 2)] * 2))
    activation = draw(st.sampled_from([None, "relu", "hardswish"]))
    return [
        conv(
            draw(st.tuples(*[st.integers(1, 5)] * 2)),
            draw(st.tuples(*[st.integers(0, 4)] * 4)),
            out=draw(st.integers(1, 3)),
            bias=draw(st.booleans()),
            stride=stride,
            dilation=dilation,
            activation=activation,
        )
        for _ in range(draw(st.integers(2, 4)))
    ]


@settings(max_examples=150, deadline=None)
@given(convolutions(), st.integers(5, 11), st.integers(5, 11))
def test_what_may_be_merged_gives_the_same_when_merged(given_ones, height, width):
    x = image(height, width)
    fitting = [
        c
        for c in given_ones
        if all(
            size + sum(sides) >= step * (length - 1) + 1
            for size, sides, step, length in zip(
                x.shape[2:],
                (c.padding[:2], c.padding[2:]),
                c.dilation,
                c.weight.shape[2:],
                strict=True,
            )
        )
    ]
    by_class = {}
    for i, convolution in enumerate(fitting):
        operator = operator_of(f"conv_{i}", convolution, x)
        by_class.setdefault(merge_class(operator), []).append(operator)
    largest = max(by_class.values(), key=len, default=[])
    assume(len(largest) > 1)
    assert_merged_is_the_same(largest, x)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.sampled_from([1, 3, 5, 7])] * 2), min_size=2, max_size=4),
    st.integers(1, 2),
    st.booleans(),
)
def test_centred_kernels_of_any_odd_size_merge_as_in_the_paper(kernels, stride, bias):
    x = image(9, 10)
    operators = [
        operator_of(
            f"conv_{i}",
            conv((h, w), (h // 2,) * 2 + (w // 2,) * 2, bias=bias, stride=(stride, stride)),
            x,
        )
        for i, (h, w) in enumerate(kernels)
    ]
    assert len({merge_class(operator) for operator in operators}) == 1
    merged = assert_merged_is_the_same(operators, x)
    largest = tuple(max(sizes) for sizes in zip(*kernels, strict=True))
    assert tuple(merged.convolution.weight.shape[2:]) == largest


def test_what_the_paper_forbids_is_refused():
    x = image()
    base = conv((1, 1), activation="relu")
    one = operator_of("one", base, x)
    others = {
        "another input": operator_of("other", base, x, source="y"),
        "another stride": operator_of("other", replace(base, stride=(2, 1)), x),
        "another size": operator_of("other", conv((3, 3), activation="relu"), x),
        "another activation": operator_of("other", replace(base, activation=None), x),
        "groups": operator_of("other", conv((1, 1), channels=1, out=3, groups=3), x),
        "two steps": Operator(nodes=(*one.nodes, one.nodes[0])),
    }
    for reason, other in others.items():
        assert merge_class(other) != merge_class(one), reason
        with pytest.raises(ValueError, match="may not be merged: one, o"):
            merge([one, other], (7, 8))
    for few in ([one], []):
        with pytest.raises(ValueError, match="may not be merged"):
            merge(few, (7, 8))


def test_splitting_copies_nothing():
    x = image()
    merged = merge([operator_of(f"{i}", conv((1, 1)), x) for i in range(3)], (7, 8))
    result = merged.convolution(x)
    pointers = {view.untyped_storage().data_ptr() for view in merged.split(result).values()}
    assert pointers == {result.untyped_storage().data_ptr()}


class Fire(nn.Module):
    def __init__(self):
        super().__init__()
        self.squeeze = nn.Conv2d(4, 2, 1)
        self.small = nn.Conv2d(2, 3, 1)
        self.large = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x):
        x = self.squeeze(x).relu()
        return torch.cat([self.small(x).relu(), self.large(x).relu()], 1)


def test_mergeable_stages_are_those_that_merge_by_definition():
    graph = capture(Fire().eval(), [torch.randn(1, 4, 5, 5)]).graph
    found = set()
    for block in blocks_of(graph):
        stages = stage_space(within(graph, block)).stages
        chosen = mergeable_stages(classes_of(graph, block), stages)
        assert chosen.dtype == bool
        for mask, mergeable in zip(stages.tolist(), chosen.tolist(), strict=True):
            members = [graph.operators[op] for i, op in enumerate(block) if mask >> i & 1]
            classes = {merge_class(member) for member in members}
            assert mergeable == (len(members) > 1 and len(classes) == 1 and None not in classes)
            if mergeable:
                found.add(tuple(member.kind for member in members))
    assert found == {("conv1x1+relu", "conv3x3+relu")}


def test_the_fire_modules_of_squeezenet_merge(built):
    graph = built("squeezenet")[2].graph
    merged = 0
    for block in blocks_of(graph):
        stages = stage_space(within(graph, block), endings="single-source").stages
        for mask in stages[mergeable_stages(classes_of(graph, block), stages)].tolist():
            operators = [graph.operators[op] for i, op in enumerate(block) if mask >> i & 1]
            source = graph.nodes[operators[0].inputs[0]]
            x = torch.randn(1, *source.shape[1:])
            result = merge(operators, tuple(x.shape[2:]))
            for name, value in result.split(result.convolution(x)).items():
                expected = graph.nodes[name].primitive(x)
                assert (value - expected).abs().max() <= 1e-4 * expected.abs().max()
            merged += 1
    assert merged >= 8
    assert not mergeable_stages(classes_of(graph, (0,)), np.array([1], dtype=np.uint64)).any()
