"""VGG-16, ResNet-18 and MobileNetV2 for 32 x 32 images, with a choice of norms.

The networks on which 'Network Deconvolution' (Ye et al., ICLR 2020) compares batch
normalisation with its own layers (Table 1), row by row as in the authors' code
(github.com/yechengxi/deconvolution; the nets are those of kuangliu/pytorch-cifar). One
table of rows per network. `classics` builds them.

What the authors set layer by layer is kept: the first layers of VGG-16 and MobileNetV2
iterate longer and freeze their statistics; the depthwise and the projecting
convolutions of MobileNetV2 take one Newton-Schulz step.
"""

from dataclasses import dataclass

from allconv.core.checks import check_choice


@dataclass(frozen=True)
class Conv:
    """A convolution and its rectifier; the last two are settings of its whitening."""

    filters: int
    kernel: int = 3
    iterations: int = 5
    freeze_after: int | None = None
    label = "conv"


@dataclass(frozen=True)
class Pool:
    """Max-pooling, 2x2 with stride 2."""

    label = "pool"


@dataclass(frozen=True)
class Residual:
    """ResNet's basic block: two 3x3 convolutions, and a way around them."""

    filters: int
    stride: int
    label = "block"


@dataclass(frozen=True)
class Inverted:
    """MobileNetV2's block: widen by a factor, filter each channel, project back."""

    expansion: int
    filters: int
    stride: int
    label = "block"


Row = Conv | Pool | Residual | Inverted


@dataclass(frozen=True)
class Network:
    """A network's rows, and what its builder and `paper.WHITENING` call it."""

    rows: tuple[Row, ...]
    builder: str
    published: str


def _stages(kind: type, *stages: tuple[int, ...]) -> tuple[Row, ...]:
    """Blocks from (settings, ..., repeats, stride); the first of a stage strides."""
    return tuple(
        kind(*settings, 1 if i else stride)
        for *settings, repeats, stride in stages
        for i in range(repeats)
    )


NETWORKS = {
    "vgg16_cifar": Network(
        (
            *(Conv(64, iterations=15, freeze_after=100), Conv(64), Pool()),
            *(Conv(128), Conv(128), Pool()),
            *(Conv(256), Conv(256), Conv(256), Pool()),
            *(Conv(512), Conv(512), Conv(512), Pool()),
            *(Conv(512), Conv(512), Conv(512), Pool()),
        ),
        "VGG16CIFAR",
        "vgg16",
    ),
    "resnet18_cifar": Network(
        (
            Conv(64),
            *_stages(Residual, (64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2)),
        ),
        "ResNet18CIFAR",
        "resnet18",
    ),
    "mobilenet_v2_cifar": Network(
        (
            Conv(32, iterations=10, freeze_after=100),
            *_stages(
                Inverted,
                *((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2)),
                *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
            ),
            Conv(1280, kernel=1),
        ),
        "MobileNetV2CIFAR",
        "mobilenet_v2",
    ),
}
NAMES = tuple(NETWORKS)


def get(name: str) -> Network:
    """The network of that name.

    Raises:
        ValueError: If there is none.
    """
    check_choice("name", name, NAMES)
    return NETWORKS[name]


def smallest_input(name: str) -> int:
    """The least input width, in pixels: pooling halves it, and strides are padded."""
    return 2 ** sum(isinstance(row, Pool) for row in get(name).rows)
