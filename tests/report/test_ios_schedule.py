import json

import pytest

from mlsys_ray.cli.main import main
from mlsys_ray.ios.schedule import Schedule
from mlsys_ray.report.chrome_trace import Event, chrome_trace
from mlsys_ray.report.ios_schedule import describe_schedule, schedule_picture

SCHEDULE = Schedule(
    graph="0123",
    device="a processor",
    batch_size=1,
    versions={"torch": "2"},
    stages=((("a", "b"), ("c",)), (("d",), ("e",)), (("f",),)),
    strategies=("concurrent", "merge", "concurrent"),
    workers=(((0, 1), (1, 1)), ((0, 2), (0, 2)), ((0, 2),)),
    kernels={"a": "onednn", "b": "winograd", "c": "onednn"},
)


def test_a_description_counts_what_there_is():
    found = describe_schedule(SCHEDULE)
    assert (found["operators"], found["stages"], found["most_groups"]) == (6, 3, 2)
    assert (found["concurrent_stages"], found["merged_stages"]) == (1, 1)
    assert found["kernels"] == {"onednn": 2, "winograd": 1, "engine's choice": 3}


def test_a_picture_has_a_box_for_each_group_and_names_kernels():
    figure = schedule_picture(SCHEDULE)
    (axis,) = figure.axes
    assert len(axis.patches) == 5
    texts = " ".join(text.get_text() for text in axis.texts)
    for expected in ("a > b x1", "c x1", "f x2"):
        assert expected in texts
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == set(
        describe_schedule(SCHEDULE)["kernels"]
    )
    thick = [box for box in axis.patches if box.get_linewidth() == 2]
    assert len(thick) == 2
    assert len(schedule_picture(SCHEDULE, max_stages=1).axes[0].patches) == 2


def test_the_command_draws_a_file(tmp_path, capsys):
    path = tmp_path / "schedule.json"
    SCHEDULE.save(path)
    assert main(["ios", "show", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"] == 3
    assert (tmp_path / "schedule.png").read_bytes().startswith(b"\x89PNG")
    path.write_text("{")
    assert main(["ios", "show", str(path)]) == 2
    assert "damaged" in capsys.readouterr().err


def event(name, thread, start, duration):
    return Event(name=name, thread=thread, start=start, duration=duration, stage=0)


def test_a_trace_is_what_perfetto_reads():
    events = [event("b", 0, 2.5, 1.0), event("a", 0, 0.0, 2.5), event("c", 1, 0.5, 4.0)]
    trace = json.loads(json.dumps(chrome_trace(events, "squeezenet")))
    assert {entry["ph"] for entry in trace["traceEvents"]} == {"M", "X"}
    complete = [entry for entry in trace["traceEvents"] if entry["ph"] == "X"]
    assert [(e["name"], e["tid"], e["ts"], e["dur"]) for e in complete] == [
        ("a", 0, 0.0, 2.5),
        ("b", 0, 2.5, 1.0),
        ("c", 1, 0.5, 4.0),
    ]
    names = {e["args"]["name"] for e in trace["traceEvents"] if e["ph"] == "M"}
    assert names == {"squeezenet", "thread 0", "thread 1"}


def test_events_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="overlap"):
        chrome_trace([event("a", 0, 0, 2), event("b", 0, 1, 2)], "run")
    with pytest.raises(ValueError, match="less than 0"):
        chrome_trace([event("a", 0, 0, -1)], "run")
