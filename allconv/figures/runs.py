"""Figures of training runs: learning curves, errors, confusion matrices.

Plain `matplotlib.figure.Figure`s: they are neither shown nor saved here.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from allconv.core.arguments import checked
from allconv.figures.grid import legible
from allconv.figures.maps import COLOURS
from allconv.figures.style import in_defaults, legend

STYLES = ("-", "--", ":")


@checked
@in_defaults
def learning_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    ylabel: str = "test accuracy in %",
    marks: Sequence[str] = ("o", "s", "^", "v", "D"),
) -> Figure:
    """Any number of curves over epochs; more than six are named beside the axes.

    Args:
        curves: By label: (epochs, values), equally long.
        ylabel: What the values are.
        marks: Matplotlib markers, in turn.

    Raises:
        ValueError: If there is no curve, or one is not as long as its epochs.
    """
    if not curves:
        raise ValueError("There is no curve to draw. Received: curves={}")
    many = len(curves) > 6
    figure, axes = _axes("epoch", ylabel, width=8 if many else 6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    drawn: dict[str, Artist] = {}
    for i, (label, (epochs, values)) in enumerate(curves.items()):
        if len(epochs) != len(values):
            raise ValueError(
                f"Every epoch of {label!r} needs a value. "
                f"Received: {len(epochs)} epochs, {len(values)} values"
            )
        line = STYLES[i // 10 % len(STYLES)]  # there are ten colours
        mark = marks[i % len(marks)]
        (drawn[label],) = axes.plot(epochs, values, mark + line, ms=3.5, label=label)
    if many:
        legend(figure, drawn, loc="outside right upper", frameon=False, fontsize=8)
    else:
        legend(axes, drawn, frameon=False, fontsize=8)
    return figure


@checked
@in_defaults
def scatter(
    points: Mapping[str, Sequence[tuple[float, float, str]]],
    *,
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    marks: Sequence[str] = ("o", "s", "D", "^", "v"),
) -> Figure:
    """Runs as points, a colour and a mark for each kind.

    Args:
        points: By label: (x, y, name), the name written beside the point.
        xlabel: What x is.
        ylabel: What y is.
        levels: By label: values of y to draw a line at.
        marks: Matplotlib markers, in turn.
    """
    figure, axes = _axes(xlabel, ylabel)
    drawn: dict[str, Artist] = {}
    for i, (label, group) in enumerate(points.items()):
        x, y = [p[0] for p in group], [p[1] for p in group]
        (drawn[label],) = axes.plot(x, y, marks[i % len(marks)], label=label)
        for across, up, name in group:
            place = (across, up)
            axes.annotate(name, place, (5, 3), textcoords="offset points", fontsize=8)
    for (label, value), style in zip((levels or {}).items(), itertools.cycle(STYLES)):
        drawn[label] = axes.axhline(value, color="0.5", lw=1, ls=style, label=label)
    legend(axes, drawn, frameon=False, fontsize=8)
    return figure


@checked
@in_defaults
def slopes(
    panels: Mapping[str, Mapping[str, tuple[float, float]]],
    *,
    ends: tuple[str, str],
    ylabel: str,
    marks: Sequence[str] = ("o", "s", "D", "^", "v"),
) -> Figure:
    """A slope chart: each line goes from one measurement to another, in panels.

    Where lines of a panel do not cross, the order is the same on both sides.

    Args:
        panels: By title: by label (left value, right value). A label has one colour and
            one mark in all panels.
        ends: What the left values are, and the right ones.
        ylabel: The unit of both.
        marks: Matplotlib markers, in turn.

    Raises:
        ValueError: If there is no panel.
    """
    if not panels:
        raise ValueError("There is no panel to draw. Received: panels={}")
    size = (2.1 * len(panels) + 1.6, 3.6)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    labels = list(dict.fromkeys(label for panel in panels.values() for label in panel))
    drawn: dict[str, Artist] = {}
    for axes, (title, panel) in zip(row, panels.items(), strict=True):
        for label, values in panel.items():
            i = labels.index(label)
            style = {
                "color": COLOURS[i % len(COLOURS)],
                "marker": marks[i % len(marks)],
            }
            (drawn[label],) = axes.plot((0, 1), values, **style, label=label)
        axes.set_title(title, fontsize=10)
        axes.set_xticks((0, 1), ends)
        axes.set_xlim(-0.25, 1.25)
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    row[0].set_ylabel(ylabel)
    legend(figure, drawn, loc="outside right upper", frameon=False)
    return legible(figure)


def _axes(xlabel: str, ylabel: str, width: float = 6) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, 3.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=COLOURS)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


@checked
@in_defaults
def confusion_matrix(confusion: np.ndarray, names: Sequence[str]) -> Figure:
    """Who is taken for whom: rows are true classes, columns predicted, in %.

    Args:
        confusion: Counts `(classes, classes)`.
        names: One per class.

    Raises:
        ValueError: If the matrix is not square or the names do not fit.
    """
    confusion = np.asarray(confusion, float)
    n = len(names)
    if confusion.shape != (n, n):
        raise ValueError(
            f"`confusion` should have shape ({n}, {n}), as there are {n} names. "
            f"Received: shape={confusion.shape}"
        )
    totals = confusion.sum(axis=1, keepdims=True)
    share = 100 * np.divide(confusion, totals, where=totals > 0, out=confusion * 0)
    size = (0.42 * n + 1.2, 0.42 * n + 0.9)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for i, j in np.ndindex(n, n):
        if share[i, j] >= 0.5:
            colour = "white" if share[i, j] > 55 else "black"
            text = f"{share[i, j]:.0f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(n), names, rotation=90, fontsize=7)
    axes.set_yticks(range(n), names, fontsize=7)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
    axes.tick_params(length=0)
    return figure
