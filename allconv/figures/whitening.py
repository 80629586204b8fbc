"""Figures of correlation and whitening, and of training with one norm or another.

Plain `matplotlib.figure.Figure`s: they are neither shown nor saved here.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from allconv.core.arguments import Matrix, Positive, checked
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
    axes.set_prop_cycle(color=maps.COLOURS)
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
@in_defaults
def deconvolution_kernels(matrices: Mapping[str, Matrix]) -> Figure:
    """The rows of whitening matrices that make the middle pixels, as filters.

    One filter a colour channel, and of it the weights of that colour, as numbers too.

    Args:
        matrices: By title: `D`, `(size * size * channels,) * 2`, of patches of odd
            size, as `correlation.whitener` or a layer's `running_deconv` with one block
            has it; 1 or 3 channels.

    Raises:
        ValueError: If there is no matrix, or one is of no such patches.
    """
    if not matrices:
        raise ValueError("`matrices` should be one or more. Received: none")
    found = {title: _middle(np.asarray(m)) for title, m in matrices.items()}
    columns = max(map(len, found.values()))
    size = (3 * columns + 0.8, 3.3 * len(found))
    figure = Figure(figsize=size, dpi=90, layout="constrained")
    grid = figure.subplots(len(found), columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for row, (title, kernels) in zip(grid, found.items(), strict=True):
        limit = maps.signed_limit(kernels, 100)
        names = ("red", "green", "blue") if len(kernels) == 3 else ("grey",)
        for axes, name, kernel in zip(row, names, kernels, strict=False):
            image = axes.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)
            for (y, x), value in np.ndenumerate(kernel):
                colour = "white" if abs(value) > 0.6 * limit else "black"
                text = {"ha": "center", "va": "center", "color": colour}
                axes.text(x, y, f"{value:.2f}", fontsize=9, **text)
            axes.set_title(f"{title}\n{name}", fontsize=9)
        figure.colorbar(image, ax=list(row), shrink=0.8, label="weight")
    return figure


def _middle(matrix: np.ndarray) -> np.ndarray:
    """Of a whitening matrix `(channels, size, size)`: see `deconvolution_kernels`."""
    for channels in (1, 3):
        size = round((len(matrix) / channels) ** 0.5)
        if size % 2 and (size**2 * channels,) * 2 == matrix.shape:
            kernels = matrix.reshape(*(size, size, channels) * 2)
            return np.array(
                [kernels[:, :, c, size // 2, size // 2, c] for c in range(channels)]
            )
    raise ValueError(
        "`matrices` should be of square patches of odd size, of 1 or 3 channels. "
        f"Received: one of shape {matrix.shape}"
    )


@checked
@in_defaults
def densities(values: Mapping[str, np.ndarray], *, limit: Positive = 8) -> Figure:
    """How often values are how large, each kind divided by its standard deviation.

    Args:
        values: By label: numbers, of any shape; a label may hold measures of them.
        limit: Standard deviations to draw, on either side.
    """
    figure = Figure(figsize=(6.2, 3.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=maps.COLOURS)
    edges = np.linspace(-limit, limit, 97)
    drawn: dict[str, Artist] = {}
    for i, (label, numbers) in enumerate(values.items()):
        scaled = np.ravel(numbers - np.mean(numbers)) / np.std(numbers)
        counts, _ = np.histogram(scaled, edges)
        density = np.where(counts, counts / scaled.size / np.diff(edges), np.nan)
        middles = (edges[1:] + edges[:-1]) / 2
        style = ("-", "--", "-.", ":")[i % 4]
        (drawn[label],) = axes.plot(middles, density, style, lw=1.8)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("value / standard deviation")
    axes.set_ylabel("density")
    _plain(axes, drawn)
    return figure


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


@checked
@in_defaults
def progress(
    curves: Mapping[str, Mapping[str, tuple[Sequence[float], float, np.ndarray]]],
    units: tuple[str, str],
    *,
    logarithmic: bool = False,
    floors: Mapping[str, float] | None = None,
) -> Figure:
    """What training runs come to, against steps and against time, one column each.

    Args:
        curves: By what was measured and by label: steps, the time of one, and values
            `(runs, steps)`, whose mean is drawn, from the least to the largest a band.
        units: What to call steps and their time.
        logarithmic: Of both scales, which start behind the first step.
        floors: By what was measured: a value that none can be below, as a line.

    Raises:
        ValueError: If there are no curves.
    """
    if not curves:
        raise ValueError("`curves` should be one or more. Received: none")
    figure = Figure(figsize=(3.6 * len(curves), 6), dpi=100, layout="constrained")
    grid = figure.subplots(2, len(curves), squeeze=False, sharey="col")
    drawn: dict[str, Artist] = {}
    for column, (measure, lines) in zip(grid.T, curves.items(), strict=True):
        for i, (label, (steps, each, runs)) in enumerate(lines.items()):
            colour, style = maps.COLOURS[i], ("-", "--", "-.", ":")[i % 4]
            kept = np.array(steps) > (0 if logarithmic else -1)
            x, values = np.array(steps)[kept], np.array(runs)[:, kept]
            low, mean, high = (f(values, axis=0) for f in (np.min, np.mean, np.max))
            for axes, place in zip(column, (x, each * x), strict=True):
                axes.fill_between(place, low, high, alpha=0.2, color=colour, lw=0)
                (drawn[label],) = axes.plot(place, mean, style, color=colour, lw=1.8)
        for axes, unit in zip(column, units, strict=True):
            if floors and measure in floors:
                drawn["closed form"] = axes.axhline(floors[measure], color="0.4", lw=1)
            if logarithmic:
                axes.set(xscale="log", yscale="log")
                plain = StrMethodFormatter("{x:g}")
                axes.xaxis.set_major_formatter(plain)
                axes.yaxis.set_major_formatter(plain)
                axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
                axes.yaxis.set_minor_formatter(plain)
            axes.set_xlabel(unit)
            axes.set_ylabel(measure)
            _plain(axes, {})
    legend(figure, drawn, loc="outside lower center", ncols=6, frameon=False)
    return legible(figure)


def _plain(axes, drawn) -> None:
    axes.grid(alpha=0.3)
    legend(axes, drawn, frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
