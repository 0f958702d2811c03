"""Sizes of the search against the published ones."""

import pytest
import torch

from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.networks.inception_v3 import InceptionV3
from mlsys_ray.ios.networks.layers import initialised
from mlsys_ray.ios.search.counts import count_blocks, width

PRUNED = {"endings": "single-source", "max_group_size": 3, "max_groups": 8}


def largest(counts):
    return max(counts, key=lambda count: count.transitions)


def numbers(count):
    return count.states, count.transitions, count.schedules


def test_squeezenet(built):
    squeezenet = built("squeezenet")[2].graph
    counts = count_blocks(squeezenet, **PRUNED)
    assert [count.operators for count in counts] == [2, 6, 5, 6, 1, 5, 6, 5, 6, 1, 5, 2]
    assert sum(count.states for count in counts) == 78
    assert sum(count.transitions for count in counts) == 260
    assert largest(counts).width == 3
    assert numbers(largest(counts)) == (12, 47, 126)
    unpruned = count_blocks(squeezenet, endings="single-source")
    assert numbers(largest(unpruned)) == (12, 51, 131)
    assert numbers(largest(count_blocks(squeezenet))) == (12, 60, 152)


@pytest.mark.slow
def test_inception_v3():
    # The published graph has no fully-connected layer.
    module = initialised(lambda: InceptionV3(num_classes=None), (3, 299, 299), 0)
    graph = capture(module, [torch.randn(1, 3, 299, 299)]).graph
    counts = count_blocks(graph, **PRUNED)
    assert [c.operators for c in counts] == [7, 9, 9, 9, 6, 12, 12, 12, 12, 8, 11, 11, 1]
    assert sum(count.states for count in counts) == 1206
    assert sum(count.transitions for count in counts) == 25022
    assert largest(counts).width == 6
    assert numbers(counts[10]) == (180, 4616, 3727132)
    assert numbers(counts[5]) == (144, 3104, 4448840)
    unpruned = count_blocks(graph, endings="single-source")
    assert numbers(unpruned[10]) == (180, 4871, 3757392)
    assert numbers(unpruned[5]) == (144, 3648, 4598400)
    assert numbers(count_blocks(graph)[10])[1:] == (5040, 4410136)


@pytest.mark.slow
def test_cells_of_nasnet_are_parts(built):
    counts = count_blocks(built("nasnet_a_large")[2].graph, **PRUNED)
    normal = [16] * 5
    assert [count.operators for count in counts] == [
        *[1, 18, 21, 18, *normal],
        *[19, 18, *normal],
        *[19, 18, *normal],
        2,
    ]


@pytest.mark.slow
def test_stages_of_randwire_are_blocks(built):
    counts = count_blocks(built("randwire")[2].graph, **PRUNED)
    assert [count.operators for count in counts] == [1, 17, 33, 33, 33, 3]


def test_width_of_known_orders():
    assert width(((), (0,), (1,))) == 1
    assert width(((), (), ())) == 3
    assert width(((), (0,), (0,), (1, 2))) == 2
