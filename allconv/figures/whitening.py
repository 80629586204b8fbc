"""Figures of correlation and whitening, and of training with one norm or another.

Plain `matplotlib.figure.Figure`s: they are neither shown nor saved here.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from allconv.core.arguments import Matrix, Whole, checked
from allconv.figures import maps
from allconv.figures.grid import legible
from allconv.figures.style import in_defaults, legend
from allconv.probes.correlation import mean_correlation


@checked
@in_defaults
def descents(losses: Mapping[str, np.ndarray], *, floor: float = 1e-16) -> Figure:
    """Losses of gradient descents, against steps.

    Args:
        losses: By label: `(steps + 1,)`, from the start on.
        floor: Smaller losses are drawn there: the problem is solved.
    """
    figure = Figure(figsize=(5.4, 3.4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    drawn: dict[str, Artist] = {}
    for i, (label, values) in enumerate(losses.items()):
        style = ("-", "--", "-.", ":")[i % 4]
        (drawn[label],) = axes.plot(np.maximum(values, floor), style, lw=2)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("steps of gradient descent")
    axes.set_ylabel("loss / loss at the start")
    _plain(axes, drawn)
    return figure


@checked
@in_defaults
def covariances(matrices: Mapping[str, np.ndarray], *, columns: int = 3) -> Figure:
    """Covariance matrices side by side, each divided by its mean variance.

    Args:
        matrices: By title: `(features, features)`. The mean magnitude of their
            correlations is added to the title.
        columns: Matrices a row.
    """
    rows = -(-len(matrices) // columns)
    size = (2.7 * columns + 0.6, 3 * rows)
    figure = Figure(figsize=size, dpi=90, layout="constrained")
    grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes in grid[len(matrices) :]:
        axes.set_axis_off()
    for axes, (title, matrix) in zip(grid, matrices.items(), strict=False):
        scaled = matrix / np.mean(np.diag(matrix))
        image = axes.imshow(scaled, cmap="RdBu_r", vmin=-1, vmax=1)
        mean = f"mean |correlation| {mean_correlation(matrix):.2f}"
        axes.set_title(f"{title}\n{mean}")
        axes.set(xticks=[], yticks=[])
    figure.colorbar(image, ax=grid, shrink=0.8, label="covariance / mean variance")
    for axes in grid:
        axes.title.set_fontsize(9)
    return legible(figure)


@checked
def deconvolution_kernels(
    matrix: Matrix, size: Whole, *, columns: Whole = 9
) -> tuple[Figure, float]:
    """The rows of a whitening matrix, as the filters that they are.

    Args:
        matrix: `D`, `(size * size * channels,) * 2`, as `correlation.whitener` or a
            layer's `running_deconv` with one block has it; 1 or 3 channels.
        size: Width of the patches in pixels.
        columns: Filters a row.

    Returns:
        The figure, one filter for each value of a patch, and the limit of its scale.
    """
    filters = np.asarray(matrix).reshape(size, size, -1, len(matrix))
    return maps.filters(filters, columns=columns)


@checked
@in_defaults
def against_time(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
) -> Figure:
    """Accuracies of training runs, against epochs and against minutes.

    Args:
        curves: By label: epochs, minutes and accuracies in %, equally long.
    """
    figure = Figure(figsize=(8, 3.4), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    drawn: dict[str, Artist] = {}
    for axes in (left, right):
        axes.set_prop_cycle(color=maps.COLOURS)
    for label, (epochs, minutes, accuracies) in curves.items():
        (drawn[label],) = left.plot(epochs, accuracies, "o-", ms=3.5)
        right.plot(minutes, accuracies, "o-", ms=3.5)
    left.set_xlabel("epochs")
    right.set_xlabel("minutes")
    left.set_ylabel("test accuracy in %")
    for axes in (left, right):
        _plain(axes, drawn)
    return figure


def _plain(axes, drawn) -> None:
    axes.grid(alpha=0.3)
    legend(axes, drawn, frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
