"""Keras builders of ZFNet, AlexNet and the ablations of ZFNet's Table 3."""

from collections.abc import Callable
from pathlib import Path

import keras
from keras import layers

from allconv.layers.grouped_conv import GroupedConv2D
from allconv.layers.zfnet_norms import LocalResponseNormalization, MaxRMS
from allconv.networks import zfnet_rows
from allconv.networks.builders import (
    check_common,
    count_classes,
    finish,
    named_builder,
    own_initializer,
    pool_map,
)


def build(
    name: str,
    *,
    include_top: bool = True,
    weights: str | Path | None = None,
    input_shape: tuple[int, int, int] | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | None = "softmax",
    model_name: str | None = None,
    dropout: float = 1.0,
    kernel_initializer: str | None = None,
    norm: str = "none",
) -> keras.Model:
    """Build ZFNet, AlexNet or an ablation of either.

    Args:
        name: One of `zfnet_rows.NAMES`, e.g. `"zfnet"` or `"zfnet_32_no_3_4"`.
        include_top: Whether to end in the dense layers and class scores. False ends
            at `pool5`.
        weights: None (random), `"cifar10"` or `"cifar100"` (released with this
            project), or the path of a weight file.
        input_shape: `(height, width, channels)`; None: the network's own, 3 channels.
        pooling: With `include_top=False`: None (a map), `"avg"` or `"max"` (a vector).
        classes: Number of classes; None: those of the data set that `weights` names,
            else 1000, or 10 for the `_32` networks.
        classifier_activation: `"softmax"`, or None for the logits.
        model_name: Name of the Keras model; None: `name`.
        dropout: Factor on the dropout of 0.5 behind dense layers.
        kernel_initializer: Keras initialiser; None: the network's own (`Network.std`,
            `Conv.std`).
        norm: `"none"`: these networks have local response normalisation instead.

    Returns:
        An uncompiled functional `keras.Model`. Layers are named `conv1` ... `conv5`,
        `fc6`, `fc7` and `predictions`, as the paper numbers them, and `pool1`,
        `norm1`, ... after the layer that they follow.

    Raises:
        ValueError: If an argument is not one of the above, or the input is too small.
    """
    network = zfnet_rows.get(name)
    classes = count_classes(classes, weights, network.classes)
    shape: tuple = tuple(input_shape or (network.input_size, network.input_size, 3))
    _check(name, shape, include_top, pooling, classes, dropout, norm)

    def initializer(std=network.std):
        if kernel_initializer is not None:
            return own_initializer(kernel_initializer)
        if std is None:
            return keras.initializers.HeNormal()
        return keras.initializers.RandomNormal(stddev=std)

    inputs = x = keras.Input(shape, name="images")
    for row in network.rows:
        if isinstance(row, zfnet_rows.Dense):
            continue
        if isinstance(row, zfnet_rows.Norm):
            x = LocalResponseNormalization(name=row.name)(x)
        elif isinstance(row, zfnet_rows.Pool):
            x = layers.MaxPooling2D(3, 2, padding=row.padding, name=row.name)(x)
        else:
            start = initializer(row.std or network.std)
            x = _convolve(x, row, start, network.max_rms)

    if include_top:
        x = layers.Flatten(name="flatten")(x)
        for row in network.rows:
            if isinstance(row, zfnet_rows.Dense):
                x = layers.Dense(
                    row.units,
                    activation="relu",
                    kernel_initializer=initializer(),
                    name=row.name,
                )(x)
                if dropout:
                    label = row.name.replace("fc", "dropout")
                    x = layers.Dropout(0.5 * dropout, name=label)(x)
        x = layers.Dense(
            classes,
            activation=classifier_activation,
            kernel_initializer=initializer(),
            dtype="float32",
            name="predictions",
        )(x)
    elif pooling:
        x = pool_map(x, pooling)
    return finish(keras.Model(inputs, x, name=model_name or name), name, weights)


def _convolve(x, row, initializer, max_rms):
    """One convolution, padded by hand where Keras' own padding would differ."""
    if row.pad and any(row.pad):
        x = layers.ZeroPadding2D((row.pad, row.pad), name=f"{row.name}_pad")(x)
    convolution = GroupedConv2D if row.groups > 1 else layers.Conv2D
    return convolution(
        row.filters,
        row.kernel,
        strides=row.stride,
        padding="same" if row.pad is None else "valid",
        groups=row.groups,
        activation="relu",
        kernel_initializer=initializer,
        kernel_constraint=MaxRMS(max_rms) if max_rms else None,
        name=row.name,
    )(x)


def _check(name, input_shape, include_top, pooling, classes, dropout, norm) -> None:
    check_common(input_shape, include_top, pooling, classes, dropout)
    if None in input_shape:
        raise ValueError(
            "`input_shape` should be (height, width, channels), all known. "
            f"Received: input_shape={input_shape}"
        )
    for n in input_shape[:2]:
        if min(zfnet_rows.map_sizes(name, n).values()) < 1:
            raise ValueError(
                f"{name} is made for images of {zfnet_rows.get(name).input_size} "
                f"pixels; these are too small. Received: input_shape={input_shape}"
            )
    if norm != "none":
        raise ValueError(
            f"{name} has local response normalisation: `norm` should be 'none'. "
            f"Received: norm={norm!r}"
        )


def _builder(key: str, title: str) -> Callable[..., keras.Model]:
    """The `keras.applications`-style builder of one row of `zfnet_rows`."""
    doc = f"Build `{key}`; arguments as for `zfnet.build`."
    return named_builder(build, key, title, doc)


ZFNet = _builder("zfnet", "ZFNet")
AlexNet = _builder("alexnet", "AlexNet")
ZFNet32 = _builder("zfnet_32", "ZFNet32")
AlexNet32 = _builder("alexnet_32", "AlexNet32")
