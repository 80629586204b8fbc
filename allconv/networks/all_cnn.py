"""Keras layers of the All-CNN networks, out of the rows of `all_cnn_rows`.

Layers are named `conv1`, `conv2`, ... in order, `pool1`, ..., `global_pool` (the
logits) and `predictions`.
"""

from collections import Counter

from allconv.core import backend  # noqa: F401, before Keras

# isort: split
import keras
from keras import layers

from allconv.layers import batch_norm
from allconv.layers.netdeconv import NetworkDeconvolution2D
from allconv.networks import all_cnn_rows
from allconv.networks.builders import (
    Builder,
    Options,
    build as build,  # for all families alike
    builder,
    own_initializer,
    pool_map,
)


def hidden(x: keras.KerasTensor, options: Options) -> keras.KerasTensor:
    """All rows but the last, which makes the scores."""
    architecture = all_cnn_rows.get(options.network)
    if architecture.input_dropout * options.dropout:
        rate = architecture.input_dropout * options.dropout
        x = layers.Dropout(rate, name="dropout0")(x)
    counts: Counter[str] = Counter()

    def named(kind: str) -> str:
        counts[kind] += 1
        return f"{kind}{counts[kind]}"

    for row in architecture.rows[:-1]:
        if isinstance(row, all_cnn_rows.Pool):
            x = layers.MaxPooling2D(3, 2, padding="same", name=named("pool"))(x)
        else:
            x = _convolve(x, row, options, named("conv"))
        if row.dropout * options.dropout:
            rate = row.dropout * options.dropout
            x = layers.Dropout(rate, name=named("dropout"))(x)
    return x


def top(x: keras.KerasTensor, options: Options) -> keras.KerasTensor:
    """The 1x1 convolution that makes a map of each class's score, and their means."""
    rows = all_cnn_rows.get(options.network).rows
    count = sum(isinstance(row, all_cnn_rows.Conv) for row in rows)
    x = pool_map(_convolve(x, rows[-1], options, f"conv{count}"), "avg")
    activation = options.classifier_activation or "linear"
    return layers.Activation(activation, name="predictions", dtype="float32")(x)


def _convolve(x, row, options, label):
    """One row: padding where Keras' own would differ from Caffe's, conv, rectifier."""
    slope = all_cnn_rows.get(options.network).negative_slope
    scores = row.filters == all_cnn_rows.CLASSES
    normalised = options.norm == "batch" and not scores
    arguments = {
        "filters": options.classes if scores else row.filters,
        "kernel_size": row.kernel,
        "strides": row.stride,
        "activation": None if slope or normalised else "relu",
        # The paper names no start; this is Caffe's `xavier` filler.
        "kernel_initializer": own_initializer(
            options.kernel_initializer or "lecun_uniform"
        ),
        "name": label,
    }
    if options.norm == "deconv":
        arguments |= {"padding": row.padding, **options.norm_options}
        x = NetworkDeconvolution2D(**arguments)(x)
    else:
        padding = "same" if row.kernel == 2 * row.padding + 1 else "valid"
        if row.padding and (row.stride > 1 or padding == "valid"):
            x = layers.ZeroPadding2D(row.padding, name=f"{label}_pad")(x)
            padding = "valid"
        x = layers.Conv2D(padding=padding, use_bias=not normalised, **arguments)(x)
    if normalised:
        norm = batch_norm.BatchNormalization(
            name=f"{label}_norm", **options.norm_options
        )
        x = norm(x)
        if not slope:
            x = layers.ReLU(name=f"{label}_relu")(x)
    if slope:
        x = layers.LeakyReLU(slope, name=f"{label}_relu")(x)
    return x


def _builder(network: str) -> Builder:
    row = all_cnn_rows.get(network)
    return builder(network, row.builder, f"`{network}` ({row.source})")


ModelA = _builder("model_a")
StridedCNNA = _builder("strided_cnn_a")
ConvPoolCNNA = _builder("conv_pool_cnn_a")
AllCNNA = _builder("all_cnn_a")
ModelB = _builder("model_b")
StridedCNNB = _builder("strided_cnn_b")
ConvPoolCNNB = _builder("conv_pool_cnn_b")
AllCNNB = _builder("all_cnn_b")
ModelC = _builder("model_c")
StridedCNNC = _builder("strided_cnn_c")
ConvPoolCNNC = _builder("conv_pool_cnn_c")
AllCNNC = _builder("all_cnn_c")
LargeAllCNN = _builder("large_all_cnn")
AllCNNBImageNet = _builder("all_cnn_b_imagenet")
