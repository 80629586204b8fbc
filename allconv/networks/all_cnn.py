"""Keras builders of the paper's networks, in the grammar of `keras.applications`.

One loop turns the rows of `architectures` into layers; every public builder is that
loop with a name.
"""

from collections.abc import Callable
from pathlib import Path

import keras
from keras import layers

from allconv.core.checks import check_choice
from allconv.layers import batch_norm
from allconv.layers.netdeconv import NetworkDeconvolution2D
from allconv.networks import all_cnn_rows
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
    norm: str = "none",
) -> keras.Model:
    """Build one of the paper's networks.

    Args:
        name: One of `all_cnn_rows.NAMES`, e.g. `"all_cnn_c"`.
        include_top: Whether to end in class scores. False ends at the last hidden
            convolution, before the 1x1 convolution that makes the scores.
        weights: None (random), `"cifar10"` or `"cifar100"` (released with this
            project), or the path of a weight file.
        input_shape: `(height, width, channels)`; None: the paper's, channels last.
            Height and width may be None: the networks are fully convolutional.
        pooling: With `include_top=False`: None (a map), `"avg"` or `"max"` (a vector).
        classes: Number of classes; None: those of the data set that `weights` names,
            else the paper's (10, or 1000 for ImageNet).
        classifier_activation: `"softmax"`, or None for the logits.
        model_name: Name of the Keras model; None: `name`.
        dropout: Factor on every dropout rate of the paper; 0 leaves dropout out.
        kernel_initializer: Keras initialiser of all kernels. The paper names none;
            None is `"lecun_uniform"`, Caffe's `xavier` filler. Biases start at 0.
        norm: `"none"`: as in the paper. `"batch"`: batch normalisation after every
            convolution but the last. `"deconv"`: every convolution is a
            `netdeconv.NetworkDeconvolution2D`. `folding.fold` makes either plain again.

    Returns:
        An uncompiled functional `keras.Model`. Layers are named `conv1`, `conv2`, ...
        in order, `pool1`, ..., `global_pool` (the logits) and `predictions`.

    Raises:
        ValueError: If an argument is not one of the above, or the input is too small.
    """
    architecture = all_cnn_rows.get(name)
    classes = count_classes(classes, weights, architecture.classes)
    size = architecture.input_size
    shape: tuple = (size, size, 3) if input_shape is None else tuple(input_shape)
    _check(name, shape, include_top, pooling, classes, dropout, norm)

    kernel_initializer = kernel_initializer or "lecun_uniform"

    rows = architecture.rows if include_top else architecture.rows[:-1]
    inputs = x = keras.Input(shape, name="images")
    if architecture.input_dropout * dropout:
        x = layers.Dropout(architecture.input_dropout * dropout, name="dropout0")(x)
    counts = {"conv": 0, "pool": 0, "dropout": 0}

    def named(kind: str) -> str:
        counts[kind] += 1
        return f"{kind}{counts[kind]}"

    for row in rows:
        if isinstance(row, all_cnn_rows.Pool):
            x = layers.MaxPooling2D(3, 2, padding="same", name=named("pool"))(x)
        else:
            x = _convolve(
                x, row, classes, architecture, kernel_initializer, norm, named("conv")
            )
        if row.dropout * dropout:
            x = layers.Dropout(row.dropout * dropout, name=named("dropout"))(x)

    if include_top:
        x = pool_map(x, "avg")
        x = layers.Activation(
            classifier_activation or "linear", name="predictions", dtype="float32"
        )(x)
    elif pooling:
        x = pool_map(x, pooling)
    return finish(keras.Model(inputs, x, name=model_name or name), name, weights)


def _convolve(x, row, classes, architecture, kernel_initializer, norm, label):
    """One row: padding where Keras' own would differ from Caffe's, conv, rectifier."""
    scores = row.filters == all_cnn_rows.CLASSES
    normalised = norm == "batch" and not scores
    fused = not (architecture.negative_slope or normalised)
    arguments = {
        "filters": classes if scores else row.filters,
        "kernel_size": row.kernel,
        "strides": row.stride,
        "activation": "relu" if fused else None,
        "kernel_initializer": own_initializer(kernel_initializer),
        "name": label,
    }
    if norm == "deconv":
        x = NetworkDeconvolution2D(padding=row.padding, **arguments)(x)
    else:
        padding = "same" if row.kernel == 2 * row.padding + 1 else "valid"
        if row.padding and (row.stride > 1 or padding == "valid"):
            x = layers.ZeroPadding2D(row.padding, name=f"{label}_pad")(x)
            padding = "valid"
        x = layers.Conv2D(padding=padding, use_bias=not normalised, **arguments)(x)
    if normalised:
        x = batch_norm.BatchNormalization(name=f"{label}_norm")(x)
        if not architecture.negative_slope:
            x = layers.ReLU(name=f"{label}_relu")(x)
    if architecture.negative_slope:
        x = layers.LeakyReLU(architecture.negative_slope, name=f"{label}_relu")(x)
    return x


def _check(name, input_shape, include_top, pooling, classes, dropout, norm) -> None:
    check_common(input_shape, include_top, pooling, classes, dropout)
    for n in input_shape[:2]:
        if n is not None and min(all_cnn_rows.map_sizes(name, n)) < 1:
            smallest = all_cnn_rows.smallest_input(name)
            raise ValueError(
                f"{name} needs images of at least {smallest} x {smallest} pixels. "
                f"Received: input_shape={input_shape}"
            )
    check_choice("norm", norm, NORMS)


def _builder(key: str) -> Callable[..., keras.Model]:
    """The `keras.applications`-style builder of one architecture."""
    architecture = all_cnn_rows.get(key)
    doc = f"Build `{key}` ({architecture.source}); arguments as for `all_cnn.build`."
    return named_builder(build, key, architecture.builder, doc)


ModelA, StridedCNNA, ConvPoolCNNA, AllCNNA = map(_builder, all_cnn_rows.NAMES[0:4])
ModelB, StridedCNNB, ConvPoolCNNB, AllCNNB = map(_builder, all_cnn_rows.NAMES[4:8])
ModelC, StridedCNNC, ConvPoolCNNC, AllCNNC = map(_builder, all_cnn_rows.NAMES[8:12])
LargeAllCNN, AllCNNBImageNet = map(_builder, all_cnn_rows.NAMES[12:])
