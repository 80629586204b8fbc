"""A network as a row of boxes, drawn from the model itself.

figure = block_diagram({"with pooling": a, "without": b})
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from allconv.figures.grid import legible
from allconv.figures.maps import COLOURS
from allconv.figures.style import in_defaults

FILLS = {"convolution": COLOURS[0], "pooling": COLOURS[1], "dense": COLOURS[3]}


class Block(NamedTuple):
    """A layer: one of `FILLS`, what it does in words, its stride, its map's width."""

    kind: str
    text: str
    stride: int
    size: int


def blocks(model: Any) -> list[Block]:
    """The layers of a Keras model that compute with neighbours, or densely, in order.

    Nested models are opened. Normalisation, padding and dropout are left out.
    """
    found = []
    for layer in model.layers:
        if hasattr(layer, "layers"):
            found += blocks(layer)
            continue
        shape = layer.output.shape
        size = shape[1] if len(shape) > 2 and shape[1] else 1
        if hasattr(layer, "pool_size"):
            text = f"{layer.pool_size[0]}x{layer.pool_size[0]}\npool"
            found.append(Block("pooling", text, layer.strides[0], size))
        elif "GlobalAverage" in type(layer).__name__:
            found.append(Block("pooling", "mean", 1, 1))
        elif hasattr(layer, "kernel_size"):
            text = f"{layer.kernel_size[0]}x{layer.kernel_size[0]}\n{shape[-1]}"
            found.append(Block("convolution", text, layer.strides[0], size))
        elif hasattr(layer, "units"):
            found.append(Block("dense", f"dense\n{layer.units}", 1, 1))
    return found


@in_defaults
def block_diagram(models: Mapping[str, Any]) -> Figure:
    """One row for each model, one box for each layer, as high as its map is wide.

    In a box stand the kernel's size and the number of channels, below it the width of
    the map that the layer gives. A box with a thick frame has a stride above 1.

    Args:
        models: Built Keras models of images, by title.
    """
    rows = {title: blocks(model) for title, model in models.items()}
    longest = max(len(row) for row in rows.values())
    highest = max(block.size for row in rows.values() for block in row)
    figure = Figure((1.1 * longest, 2.2 * len(rows)), layout="constrained")
    for axes, (title, row) in zip(
        figure.subplots(len(rows), squeeze=False)[:, 0], rows.items(), strict=True
    ):
        for i, block in enumerate(row):
            height = 0.4 + 0.6 * block.size / highest  # room for two lines of text
            box = Rectangle((i, -height / 2), 0.86, height)
            box.set(fc=FILLS[block.kind], ec="k", lw=3 if block.stride > 1 else 0.8)
            axes.add_patch(box)
            centred = {"ha": "center", "va": "center"}
            axes.text(i + 0.43, 0, block.text, weight="bold", **centred)
            below = f"/{block.stride}  " if block.stride > 1 else ""
            axes.text(i + 0.43, -0.6, f"{below}{block.size}", **centred)
        axes.set(xlim=(-0.1, longest), ylim=(-0.72, 0.56), title=title)
        axes.set_axis_off()
    return legible(figure)
