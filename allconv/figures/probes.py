"""Figures of the probes: occlusion, invariance, correspondence, evolution, filters.

Every function returns a `matplotlib.figure.Figure`, made without pyplot, to be shown in
a notebook or saved. Pictures are uint8 in [0, 255] or float in [0, 1]. Signed images
(filters, projections) are drawn with 0 at mid-grey, and clipped at the 99.5th
percentile of their magnitudes (`maps.signed_limit`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from allconv.core.arguments import checked
from allconv.figures.grid import BEYOND, legible
from allconv.figures.maps import COLOURS, signed_colours, signed_limit
from allconv.figures.style import in_defaults, legend
from allconv.probes.correspondence import RANDOM, Score, mask
from allconv.probes.evolution import Evolution
from allconv.probes.filters import Filters
from allconv.probes.invariance import Invariance
from allconv.probes.occlusion import Occlusion
from allconv.probes.patches import crop, visible

UNITS = {"translation": "down, pixels", "scale": "factor", "rotation": "degrees"}

Colour = tuple[float, float, float]  # red, green, blue from 0 to 1
ALIASED = "#ffa90e"  # an orange, of which every eye sees that it is no grey


@checked
def class_colours(classes: Sequence[int]) -> dict[int, Colour]:
    """A colour for each class, the same in every figure of up to ten classes.

    A class of more than `len(COLOURS)` has the colour of its last digit, or the next
    that is free in this figure.

    Args:
        classes: Numbers of the classes in the figure.

    Returns:
        By class.
    """
    found: dict[int, Colour] = {}
    taken: set[int] = set()
    for label in sorted({int(label) for label in classes}):
        places = [(label + i) % len(COLOURS) for i in range(len(COLOURS))]
        place = next((p for p in places if p not in taken), places[0])
        taken.add(place)
        found[label] = to_rgb(COLOURS[place])
    return found


@in_defaults
def occlusion_figure(
    pictures: np.ndarray,
    result: Occlusion,
    class_names: Sequence[str],
    projections: np.ndarray | None = None,
    projected_by: str = "projection",
) -> Figure:
    """One row per image, as in Figure 7.

    Picture, total activation of the strongest feature map, its projection,
    probability of the class watched, and predicted class; what was not measured is
    left out.

    Args:
        pictures: `(n, height, width, channels)`.
        result: Of `occlusion` on these images.
        class_names: Of all classes.
        projections: Signed `(n, height, width, channels)`, of the map in
            `result.channel`; each is drawn on its own scale.
        projected_by: Their title.
    """
    n = len(pictures)
    titles = ["image", "probability of the class", "predicted class"]
    if projections is not None:
        titles.insert(1, projected_by)
    if result.activation is not None:
        titles.insert(1, "activation of the\nstrongest feature map")
    figure = Figure((2.6 * len(titles) + 1.2, 2.3 * n), layout="constrained")
    axes = figure.subplots(n, len(titles), squeeze=False)
    every = np.unique(result.label)
    strongest, clean = result.activation, result.clean_activation
    for i, row in enumerate(axes):
        # Of more classes than colours a row has its own, as it has its own legend.
        here = every if len(every) <= len(COLOURS) else np.unique(result.label[i])
        colours = class_colours(here.tolist())
        cells = iter(row)
        axis = next(cells)
        _show(axis, pictures[i])
        axis.set_ylabel(class_names[result.classes[i]])
        if strongest is not None and clean is not None and result.channel is not None:
            axis = next(cells)
            top = max(clean[i], strongest[i].max())
            drawn = _show(axis, strongest[i], vmin=0, vmax=top or 1)
            figure.colorbar(drawn, ax=axis)
            axis.set_xlabel(
                f"map {result.channel[i]}; {clean[i]:.3g} unoccluded",
                fontsize="small",
            )
        if projections is not None:
            shown = signed_colours(projections[i], signed_limit(projections[i]))
            _show(next(cells), shown)
        axis = next(cells)
        drawn = _show(axis, result.probability[i], vmin=0, vmax=1)
        figure.colorbar(drawn, ax=axis)
        axis.set_xlabel(
            f"{result.clean_probability[i]:.2f} unoccluded", fontsize="small"
        )
        axis = next(cells)
        _show(axis, np.array([[colours[c] for c in line] for line in result.label[i]]))
        legend(
            axis,
            {
                class_names[c]: Patch(color=colour)
                for c, colour in colours.items()
                if c in result.label[i]
            },
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            fontsize="small",
            frameon=False,
        )
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize="medium")
    _bare(axes)
    return legible(figure)


@in_defaults
def invariance_figure(
    results: Mapping[str, Invariance], *, relative: bool = False
) -> Figure:
    """One row per transformation, as in Figure 5.

    A column of distances per layer and one of probabilities: a thin line per image, the
    mean over images, and a band of one standard deviation (ddof = 1) on each side.
    Images without a distance, whose features are all 0, are left out of both.

    Args:
        results: `Invariance` by the name of its transformation.
        relative: Whether to draw distances relative to the unchanged features.
    """
    layers = list(next(iter(results.values())).distance)
    figure = Figure((3 * (len(layers) + 1), 2.4 * len(results)), layout="constrained")
    axes = figure.subplots(len(results), len(layers) + 1, squeeze=False)
    kind = "relative distance" if relative else "distance"
    for row, (transform, result) in zip(axes, results.items(), strict=True):
        distance = result.relative if relative else result.distance
        curves = [distance[layer] for layer in layers] + [result.probability]
        titles = [f"{kind} at {layer}" for layer in layers] + ["p(class)"]
        for axis, lines, title in zip(row, curves, titles, strict=True):
            axis.plot(result.values, lines.T, color="0.75", lw=0.6)
            known = lines[np.isfinite(lines).all(axis=1)]
            mean = known.mean(axis=0)
            axis.plot(result.values, mean, color="C0", lw=2)
            if len(known) < len(lines):
                title += f" ({len(lines) - len(known)} of {len(lines)} left out)"
            if len(known) > 1:
                std = known.std(axis=0, ddof=1)
                axis.fill_between(
                    result.values, mean - std, mean + std, color="C0", alpha=0.2, lw=0
                )
            axis.set_xlabel(f"{transform} ({UNITS[transform]})")
            axis.set_title(title, fontsize="medium")
            axis.set_ylim(0, 1 if title.startswith("p(class)") else None)
            axis.margins(x=0)
    return legible(figure)


@in_defaults
def correspondence_figure(scores: Sequence[Score]) -> Figure:
    """Mean sign distance per part, with one standard deviation (Table 1, Figure 8).

    Above, the paper's measure, over all features; below, over those that changed. A
    column of axes per layer.

    Args:
        scores: Of `correspondence`.
    """
    layers = list(dict.fromkeys(score.layer for score in scores))
    parts = list(dict.fromkeys(score.part for score in scores))
    figure = Figure((1.5 + 0.9 * len(parts) * len(layers), 5), layout="constrained")
    axes = figure.subplots(2, len(layers), sharex=True, sharey="row", squeeze=False)
    kinds = {"pairs": "all features", "among_changed": "features that changed"}
    for row, (measure, of) in zip(axes, kinds.items(), strict=True):
        for axis, layer in zip(row, layers, strict=True):
            here = [score for score in scores if score.layer == layer]
            pairs = [getattr(score, measure) for score in here]
            axis.bar(
                [score.part for score in here],
                [p.mean() for p in pairs],
                yerr=[p.std(ddof=1) if len(p) > 1 else 0 for p in pairs],
                color=["0.6" if score.part == RANDOM else "C0" for score in here],
                capsize=3,
            )
        row[0].set_ylim(bottom=0)  # last, since it ends the fitting to the bars
        row[0].set_ylabel(f"signs that differ,\nof {of}")
    for axis, layer in zip(axes[0], layers, strict=True):
        axis.set_title(layer, fontsize="medium")
    return legible(figure)


@in_defaults
def masks_figure(pictures: np.ndarray, parts: Mapping[str, np.ndarray]) -> Figure:
    """Images, and below them each part masked with mid-grey (Figure 8).

    Args:
        pictures: `(n, height, width, channels)`, uint8 or float.
        parts: Boxes `(n, 4)` by part, as `correspondence.Parts.boxes`.
    """
    scale = 255.0 if pictures.dtype == np.uint8 else 1.0
    pictures = pictures / scale
    rows = {"": pictures}
    rows |= {part: mask(pictures, boxes, 0.5) for part, boxes in parts.items()}
    figure = Figure((len(pictures) + 0.3, len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(pictures), squeeze=False)
    for row, (title, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(row, images, strict=True):
            _show(axis, image)
        row[0].set_ylabel(title, fontsize="small")
    _bare(axes)
    return legible(figure)


class Panel(NamedTuple):
    """The strongest activations of some feature maps of one layer.

    `channels` `(c,)`; `patches` `(c, k, height, width, 3)`: what the units saw, uint8
    or float, NaN beyond the border; `maps`: projections of the units, of that shape.
    """

    channels: np.ndarray
    patches: np.ndarray
    maps: np.ndarray


@in_defaults
def strongest_figure(panels: Mapping[str, Panel]) -> Figure:
    """Projections of the strongest units beside what they saw, as in Figure 2.

    One row per layer, one pair of squares per feature map; the units of a feature map
    stand in reading order, strongest first, and share a scale.

    Args:
        panels: By layer; all with equally many channels.
    """
    count = max(len(panel.channels) for panel in panels.values())
    figure = Figure((3.2 * count + 0.4, 1.75 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 2 * count, squeeze=False)
    for row, (layer, panel) in zip(axes, panels.items(), strict=True):
        scale = 255.0 if panel.patches.dtype == np.uint8 else 1.0
        for i, channel in enumerate(panel.channels):
            maps = signed_colours(panel.maps[i], signed_limit(panel.maps[i]))
            _show(row[2 * i], _square(maps))
            _show(row[2 * i + 1], _square(panel.patches[i] / scale))
            row[2 * i].set_title(f"map {channel}, projected", fontsize="small")
            row[2 * i + 1].set_title("what it saw", fontsize="small")
        size = panel.patches.shape[2]
        row[0].set_ylabel(f"{layer}\n{size} x {size} pixels", fontsize="small")
    _bare(axes)
    for axis in axes.flat:
        axis.set_frame_on(False)
    return legible(figure)


def _square(tiles: np.ndarray) -> np.ndarray:
    """Set tiles `(k, height, width, 3)` in a square with white seams."""
    side = int(np.ceil(np.sqrt(len(tiles))))
    _, height, width, channels = tiles.shape
    tiles = np.where(np.isnan(tiles), BEYOND, tiles)
    seam = max(1, width // 16)
    canvas = np.ones((side * (height + seam), side * (width + seam), channels))
    for i, tile in enumerate(tiles):
        row, column = i // side * (height + seam), i % side * (width + seam)
        canvas[row : row + height, column : column + width] = tile
    return canvas[:-seam, :-seam]


@in_defaults
def evolution_figure(pictures: np.ndarray, result: Evolution) -> Figure:
    """Two rows per feature map, one column per epoch, as in Figure 4.

    What the strongest unit saw, and below it the projection, if there is one, cut to
    the unit's receptive field like the picture; light grey is beyond the border. The
    epochs of one feature map share a scale, so that its growth is seen.

    Args:
        pictures: All images that were searched, `(n, height, width, channels)`.
        result: Of `evolution`, with projections `(e, c, height, width, channels)` or
            none.
    """
    epochs, channels = len(result.epochs), len(result.channels)
    boxes = visible(result.box, pictures.shape[1:3])
    kinds = 1 if result.projection is None else 2
    figure = Figure((1 + 1.1 * epochs, 1.1 * kinds * channels), layout="constrained")
    axes = figure.subplots(channels * kinds, epochs, squeeze=False)
    for c in range(channels):
        for e in range(epochs):
            picture = pictures[result.index[e, c]]
            scale = 255.0 if picture.dtype == np.uint8 else 1.0
            _show(
                axes[c * kinds, e],
                crop((picture / scale)[None], boxes[e, c][None], fill=BEYOND)[0],
            )
            if result.projection is not None:
                limit = signed_limit(result.projection[:, c])
                shown = signed_colours(result.projection[e, c], limit)
                _show(
                    axes[c * kinds + 1, e],
                    crop(shown[None], boxes[e, c][None], fill=BEYOND)[0],
                )
        axes[c * kinds, 0].set_ylabel(f"map {result.channels[c]}", fontsize="small")
    for axis, epoch in zip(axes[0], result.epochs, strict=True):
        axis.set_title(f"epoch {epoch}", fontsize="small")
    _bare(axes)
    return legible(figure)


@in_defaults
def filters_figure(
    kernels: Mapping[str, np.ndarray], statistics: Mapping[str, Filters]
) -> Figure:
    """Filters of first layers side by side, as in Figure 6, on one scale each.

    A dead filter has a black frame, an aliased one a dashed orange one. Filters are
    sorted by RMS, strongest first.

    Args:
        kernels: `(height, width, 3 or 1, filters)` by title.
        statistics: `filter_statistics` of the same kernels.
    """
    figure = Figure((4.2 * len(kernels), 4.6), layout="constrained")
    for panel, (title, kernel) in zip(
        figure.subfigures(1, len(kernels), squeeze=False)[0],
        kernels.items(),
        strict=True,
    ):
        stats = statistics[title]
        count = kernel.shape[-1]
        columns = int(np.ceil(np.sqrt(count)))
        axes = panel.subplots(-(-count // columns), columns, squeeze=False)
        limit = signed_limit(kernel)
        order = np.argsort(-stats.rms)
        for axis, i in zip(axes.flat, order, strict=False):
            _show(axis, signed_colours(kernel[..., i], limit))
            framed = stats.dead[i] or stats.aliased[i]
            style = ("k", "-") if stats.dead[i] else (ALIASED, (0, (2, 1)))
            for spine in axis.spines.values():
                spine.set(visible=framed, color=style[0], linestyle=style[1], lw=2)
        for axis in axes.flat[count:]:
            axis.set_visible(False)
        _bare(axes)
        panel.suptitle(
            f"{title}: {stats.dead.sum()} dead, {stats.aliased.sum()} aliased of "
            f"{count},\nstrongest {stats.dominance:.1f} x median, scale "
            f"±{limit:.2g}",
            fontsize="medium",
        )
    return legible(figure)


def _show(axes: Axes, picture: np.ndarray, **options) -> AxesImage:
    """A picture whose pixels stay squares: matplotlib would blend them where small.

    A picture `(height, width, 1)` is grey.
    """
    if picture.ndim == 3 and picture.shape[-1] == 1:
        picture = np.repeat(picture, 3, axis=-1)
    return axes.imshow(picture, interpolation="nearest", **options)


def _bare(axes) -> None:
    for axis in np.ravel(axes):
        axis.set_xticks([])
        axis.set_yticks([])
