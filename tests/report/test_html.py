import base64
import json
import re
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from mlsys_ray.cli.console import UsageError
from mlsys_ray.cli.report import Report
from mlsys_ray.cluster.run_directory import RunDirectory
from mlsys_ray.report.html import default_output, write_report

VOID = {"meta", "img", "source", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what a page holds."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if text := " ".join(data.split()):
            self.texts.append(text)

    def attributes(self, tag, name):
        return [values[name] for kind, values in self.tags if kind == tag and name in values]


@pytest.fixture
def runs(make_run, tmp_path):
    """Two runs that can be compared, one of them with plots and tables of its own."""
    rows = [
        {"iteration": step, "test_accuracy": step / 10, "seconds_compute": 0.2, "seconds_vote": 0.1}
        for step in range(1, 6)
    ]
    plain = make_run("plain", {"rule": "median"}, rows=rows, summary={"best": 0.51234})
    with RunDirectory.create(
        tmp_path / "shield", {"rule": "<shield> & co"}, experiment="training"
    ) as run:
        for row in rows:
            run.log(row)
        run.save_plot("gradient_norms", Figure())
        run.save_table("distortion", [{"byzantine": q, "difference": q - 2} for q in (2, 3)])
        run.finish({"best": 0.9})
    return [plain, tmp_path / "shield"]


def written(runs, output):
    report = write_report(runs, output)
    return report, Page(output.read_text())


def test_the_page_loads_nothing_from_elsewhere(runs, tmp_path):
    _, page = written(runs, tmp_path / "r.html")
    sources = page.attributes("img", "src") + page.attributes("source", "srcset")
    assert sources
    for source in sources:
        assert base64.b64decode(source.removeprefix("data:image/png;base64,"))[:4] == b"\x89PNG"
    assert not [tag for tag, _ in page.tags if tag in {"script", "link", "iframe", "object"}]
    assert all(link.startswith("#") for link in page.attributes("a", "href"))
    text = re.sub(r"base64,[\w+/=]+", "", (tmp_path / "r.html").read_text())
    assert not re.search(r"https?://|url\(|@import", text)


def test_links_and_labels_point_to_something(runs, tmp_path):
    _, page = written(runs, tmp_path / "r.html")
    names = [values["id"] for _, values in page.tags if "id" in values]
    assert len(names) == len(set(names))
    targets = {link[1:] for link in page.attributes("a", "href")}
    targets |= {values["aria-labelledby"] for _, values in page.tags if "aria-labelledby" in values}
    assert targets <= set(names)
    assert all(page.attributes("img", "alt"))


def test_every_run_is_there_with_its_numbers(runs, tmp_path):
    report, page = written(runs, tmp_path / "r.html")
    assert report.runs == {str(run): "done" for run in runs}
    assert report.problems == {}
    for text in [
        "plain",
        "shield",
        "0.5123",
        "0.9000",
        "<shield> & co",
        "Run it again",
        "Configuration",
        "Environment",
        "What differs in the configuration",
        "test accuracy by iteration",
        "gradient norms",
        "distortion",
        "Where the time goes",
    ]:
        assert text in page.texts
    time = next(text for text in page.attributes("img", "alt") if "Stacked bars" in text)
    assert "shield: compute 0.2 s, vote 0.1 s" in time
    classes = page.attributes("td", "class")
    assert "number zero" in classes
    assert "number nonzero" in classes


def test_curves_need_two_runs_that_share_the_metric(make_run, tmp_path):
    rows = [{"step": 1, "loss": 1.0, "own": 1}, {"step": 2, "loss": float("inf"), "own": 2}]
    runs = [
        make_run("a", rows=[*rows, {"step": 3, "loss": 0.1, "own": 3}]),
        make_run("b", rows=[{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]),
    ]
    _, page = written(runs, tmp_path / "r.html")
    assert "loss by step" in page.texts
    assert "1 infinite values are not drawn." in page.texts
    assert "own by step" not in page.texts
    _, page = written(runs[:1], tmp_path / "r.html")
    assert "own by step" in page.texts


def test_rows_that_count_nothing_are_no_curves(make_run, tmp_path):
    rows = [{"policy": "random", "seed": 0, "par": 1.5}, {"policy": "mixture", "seed": 0, "par": 1}]
    _, page = written([make_run("a", rows=rows)], tmp_path / "r.html")
    assert not any("par by" in text for text in page.texts)
    rows = [{"round": 0, "loss": 1.5}, {"round": 1, "loss": 1.0}]
    _, page = written([make_run("b", rows=rows)], tmp_path / "r.html")
    assert "loss by round" in page.texts


def test_broken_runs_are_named_and_do_not_stop_the_rest(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    (runs[0] / "metrics.jsonl").write_text("rubbish\n")
    report, page = written([*runs, tmp_path / "empty", tmp_path / "absent"], tmp_path / "r.html")
    assert len(report.problems) == 3
    assert list(report.runs) == [str(run) for run in runs]
    text = " ".join(page.texts)
    assert "metrics.jsonl, line 1 is damaged" in text
    assert "empty is not a whole run directory: config.json is missing" in text
    assert "absent does not exist" in text
    assert "0.9000" in text


def test_a_failed_run_tells_its_error(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        RunDirectory.create(tmp_path / "run", {}, experiment="training"),
    ):
        1 / 0  # noqa: B018
    report, page = written([tmp_path / "run"], tmp_path / "r.html")
    assert report.problems == {}
    assert "ZeroDivisionError: division by zero" in page.texts


def test_runs_of_one_name_are_told_apart(make_run, tmp_path):
    _, page = written([make_run("x/run"), make_run("y/run")], tmp_path / "r.html")
    assert {"x/run", "y/run"} <= set(page.texts)


def test_long_tables_are_cut_and_say_so(tmp_path):
    with RunDirectory.create(tmp_path / "run", {}, experiment="training") as run:
        run.save_table("long", [{"row": row} for row in range(500)])
        run.finish({})
    _, page = written([tmp_path / "run"], tmp_path / "r.html")
    assert "The first 200 of 500 rows." in page.texts


def test_the_default_place_is_what_the_runs_share(tmp_path):
    assert default_output([tmp_path / "a"]) == tmp_path / "a/report.html"
    assert default_output([tmp_path / "d/a", tmp_path / "d/b"]) == tmp_path / "d/report.html"


def test_the_command(runs, tmp_path, capsys):
    with pytest.raises(UsageError, match="one run directory or more"):
        Report(runs=()).run()
    assert Report(runs=tuple(runs)).run() == 0
    assert (tmp_path / "report.html").exists()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert str(tmp_path / "report.html") in shown.err
    several = (*runs, tmp_path / "absent")
    assert Report(runs=several, output=tmp_path / "r.html", json=True).run() == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["path"] == str(tmp_path / "r.html")
    assert list(shown["problems"]) == [str(tmp_path / "absent")]


def test_an_output_that_cannot_be_written(runs, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert Report(runs=tuple(runs), output=tmp_path / "file" / "r.html").run() == 1
    assert "r.html cannot be written" in capsys.readouterr().err
