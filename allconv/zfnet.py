"""ZFNet, its ancestor AlexNet and the ablations of Table 3, at two sizes.

'Visualizing and Understanding Convolutional Networks' (Zeiler & Fergus, 2014): Figure 3
is the network, Table 3 the ablations. One table of rows per network, one table of
changes, and one builder. `zfnet_32` and `alexnet_32` are the same networks for 32 x 32
images, with a quarter of every width, so that a CPU can train them.

ZFNet and AlexNet differ in layer 1 (7x7 stride 2 against 11x11 stride 4), in the stride
of layer 2, which makes up for it, and in layers 2, 4 and 5, which AlexNet splits in two
groups. From layer 2 on their maps are equally large, at both sizes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
from keras import layers

from allconv.builders import (
    check_common,
    count_classes,
    finish,
    named_builder,
    own_initializer,
    pool_map,
)
from allconv.checks import check_choice
from allconv.grouped import GroupedConv2D
from allconv.normalisation import LocalResponseNormalization, MaxRMS


@dataclass(frozen=True)
class Conv:
    """A convolution and its rectifier; `pad`: pixels top and left, bottom and right."""

    name: str
    filters: int
    kernel: int
    stride: int = 1
    pad: tuple[int, int] | None = None  # None: 'same'
    groups: int = 1
    std: float | None = None  # of the initial weights; None: the network's

    def size(self, n: int) -> int:
        if self.pad is None:
            return -(-n // self.stride)
        return (n + sum(self.pad) - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class Pool:
    """Overlapping max-pooling, 3x3 with stride 2."""

    name: str
    padding: str = "valid"

    def size(self, n: int) -> int:
        return -(-n // 2) if self.padding == "same" else (n - 3) // 2 + 1


@dataclass(frozen=True)
class Norm:
    """Local response normalisation."""

    name: str

    def size(self, n: int) -> int:
        return n


@dataclass(frozen=True)
class Dense:
    """A dense layer, its rectifier and dropout 0.5."""

    name: str
    units: int

    def size(self, n: int) -> int:
        return 1


Row = Conv | Pool | Norm | Dense


@dataclass(frozen=True)
class Network:
    """One network: its rows, square input size, classes and weights.

    `std` is the standard deviation of the initial weights. The paper's 1e-2 suits
    inputs in about [-128, 128] and wide layers; None is He's, for the small networks.
    `max_rms` is the largest RMS of a convolution's filter; None: unbounded.
    """

    rows: tuple[Row, ...]
    input_size: int = 224
    classes: int = 1000
    std: float | None = 1e-2
    max_rms: float | None = 0.1


# Map sizes after each layer: Figure 3 (110, 55, 26, 13, 13, 13, 13, 6).
_ZFNET = (
    *(Conv("conv1", 96, 7, 2, (1, 1)), Pool("pool1", "same"), Norm("norm1")),
    *(Conv("conv2", 256, 5, 2, (0, 0)), Pool("pool2", "same"), Norm("norm2")),
    *(Conv("conv3", 384, 3), Conv("conv4", 384, 3), Conv("conv5", 256, 3)),
    *(Pool("pool5"), Dense("fc6", 4096), Dense("fc7", 4096)),
)
# Krizhevsky et al. (2012): normalisation before pooling; two GPUs were two groups.
# The padding makes 227 of 224 pixels, which 11x11 with stride 4 tiles (55 positions).
_ALEXNET = (
    *(Conv("conv1", 96, 11, 4, (1, 2)), Norm("norm1"), Pool("pool1")),
    *(Conv("conv2", 256, 5, groups=2), Norm("norm2"), Pool("pool2")),
    *(Conv("conv3", 384, 3), Conv("conv4", 384, 3, groups=2)),
    *(Conv("conv5", 256, 3, groups=2), Pool("pool5")),
    *(Dense("fc6", 4096), Dense("fc7", 4096)),
)
# 32 pixels leave room for half the stride in layer 1 and for no pool after layer 2:
# 32, 16, 8, 8, 8, 8, 3 in ZFNet and 16, 8, 8, 8, 8, 8, 3 in AlexNet.
# Layer 1 starts far below the bound of 0.1, so that what its filters show after a short
# training was learned: weight decay takes 20,000 steps to shrink He's noise e-fold.
_ZFNET_32 = (
    *(Conv("conv1", 24, 5, std=0.02), Pool("pool1", "same"), Norm("norm1")),
    *(Conv("conv2", 64, 5, 2), Norm("norm2")),
    *(Conv("conv3", 96, 3), Conv("conv4", 96, 3), Conv("conv5", 64, 3)),
    *(Pool("pool5"), Dense("fc6", 1024), Dense("fc7", 1024)),
)
_ALEXNET_32 = (
    *(Conv("conv1", 24, 7, 2, std=0.02), Norm("norm1"), Pool("pool1", "same")),
    *(Conv("conv2", 64, 5, groups=2), Norm("norm2")),
    *(Conv("conv3", 96, 3), Conv("conv4", 96, 3, groups=2)),
    *(Conv("conv5", 64, 3, groups=2), Pool("pool5")),
    *(Dense("fc6", 1024), Dense("fc7", 1024)),
)

# Table 3: factor on the width of the layers named; 0 removes the layer. Without layer 6
# the network is the same as without layer 7: one dense layer on the same features.
_WIDE = {"conv3": 4 / 3, "conv4": 8 / 3, "conv5": 2}  # 512, 1024, 512 maps
VARIANTS: dict[str, dict[str, float]] = {
    "": {},
    "no_3_4": {"conv3": 0, "conv4": 0},
    "no_7": {"fc7": 0},
    "no_6_7": {"fc6": 0, "fc7": 0},
    "no_3_4_6_7": {"conv3": 0, "conv4": 0, "fc6": 0, "fc7": 0},
    "half_dense": {"fc6": 1 / 2, "fc7": 1 / 2},  # 2048 units
    "double_dense": {"fc6": 2, "fc7": 2},  # 8192 units
    "wide": _WIDE,
    "wide_double_dense": {**_WIDE, "fc6": 2, "fc7": 2},
}


def change(rows: tuple[Row, ...], factors: dict[str, float]) -> tuple[Row, ...]:
    """Multiply the width of the rows named in `factors`; a factor of 0 removes one."""
    out = []
    for row in rows:
        factor = factors.get(row.name, 1)
        if isinstance(row, Conv) and factor:
            out.append(replace(row, filters=round(row.filters * factor)))
        elif isinstance(row, Dense) and factor:
            out.append(replace(row, units=round(row.units * factor)))
        elif factor:
            out.append(row)
    return tuple(out)


NETWORKS: dict[str, Network] = {
    f"{name}_{variant}" if variant else name: replace(
        network, rows=change(network.rows, factors)
    )
    for name, network in {
        "zfnet": Network(_ZFNET),
        "alexnet": Network(_ALEXNET),
        "zfnet_32": Network(_ZFNET_32, 32, 10, None),
        "alexnet_32": Network(_ALEXNET_32, 32, 10, None),
    }.items()
    for variant, factors in VARIANTS.items()
}
# Section 4.1: without renormalisation, a few filters of layer 1 dominate.
NETWORKS["zfnet_32_unbounded"] = replace(NETWORKS["zfnet_32"], max_rms=None)
NAMES = tuple(NETWORKS)


def map_sizes(name: str, size: int | None = None) -> dict[str, int]:
    """Width of the map after each row, by layer name, for a square input.

    Args:
        name: One of `NAMES`.
        size: Input width in pixels; None: the network's own.

    Returns:
        One int per row; values below 1 mean that the input is too small.
    """
    n = _network(name).input_size if size is None else size
    sizes = {}
    for row in _network(name).rows:
        n = row.size(n) if n > 0 else 0
        sizes[row.name] = n
    return sizes


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
        name: One of `NAMES`, e.g. `"zfnet"` or `"zfnet_32_no_3_4"`.
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
    network = _network(name)
    classes = count_classes(classes, weights, network.classes)
    input_shape = tuple(input_shape or (network.input_size, network.input_size, 3))
    _check(name, input_shape, include_top, pooling, classes, dropout, norm)

    def initializer(std=network.std):
        if kernel_initializer is not None:
            return own_initializer(kernel_initializer)
        if std is None:
            return keras.initializers.HeNormal()
        return keras.initializers.RandomNormal(stddev=std)

    inputs = x = keras.Input(input_shape, name="images")
    for row in network.rows:
        if isinstance(row, Dense):
            continue
        if isinstance(row, Norm):
            x = LocalResponseNormalization(name=row.name)(x)
        elif isinstance(row, Pool):
            x = layers.MaxPooling2D(3, 2, padding=row.padding, name=row.name)(x)
        else:
            start = initializer(row.std or network.std)
            x = _convolve(x, row, start, network.max_rms)

    if include_top:
        x = layers.Flatten(name="flatten")(x)
        for row in network.rows:
            if isinstance(row, Dense):
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


def _network(name: str) -> Network:
    check_choice("name", name, NAMES)
    return NETWORKS[name]


def _check(name, input_shape, include_top, pooling, classes, dropout, norm) -> None:
    check_common(input_shape, include_top, pooling, classes, dropout)
    if None in input_shape:
        raise ValueError(
            "`input_shape` should be (height, width, channels), all known. "
            f"Received: input_shape={input_shape}"
        )
    for n in input_shape[:2]:
        if min(map_sizes(name, n).values()) < 1:
            raise ValueError(
                f"{name} is made for images of {_network(name).input_size} pixels; "
                f"these are too small. Received: input_shape={input_shape}"
            )
    if norm != "none":
        raise ValueError(
            f"{name} has local response normalisation: `norm` should be 'none'. "
            f"Received: norm={norm!r}"
        )


def _builder(key: str, title: str) -> Callable[..., keras.Model]:
    """The `keras.applications`-style builder of one row of `NETWORKS`."""
    doc = f"Build `{key}`; arguments as for `zfnet.build`."
    return named_builder(build, key, title, doc)


ZFNet = _builder("zfnet", "ZFNet")
AlexNet = _builder("alexnet", "AlexNet")
ZFNet32 = _builder("zfnet_32", "ZFNet32")
AlexNet32 = _builder("alexnet_32", "AlexNet32")
