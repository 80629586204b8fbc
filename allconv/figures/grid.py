"""Tiles in a grid, with titles and notes: what the figures of `maps` are set in."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

PAPER = 1.0  # white, between tiles
BEYOND = 0.87  # light grey, where a value is NaN: beyond the border of the image
_TILE = 48  # smaller tiles are enlarged, by a whole factor, for gaps to look alike
# A page projected at 1280 pixels leaves some 820 to a figure. Text of so many points
# for each inch of the figure's width is 10 pixels high there.
POINTS = 10 * 72 / 820


def legible(figure: Figure) -> Figure:
    """Enlarge what would be less than 10 pixels high on a page that is projected.

    Args:
        figure: Is changed; its layout should be one that makes room, `"constrained"`.

    Returns:
        The figure.
    """
    least = POINTS * figure.get_figwidth()
    for axes in figure.findobj(Axes):
        axes.tick_params(labelsize=max(least, 10))  # also of ticks yet to come
    for text in figure.findobj(Text):
        text.set_fontsize(max(least, text.get_fontsize()))
    return figure


def texts(limits: Iterable[float]) -> list[str]:
    """A note for each limit."""
    return [f"±{limit:.2g}" for limit in limits]


def ranges(limits: np.ndarray) -> list[str]:
    """A note for each column of maps that have limits of their own."""
    ends = ((f"{c.min():.2g}", f"{c.max():.2g}") for c in limits.T)
    return ["±" + "–".join(dict.fromkeys(pair)) for pair in ends]


def marks(maps: np.ndarray) -> list[list[str]]:
    """What to write on maps that are not as one expects, for each of `(rows, columns)`.

    A map of zeros and one with no positive value are grey or dark all over, which the
    eye takes for a map of little contrast.
    """
    return [[_mark(one) for one in row] for row in maps]


def _mark(values: np.ndarray) -> str:
    values = values[~np.isnan(values)]
    if not values.size or values.max() > 0:
        return ""
    return "none > 0" if values.any() else "all 0"


def draw(
    tiles: np.ndarray,
    *,
    column_titles: Sequence[str] = (),
    row_titles: Sequence[str] | None = None,
    row_notes: Sequence[str] | None = None,
    column_notes: Sequence[str] | None = None,
    block: int = 1,
    inches: float = 1.0,
    below: float = 0.0,
    marks: Sequence[Sequence[str]] = (),
) -> Figure:
    """One picture of a grid of tiles `(rows, columns, height, width, 3)`, with titles.

    `block` rows belong together and have one title; their note stands to the right of
    the last. `below` is room for a second panel, in inches. `marks` are written at the
    foot of tiles: those of the last columns, a list for each row.
    """
    titles, notes, feet = row_titles or [], row_notes or [], column_notes or []
    if row_titles is not None and len(titles) * block != len(tiles):
        raise ValueError(
            f"`row_titles` should be one per row, {len(tiles) // block}. "
            f"Received: {len(titles)}"
        )
    factor = -(-_TILE // tiles.shape[3])
    canvas, y, x = _mosaic(tiles.repeat(factor, axis=2).repeat(factor, axis=3), block)

    size = inches * np.array(canvas.shape[1::-1]) / (factor * tiles.shape[3])
    longest = [max(map(len, texts), default=0) for texts in (titles, notes)]
    # The width grows with the text at its sides, and the text with the width.
    free = 8 / POINTS - 0.16 - 0.075 * sum(longest)
    points = 8 * max(1, size[0] / max(free, 1))
    left, right = (0.08 + 0.075 * points / 8 * n for n in longest)
    lines = max((t.count("\n") + 1 for t in column_titles), default=0)
    top = 0.05 + 0.17 * points / 8 * lines
    bottom = 0.05 + 0.15 * points / 8 * bool(feet) + below
    # A pixel of the canvas is two dots wide and high, and begins where a dot does:
    # nothing is resampled.
    dpi = 2 * factor * tiles.shape[3] / inches
    left, right, top, bottom = np.ceil(np.array([left, right, top, bottom]) * dpi) / dpi
    total = size + (left + right, top + bottom) + 1e-3 / dpi  # which is cut to dots
    figure = Figure(figsize=total, dpi=dpi)
    axes = figure.add_axes((left, bottom, *size) / np.tile(total, 2))
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.set_frame_on(False)
    axes.set_xticks(x if column_titles else [], column_titles)
    axes.set_yticks(y.reshape(-1, block).mean(axis=1) if titles else [], titles)
    axes.tick_params(length=0, pad=2, labelsize=points)
    axes.tick_params(labeltop=True, labelbottom=False)
    style: dict[str, Any] = {"color": "0.4", "annotation_clip": False}
    style |= {"fontsize": points}
    style |= {"textcoords": "offset points"}
    for height, note in zip(y[block - 1 :: block], notes, strict=False):
        xy = (canvas.shape[1], height)
        axes.annotate(note, xy, xytext=(3, 0), va="center", **style)
    for width, note in zip(x, feet, strict=False):
        xy = (width, canvas.shape[0])
        axes.annotate(note, xy, xytext=(0, -1 - points), ha="center", **style)
    for i, row in enumerate(marks):
        for at, mark in zip(x[len(x) - len(row) :], row, strict=True):
            foot = (at, y[i] + factor * tiles.shape[2] / 2)
            white = style | {"color": "1"}  # on mid-grey, or darker
            axes.annotate(mark, foot, xytext=(0, 3), ha="center", **white)
    return figure


def _mosaic(tiles: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Set tiles in a white canvas; also return the centres of rows and columns."""
    rows, columns, height, width, channels = tiles.shape
    gap = round(0.06 * width)
    y = np.arange(rows) * (height + gap) + np.arange(rows) // block * (block > 1) * gap
    x = np.arange(columns) * (width + gap)
    canvas = np.full((y[-1] + height, x[-1] + width, channels), PAPER)
    for i, j in np.ndindex(rows, columns):
        tile = np.where(np.isnan(tiles[i, j]), BEYOND, tiles[i, j])
        canvas[y[i] : y[i] + height, x[j] : x[j] + width] = tile
    return canvas, y + (height - 1) / 2, x + (width - 1) / 2


def rgb(images: np.ndarray) -> np.ndarray:
    """Pictures in three channels."""
    if images.shape[-1] == 1:
        return np.repeat(images, 3, axis=-1)
    if images.shape[-1] == 3:
        return images
    raise ValueError(f"Images have 1 or 3 channels. Received: shape {images.shape}")
