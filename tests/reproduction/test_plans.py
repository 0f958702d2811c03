"""What a reproduction would run is what the commands take, and its blocks are whole."""

from dataclasses import replace

import pytest
import tyro

from mlsys_ray.cli.main import AnyCommand
from mlsys_ray.reproduction import PLANS, STATUSES, SYSTEMS, plan
from mlsys_ray.reproduction.base import Row, judged, worst

SCALES = ("laptop", "cluster")
STEPS = [(scale, step) for scale in SCALES for step in plan(scale).steps]


@pytest.mark.parametrize(("scale", "step"), STEPS, ids=lambda x: getattr(x, "name", x))
def test_commands_are_accepted(scale, step):
    config = (tyro.conf.OmitArgPrefixes,)
    place = ["--run-dir", "somewhere"]
    if step.on_cluster:
        place += ["--address", "auto"]
    tyro.cli(AnyCommand, args=[*step.arguments, *place], config=config)
    if step.before:
        tyro.cli(AnyCommand, args=list(step.before), config=config)


@pytest.mark.parametrize("scale", SCALES)
def test_blocks_are_whole(scale):
    found = plan(scale)
    names = [block.name for block in found.blocks]
    assert len(set(names)) == len(names)
    used = {step for block in found.blocks for step in block.steps}
    assert used == {step.name for step in found.steps}, "every run is compared with something"
    for block in found.blocks:
        assert all((block.claim, block.source, block.why)), block.name
        assert bool(block.tolerance) == bool(block.steps), block.name
        assert all(step in block.steps for step, _ in block.plots), block.name
    assert {block.system for block in found.blocks} == set(SYSTEMS) == set(PLANS)


def test_a_system_can_be_left_out():
    assert {block.system for block in plan("laptop", ["ios"]).blocks} == {"ios"}


def test_what_is_not_attempted_still_shows_the_papers_numbers():
    block = next(b for b in plan("laptop").blocks if b.name == "ios-table-3")
    rows = block.compare({})
    assert {(row.group, row.series): round(row.paper, 2) for row in rows}[
        "run at 1", "found for 128"
    ] == 1.13
    assert all(row.here is None and row.status is None for row in rows)


def test_a_block_is_as_good_as_its_worst_row():
    row = Row(group="", series="", paper=1, here=1, status="replicated")
    assert worst([row]) == "replicated"
    assert worst([row, replace(row, status="in shape"), replace(row, status=None)]) == "in shape"
    assert worst([replace(row, status=status) for status in STATUSES]) == STATUSES[-1]
    assert worst([]) == "failed"


@pytest.mark.parametrize(
    ("here", "status"),
    [(1.0, "replicated"), (1.04, "replicated"), (0.9, "in shape"), (None, "failed")],
)
def test_tolerance(here, status):
    assert judged(1.0, here, within=0.05, in_shape=True) == status
    assert judged(1.0, 0.9, within=0.05) == "not replicated"
