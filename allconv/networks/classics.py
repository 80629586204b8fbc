"""Keras builders of VGG-16, ResNet-18 and MobileNetV2 for 32 x 32 images.

One function for each kind of row, one loop.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import keras
from keras import layers, ops

from allconv.core.checks import check_choice
from allconv.layers import batch_norm
from allconv.layers.netdeconv import NetworkDeconvolution2D, NetworkDeconvolutionDense
from allconv.networks import classics_rows
from allconv.networks.builders import (
    check_common,
    count_classes,
    finish,
    named_builder,
    own_initializer,
    pool_map,
)
from allconv.networks.registry import NORMS


def build(
    name: str,
    *,
    include_top: bool = True,
    weights: str | Path | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | None = "softmax",
    model_name: str | None = None,
    dropout: float = 1.0,
    kernel_initializer: str | None = None,
    norm: str = "batch",
) -> keras.Model:
    """Build VGG-16, ResNet-18 or MobileNetV2 for CIFAR.

    Args:
        name: One of `classics_rows.NAMES`, e.g. `"vgg16_cifar"`.
        include_top: Whether to end in class scores. False ends at the last map.
        weights: None (random), `"cifar10"` or `"cifar100"` (released with this
            project), or the path of a weight file.
        input_shape: `(height, width, channels)`; None: `(32, 32, 3)`. Height and width
            may be None: the last map is averaged, whatever its size.
        pooling: With `include_top=False`: None (a map), `"avg"` or `"max"` (a vector).
        classes: Number of classes; None: those of the data set that `weights` names,
            else 10.
        classifier_activation: `"softmax"`, or None for the logits.
        model_name: Name of the Keras model; None: `name`.
        dropout: A factor from 0 to 1, as for the project's other networks. These have
            no dropout, so it changes nothing.
        kernel_initializer: Keras initialiser of all kernels, by name. None: the
            authors', uniform within `1 / sqrt(fan in)`. Biases start at 0 (the authors'
            as their kernels).
        norm: `"batch"`: batch normalisation after every convolution. `"deconv"`: every
            convolution, and the dense layer, is a layer of `netdeconv`;
            `folding.fold` makes it plain again. `"none"`: neither.

    Returns:
        An uncompiled functional `keras.Model`. Convolutions outside of blocks are named
        `conv1`, `conv2`, ...; those of block 3 are `block3_conv1` and `block3_conv2`,
        or `block3_expand`, `block3_depthwise` and `block3_project`, and
        `block3_shortcut` where the way around needs one. `global_pool` and
        `predictions` are the end.

    Raises:
        ValueError: If an argument is not one of the above, or the input is too small.
    """
    network = classics_rows.get(name)
    classes = count_classes(classes, weights, 10)
    shape: tuple = (32, 32, 3) if input_shape is None else tuple(input_shape)
    _check(network, shape, include_top, pooling, classes, dropout, norm)

    convolve = functools.partial(_convolve, norm=norm, initializer=kernel_initializer)
    inputs = x = keras.Input(shape, name="images")
    counts = {"conv": 0, "pool": 0, "block": 0}
    for row in network.rows:
        counts[row.label] += 1
        x = _LAYERS[type(row)](x, row, f"{row.label}{counts[row.label]}", convolve)

    if include_top:
        x = pool_map(x, "avg")
        dense = NetworkDeconvolutionDense if norm == "deconv" else layers.Dense
        x = dense(
            classes,
            activation=classifier_activation,
            kernel_initializer=_initializer(kernel_initializer),
            dtype="float32",
            name="predictions",
        )(x)
    elif pooling:
        x = pool_map(x, pooling)
    return finish(keras.Model(inputs, x, name=model_name or name), name, weights)


def _conv(x, row, label, convolve):
    settings = {"iterations": row.iterations, "freeze_after": row.freeze_after}
    return convolve(x, label, row.filters, row.kernel, **settings)


def _pool(x, row, label, convolve):
    return layers.MaxPooling2D(2, name=label)(x)


def _residual(x, row, label, convolve):
    around, filters, stride = x, row.filters, row.stride
    if stride > 1 or x.shape[-1] != filters:
        around = convolve(x, f"{label}_shortcut", filters, 1, stride, relu=False)
    x = convolve(x, f"{label}_conv1", filters, 3, stride)
    x = convolve(x, f"{label}_conv2", filters, 3, relu=False)
    x = layers.Add(name=f"{label}_add")([x, around])
    return layers.ReLU(name=f"{label}_relu")(x)


def _inverted(x, row, label, convolve):
    around, channels, stride = x, x.shape[-1], row.stride
    wide, thin = row.expansion * channels, {"block": channels, "iterations": 1}
    x = convolve(x, f"{label}_expand", wide, 1)
    x = convolve(x, f"{label}_depthwise", wide, 3, stride, depthwise=True, iterations=1)
    x = convolve(x, f"{label}_project", row.filters, 1, relu=False, **thin)
    if stride > 1:
        return x
    if channels != row.filters:
        around = convolve(around, f"{label}_shortcut", row.filters, 1, relu=False)
    return layers.Add(name=f"{label}_add")([x, around])


_LAYERS = {
    classics_rows.Conv: _conv,
    classics_rows.Pool: _pool,
    classics_rows.Residual: _residual,
    classics_rows.Inverted: _inverted,
}


def _convolve(
    x,
    label,
    filters,
    kernel,
    stride=1,
    *,
    norm,
    initializer,
    relu=True,
    depthwise=False,
    **whitening,
):
    """A convolution, padded on all sides, with its norm and rectifier."""
    start = _initializer(initializer)
    arguments = {"kernel_size": kernel, "strides": stride, "name": label}
    arguments["activation"] = "relu" if relu and norm != "batch" else None
    if norm == "deconv":
        arguments |= {"padding": kernel // 2, "kernel_initializer": start, **whitening}
        groups = filters if depthwise else 1
        return NetworkDeconvolution2D(filters, groups=groups, **arguments)(x)

    arguments |= {"padding": "same", "use_bias": norm == "none"}
    if kernel > 1 and stride > 1:  # Keras' "same" would pad bottom and right only
        x = layers.ZeroPadding2D(kernel // 2, name=f"{label}_pad")(x)
        arguments["padding"] = "valid"
    if depthwise:
        arguments["depthwise_initializer"] = PerChannel(start)
        x = layers.DepthwiseConv2D(**arguments)(x)
    else:
        x = layers.Conv2D(filters, kernel_initializer=start, **arguments)(x)
    if norm == "batch":
        # The defaults of the authors' framework, in Keras' terms.
        x = batch_norm.BatchNormalization(
            momentum=0.9, epsilon=1e-5, name=f"{label}_norm"
        )(x)
        if relu:
            x = layers.ReLU(name=f"{label}_relu")(x)
    return x


def _initializer(name):
    if name is None:
        return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    return own_initializer(keras.initializers.get(name))


@keras.saving.register_keras_serializable(package="allconv")
class PerChannel(keras.initializers.Initializer):
    """Initialises a depthwise kernel as the grouped convolution that it is.

    Keras counts the inputs of all channels as its fan-in; each filter has but one.

    Args:
        initializer: Of a kernel `(height, width, 1, filters)`.
    """

    def __init__(self, initializer: keras.initializers.Initializer | str | dict):
        self.initializer = keras.initializers.get(initializer)

    def __call__(self, shape, dtype=None):
        height, width, channels, multiplier = shape
        kernel = self.initializer((height, width, 1, channels * multiplier), dtype)
        return ops.reshape(kernel, shape)

    def get_config(self) -> dict:
        return {"initializer": keras.initializers.serialize(self.initializer)}


def _check(network, input_shape, include_top, pooling, classes, dropout, norm) -> None:
    check_common(input_shape, include_top, pooling, classes, dropout)
    smallest = 2 ** sum(isinstance(row, classics_rows.Pool) for row in network.rows)
    if any(n is not None and n < smallest for n in input_shape[:2]):
        raise ValueError(
            f"This network needs images of at least {smallest} x {smallest} pixels. "
            f"Received: input_shape={input_shape}"
        )
    check_choice("norm", norm, NORMS)


def _builder(key: str) -> Callable[..., keras.Model]:
    """The `keras.applications`-style builder of one row of `classics_rows`."""
    doc = f"Build `{key}`; arguments as for `classics.build`."
    return named_builder(build, key, classics_rows.get(key).builder, doc)


VGG16CIFAR, ResNet18CIFAR, MobileNetV2CIFAR = map(_builder, classics_rows.NAMES)
