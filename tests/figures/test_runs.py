"""What is drawn is what was given; what cannot be drawn is named."""

import io

import numpy as np
import pytest

from allconv.figures import runs
from allconv.figures.maps import COLOURS


def test_curves_hold_the_values():
    figure = runs.learning_curves(
        {"ours": ([1, 2, 3], [10.0, 20.0, 30.0]), "theirs": ([1, 3], [5.0, 6.0])}
    )
    (axes,) = figure.axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["ours"] == [[1, 10], [2, 20], [3, 30]]
    assert drawn["theirs"] == [[1, 5], [3, 6]]
    colours = [line.get_color() for line in axes.lines]
    assert colours == COLOURS[:2]
    figure.savefig(io.BytesIO(), format="png")


def test_the_names_of_many_curves_hide_none_of_them():
    curves = {f"run {i}": ([1, 2], [i, i + 1]) for i in range(12)}
    figure = runs.learning_curves(curves)
    figure.savefig(io.BytesIO(), format="png")
    (legend,), (axes,) = figure.legends, figure.axes
    assert [text.get_text() for text in legend.get_texts()] == list(curves)
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    looks = {(x.get_color(), x.get_linestyle(), x.get_marker()) for x in axes.lines}
    assert len(looks) == len(curves)
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_points_hold_the_values_and_their_names():
    figure = runs.scatter(
        {"ours": [(1, 2, "A"), (3, 4, "B")], "theirs": []},
        xlabel="minutes",
        ylabel="error",
        levels={"paper": 2.5},
    )
    (axes,) = figure.axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["ours"] == [[1, 2], [3, 4]]
    assert drawn["theirs"] == []
    assert [y for _, y in drawn["paper"]] == [2.5, 2.5]
    assert [text.get_text() for text in axes.texts] == ["A", "B"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("minutes", "error")
    figure.savefig(io.BytesIO(), format="png")


def test_slopes_go_from_left_to_right_in_one_colour_a_label():
    panels = {"a": {"base": (1, 2), "other": (3, 4)}, "b": {"other": (5, 6)}}
    figure = runs.slopes(panels, ends=("then", "now"), ylabel="error")
    lines = [line for axes in figure.axes for line in axes.lines]
    assert [line.get_ydata().tolist() for line in lines] == [[1, 2], [3, 4], [5, 6]]
    assert [line.get_xdata().tolist() for line in lines] == [[0, 1]] * 3
    base, other, again = ((x.get_color(), x.get_marker()) for x in lines)
    assert other == again != base
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["base", "other"]
    ticks = figure.axes[0].get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["then", "now"]
    with pytest.raises(ValueError, match="no panel"):
        runs.slopes({}, ends=("then", "now"), ylabel="error")


def test_confusion_is_in_per_cent_of_the_true_class():
    figure = runs.confusion_matrix(np.array([[3, 1], [0, 0]]), ["cat", "dog"])
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.images[0].get_array(), [[75, 25], [0, 0]])
    assert [t.get_text() for t in axes.texts] == ["75", "25"]
    figure.savefig(io.BytesIO(), format="png")


def test_bad_input():
    with pytest.raises(ValueError, match="no curve"):
        runs.learning_curves({})
    with pytest.raises(ValueError, match="2 epochs, 1 values"):
        runs.learning_curves({"a": ([1, 2], [1.0])})
    with pytest.raises(ValueError, match=r"shape \(3, 3\)"):
        runs.confusion_matrix(np.zeros((2, 2)), ["a", "b", "c"])
