"""Figures of images and signed maps: nothing is rescaled without saying by how much.

A map is drawn in colour, channel by channel, on a scale that keeps zero: mid-grey is
zero, brighter is positive, darker negative (negative values are right: the last
transposed convolution is not rectified). Values beyond the limit are clipped, and every
function returns the limits it used, for the caption. Figures are plain
`matplotlib.figure.Figure`s: they are neither shown nor saved here.

    figure, limits = rule_comparison(images, {"backprop": a, "guided": b})
    figure.savefig("rules.png")
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from allconv.core.annotations import LATER
from allconv.core.arguments import Whole, checked
from allconv.core.checks import check_choice
from allconv.figures.grid import PAPER, POINTS, draw, marks, ranges, rgb, texts
from allconv.figures.style import in_defaults, legend

SHARES = ("row", "column", "all", "none")
ZERO = 0.5
# Ten that differ for eyes of every kind (Petroff 2021); a class has that of its number.
COLOURS = matplotlib.color_sequences["petroff10"]


def signed_limit(maps: np.ndarray, percentile: float = 99.5) -> float:
    """The magnitude at which a signed scale should end.

    Args:
        maps: Array of any shape; zeros and NaN do not count.
        percentile: Per cent of the other magnitudes that the limit is not to clip.

    Returns:
        A limit above 0, or 0 where there is nothing but zeros.

    Raises:
        ValueError: If there is an infinity, or nothing but NaN.
    """
    if np.isinf(maps).any() or (np.size(maps) and np.isnan(maps).all()):
        raise ValueError("`maps` should be finite. Received: NaN or infinity")
    magnitudes = np.abs(maps)
    magnitudes = magnitudes[magnitudes > 0]
    return float(np.percentile(magnitudes, percentile)) if magnitudes.size else 0.0


@checked
def signed_colours(
    maps: Annotated[np.ndarray, LATER], limit: float | np.ndarray
) -> np.ndarray:
    """Put signed maps on a scale from 0 to 1 on which zero is 0.5 exactly.

    Args:
        maps: Array of any shape; NaN stays NaN.
        limit: Magnitude that is drawn as 0 or 1, as is all beyond it; one, or an array
            that broadcasts. Where it is 0 the map is drawn as zeros.

    Returns:
        float64 array of the same shape.
    """
    safe = np.where(np.asarray(limit) > 0, limit, np.inf)
    with np.errstate(over="ignore"):  # beyond every limit, as clipped
        return ZERO + ZERO * np.clip(np.asarray(maps, float) / safe, -1, 1)


@checked
def shared_limits(
    maps: Annotated[np.ndarray, LATER], share: str = "row", percentile: float = 99.5
) -> np.ndarray:
    """One limit per map of a grid, equal for the maps that are to be compared.

    Args:
        maps: `(rows, columns, height, width, channels)`; NaN as for `signed_limit`.
        share: `"row"`, `"column"`, `"all"` or `"none"`: which maps have one scale.
        percentile: As for `signed_limit`.

    Returns:
        float64 array `(rows, columns)`.
    """
    check_choice("share", share, SHARES)
    rows, columns = maps.shape[:2]
    limits = np.empty((rows, columns))
    for i in [slice(None)] if share in ("column", "all") else range(rows):
        for j in [slice(None)] if share in ("row", "all") else range(columns):
            limits[i, j] = signed_limit(maps[i, j], percentile)
    return limits


@checked
@in_defaults
def rule_comparison(
    images: np.ndarray,
    maps: Mapping[str, np.ndarray],
    *,
    row_titles: Sequence[str] | None = None,
    share: str = "column",
    percentile: float = 99.5,
) -> tuple[Figure, np.ndarray]:
    """Images beside their maps under several rules (All-CNN paper, figures 4 to 6).

    Args:
        images: `(n, height, width, channels)`: uint8, or float from 0 to 1.
        maps: By column title, e.g. `"guided"` or `"guided\\nwith switches"`: arrays
            shaped as `images`.
        row_titles: One per image, e.g. class names.
        share: Which maps have one scale: see `shared_limits`. By default each rule has
            its own: their magnitudes differ by orders. Shared limits stand beside the
            row or below the column; where each map has its own, the least and the
            greatest of a column stand below it.
        percentile: As for `signed_limit`.

    Returns:
        The figure, and the limits `(n, rules)`.

    Raises:
        ValueError: If shapes do not agree or images are not in range.
    """
    pictures = _pictures("images", images)
    for title, columns in maps.items():
        _same_shape("images", images, f"maps[{title!r}]", columns)
    grid = np.stack([np.asarray(a, float) for a in maps.values()], axis=1)
    limits = shared_limits(grid, share, percentile)
    tiles = rgb(signed_colours(grid, limits[..., None, None, None]))
    below = {"column": texts(limits[0]), "none": ranges(limits)}.get(share)
    figure = draw(
        np.concatenate([pictures[:, None], tiles], axis=1),
        column_titles=["image", *maps],
        row_titles=row_titles,
        row_notes=texts(limits[:, 0]) if share in ("row", "all") else None,
        column_notes=["", *below] if below else None,
        marks=marks(grid),
    )
    return figure, limits


@in_defaults
def top_patches(
    patches: np.ndarray,
    maps: np.ndarray,
    *,
    row_titles: Sequence[str] | None = None,
    percentile: float = 99.5,
) -> tuple[Figure, np.ndarray]:
    """What excites each channel most, above the maps of these units (figure 3).

    Args:
        patches: Crops `(channels, k, height, width, 3)`: uint8, or float from 0 to 1;
            NaN beyond the border of the image.
        maps: Maps cut out in the same way, same shape.
        row_titles: One per channel, e.g. `"conv6, 3"`.
        percentile: As for `signed_limit`.

    Returns:
        The figure, and the limits `(channels,)`: the maps of a row have one scale.

    Raises:
        ValueError: As for `rule_comparison`.
    """
    pictures = _pictures("patches", patches)
    _same_shape("patches", patches, "maps", maps)
    limits = shared_limits(maps, "row", percentile)
    tiles = rgb(signed_colours(maps, limits[..., None, None, None]))
    figure = draw(
        np.stack([pictures, tiles], axis=1).reshape(-1, *pictures.shape[1:]),
        row_titles=row_titles,
        row_notes=texts(limits[:, 0]),
        block=2,
        inches=0.8,
        marks=[row for row in marks(maps) for row in ([], row)],
    )
    return figure, limits[:, 0]


@in_defaults
def sanity_strip(
    images: np.ndarray,
    layers: Sequence[str],
    trained: np.ndarray,
    maps: np.ndarray,
    scores: Mapping[str, np.ndarray] | None = None,
    *,
    row_titles: Sequence[str] | None = None,
    share: str = "none",
    percentile: float = 99.5,
) -> tuple[Figure, np.ndarray]:
    """Maps of a trained network and of the same network with ever fewer learned layers.

    `sanity_strip(images, *sanity.randomisation_test(model, maps))` draws a whole test.

    Args:
        images: `(n, height, width, channels)`: uint8, or float from 0 to 1.
        layers: The layers in the order of randomisation, the top layer first.
        trained: Maps of the trained network, shaped as `images`.
        maps: Maps after each step, `(steps, n, height, width, channels)`.
        scores: By name, similarity to the trained map `(seeds, steps, n)`; drawn
            below as mean and standard deviation over the seeds, averaged over images.
            Undefined scores are left out, and counted in the figure.
        row_titles: One per image.
        share: Which maps have one scale. By default each has its own: random weights
            change the magnitude, the question is whether they change the pattern.
        percentile: As for `signed_limit`.

    Returns:
        The figure, and the limits `(n, 1 + steps)`.

    Raises:
        ValueError: As for `rule_comparison`.
    """
    pictures = _pictures("images", images)
    _same_shape("images", images, "trained", trained)
    if len(maps) != len(layers):
        raise ValueError(
            "`maps` should have one step per layer. "
            f"Received: {len(maps)} steps and {len(layers)} layers"
        )
    for step in maps:
        _same_shape("images", images, "maps", step)
    grid = np.stack([trained, *maps], axis=1)
    limits = shared_limits(grid, share, percentile)
    tiles = rgb(signed_colours(grid, limits[..., None, None, None]))
    figure = draw(
        np.concatenate([pictures[:, None], tiles], axis=1),
        column_titles=["image", "trained", *layers],
        row_titles=row_titles,
        below=1.6 if scores else 0,
        marks=marks(grid),
    )
    if scores:
        _curves(figure, scores)
    return figure, limits


@checked
@in_defaults
def filters(
    kernel: np.ndarray, *, columns: Whole = 12, percentile: float = 100
) -> tuple[Figure, float]:
    """The filters of a first layer, on one scale.

    Args:
        kernel: `(height, width, channels, filters)`, of 1 or 3 channels.
        columns: Filters per row.
        percentile: As for `signed_limit`.

    Returns:
        The figure, and the limit.

    Raises:
        ValueError: If the kernel does not act on grey or colour images.
    """
    kernel = np.asarray(kernel)
    if kernel.ndim != 4 or kernel.shape[2] not in (1, 3):
        raise ValueError(
            "`kernel` should be (height, width, 1 or 3 channels, filters). "
            f"Received: an array of shape {kernel.shape}"
        )
    limit = signed_limit(kernel, percentile)
    tiles = rgb(signed_colours(np.moveaxis(kernel, -1, 0), limit))
    rows = -(-len(tiles) // columns)
    blank = np.full((rows * columns - len(tiles), *tiles.shape[1:]), PAPER)
    grid = np.concatenate([tiles, blank]).reshape(rows, columns, *tiles.shape[1:])
    return draw(grid, inches=0.5), limit


def _curves(figure: Figure, scores: Mapping[str, np.ndarray]) -> None:
    """Similarity to the trained map, each step below its column of the strip."""
    strip = figure.axes[0]
    steps = strip.get_xticks()[2:]  # after the image and the trained map
    box = strip.get_position()
    inch = 1 / figure.get_figheight()
    axes = figure.add_axes((box.x0, 0.15 * inch, box.width, 1.3 * inch))
    axes.set_xlim(strip.get_xlim())
    axes.set_prop_cycle(color=COLOURS)
    drawn = {}
    for name, score in scores.items():
        means = np.ma.masked_invalid(score).mean(axis=2)  # NaN: a map of zeros
        mean = means.mean(axis=0).filled(np.nan)
        spread = means.std(axis=0, ddof=int(len(means) > 1)).filled(np.nan)
        drawn[name] = axes.errorbar(steps, mean, spread, marker="o", ms=3, capsize=2)
    axes.axhline(0, color="0.7", lw=0.6)
    axes.axhline(1, color="0.7", lw=0.6)
    axes.set_xticks([])
    points = max(8, POINTS * figure.get_figwidth())
    axes.set_ylabel("similarity", fontsize=points)
    axes.tick_params(labelsize=points)
    axes.spines[["top", "right"]].set_visible(False)
    legend(axes, drawn, fontsize=points, frameon=False, loc="best")
    undefined = np.isnan(next(iter(scores.values())))
    if undefined.any():
        text = f"{undefined.sum()} of {undefined.size} maps are constant and left out"
        axes.text(1, 0.02, text, transform=axes.transAxes, fontsize=points, ha="right")


def _pictures(name: str, images: np.ndarray) -> np.ndarray:
    """Images as floats from 0 to 1, in three channels."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        images = images / 255
    elif np.isnan(images).all():
        raise ValueError(f"`{name}` should hold numbers. Received: nothing but NaN")
    elif np.nanmin(images) < 0 or np.nanmax(images) > 1:
        raise ValueError(
            f"`{name}` should be uint8, or floats from 0 to 1: pictures before "
            f"preprocessing. Received: {np.nanmin(images):.3g} to "
            f"{np.nanmax(images):.3g}"
        )
    return rgb(images)


def _same_shape(name: str, images: np.ndarray, other: str, maps: np.ndarray) -> None:
    if np.shape(images) != np.shape(maps):
        raise ValueError(
            f"`{other}` should be shaped as `{name}`, {np.shape(images)}. "
            f"Received: {np.shape(maps)}"
        )
