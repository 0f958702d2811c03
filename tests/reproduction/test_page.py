"""The page of a whole reproduction, made of what a real one at laptop scale left."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from mlsys_ray.cluster.run_reader import load_run
from mlsys_ray.report.reproduction import write_reproduction
from mlsys_ray.reproduction import plan
from mlsys_ray.reproduction.running import Cost, Outcome, fill, typed

LAPTOP = Path(__file__).parent / "laptop"
"""Run directories, without their pictures and environments."""
VOID = {"meta", "img", "source", "br"}
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Checks that tags nest, and collects what links need."""

    def __init__(self, html):
        super().__init__()
        self.open, self.ids, self.targets = [], [], set()
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        if values.get("href", "").startswith("#"):
            self.targets.add(values["href"][1:])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def reproduction(tmp_path_factory):
    """The blocks at laptop scale, and their page."""
    folder = tmp_path_factory.mktemp("laptop")
    found = plan("laptop")
    outcomes = {}
    for step in found.steps:
        shutil.copytree(LAPTOP / step.name, folder / step.name)
        (folder / step.name / "environment.json").write_text("{}")
        cost = Cost(seconds=60.0, cpu_seconds=100.0, peak_bytes=2**30)
        outcomes[step.name] = Outcome(run=load_run(folder / step.name), cost=cost)
    commands = {step.name: typed(step, Path("runs/laptop")) for step in found.steps}
    blocks = [
        fill(block, outcomes, [line for name in block.steps for line in commands[name]])
        for block in found.blocks
    ]
    output = folder / "report.html"
    write_reproduction(
        blocks,
        outcomes,
        output,
        scale="laptop",
        environment={"cpu": "a processor", "usable_cores": 2},
        command="mlsys-ray reproduce",
    )
    return blocks, output


def test_every_block_that_is_attempted_is_filled(reproduction):
    assert {path.name for path in LAPTOP.iterdir()} == {step.name for step in plan("laptop").steps}
    for filled in reproduction[0]:
        if filled.block.steps:
            assert filled.status != "failed", filled.problem
            assert any(row.here is not None for row in filled.rows), filled.block.name
            assert any(row.status is not None for row in filled.rows), filled.block.name
            assert filled.commands


def test_a_block_whose_part_failed_says_why():
    (block,) = [b for b in plan("laptop").blocks if b.name == "fireplace-agents"]
    lost = {name: Outcome(run=None, problem="no space left") for name in block.steps}
    filled = fill(block, lost, [])
    assert filled.status == "failed"
    assert filled.problem.endswith("no space left")


def test_distortion_and_search_sizes_are_replicated(reproduction):
    statuses = {filled.block.name: filled.status for filled in reproduction[0]}
    exact = [f"byzshield-table-{number}" for number in (3, 4, 5)] + ["ios-table-1"]
    assert {name: statuses[name] for name in exact} == dict.fromkeys(exact, "replicated")
    table_6 = next(b for b in reproduction[0] if b.block.name == "byzshield-table-6")
    odd = [row for row in table_6.rows if row.status != "replicated"]
    assert [(row.group, row.series, row.paper) for row in odd] == [("q = 2", "gamma", 2.23)]
    assert odd[0].here == pytest.approx(2.24)


def test_the_page_is_whole_and_loads_nothing(reproduction):
    blocks, output = reproduction
    html = output.read_text()
    page = Page(html)
    assert len(set(page.ids)) == len(page.ids)
    assert page.targets <= set(page.ids)
    assert {filled.block.name for filled in blocks} <= page.targets
    text = re.sub(r"base64,[\w+/=]+", "", html)
    assert not re.search(r"src=.http|url\(|@import|<script|<link", text)
    for filled in blocks:
        assert filled.block.claim.partition("'")[0] in text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_shows_it(reproduction, tmp_path):
    _, output = reproduction
    picture = tmp_path / "page.png"
    subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--virtual-time-budget=5000", "--window-size=1300,4000"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}"),
            output.as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with Image.open(picture) as image:
        assert image.size == (1300, 4000)
        colors = image.convert("RGB").resize((130, 400)).getcolors(130 * 400)
    assert len(colors) > 200, "the page is more than an empty one"
