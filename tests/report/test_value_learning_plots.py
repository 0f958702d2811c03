from mlsys_ray.report.value_learning_plots import times_of_torch


def test_ratios_to_pytorch_are_drawn_and_failures_left_out():
    records = [
        {"layer": "a", "torch_ms": 2.0, "value_ms": 1.0, "li2018_ms": "failed: too large"},
        {"layer": "b", "torch_ms": 1.0, "value_ms": 4.0, "li2018_ms": 8.0},
        {"layer": "c", "torch_ms": "failed: why", "value_ms": 4.0, "li2018_ms": 8.0},
    ]
    (axis,) = times_of_torch(records).axes
    drawn = {line.get_label(): list(line.get_xdata()) for line in axis.lines}
    assert drawn["value"] == [0.5, 4.0]
    assert drawn["li2018"] == [8.0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
