"""The networks of 'Striving for Simplicity' as tables of layer rows.

Base networks A, B and C (Table 1) are written out. The three variants of each
(section 3, Table 2) are derived from them by the paper's own definitions: `strided`,
`conv_pool` and `all_cnn` below. Every network is fully convolutional.
`all_cnn` builds them.

Padding follows the Caffe networks: all sides of a strided convolution are padded, and
the last 3x3 convolution is not padded at all, so that maps are 32, 16, 8 and 6 pixels
wide (the paper averages over 6x6).
"""

from dataclasses import dataclass, replace

from allconv.core.arguments import checked
from allconv.core.checks import check_choice

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
    out: list[Conv] = []
    for row in rows:
        if isinstance(row, Pool):
            out[-1] = replace(out[-1], stride=2, dropout=row.dropout)
        else:
            out.append(row)
    return tuple(out)


def all_cnn(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Replace each pooling layer by a 3x3 convolution with stride 2, same width."""
    out: list[Conv] = []
    for row in rows:
        if isinstance(row, Pool):
            row = Conv(out[-1].filters, 3, stride=2, dropout=row.dropout)
        out.append(row)
    return tuple(out)


def conv_pool(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Put a dense 3x3 convolution, same width, before each pooling layer."""
    out: list[Row] = []
    for row in rows:
        if isinstance(row, Conv):
            width = row.filters
        else:
            out.append(Conv(width, 3))
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
TABLE_3 = tuple(ARCHITECTURES)  # the networks of Table 3, for CIFAR
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


@checked
def get(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        ValueError: If there is none.
    """
    check_choice("name", name, NAMES)
    return ARCHITECTURES[name]


@checked
def map_sizes(name: str, size: int | None = None) -> list[int]:
    """Width of the feature map after each row, for a square input.

    Args:
        name: One of `NAMES`.
        size: Input width in pixels; None: the paper's.

    Returns:
        One int per row; values below 1 mean that the input is too small.
    """
    architecture = get(name)
    n = architecture.input_size if size is None else size
    sizes = []
    for row in architecture.rows:
        n = row.size(n) if n > 0 else 0
        sizes.append(n)
    return sizes


@checked
def smallest_input(name: str) -> int:
    """The least input width, in pixels, that leaves a position at every row."""
    n = 1
    while min(map_sizes(name, n)) < 1:
        n += 1
    return n


@checked
def count_parameters(name: str, classes: int | None = None) -> int:
    """Weights and biases of a network, by arithmetic on its rows."""
    architecture = get(name)
    total, channels = 0, 3
    for row in architecture.rows:
        if isinstance(row, Conv):
            filters = row.filters
            if filters == CLASSES:
                filters = architecture.classes if classes is None else classes
            total += (row.kernel**2 * channels + 1) * filters
            channels = filters
    return total
