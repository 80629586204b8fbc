"""A network at the size of photographs, with the names of its classes."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from allconv.data import datasets
from allconv.networks import registry
from allconv.reports import explanation, inputs

# Chelsea, photographed by Stefan van der Walt, who waived all rights (CC0).
CAT = Path(__file__).with_name("cat.jpg")
# What networks of keras.applications take for a pixel, as `inputs.parse` names it.
WAYS = {
    "MobileNet": "tf",
    "MobileNetV2": "tf",
    "VGG16": "caffe",
    "VGG19": "caffe",
    "ResNet50": "caffe",
    "DenseNet121": "torch",
}


class Network(NamedTuple):
    """A model, its way from uint8 pixels to inputs and back, and its classes' names."""

    model: keras.Model
    preprocess: Callable[[np.ndarray], np.ndarray]
    pullback: Callable[[np.ndarray, np.ndarray], np.ndarray]
    names: list[str]


def load(name: str, preprocess: str | None = None) -> Network:
    """Load a network by its name or file.

    Args:
        name: One of `WAYS`, with its weights of ImageNet, which Keras fetches; one of
            `registry.NAMES`, with its weights of CIFAR-10; or a `.keras` or `.h5` file.
            A text file of the same name beside it, `mine.txt`, has the names of the
            classes, one a line.
        preprocess: For a file: what it takes; see `inputs.parse`.

    Raises:
        FileNotFoundError: If there is no such file, or weights cannot be fetched.
        ValueError: If the name is none of these.
    """
    if name in WAYS:
        model, names = _fetched(name)
        return Network(model, *inputs.parse(WAYS[name]), names)
    model, way, back, _ = explanation.read_model(name, preprocess=preprocess)
    beside = Path(name).with_suffix(".txt")
    if name in registry.NAMES:
        names = datasets.CLASS_NAMES["cifar10"]
    elif beside.is_file():
        names = beside.read_text(encoding="utf-8").splitlines()
    else:
        names = [f"class {i}" for i in range(model.output_shape[-1])]
    return Network(model, way, back, names)


def _fetched(name: str) -> tuple[keras.Model, list[str]]:
    decode = keras.applications.imagenet_utils.decode_predictions
    try:
        model = getattr(keras.applications, name)(weights="imagenet")
        best = decode(np.eye(1000), top=1)
    except Exception as error:  # Keras raises a plain one where it cannot fetch
        raise FileNotFoundError(
            f"The weights of {name} cannot be fetched here ({type(error).__name__})."
        ) from error
    return model, [top[0][1].replace("_", " ") for top in best]
