"""Keras layers of ZFNet, AlexNet and the ablations of ZFNet's Table 3.

Layers are named `conv1` ... `conv5`, `fc6`, `fc7` and `predictions`, as the paper
numbers them, and `pool1`, `norm1`, ... after the layer that they follow. With
`norm="batch"`, which the paper has not, `conv1_norm` and `conv1_relu` stand behind
`conv1` and so on; local response normalisation stays.
"""

from allconv.core import backend  # noqa: F401, before Keras

# isort: split
import keras
from keras import layers

from allconv.layers import batch_norm
from allconv.layers.grouped_conv import GroupedConv2D
from allconv.layers.zfnet_norms import LocalResponseNormalization, MaxRMS
from allconv.networks import zfnet_rows
from allconv.networks.builders import (
    Initializer,
    Options,
    build as build,  # for all families alike
    builder,
    own_initializer,
)


def hidden(x: keras.KerasTensor, options: Options) -> keras.KerasTensor:
    """All rows to `pool5`."""
    network = zfnet_rows.get(options.network)
    for row in network.rows:
        if isinstance(row, zfnet_rows.Norm):
            x = LocalResponseNormalization(name=row.name)(x)
        elif isinstance(row, zfnet_rows.Pool):
            x = layers.MaxPooling2D(3, 2, padding=row.padding, name=row.name)(x)
        elif isinstance(row, zfnet_rows.Conv):
            x = _convolve(x, row, options)
    return x


def top(x: keras.KerasTensor, options: Options) -> keras.KerasTensor:
    """The dense layers; behind each but the last, dropout of 0.5."""
    x = layers.Flatten(name="flatten")(x)
    for row in zfnet_rows.get(options.network).rows:
        if isinstance(row, zfnet_rows.Dense):
            x = layers.Dense(
                row.units,
                activation="relu",
                kernel_initializer=_initializer(options),
                name=row.name,
            )(x)
            if options.dropout:
                label = row.name.replace("fc", "dropout")
                x = layers.Dropout(0.5 * options.dropout, name=label)(x)
    return layers.Dense(
        options.classes,
        activation=options.classifier_activation,
        kernel_initializer=_initializer(options),
        dtype="float32",
        name="predictions",
    )(x)


def _initializer(options: Options, std: float | None = None) -> Initializer:
    """The initialiser asked for; else of this spread, or the network's, or He's."""
    if options.kernel_initializer is not None:
        return own_initializer(options.kernel_initializer)
    std = std or zfnet_rows.get(options.network).std
    if std is None:
        return keras.initializers.HeNormal()
    return keras.initializers.RandomNormal(stddev=std)


def _convolve(x, row, options):
    """One convolution, padded by hand where Keras' own padding would differ."""
    if row.pad and any(row.pad):
        x = layers.ZeroPadding2D((row.pad, row.pad), name=f"{row.name}_pad")(x)
    convolution = GroupedConv2D if row.groups > 1 else layers.Conv2D
    normalised = options.norm == "batch"
    max_rms = zfnet_rows.get(options.network).max_rms
    x = convolution(
        row.filters,
        row.kernel,
        strides=row.stride,
        padding="same" if row.pad is None else "valid",
        groups=row.groups,
        use_bias=not normalised,
        activation=None if normalised else "relu",
        kernel_initializer=_initializer(options, row.std),
        kernel_constraint=MaxRMS(max_rms) if max_rms else None,
        name=row.name,
    )(x)
    if normalised:
        x = batch_norm.BatchNormalization(
            name=f"{row.name}_norm", **options.norm_options
        )(x)
        x = layers.ReLU(name=f"{row.name}_relu")(x)
    return x


ZFNet = builder("zfnet", "ZFNet", "ZFNet (Figure 3)")
AlexNet = builder("alexnet", "AlexNet", "AlexNet")
ZFNet32 = builder("zfnet_32", "ZFNet32", "ZFNet for 32 x 32 images")
AlexNet32 = builder("alexnet_32", "AlexNet32", "AlexNet for 32 x 32 images")
