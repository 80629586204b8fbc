"""What excites every unit of every layer of a classifier, explained.

Top patches (`patches`) and explanations of them (`explainer`), for all
units of a network, a layer at a time.

    for units in look(classifier, images):           # a weight file, uint8 test images
        maps.top_patches(units.pictures[:8], units.maps["guided"][:8])
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from allconv.networks.classifier import Classifier
from allconv.probes import patches
from allconv.reports.activity import Activity
from allconv.saliency.explainer import Explainer

RULES = ("guided", "deconvnet", "backprop")
_CHUNK_BYTES = 1 << 25  # of the maps of units that are explained at a time, a rule
_BATCH_NUMBERS = 1 << 20  # in the images of a step, whose activations fill memory


class Units(NamedTuple):
    """What the units of one layer respond to.

    Attributes:
        layer: Its name.
        channels: Numbers of the units that were looked at, `(units,)`.
        top: Where the k strongest activations of each unit are.
        box: Which part of the image is shown, `(units, k, 4)` as in `Top.box`: all of
            it for units that see more than that.
        pictures: What they saw, `(units, k, height, width, 3)`, float32 from 0 to 1;
            NaN beyond the border of the image.
        maps: By rule, what in the image drives these activations, per grey level of
            the raw image, cut out alike.
        activity: How strongly the units answer over all images.
    """

    layer: str
    channels: np.ndarray
    top: patches.Top
    box: np.ndarray
    pictures: np.ndarray
    maps: dict[str, np.ndarray]
    activity: Activity


def look(
    classifier: Classifier,
    images: np.ndarray,
    layers: Sequence[str] | None = None,
    k: int = 9,
    *,
    labels: np.ndarray | None = None,
    units: int | None = None,
    side: int | None = None,
    strict: bool = True,
    progress: bool = True,
) -> Iterator[Units]:
    """Find what excites each unit of each layer, and explain it.

    One pass over the images, then k explanations per unit and rule; see `RULES`. Memory
    does not grow with the number of images, which may be a memory map.

    Args:
        classifier: A network with its preprocessing.
        images: uint8 `(n, height, width, 3)`, before preprocessing.
        layers: Names; None: all convolutions.
        k: Activations per unit, each of another image.
        labels: Classes of the images, int64 `(n,)`, for the units' selectivity.
        units: How many units of a layer to look at, evenly from its first to its last;
            None: all.
        side: What is larger, in pixels, is shrunk to this height and width by means of
            areas, and is then 0 (maps) or grey (pictures) beyond the border, not NaN.
        strict: As for `Explainer`.
        progress: Whether to show progress bars.

    Yields:
        The units of one layer after the other.

    Raises:
        ValueError: As `Classifier.inputs`, `patches.top_activations` and
            `saliency.Explainer`.
    """
    model = classifier.model
    if layers is None:
        layers = list(convolutions(model))
    classifier.inputs(images[:1])  # refuses what is not raw
    classes = 0 if labels is None else int(labels.max()) + 1
    activities: dict[str, Activity] = {}
    chosen: dict[str, np.ndarray] = {}

    def count(first: int, peaks: dict[str, np.ndarray]) -> None:
        for layer, found in peaks.items():
            if layer not in activities:
                chosen[layer] = sampled(found.shape[1], units)
                activities[layer] = Activity(len(chosen[layer]), classes)
            some = None if labels is None else labels[first : first + len(found)]
            activities[layer].add(found[:, chosen[layer]], some)

    tops = patches.top_activations(
        model,
        cast("np.ndarray", _Preprocessed(classifier, images)),  # len and slices, as one
        layers,
        k,
        batch_size=max(4, min(100, _BATCH_NUMBERS // images[0].size)),
        progress=progress,
        peaks=count,
    )
    total = sum(map(len, chosen.values()))
    with tqdm(total=total, unit="unit", disable=not progress) as bar:
        for layer, all_top in tops.items():
            channels = chosen[layer]
            top = all_top.select(channels)
            batch = max(4, min(64, _BATCH_NUMBERS // images[0].size))
            explainers = {
                rule: Explainer(
                    model, rule, layer=layer, batch_size=batch, strict=strict
                )
                for rule in RULES
            }
            box = patches.visible(top.box, images.shape[1:3])
            pictures: list[np.ndarray] = []
            parts: dict[str, list[np.ndarray]] = {rule: [] for rule in RULES}
            chunk = max(1, _CHUNK_BYTES // (4 * k * images[0].size))
            for start in range(0, len(channels), chunk):
                some = slice(start, start + chunk)
                maps = explain_top(
                    classifier, explainers, images, top.select(some), channels[some]
                )
                seen = patches.gather(images, top.index[some]) / np.float32(255)
                pictures.append(_cut(seen, box[some], side, 0.5))
                for rule in RULES:
                    parts[rule].append(_cut(maps[rule], box[some], side, 0.0))
                bar.update(len(channels[some]))
            yield Units(
                layer,
                channels,
                top,
                box,
                np.concatenate(pictures),
                {rule: np.concatenate(maps) for rule, maps in parts.items()},
                activities[layer],
            )


def explain_top(
    classifier: Classifier,
    explainers: Mapping[str, Explainer],
    images: np.ndarray,
    top: patches.Top,
    channels: np.ndarray,
    *,
    inverted: bool = False,
) -> dict[str, np.ndarray]:
    """Explain the strongest activations of some channels, on the pixels.

    Args:
        classifier: A network with its preprocessing.
        explainers: Of its layer that `top` is of, by name.
        images: uint8 `(n, height, width, 3)`, before preprocessing.
        top: The activations, `(len(channels), k)`.
        channels: Numbers of the channels.
        inverted: Whether the preprocessing is undone, as if the maps were inputs, and
            not differentiated; see `Preprocessor.invert`.

    Returns:
        By name of the explainer: float32 `(len(channels), k, height, width, 3)`, per
        grey level of the raw image, or if `inverted` in proportion to grey levels.
    """
    pixels = images[top.index.ravel()]
    inputs = classifier.preprocessor(pixels)
    channel = channels.repeat(top.index.shape[1])
    position = np.stack([top.y, top.x], axis=-1).reshape(-1, 2)
    shape = (*top.index.shape, *images.shape[1:])
    preprocessor = classifier.preprocessor
    back = preprocessor.invert if inverted else preprocessor.pullback
    return {
        name: back(
            pixels, explainer(inputs, channel=channel, position=position)
        ).reshape(shape)
        for name, explainer in explainers.items()
    }


def convolutions(model: keras.Model, path: str = "") -> dict[str, keras.Layer]:
    """The 2-D convolutions of a model by address, in order.

    Depthwise ones are included, and those of nested models, as "block/conv1".
    """
    found: dict[str, keras.Layer] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= convolutions(layer, f"{path}{layer.name}/")
        elif len(getattr(layer, "kernel_size", ())) == 2:
            found[path + layer.name] = layer
    return found


def sampled(channels: int, units: int | None) -> np.ndarray:
    """Numbers of `units` channels, evenly from the first to the last."""
    if units is None or units >= channels:
        return np.arange(channels)
    return np.linspace(0, channels - 1, units).round().astype(int)


class _Preprocessed:
    """Images as the model takes them, preprocessed when a slice is asked for."""

    def __init__(self, classifier: Classifier, images: np.ndarray):
        self.classifier, self.images = classifier, images
        self.shape = images.shape

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, some: slice) -> np.ndarray:
        return self.classifier.preprocessor(np.asarray(self.images[some]))


def _cut(images: np.ndarray, box: np.ndarray, side: int | None, fill: float):
    """Cut boxes out, and shrink those larger than `side`."""
    cut = patches.crop(images, box, np.nan)
    height, width = cut.shape[2:4]
    if side is None or max(height, width) <= side:
        return cut
    size = [max(1, round(n * side / max(height, width))) for n in (height, width)]
    flat = np.nan_to_num(cut, nan=fill).reshape(-1, height, width, 3)
    return tf.image.resize(flat, size, "area").numpy().reshape(*cut.shape[:2], *size, 3)
