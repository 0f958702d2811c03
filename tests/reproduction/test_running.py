"""Parts are run once, go on after an interruption, and fail without taking others along."""

import json
import os
import re
import signal

import psutil
import pytest

from mlsys_ray.cli import reproduction as command
from mlsys_ray.cli.main import main
from mlsys_ray.cluster.run_directory import RunDirectory
from mlsys_ray.cluster.run_reader import load_run
from mlsys_ray.reproduction import running
from mlsys_ray.reproduction.base import Block, Plan, Row, Step
from mlsys_ray.reproduction.running import Outcome, fill, run_step, typed

TABLES = Step(
    name="distortion",
    arguments=("byzshield", "reproduce", "--figures", "--max-byzantine", "3"),
    resumes=True,
)
BROKEN = Step(name="broken", arguments=("byzshield", "train", "--rule", "no-such-rule"))


class Quiet:
    def line(self, text):
        pass


class Interrupting:
    """Ctrl-C as soon as the command says something."""

    def line(self, text):
        raise KeyboardInterrupt


def block(step, compare=lambda runs: [], **more):
    texts = {"title": step.name, "source": "table 1", "claim": "it works", "why": "it does not"}
    return Block(
        name=f"block-{step.name}",
        system="byzshield",
        tolerance="equal",
        steps=(step.name,),
        compare=compare,
        **texts,
        **more,
    )


def c_max(runs):
    rows = runs["distortion"].tables["distortion, paper and here"].to_dict("records")
    return [
        Row(
            group=f"q = {row['byzantine']}",
            series=f"table {row['table']}",
            paper=row["paper"],
            here=row["here"],
            status="replicated" if row["paper"] == row["here"] else "not replicated",
            x=row["byzantine"],
        )
        for row in rows
    ]


@pytest.mark.slow
def test_an_interrupted_part_is_ended_and_gone_on_with_and_then_kept(tmp_path, monkeypatch):
    # The part is short: it must not be over before anybody looks.
    monkeypatch.setattr(running, "POLL_SECONDS", 0.02)
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt):
        run_step(TABLES, tmp_path, None, Interrupting())
    assert set(psutil.Process().children(recursive=True)) <= before
    done = run_step(TABLES, tmp_path, None, Quiet())
    assert done.run is not None, done.problem
    assert done.run.status == "done"
    assert done.cost.cpu_seconds > 0
    assert done.cost.peak_bytes > 2**20
    written = (tmp_path / "logs/distortion.log").stat().st_mtime_ns
    again = run_step(TABLES, tmp_path, None, Quiet())
    assert again.cost == done.cost
    assert (tmp_path / "logs/distortion.log").stat().st_mtime_ns == written


def test_a_part_in_use_is_left_alone(tmp_path):
    with RunDirectory.create(tmp_path / "distortion", {}, experiment="other") as run:
        outcome = run_step(TABLES, tmp_path, None, Quiet())
        run.finish({})
    assert outcome.run is None
    assert f"in use by process {os.getpid()}" in outcome.problem


def test_what_a_user_types(tmp_path):
    before = ("value-learning", "collect", "--store", "{folder}/samples")
    step = Step(name="x", before=before, arguments=("ios", "count", "--model", "a b"))
    assert typed(step, tmp_path) == (
        f"mlsys-ray value-learning collect --store {tmp_path}/samples",
        'mlsys-ray ios count --model "a b"',
    )


def test_blocks_without_runs_or_with_strange_ones_have_failed(make_run):
    missing = fill(
        block(TABLES), {"distortion": Outcome(run=None, problem="no space")}, ["command"]
    )
    assert (missing.status, missing.problem) == ("failed", "distortion: no space")
    strange = {"distortion": Outcome(run=load_run(make_run("distortion")))}
    found = fill(block(TABLES, c_max), strange, [])
    assert found.status == "failed"
    assert "distortion, paper and here" in found.problem


@pytest.fixture
def small_plan(monkeypatch):
    """A reproduction of one part that works and one that does not."""
    blocks = (block(TABLES, c_max, layout="curves", x_label="q"), block(BROKEN))
    small = Plan(steps=(TABLES, BROKEN), blocks=blocks)
    monkeypatch.setattr("mlsys_ray.reproduction.plan", lambda scale, systems: small)


@pytest.mark.slow
def test_the_command_shows_what_failed_and_goes_on(small_plan, tmp_path, capsys):
    folder = tmp_path / "all"
    arguments = ["reproduce", "--run-dir", str(folder), "--json"]
    assert main(arguments) == 3
    shown = capsys.readouterr()
    statuses = {b["name"]: b["status"] for b in json.loads(shown.out)["blocks"]}
    assert statuses == {"block-distortion": "replicated", "block-broken": "failed"}
    assert "[2/2] broken: failed: exit status 2" in shown.err
    page = (folder / "report.html").read_text()
    text = re.sub(r"base64,[\w+/=]+", "", page)
    assert "rule is &#39;no-such-rule&#39;" in text
    assert "mlsys-ray reproduce --scale laptop" in text
    assert "mlsys-ray byzshield reproduce --figures" in text
    assert not re.search(r"https?://|url\(|@import|<script", text)
    assert page.count("data:image/png") == 2, "one picture, light and dark"
    run = load_run(folder)
    assert (run.status, run.summary["failed"], run.summary["replicated"]) == ("done", 1, 1)
    assert list(run.tables["block-distortion"].columns[:4]) == ["", "what", "paper", "here"]
    written = (folder / "logs/distortion.log").stat().st_mtime_ns
    assert main(arguments) == 3
    assert (folder / "logs/distortion.log").stat().st_mtime_ns == written


def test_a_report_on_what_is_there_runs_nothing(small_plan, tmp_path):
    folder = tmp_path / "all"
    assert main(["reproduce", "--run-dir", str(folder), "--report-only"]) == 3
    assert not (folder / "logs").exists()
    assert "distortion: not run yet" in (folder / "report.html").read_text()


def test_an_interruption_says_how_to_go_on(small_plan, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command.ReproduceAll, "_step", interrupted)
    folder = tmp_path / "all"
    assert main(["reproduce", "--run-dir", str(folder)]) == 128 + signal.SIGINT
    assert f"--run-dir {folder}" in capsys.readouterr().err
    assert load_run(folder).status == "interrupted"


def test_no_system_is_a_mistake(capsys):
    assert main(["reproduce", "--only"]) == 2
