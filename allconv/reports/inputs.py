"""A model from a file of somebody's own, and what it takes for a pixel.

A file does not say whether white is 1 or 255, or whether colours come in the order
blue, green, red. Where a layer of the model itself makes inputs of pixels it is found
and named; else it has to be told: a wrong guess gives a plausible map of another input.
"""

import json
from collections.abc import Callable

import h5py
import keras
import numpy as np

# Of ImageNet, as `keras.applications` has them: blue, green, red, of 255; and of 1.
CAFFE = np.array([103.939, 116.779, 123.68], np.float32)
TORCH = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
WAYS = "white:1, white:255, tf, caffe, torch"


def parse(way: str) -> tuple[Callable, Callable]:
    """From uint8 pixels to a model's inputs, and back for gradients.

    Args:
        way: `"white:1"`: white is 1 and black 0 (any other number likewise); `"tf"`:
            from -1 to 1; `"caffe"`: blue, green, red minus ImageNet's means (VGG,
            ResNet50); `"torch"`: minus ImageNet's means, by its deviations (DenseNet).

    Returns:
        A function of pixels, and one of (pixels, maps).

    Raises:
        ValueError: If it is none of these.
    """
    if way == "caffe":
        return (
            lambda x: _colours(x)[..., ::-1].astype(np.float32) - CAFFE,
            lambda x, maps: maps[..., ::-1],
        )
    if way == "torch":
        mean, deviation = TORCH
        return (
            lambda x: (_colours(x) / np.float32(255) - mean) / deviation,
            lambda x, maps: maps / (255 * deviation),
        )
    scale, offset = _scale(way)
    return (
        lambda x: x.astype(np.float32) * np.float32(scale) + np.float32(offset),
        lambda x, maps: maps * np.float32(scale),
    )


def _colours(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[-1] != 3:
        raise ValueError(
            "`preprocess` should be white:1, white:255 or tf for grey images. "
            f"Received: pixels of shape {pixels.shape}"
        )
    return pixels


def _scale(way: str) -> tuple[float, float]:
    if way == "tf":
        return 1 / 127.5, -1
    kind, _, number = way.partition(":")
    try:
        white = float(number)
    except ValueError:
        white = 0.0
    if kind != "white" or not 0 < white < float("inf"):
        raise ValueError(
            f"`preprocess` should be one of {WAYS}. Received: preprocess={way!r}"
        )
    return white / 255, 0


def found(model: keras.Model) -> tuple[str, str]:
    """What a model's own first layers say about the pixels it takes.

    Returns:
        A way for `parse`, and the reason in words.

    Raises:
        ValueError: If they do not say it.
    """
    for layer in _first_layers(model):
        match layer:
            case keras.layers.Rescaling() if np.max(np.abs(layer.scale)) < 0.05:
                return "white:255", f"white:255, since {layer.name!r} scales pixels"
            case keras.layers.Rescaling() if np.max(layer.offset) < -2:
                return "white:255", f"white:255, since {layer.name!r} centres pixels"
            case keras.layers.Normalization() if layer.mean is not None:
                mean, spread = np.max(layer.mean), np.max(layer.variance) ** 0.5
                of = f"since {layer.name!r} expects a mean of {mean:.3g}"
                if mean > 2 and spread > 2:
                    return "white:255", f"white:255, {of}"
                if np.min(layer.mean) > 0.05 and mean < 1 and spread < 0.5:
                    return "white:1", f"white:1, {of}"
                break
            case keras.layers.BatchNormalization() if np.mean(layer.moving_mean) > 2:
                mean = float(np.mean(layer.moving_mean))
                of = f"since {layer.name!r} expects a mean of {mean:.3g}"
                return "white:255", f"white:255, {of}"
            case keras.layers.Rescaling():
                break
    raise ValueError(
        f"{model.name} does not say what it takes for a pixel: give `preprocess`, one "
        f"of {WAYS}; white:1 where white is 1 and black 0, caffe for VGG, ResNet50 of "
        "keras.applications, tf for pixels from -1 to 1."
    )


def _first_layers(model: keras.Model) -> list[keras.Layer]:
    """The layers from the input up that leave pixels pixels, and the one after them."""
    passing = ("InputLayer", "Resizing", "CenterCrop", "ZeroPadding2D", "Dropout")
    first: list[keras.Layer] = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            return first + _first_layers(layer)
        first.append(layer)
        kind = type(layer).__name__
        if kind not in passing and not kind.startswith("Random"):
            break
    return first


def load(name: str) -> keras.Model:
    """A model from a `.keras` or `.h5` file, which runs no code of its own.

    Raises:
        ValueError: If Keras cannot load it; with the way out.
    """
    out = "can be explained from Python, by `allconv.saliency.explain`."
    if name.endswith(".h5"):
        out = (
            "has to be saved again as .keras, by the Keras that made it (`pip install "
            "tf-keras` for Keras 2)."
        )
        _check_h5(name)
    try:
        # Keras' safe mode refuses files that carry code of their own.
        return keras.models.load_model(name, compile=False, safe_mode=True)
    except (TypeError, ValueError, KeyError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())
        kind = "A model of Keras 2" if name.endswith(".h5") else "One with own classes"
        raise ValueError(
            f"Keras cannot load {name}: {reason[:300]} {kind} {out}"
        ) from error


def _check_h5(name: str) -> None:
    """Refuse what Keras would run as code, or load as something else without a word."""
    try:
        with h5py.File(name, "r") as file:
            config = file.attrs.get("model_config")
            version = str(file.attrs.get("keras_version", ""))
    except OSError as error:
        raise ValueError(f"{name} is no HDF5 file that can be read: {error}") from error
    if config is None:
        raise ValueError(
            f"{name} holds weights and no model: give a file of `model.save`, or for a "
            "network of `list` name it, with `--weights`."
        )
    text = config if isinstance(config, str) else config.decode()
    for layer in _described(json.loads(text)):
        kind, of = layer["class_name"], layer.get("config") or {}
        at = f"{name}: the layer {of.get('name', kind)!r}"
        if kind == "Lambda":
            raise ValueError(f"{at} is a Lambda, code in the file, which is not run.")
        if version.startswith("2") and "hard_sigmoid" in str(of.get("activation")):
            raise ValueError(
                f"{at} has the hard_sigmoid of Keras 2, clip(0.2 x + 0.5, 0, 1), which "
                "Keras 3 loads as another function, relu6(x + 3) / 6."
            )


def _described(node: object) -> list[dict]:
    """The descriptions of layers in a model's configuration, nested ones included."""
    if isinstance(node, dict):
        inner = [layer for value in node.values() for layer in _described(value)]
        return [node, *inner] if isinstance(node.get("class_name"), str) else inner
    if isinstance(node, list):
        return [layer for value in node for layer in _described(value)]
    return []
