"""What excites every unit of every layer of a classifier, explained.

Top patches (`patches`) and explanations of them (`explainer`), for all
units of a network, a layer at a time.

    for units in look(classifier, images):           # a weight file, uint8 test images
        plots.top_patches(units.pictures[:8], units.maps["guided"][:8])
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
from tqdm import tqdm

from allconv.networks.classifier import Classifier
from allconv.probes import patches
from allconv.saliency.explainer import Explainer

RULES = ("guided", "deconvnet")
_CHUNK = 32  # units explained at a time, which bounds memory: 4 MB of CIFAR-sized maps


class Units(NamedTuple):
    """What the units of one layer respond to.

    Attributes:
        layer: Its name.
        top: Where the k strongest activations of each unit are.
        pictures: What they saw, `(units, k, height, width, 3)`, float32 from 0 to 1;
            NaN beyond the border of the image. Units that see more than the image have
            it whole.
        maps: By rule, what in the image drives these activations, per grey level of
            the raw image, cut out alike.
    """

    layer: str
    top: patches.Top
    pictures: np.ndarray
    maps: dict[str, np.ndarray]


def look(
    classifier: Classifier,
    images: np.ndarray,
    layers: Sequence[str] | None = None,
    k: int = 9,
    *,
    progress: bool = True,
) -> Iterator[Units]:
    """Find what excites each unit of each layer, and explain it.

    One pass over the images, then k explanations per unit and rule; see `RULES`.

    Args:
        classifier: A network with its preprocessing.
        images: uint8 `(n, height, width, 3)`, before preprocessing.
        layers: Names; None: all convolutions.
        k: Activations per unit, each of another image.
        progress: Whether to show progress bars.

    Yields:
        The units of one layer after the other.

    Raises:
        ValueError: As `Classifier.inputs`, `patches.top_activations` and
            `saliency.Explainer`.
    """
    model = classifier.model
    if layers is None:
        layers = convolutions(model)
    inputs = classifier.inputs(images)
    tops = patches.top_activations(model, inputs, layers, k, progress=progress)
    total = sum(len(top.index) for top in tops.values())
    with tqdm(total=total, unit="unit", disable=not progress) as bar:
        for layer, top in tops.items():
            explainers = {rule: Explainer(model, rule, layer=layer) for rule in RULES}
            box = patches.visible(top.box, images.shape[1:3])
            parts: dict[str, list[np.ndarray]] = {rule: [] for rule in RULES}
            for start in range(0, len(top.index), _CHUNK):
                channels = np.arange(start, min(start + _CHUNK, len(top.index)))
                some = top.select(channels)
                maps = explain_top(classifier, explainers, images, some, channels)
                for rule in RULES:
                    parts[rule].append(patches.crop(maps[rule], box[channels], np.nan))
                bar.update(len(channels))
            whole = patches.gather(images, top.index) / np.float32(255)
            yield Units(
                layer,
                top,
                patches.crop(whole, box, np.nan),
                {rule: np.concatenate(maps) for rule, maps in parts.items()},
            )


def explain_top(
    classifier: Classifier,
    explainers: Mapping[str, Explainer],
    images: np.ndarray,
    top: patches.Top,
    channels: np.ndarray,
) -> dict[str, np.ndarray]:
    """Explain the strongest activations of some channels, on the pixels.

    Args:
        classifier: A network with its preprocessing.
        explainers: Of its layer that `top` is of, by name.
        images: uint8 `(n, height, width, 3)`, before preprocessing.
        top: The activations, `(len(channels), k)`.
        channels: Numbers of the channels.

    Returns:
        By name of the explainer: float32 `(len(channels), k, height, width, 3)`, per
        grey level of the raw image.
    """
    pixels = images[top.index.ravel()]
    inputs = classifier.preprocessor(pixels)
    channel = channels.repeat(top.index.shape[1])
    position = np.stack([top.y, top.x], axis=-1).reshape(-1, 2)
    shape = (*top.index.shape, *images.shape[1:])
    return {
        name: classifier.preprocessor.pullback(
            pixels, explainer(inputs, channel=channel, position=position)
        ).reshape(shape)
        for name, explainer in explainers.items()
    }


def convolutions(model: keras.Model) -> list[str]:
    """Names of the 2-D convolutions of a model, in order, depthwise ones included."""
    return [x.name for x in model.layers if len(getattr(x, "kernel_size", ())) == 2]
