"""Tables in pages say what their records say, and what disagrees is found."""

import json
from pathlib import Path

import pytest

from mlsys_ray.cli.main import main
from mlsys_ray.cluster.run_directory import RunDirectory
from mlsys_ray.cluster.run_reader import load_run
from mlsys_ray.report.doc_results import agrees, check, write_record

ROOT = Path(__file__).parents[2]
ROWS = [
    {"what": "a", "paper": 10, "here": 10.26, "note": None},
    {"what": "b `x`", "paper": 3_757_392, "here": 0.5, "note": "why"},
]


@pytest.fixture
def recorded(tmp_path):
    """A page that shows a record of a run, and the run."""
    with RunDirectory.create(tmp_path / "run", {"seed": 0}, experiment="training") as run:
        run.save_table("results, first", ROWS)
        run.finish({})
    docs = tmp_path / "docs"
    docs.mkdir()
    text = write_record(load_run(tmp_path / "run"), "results, first", docs / "results")
    (docs / "page.md").write_text(f"# Page\n\n{text}\nMore.\n")
    return docs, tmp_path / "run"


def problems(docs):
    return check(sorted(docs.glob("*.md")), docs / "results")


def test_the_documentation_agrees_with_its_records():
    assert check([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"], ROOT / "docs/results") == []


def test_what_is_written_agrees(recorded):
    docs, run = recorded
    text = (docs / "page.md").read_text()
    assert "| b `x` | 3,757,392 | 0.5 | why |" in text
    assert problems(docs) == []
    assert check([docs / "page.md"], docs / "results", [load_run(run)]) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("10.3", "10.2", "says '10.2', record 10.26"),
        ("10.3", "**10.26**", None),
        ("10.3", "10", None),
        ("3,757,392", "3,757,393", "record 3757392"),
        ("| why |", "| because |", "says 'because'"),
        ("| here |", "| elsewhere |", "is not in the record"),
        ("| a | 10 | 10.3 | – |\n", "", "1 rows, record results-first has 2"),
        ("result: results-first", "result: second", "record second does not exist"),
        ("<!-- result: results-first -->", "", "record results-first is shown on no page"),
        ("| a | 10 |", "| a |", "has 3 cells, must be 4"),
    ],
)
def test_a_page_that_disagrees_is_found(recorded, old, new, says):
    docs, _ = recorded
    text = (docs / "page.md").read_text()
    assert old in text
    (docs / "page.md").write_text(text.replace(old, new))
    found = problems(docs)
    assert (found == []) if says is None else any(says in problem for problem in found), found


def test_a_run_that_disagrees_is_found(recorded, make_run):
    docs, run = recorded
    pages = [docs / "page.md"]
    table = run / "tables" / "results, first.json"
    table.write_text(table.read_text().replace("10.26", "10.27"))
    assert "is not that of record" in check(pages, docs / "results", [load_run(run)])[0]
    other = load_run(make_run("other"))
    assert "no record was made from it" in check(pages, docs / "results", [other])[0]


@pytest.mark.parametrize(
    ("cell", "value", "same"),
    [
        ("–", None, True),
        ("0", None, False),
        ("1,206 / 25,022", [1206, 25022], True),
        ("1,206 / 25,022", [1206], False),
        ("\u22120.4", -0.36, True),
        ("2e-7", 2.4e-7, True),
        ("2e-7", 2.6e-7, False),
        ("yes", True, False),
    ],
)
def test_cells(cell, value, same):
    assert agrees(cell, value) is same


def test_the_command(recorded, tmp_path, capsys):
    docs, run = recorded
    assert main(["report", "--check", "--docs", str(docs)]) == 0
    assert main(["report", str(run), "--check", "--docs", str(docs)]) == 0
    made = tmp_path / "made"
    assert main(["report", str(run), "--record", str(made)]) == 0
    assert "<!-- result: results-first -->" in capsys.readouterr().out
    assert json.loads((made / "results-first.json").read_text())["config"] == {"seed": 0}
    page = docs / "page.md"
    page.write_text(page.read_text().replace("10.3", "11"))
    assert main(["report", "--check", "--docs", str(docs)]) == 1
    assert "says '11'" in capsys.readouterr().err
    assert main(["report", "--check", "--docs", str(tmp_path / "none")]) == 2
