import numpy as np

from mlsys_ray.report import plots


def lines(figure):
    return figure.axes[0].get_lines()


def curve(slot, y):
    y = np.asarray(y, dtype=float)
    return plots.Curve(label=f"run {slot}", slot=slot, x=np.arange(len(y)), y=y)


def test_a_run_keeps_its_colour_whatever_runs_are_beside_it():
    alone = plots.curves([curve(2, [1, 2])], x_label="step", y_label="loss")
    third = plots.curves([curve(slot, [1, 2]) for slot in range(3)], x_label="", y_label="")
    assert lines(alone)[0].get_color() == lines(third)[2].get_color() == plots.run_color(2)


def test_runs_that_share_a_colour_have_another_line():
    figure = plots.curves([curve(0, [1, 2]), curve(8, [1, 2])], x_label="", y_label="")
    first, ninth = lines(figure)
    assert first.get_color() == ninth.get_color()
    assert first.get_linestyle() != ninth.get_linestyle()


def test_values_that_are_not_finite_are_left_out():
    figure = plots.curves([curve(0, [1, np.nan, np.inf, 4])], x_label="", y_label="")
    assert lines(figure)[0].get_xydata().tolist() == [[0, 1], [3, 4]]
    empty = plots.curves([curve(0, [np.nan])], x_label="", y_label="")
    assert len(lines(empty)[0].get_xydata()) == 0


def test_three_decades_of_positive_values_are_logarithmic():
    def scale(values):
        return plots.curves([curve(0, values)], x_label="", y_label="").axes[0].get_yscale()

    assert scale([1, 1000]) == "log"
    assert scale([1, 900]) == "linear"
    assert scale([0, 1000]) == "linear"


def test_many_points_are_faint_under_their_centred_mean():
    values = np.arange(100.0) + np.tile([5.0, -5.0], 50)
    raw, mean = lines(plots.curves([curve(0, values)], x_label="", y_label=""))
    np.testing.assert_array_equal(raw.get_ydata(), values)
    window = plots.smoothing_window(100)
    assert window == 5
    np.testing.assert_allclose(mean.get_ydata()[50], values[48:53].mean())
    np.testing.assert_allclose(mean.get_ydata()[[0, 1, -1]], [5, values[:3].mean(), 94])


def test_bars_add_up_to_the_time_of_an_iteration():
    split = {"a": {"compute": 1.0, "vote": 0.5}, "b": {"compute": 2.0}}
    axes = plots.time_split(split).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1.5 s", "2 s"]
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert ends == [1.0, 2.0, 1.5, 2.0]
