"""Networks whose weights others have trained on ImageNet, as models of raw pixels.

Each becomes one Keras model of Keras' layers (and this project's) from pixels, red,
green, blue, 0 to 255, to 1000 probabilities: subtracting a mean is its first layer, and
a first kernel that reads blue, green, red is turned. So any probe, map or page that
takes a `.keras` file takes it, and need not be told what a pixel is.

    model = imported.from_file("squeezenet", "squeezenet_v1_1.npz")
    model = imported.from_keras("ResNet50")       # Keras fetches the weights

A file of weights is `.npz` or `.h5` and holds, for each layer of the network here,

    <layer>/kernel   (height, width, channels, filters), of a dense layer (inputs,
                     units), whose inputs are counted through (row, column, channel)
    <layer>/bias     (filters,)

The layers: of `zfnet` and `alexnet` conv1 to conv5, fc6, fc7 and predictions (behind a
group of two, kernels have half the channels); of `squeezenet` conv1, fire2/squeeze1x1,
fire2/expand1x1, fire2/expand3x3, ... fire9/expand3x3 and conv10.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from allconv.core import backend  # noqa: F401, before Keras

# isort: split
import h5py
import keras
import numpy as np
from keras import layers

from allconv.core import files
from allconv.core.arguments import checked
from allconv.core.checks import check_choice
from allconv.networks import builders

CAFFE = (123.0, 117.0, 104.0)  # red, green, blue: what Caffe's networks subtract
NETWORKS = ("squeezenet", "zfnet", "alexnet")
FIRES = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}  # squeezed channels
LARGEST = 2**31  # bytes of a file of weights


@checked
def from_file(
    network: str, path: str | Path, mean: tuple[float, ...] = CAFFE, bgr: bool = True
) -> keras.Model:
    """Build a network with the weights of a file.

    Args:
        network: One of `NETWORKS`.
        path: As above.
        mean: Of red, green and blue, what the network was trained without.
        bgr: Whether it reads blue, green, red, as Caffe's do.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no such arrays, or a value that is not finite.
    """
    check_choice("network", network, NETWORKS)
    arrays = _read(Path(path))
    build = squeezenet if network == "squeezenet" else _ours
    pixels = keras.Input((227 if network == "squeezenet" else 224,) * 2 + (3,))
    centred = layers.Rescaling(1.0, [-m for m in mean], name="mean")(pixels)
    model = keras.Model(pixels, build(network, centred), name=network)
    left = dict(arrays)
    for layer in model._flatten_layers(recursive=True):
        for weight in () if isinstance(layer, keras.Model) else layer.weights:
            name = f"{layer.name.replace('_', '/')}/{weight.name}"
            array = left.pop(name, None)
            if array is None or array.shape != tuple(weight.shape):
                found = "none" if array is None else f"shape {array.shape}"
                raise ValueError(
                    f"{path} should have {name!r} of shape {tuple(weight.shape)} for "
                    f"{network}. Received: {found}"
                )
            if not np.isfinite(array).all():
                raise ValueError(f"{path}: a value of {name!r} is not finite.")
            weight.assign(array)
    if left:
        raise ValueError(f"{path} has what {network} has not: {', '.join(left)}")
    if bgr:
        _turn(model)
    return model


@checked
def from_keras(name: str, weights: str | None = "imagenet") -> keras.Model:
    """A network of `keras.applications`, by the name of its builder.

    Args:
        name: E.g. `"ResNet50"`.
        weights: As Keras has it: `"imagenet"`, which it fetches, a file, or None.

    Raises:
        ValueError: If Keras has none of that name.
        FileNotFoundError: If the weights cannot be fetched.
    """
    build = getattr(keras.applications, name, None)
    if not name[:1].isupper() or build is None:
        raise ValueError(
            "`name` should be a builder of keras.applications, e.g. ResNet50. "
            f"Received: name={name!r}"
        )
    preprocess = sys.modules[build.__module__].preprocess_input
    scale, offset, bgr = _affine(preprocess)
    size = build(weights=None).input_shape[1]
    pixels = x = keras.Input((size, size, 3))
    if (scale, offset) != ([1.0] * 3, [0.0] * 3):
        x = layers.Rescaling(scale, offset, name="mean")(x)
    try:
        model = build(weights=weights, input_tensor=x)
    except Exception as error:  # Keras raises a plain one where it cannot fetch
        raise FileNotFoundError(
            f"The weights of {name} cannot be fetched here ({type(error).__name__})."
        ) from error
    assert model.inputs[0] is pixels
    if bgr:
        _turn(model)
    return model


def _affine(preprocess) -> tuple[list[float], list[float], bool]:
    """Scale and offset of red, green, blue in a preprocessing; whether it turns them.

    All of Keras' are of this form, which is found by trying.
    """
    probe = np.array([[[[0, 0, 0], [255, 0, 0], [255, 255, 255]]]], np.float32)
    black, red, white = np.asarray(preprocess(probe.copy()), np.float64)[0, 0]
    bgr = bool(red[0] == black[0])
    scale, offset = (white - black) / 255, black
    if bgr:
        scale, offset = scale[::-1], offset[::-1]
    return np.round(scale, 12).tolist(), np.round(offset, 9).tolist(), bgr


def _turn(model: keras.Model) -> None:
    """Let a first kernel that reads blue, green, red read red, green, blue."""
    inner = model._flatten_layers()
    first = next(x for x in inner if isinstance(x, layers.Conv2D))
    first.kernel.assign(np.asarray(first.kernel)[:, :, ::-1])


def _ours(network: str, x: keras.KerasTensor) -> keras.KerasTensor:
    return builders.build(network)(x)


def squeezenet(network: str, x: keras.KerasTensor) -> keras.KerasTensor:
    """SqueezeNet 1.1 (Iandola et al., 2016), whose pools reach over the border."""

    def convolve(x, filters, size, name, **more):
        return layers.Conv2D(filters, size, activation="relu", name=name, **more)(x)

    x = convolve(x, 64, 3, "conv1", strides=2)
    for number, squeezed in FIRES.items():
        if number in (2, 4, 6):
            # Caffe's pools round sizes up: an even one is padded below and right.
            padding = "valid" if x.shape[1] % 2 else "same"
            x = layers.MaxPooling2D(3, 2, padding, name=f"pool{number - 1}")(x)
        name = f"fire{number}"
        x = convolve(x, squeezed, 1, f"{name}_squeeze1x1")
        parts = [
            convolve(x, 4 * squeezed, 1, f"{name}_expand1x1"),
            convolve(x, 4 * squeezed, 3, f"{name}_expand3x3", padding="same"),
        ]
        x = layers.Concatenate(name=name)(parts)
    x = convolve(x, 1000, 1, "conv10")
    x = layers.GlobalAveragePooling2D(name="pool10")(x)
    return layers.Softmax(name="predictions")(x)


def _read(path: Path) -> Mapping[str, np.ndarray]:
    """The arrays of an `.npz` or `.h5` file, by name."""
    files.read_bytes(path, largest=LARGEST)  # which says what is no file, or too large
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as content:
                return {name: content[name] for name in content.files}
        found: dict[str, np.ndarray] = {}
        with h5py.File(path, "r") as content:
            content.visititems(
                lambda name, item: (
                    found.update({name: item[()]})
                    if isinstance(item, h5py.Dataset)
                    else None
                )
            )
        return found
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as npz or h5: {error}") from error
