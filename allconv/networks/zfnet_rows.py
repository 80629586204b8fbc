"""ZFNet, its ancestor AlexNet and the ablations of Table 3 as tables of layer rows.

'Visualizing and Understanding Convolutional Networks' (Zeiler & Fergus, 2014): Figure 3
is the network, Table 3 the ablations. One table of rows per network, one table of
changes. `zfnet_32` and `alexnet_32` are the same networks for 32 x 32 images, with a
quarter of every width, so that a CPU can train them. `zfnet` builds them.

ZFNet and AlexNet differ in layer 1 (7x7 stride 2 against 11x11 stride 4), in the stride
of layer 2, which makes up for it, and in layers 2, 4 and 5, which AlexNet splits in two
groups. From layer 2 on their maps are equally large, at both sizes.
"""

from dataclasses import dataclass, replace

from allconv.core.arguments import checked
from allconv.core.checks import check_choice


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
    out: list[Row] = []
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


@checked
def get(name: str) -> Network:
    """The network of that name.

    Raises:
        ValueError: If there is none.
    """
    check_choice("name", name, NAMES)
    return NETWORKS[name]


@checked
def map_sizes(name: str, size: int | None = None) -> dict[str, int]:
    """Width of the map after each row, by layer name, for a square input.

    Args:
        name: One of `NAMES`.
        size: Input width in pixels; None: the network's own.

    Returns:
        One int per row; values below 1 mean that the input is too small.
    """
    n = get(name).input_size if size is None else size
    sizes = {}
    for row in get(name).rows:
        n = row.size(n) if n > 0 else 0
        sizes[row.name] = n
    return sizes


@checked
def smallest_input(name: str) -> int:
    """The least input width, in pixels, that leaves a position at every row."""
    n = 1
    while min(map_sizes(name, n).values()) < 1:
        n += 1
    return n
