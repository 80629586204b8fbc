"""The networks of 'Striving for Simplicity' as tables of layer rows, and one loop.

Base networks A, B and C (Table 1) are written out. The three variants of each
(section 3, Table 2) are derived from them by the paper's own definitions: `strided`,
`conv_pool` and `all_cnn` below. Every network is fully convolutional.

Padding follows the Caffe networks: all sides of a strided convolution are padded, and
the last 3x3 convolution is not padded at all, so that maps are 32, 16, 8 and 6 pixels
wide (the paper averages over 6x6).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
from keras import layers

CLASSES = -1  # stands for the number of classes in a row's `filters`


@dataclass(frozen=True)
class Conv:
    """A convolution and its rectifier. `pad` is per side, in pixels; None: kernel // 2.

    `dropout` is the rate after the rectifier.
    """

    filters: int
    kernel: int
    stride: int = 1
    pad: int | None = None
    dropout: float = 0.0

    @property
    def padding(self) -> int:
        return self.kernel // 2 if self.pad is None else self.pad

    def size(self, n: int) -> int:
        return (n + 2 * self.padding - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class Pool:
    """Overlapping max-pooling, 3x3 with stride 2, padded at the bottom and right.

    On even map sizes this is Caffe's pooling in its 'ceil' mode.
    """

    dropout: float = 0.5

    def size(self, n: int) -> int:
        return -(-n // 2)


Row = Conv | Pool


@dataclass(frozen=True)
class Architecture:
    """One network: what it is called, its input and its rows.

    `negative_slope` is the rectifier's slope below zero; `source` is the table.
    """

    builder: str
    rows: tuple[Row, ...]
    source: str
    input_size: int = 32
    classes: int = 10
    input_dropout: float = 0.2
    negative_slope: float = 0.0


# The last three layers of every CIFAR network (Table 1). The first is unpadded: 8 -> 6.
_HEAD = (Conv(192, 3, pad=0), Conv(192, 1), Conv(CLASSES, 1))

BASES: dict[str, tuple[Row, ...]] = {
    "a": (Conv(96, 5), Pool(), Conv(192, 5), Pool(), *_HEAD),
    "b": (
        *(Conv(96, 5), Conv(96, 1), Pool()),
        *(Conv(192, 5), Conv(192, 1), Pool()),
        *_HEAD,
    ),
    "c": (
        *(Conv(96, 3), Conv(96, 3), Pool()),
        *(Conv(192, 3), Conv(192, 3), Pool()),
        *_HEAD,
    ),
}


def strided(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Remove each pooling layer and raise the stride of the convolution before it."""
    out: list[Row] = []
    for row in rows:
        if isinstance(row, Pool):
            out[-1] = replace(out[-1], stride=2, dropout=row.dropout)
        else:
            out.append(row)
    return tuple(out)


def all_cnn(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Replace each pooling layer by a 3x3 convolution with stride 2, same width."""
    out: list[Row] = []
    for row in rows:
        if isinstance(row, Pool):
            row = Conv(out[-1].filters, 3, stride=2, dropout=row.dropout)
        out.append(row)
    return tuple(out)


def conv_pool(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Put a dense 3x3 convolution, same width, before each pooling layer."""
    out: list[Row] = []
    for row in rows:
        if isinstance(row, Pool):
            out.append(Conv(out[-1].filters, 3))
        out.append(row)
    return tuple(out)


# Graham's 2x2 style: five blocks of three, unpadded, 126 -> 62 -> 30 -> 14 -> 6 -> 2,
# then 2x2 and 1x1: a single position, which confirms the input size.
_LARGE = tuple(
    Conv(320 * block, 2, stride=stride, pad=0, dropout=rate)
    for block, rate in enumerate((0.0, 0.1, 0.2, 0.3, 0.4), start=1)
    for stride, rate in ((1, rate), (1, rate), (2, 0.0))
) + (
    Conv(1920, 2, pad=0, dropout=0.5),
    Conv(1920, 1, dropout=0.5),
    Conv(CLASSES, 1),
)

_IMAGENET = (
    *(Conv(96, 11, stride=4, pad=1), Conv(96, 1), Conv(96, 3, stride=2)),
    *(Conv(256, 5, pad=0), Conv(256, 1), Conv(256, 3, stride=2)),
    *(Conv(384, 3), Conv(384, 1), Conv(384, 3, stride=2, dropout=0.5)),
    *(Conv(1024, 3), Conv(1024, 1), Conv(CLASSES, 1)),
)

ARCHITECTURES: dict[str, Architecture] = {}
for _x, _rows in BASES.items():
    for _prefix, _builder, _rows_of in (
        ("model", "Model", tuple),
        ("strided_cnn", "StridedCNN", strided),
        ("conv_pool_cnn", "ConvPoolCNN", conv_pool),
        ("all_cnn", "AllCNN", all_cnn),
    ):
        ARCHITECTURES[f"{_prefix}_{_x}"] = Architecture(
            _builder + _x.upper(), _rows_of(_rows), "Tables 1 and 2"
        )
ARCHITECTURES["large_all_cnn"] = Architecture(
    "LargeAllCNN",
    _LARGE,
    "Table 5",
    input_size=126,
    input_dropout=0.0,
    negative_slope=1 / 3,  # Graham's 'very leaky' unit; the table only says leaky
)
ARCHITECTURES["all_cnn_b_imagenet"] = Architecture(
    "AllCNNBImageNet",
    _IMAGENET,
    "Table 6",
    input_size=224,
    classes=1000,
    input_dropout=0.0,
)

NAMES = tuple(ARCHITECTURES)


def map_sizes(name: str, size: int | None = None) -> list[int]:
    """Width of the feature map after each row, for a square input.

    Args:
        name: One of `NAMES`.
        size: Input width in pixels; None: the paper's.

    Returns:
        One int per row; values below 1 mean that the input is too small.
    """
    architecture = _architecture(name)
    n = size or architecture.input_size
    sizes = []
    for row in architecture.rows:
        n = row.size(n) if n > 0 else 0
        sizes.append(n)
    return sizes


def count_parameters(name: str, classes: int | None = None) -> int:
    """Weights and biases of a network, by arithmetic on its rows."""
    architecture = _architecture(name)
    total, channels = 0, 3
    for row in architecture.rows:
        if isinstance(row, Conv):
            filters = row.filters
            if filters == CLASSES:
                filters = architecture.classes if classes is None else classes
            total += (row.kernel**2 * channels + 1) * filters
            channels = filters
    return total


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
    kernel_initializer: str = "lecun_uniform",
) -> keras.Model:
    """Build one of the paper's networks.

    Args:
        name: One of `NAMES`, e.g. `"all_cnn_c"`.
        include_top: Whether to end in class scores. False ends at the last hidden
            convolution, before the 1x1 convolution that makes the scores.
        weights: None (random), `"cifar10"` or `"cifar100"` (released with this
            project), or the path of a weight file.
        input_shape: `(height, width, channels)`; None: the paper's, channels last.
            Height and width may be None: the networks are fully convolutional.
        pooling: With `include_top=False`: None (a map), `"avg"` or `"max"` (a vector).
        classes: Number of classes; None: the paper's (10, or 1000 for ImageNet).
        classifier_activation: `"softmax"`, or None for the logits.
        model_name: Name of the Keras model; None: `name`.
        dropout: Factor on every dropout rate of the paper; 0 leaves dropout out.
        kernel_initializer: Keras initialiser of all kernels. The paper names none;
            `"lecun_uniform"` is Caffe's `xavier` filler. Biases start at 0.

    Returns:
        An uncompiled functional `keras.Model`. Layers are named `conv1`, `conv2`, ...
        in order, `pool1`, ..., `global_pool` (the logits) and `predictions`.

    Raises:
        ValueError: If an argument is not one of the above, or the input is too small.
    """
    architecture = _architecture(name)
    classes = architecture.classes if classes is None else classes
    size = architecture.input_size
    input_shape = (size, size, 3) if input_shape is None else tuple(input_shape)
    _check(name, input_shape, include_top, pooling, classes, dropout)

    rows = architecture.rows if include_top else architecture.rows[:-1]
    inputs = x = keras.Input(input_shape, name="images")
    if architecture.input_dropout * dropout:
        x = layers.Dropout(architecture.input_dropout * dropout, name="dropout0")(x)
    counts = {"conv": 0, "pool": 0, "dropout": 0}

    def named(kind: str) -> str:
        counts[kind] += 1
        return f"{kind}{counts[kind]}"

    for row in rows:
        if isinstance(row, Pool):
            x = layers.MaxPooling2D(3, 2, padding="same", name=named("pool"))(x)
        else:
            x = _convolve(x, row, classes, architecture, kernel_initializer, named)
        if row.dropout * dropout:
            x = layers.Dropout(row.dropout * dropout, name=named("dropout"))(x)

    if include_top:
        x = layers.GlobalAveragePooling2D(name="global_pool")(x)
        x = layers.Activation(
            classifier_activation or "linear", name="predictions", dtype="float32"
        )(x)
    elif pooling:
        layer = {
            "avg": layers.GlobalAveragePooling2D,
            "max": layers.GlobalMaxPooling2D,
        }[pooling]
        x = layer(name="global_pool")(x)
    model = keras.Model(inputs, x, name=model_name or name)
    if weights is not None:
        from allconv.weights import load_into  # only a model with weights needs files

        load_into(model, name, weights)
    return model


def _convolve(x, row, classes, architecture, kernel_initializer, named):
    """One row: padding where Keras' own would differ from Caffe's, and the conv."""
    label = named("conv")
    padding = "same" if row.kernel == 2 * row.padding + 1 else "valid"
    if row.padding and (row.stride > 1 or padding == "valid"):
        x = layers.ZeroPadding2D(row.padding, name=f"{label}_pad")(x)
        padding = "valid"
    x = layers.Conv2D(
        classes if row.filters == CLASSES else row.filters,
        row.kernel,
        strides=row.stride,
        padding=padding,
        activation=None if architecture.negative_slope else "relu",
        kernel_initializer=kernel_initializer,
        name=label,
    )(x)
    if architecture.negative_slope:
        x = layers.LeakyReLU(architecture.negative_slope, name=f"{label}_relu")(x)
    return x


def _architecture(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        raise ValueError(
            f"`name` should be one of {', '.join(NAMES)}. Received: name={name!r}"
        )
    return ARCHITECTURES[name]


def _check(name, input_shape, include_top, pooling, classes, dropout) -> None:
    if len(input_shape) != 3:
        raise ValueError(
            "`input_shape` should be (height, width, channels). "
            f"Received: input_shape={input_shape}"
        )
    for n in input_shape[:2]:
        if n is not None and min(map_sizes(name, n)) < 1:
            smallest = next(s for s in range(1, 999) if min(map_sizes(name, s)) > 0)
            raise ValueError(
                f"{name} needs images of at least {smallest} x {smallest} pixels. "
                f"Received: input_shape={input_shape}"
            )
    if pooling not in (None, "avg", "max"):
        raise ValueError(
            f"`pooling` should be None, 'avg' or 'max'. Received: pooling={pooling!r}"
        )
    if include_top and pooling:
        raise ValueError(
            "`pooling` is for `include_top=False`; the top averages over positions "
            f"itself. Received: pooling={pooling!r}"
        )
    if not isinstance(classes, int) or classes < 1:
        raise ValueError(
            f"`classes` should be a positive integer. Received: classes={classes!r}"
        )
    if not 0 <= dropout <= 1:
        raise ValueError(
            f"`dropout` should be a factor from 0 to 1. Received: dropout={dropout!r}"
        )


def _builder(key: str) -> Callable[..., keras.Model]:
    """The `keras.applications`-style builder of one row of `ARCHITECTURES`."""
    architecture = ARCHITECTURES[key]

    def builder(
        include_top: bool = True,
        weights: str | Path | None = None,
        input_shape: tuple[int | None, int | None, int] | None = None,
        pooling: str | None = None,
        classes: int = architecture.classes,
        classifier_activation: str | None = "softmax",
        name: str = key,
        **kwargs,
    ) -> keras.Model:
        return build(
            key,
            include_top=include_top,
            weights=weights,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            model_name=name,
            **kwargs,
        )

    builder.__name__ = builder.__qualname__ = architecture.builder
    builder.__doc__ = (
        f"Build `{key}` ({architecture.source}); arguments as for `models.build`."
    )
    return builder


ModelA, StridedCNNA, ConvPoolCNNA, AllCNNA = map(_builder, NAMES[0:4])
ModelB, StridedCNNB, ConvPoolCNNB, AllCNNB = map(_builder, NAMES[4:8])
ModelC, StridedCNNC, ConvPoolCNNC, AllCNNC = map(_builder, NAMES[8:12])
LargeAllCNN, AllCNNBImageNet = map(_builder, NAMES[12:])
