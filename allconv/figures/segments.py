"""Figures of segmentation: images above the classes of their pixels."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from allconv.core.arguments import Images, Maps, checked
from allconv.figures import maps
from allconv.figures.grid import legible
from allconv.figures.style import in_defaults, legend


@checked
@in_defaults
def masks(
    images: Images, masks: Mapping[str, Maps], class_names: Sequence[str]
) -> Figure:
    """Images in a row, and below each the masks of several sources.

    Args:
        images: uint8 `(n, height, width, 3)`.
        masks: By row: numbers of classes `(n, height, width)`; what is no number of a
            class, as 255, is white.
        class_names: One a class, by its number.

    Raises:
        ValueError: If masks and images differ in number or size.
    """
    for label, drawn in masks.items():
        if np.shape(drawn) != np.shape(images)[:3]:
            raise ValueError(
                f"`masks` should be shaped as `images`, {np.shape(images)[:3]}. "
                f"Received: {np.shape(drawn)} for {label}"
            )
    rows = len(masks) + 1
    size = (1.25 * len(images) + 0.9, 1.3 * rows + 0.5)
    figure = Figure(figsize=size, dpi=90, layout="constrained")
    grid = figure.subplots(rows, len(images), squeeze=False)
    for axes in grid.ravel():
        axes.set(xticks=[], yticks=[])
    for axes, image in zip(grid[0], images, strict=True):
        axes.imshow(image)
    grid[0, 0].set_ylabel("image", fontsize=9)
    shades = [(0.9,) * 3, *(to_rgb(colour) for colour in maps.COLOURS)]
    names = dict(enumerate(class_names))
    table = np.ones((256, 3))
    for number in names:
        table[number] = shades[number % len(shades)]
    for row, (label, drawn) in zip(grid[1:], masks.items(), strict=True):
        row[0].set_ylabel(label, fontsize=9)
        for axes, mask in zip(row, drawn, strict=True):
            axes.imshow(table[np.asarray(mask).astype(np.uint8)])
    patches = {name: Patch(color=table[number]) for number, name in names.items()}
    columns = min(len(patches), 10)
    place = {"loc": "outside lower center", "ncols": columns, "fontsize": 8}
    legend(figure, patches, frameon=False, **place)
    return legible(figure)
