"""Units and images as the page holds them: pictures in sheets, numbers as JSON.

Pictures are lossy WebP. Maps are lossless, in few steps, which keep zero exactly grey:
lossy WebP halves the resolution of colour, by which a signed map is wrong by 15 to 29
of 256 levels (RMS; All-CNN-C), and by seven steps by 8 to 12.
"""

import html
import io
import json
from collections.abc import Sequence

import keras
import numpy as np
from PIL import Image

from allconv.figures import maps
from allconv.networks.classifier import Classifier
from allconv.probes import receptive_field
from allconv.reports import packed
from allconv.reports.sources import Source
from allconv.reports.units import RULES, Units, convolutions

SIDE, COLUMNS = 3, 16  # of a unit's patches; of units in a sheet
ATLAS = 64  # images a row of the sheet of whole images
ATLAS_PIXELS = 6_000_000  # more are shrunk: about 1.5 MB
QUALITY = 80  # of pictures, lossy
STEPS = 3  # of a signed map on each side of zero
LOSSLESS_UP_TO = 8  # pixels of a patch, where WebP's halved colour is too coarse


def sheet(tiles: np.ndarray) -> np.ndarray:
    """Set the tiles of all units in one picture, without gaps.

    Args:
        tiles: `(units, 9, height, width, channels)`.

    Returns:
        Array `(rows * 3 * height, 16 * 3 * width, channels)`: 16 units a row, each a
        square of 3 x 3; zeros where the last row has no more units.
    """
    units, k, height, width, channels = tiles.shape
    rows = -(-units // COLUMNS)
    blank = np.zeros((rows * COLUMNS - units, *tiles.shape[1:]), tiles.dtype)
    grid = np.concatenate([tiles, blank])
    grid = grid.reshape(rows, COLUMNS, k // SIDE, SIDE, height, width, channels)
    return grid.transpose(0, 2, 4, 1, 3, 5, 6).reshape(
        rows * (k // SIDE) * height, COLUMNS * SIDE * width, channels
    )


def eight_bits(tiles: np.ndarray) -> np.ndarray:
    """Floats from 0 to 1 as uint8; grey where NaN, which the page does not show."""
    return np.round(255 * np.nan_to_num(tiles, nan=0.5)).astype(np.uint8)


def webp(picture: np.ndarray, quality: int | None) -> str:
    """A picture, uint8 RGB, as `packed` has it; quality None: lossless."""
    file = io.BytesIO()
    kept: dict = {"lossless": True} if quality is None else {"quality": quality}
    if quality is not None:
        kept["use_sharp_yuv"] = True
    Image.fromarray(picture).save(file, "WEBP", method=4, **kept)
    return packed.text(file.getvalue())


def script(name: str, content: object) -> str:
    """A script element that holds data; no text in it can end the element."""
    text = data(content)
    return f'<script type="application/json" id="{html.escape(name)}">{text}</script>'


def data(content: object) -> str:
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


class Atlas:
    """All images that are among the best of some unit, each once.

    Args:
        source: Where they are from.
        found: All units that the page shows.
    """

    def __init__(self, source: Source, found: Sequence[Units]):
        self.source = source
        self.numbers = np.unique(np.concatenate([u.top.index.ravel() for u in found]))

    def slots(self, index: np.ndarray) -> np.ndarray:
        """Where in the sheet images are, by their numbers."""
        return np.searchsorted(self.numbers, index)

    def facts(self, full: bool) -> dict:
        """The sheet and what is known of its images.

        Args:
            full: Whether patches are cut from the sheet: images keep their size. Else
                they are shrunk to `ATLAS_PIXELS` in all.
        """
        height, width = self.source.images.shape[1:3]
        share = (ATLAS_PIXELS / (len(self.numbers) * height * width)) ** 0.5
        size = (height, width)
        if not full and share < 1:
            size = (max(8, int(height * share)), max(8, int(width * share)))
        rows = -(-len(self.numbers) // ATLAS)
        columns = min(ATLAS, len(self.numbers))
        picture = Image.new("RGB", (columns * size[1], rows * size[0]))
        for slot, number in enumerate(self.numbers):
            image = Image.fromarray(np.asarray(self.source.images[number]))
            if size != (height, width):
                image = image.resize(size[::-1], Image.Resampling.BOX)
            at = (slot % ATLAS * size[1], slot // ATLAS * size[0])
            picture.paste(image, at)
        labels, names = self.source.labels, self.source.names
        return {
            "sheet": webp(np.asarray(picture), QUALITY),
            "size": size,
            "number": self.numbers.tolist(),
            "label": None if labels is None else labels[self.numbers].tolist(),
            "name": None if names is None else [names[i] for i in self.numbers],
        }


def layer_data(
    classifier: Classifier, units: Units, atlas: Atlas, names: Sequence[str], full: bool
) -> dict:
    """All that the page shows of one layer.

    Args:
        classifier: The network.
        units: What was found of the layer.
        atlas: The images.
        names: Of the classes that the network tells apart.
        full: Whether patches are cut from the atlas.
    """
    model, top = classifier.model, units.top
    known = convolutions(model)
    place = receptive_field.locate(model, [units.layer])[0]
    field = receptive_field.compute(model, units.layer)
    rows, columns, count = place.tensor.shape[1:]
    height, width = units.pictures.shape[2:4]
    image = atlas.source.images.shape[1:3]
    whole = bool((units.box == [0, 0, *image]).all())
    is_scores = units.layer == list(known)[-1] and count == len(names)
    exact = max(height, width) <= LOSSLESS_UP_TO
    limits, sheets = {}, {}
    if not full:
        quality = None if exact else QUALITY
        sheets["pictures"] = webp(sheet(eight_bits(units.pictures)), quality)
    for rule in RULES:
        limit = maps.shared_limits(units.maps[rule], "row")[:, :1]
        limits[rule] = [f"{x:.2g}" for x in limit[:, 0]]
        signed = maps.signed_colours(units.maps[rule], limit[..., None, None, None])
        stepped = np.round(2 * STEPS * signed) / (2 * STEPS)
        sheets[rule] = webp(sheet(eight_bits(stepped)), None)
    activity = units.activity
    selectivity = activity.selectivity()
    return {
        "name": units.layer,
        "about": about(known[units.layer], units, (rows, columns, count), field, image)
        + (" Its units are the scores of the classes." if is_scores else ""),
        "whole": whole,
        "field": {"start": field.start, "size": field.size, "stride": field.stride},
        "middle": field.boxes([rows // 2], [columns // 2])[0].tolist(),
        "size": [height, width],
        "names": list(names) if is_scores else None,
        "channel": units.channels.tolist(),
        "slot": atlas.slots(top.index).tolist(),
        "y": top.y.tolist(),
        "x": top.x.tolist(),
        "value": [[float(f"{v:.3g}") for v in row] for row in top.value],
        "limits": limits,
        "silent": activity.silent.tolist(),
        "counts": activity.counts.tolist(),
        "end": activity.end.tolist(),
        "selectivity": None
        if np.isnan(selectivity).any()
        else selectivity.round(3).tolist(),
        "sheets": sheets,
    }


def about(
    layer: keras.Layer,
    units: Units,
    shape: tuple[int, int, int],
    field: receptive_field.ReceptiveField,
    image: tuple[int, int],
) -> str:
    """What a layer is and how much of an image its units see."""
    kernel, stride = " × ".join(map(str, layer.kernel_size)), layer.strides[0]
    seen = "the whole image"
    if min(field.size) < min(image):
        height, width = field.size
        seen = f"{height} × {width} of the image's {image[0]} × {image[1]} pixels"
    some, (rows, columns, count) = len(units.channels), shape
    return (
        f"{units.layer} is a {kernel} convolution"
        f"{f' with stride {stride}' if stride > 1 else ''}: {count} units, each at "
        f"{rows} × {columns} places. A unit sees {seen}."
        f"{f' Here are {some} of them.' if some < count else ''}"
    )


def note(model: keras.Model, layer: str, image: tuple[int, int]) -> str:
    """A word on a layer's tab."""
    size = receptive_field.compute(model, layer).size
    return "sees all" if min(size) >= max(image) else f"sees {max(size)} px"
