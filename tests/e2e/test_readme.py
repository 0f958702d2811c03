"""What the README tells people to type is what the command takes."""

import re
import shlex
from pathlib import Path

import pytest
import tyro

from mlsys_ray.cli.main import AnyCommand

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README.read_text(), re.DOTALL)
LINES = [
    line.partition(" #")[0].removeprefix(".venv/bin/mlsys-ray ")
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
    if line.startswith(".venv/bin/mlsys-ray ")
]


@pytest.mark.parametrize("line", LINES)
def test_commands_are_accepted(line):
    tyro.cli(AnyCommand, args=shlex.split(line), config=(tyro.conf.OmitArgPrefixes,))


def test_there_are_commands_and_the_first_screen_shows_how_to_start():
    assert len(LINES) >= 5
    first_screen = README.read_text()[:600]
    assert "make demo" in first_screen
    assert "make test" in first_screen


@pytest.mark.parametrize("code", [block for language, block in BLOCKS if language == "python"])
def test_python_examples_run(code):
    exec(code.replace("iterations=20", "iterations=2"), {})
