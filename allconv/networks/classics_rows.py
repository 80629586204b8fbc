"""The networks of 'Network Deconvolution', as tables of rows.

On ten for 32 x 32 images and three for ImageNet, Ye et al. (ICLR 2020, Tables 1 and 2)
compare batch normalisation with layers of their own. They are as in the authors' code
(github.com/yechengxi/deconvolution), row by row: the small nets are those of
kuangliu/pytorch-cifar, the large ones torchvision's. `classics` builds them.

What the authors set layer by layer is kept: most first layers iterate longer and freeze
their statistics; the depthwise and the projecting convolutions of MobileNetV2 take one
Newton-Schulz step, the grouped ones of ResNeXt three. So are the oddities of their
code:

* EfficientNet is whitened in its first layer and its classifier only. Its blocks keep
  batch normalisation, and a block that strides adds its map to itself.
* The squeezing layers of SENet-18 are whitened too, by as many rows as there are images
  (of them every ninth).
* No norm and no rectifier follows the first convolution of Preact-18, nor the last
  blocks of Preact-18 and SENet-18.
* The separable convolutions of PNASNet-A have a depthwise half only.
* 64 channels are whitened together where 64 divides them, and fewer channels all at
  once; else as many as their greatest common divisor, without a word: 32 in
  DenseNet-121, 8 to 32 in DPN-92, where channels grow by 16, 24 or 32 at a time, and 16
  or 32 in MobileNetV2. Its projecting convolutions take as many as their block reads.
"""

from dataclasses import dataclass

from allconv.core.arguments import checked
from allconv.core.checks import check_choice


@dataclass(frozen=True)
class Conv:
    """A convolution, its norm and rectifier; two settings are of its whitening.

    A bare one has neither norm nor rectifier.
    """

    filters: int
    kernel: int = 3
    iterations: int = 5
    freeze_after: int | None = None
    bare: bool = False
    stride: int = 1
    label = "conv"


@dataclass(frozen=True)
class Pool:
    """Max-pooling with stride 2; of 3x3 pixels, it is padded on all sides."""

    kernel: int = 2
    label = "pool"


@dataclass(frozen=True)
class Dense:
    """A dense layer on the whole map, its rectifier and dropout 0.5."""

    units: int
    label = "dense"


@dataclass(frozen=True)
class Residual:
    """ResNet's basic block: two 3x3 convolutions, and a way around them."""

    filters: int
    stride: int
    label = "block"


@dataclass(frozen=True)
class PreActivated:
    """The basic block whose norms and rectifiers come first.

    With `squeeze`, as in SENet-18, the mean of each map goes through two 1x1
    convolutions, the first to a `squeeze`-th of the channels, and scales the map.
    """

    squeeze: int
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


@dataclass(frozen=True)
class Scaled:
    """EfficientNet's block: as MobileNetV2's, and scaled by the means of its maps."""

    squeeze: int
    expansion: int
    filters: int
    stride: int
    label = "block"


@dataclass(frozen=True)
class Grouped:
    """ResNeXt's block: 1x1, grouped 3x3 and a 1x1 to twice the filters."""

    groups: int
    filters: int
    stride: int
    label = "block"


@dataclass(frozen=True)
class DualPath:
    """DPN's block: `filters` channels are added to, `growth` channels are appended.

    The first of a stage has a convolution around it.
    """

    groups: int
    width: int
    filters: int
    growth: int
    stride: int
    first: bool
    label = "block"


@dataclass(frozen=True)
class Appended:
    """DenseNet's block: a 1x1 and a 3x3 convolution, put in front of their input."""

    growth: int
    label = "block"


@dataclass(frozen=True)
class Transition:
    """A 1x1 convolution to half of the channels, and the mean of 2x2 pixels."""

    label = "transition"


@dataclass(frozen=True)
class Cell:
    """PNASNet's cell A: a 7x7 depthwise convolution, plus 3x3 max-pooling."""

    filters: int
    stride: int
    label = "block"


Row = (
    Conv
    | Pool
    | Dense
    | Residual
    | PreActivated
    | Inverted
    | Scaled
    | Grouped
    | DualPath
    | Appended
    | Transition
    | Cell
)


@dataclass(frozen=True)
class Network:
    """A network's rows, and what is not a row.

    Attributes:
        rows: From the images to the last map.
        builder: Its name in Python.
        published: Its name in `paper.WHITENING`.
        block: Channels that a convolution whitens together.
        dense_block: Features that the classifier whitens together.
        rectified: Whether a norm and a rectifier follow the last row.
    """

    rows: tuple[Row, ...]
    builder: str
    published: str
    block: int = 64
    dense_block: int = 512
    rectified: bool = False


def _stages(kind: type, *stages: tuple[int, ...]) -> tuple[Row, ...]:
    """Blocks from (settings, ..., repeats, stride); the first of a stage strides."""
    return tuple(
        kind(*settings, 1 if i else stride)
        for *settings, repeats, stride in stages
        for i in range(repeats)
    )


def _dual_path(*stages: tuple[int, ...]) -> tuple[Row, ...]:
    """Blocks of 32 groups from (width, filters, growth, repeats, stride)."""
    return tuple(
        DualPath(32, width, filters, growth, 1 if i else stride, i == 0)
        for width, filters, growth, repeats, stride in stages
        for i in range(repeats)
    )


def _dense(growth: int, *repeats: int) -> tuple[Row, ...]:
    """Stages of that many blocks, with a transition between any two."""
    rows: list[Row] = []
    for n in repeats:
        rows += [*(Appended(growth) for _ in range(n)), Transition()]
    return tuple(rows[:-1])


_BASIC = ((64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2))

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
        (Conv(64), *_stages(Residual, *_BASIC)), "ResNet18CIFAR", "resnet18"
    ),
    "preact18_cifar": Network(
        (
            Conv(64, iterations=10, freeze_after=100, bare=True),
            *_stages(PreActivated, *((0, *stage) for stage in _BASIC)),
        ),
        "PreAct18CIFAR",
        "preact18",
    ),
    "densenet121_cifar": Network(
        (Conv(64, bare=True), *_dense(32, 6, 12, 24, 16)),
        "DenseNet121CIFAR",
        "densenet121",
        rectified=True,
    ),
    "resnext29_cifar": Network(
        (
            Conv(64, kernel=1, iterations=10, freeze_after=100),
            *_stages(Grouped, (32, 128, 3, 1), (32, 256, 3, 2), (32, 512, 3, 2)),
        ),
        "ResNeXt29CIFAR",
        "resnext29",
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
        dense_block=640,
    ),
    "dpn92_cifar": Network(
        (
            Conv(64, iterations=10, freeze_after=100),
            *_dual_path(
                *((96, 256, 16, 3, 1), (192, 512, 32, 4, 2)),
                *((384, 1024, 24, 20, 2), (768, 2048, 128, 3, 2)),
            ),
        ),
        "DPN92CIFAR",
        "dpn92",
    ),
    "pnasnet_a_cifar": Network(
        (
            Conv(44, iterations=10, freeze_after=100),
            *_stages(Cell, (44, 6, 1), (88, 1, 2), (88, 6, 1)),
            *_stages(Cell, (176, 1, 2), (176, 6, 1)),
        ),
        "PNASNetACIFAR",
        "pnasnet_a",
        block=44,
        dense_block=176,
    ),
    "senet18_cifar": Network(
        (
            Conv(64, iterations=15, freeze_after=100),
            *_stages(PreActivated, *((16, *stage) for stage in _BASIC)),
        ),
        "SENet18CIFAR",
        "senet18",
    ),
    "efficientnet_cifar": Network(
        (
            Conv(32, iterations=10, freeze_after=100),
            *_stages(
                Scaled,
                *((16, 1, 16, 1, 2), (16, 6, 24, 2, 1), (16, 6, 40, 2, 2)),
                *((16, 6, 80, 3, 2), (16, 6, 112, 3, 1), (16, 6, 192, 4, 2)),
                (16, 6, 320, 1, 2),
            ),
        ),
        "EfficientNetCIFAR",
        "efficientnet",
        dense_block=320,
    ),
}
NAMES = tuple(NETWORKS)

# Table 2: torchvision's networks. Dense layers whiten 64 features together.
IMAGENET = {
    "vgg11": Network(
        (
            *(Conv(64, 3, 15, 100), Pool(), Conv(128), Pool()),
            *(Conv(256), Conv(256), Pool()),
            *(Conv(512), Conv(512), Pool(), Conv(512), Conv(512), Pool()),
            *(Dense(4096), Dense(4096)),
        ),
        "VGG11",
        "vgg11",
        dense_block=64,
    ),
    "resnet18": Network(
        (Conv(64, 7, 15, 100, stride=2), Pool(3), *_stages(Residual, *_BASIC)),
        "ResNet18",
        "resnet18",
        dense_block=64,
    ),
    "densenet121": Network(
        (Conv(64, 7, 15, 100, stride=2), Pool(3), *_dense(32, 6, 12, 24, 16)),
        "DenseNet121",
        "densenet121",
        dense_block=64,
        rectified=True,
    ),
}
IMAGENET_NAMES = tuple(IMAGENET)


@checked
def get(name: str) -> Network:
    """The network of that name.

    Raises:
        ValueError: If there is none.
    """
    check_choice("name", name, (*NAMES, *IMAGENET_NAMES))
    return NETWORKS[name] if name in NETWORKS else IMAGENET[name]


def smallest_input(name: str) -> int:
    """The least input width, in pixels: pooling halves it.

    So does a first convolution's stride; those of blocks leave a pixel at least.
    """
    return 2 ** sum(
        isinstance(row, Pool | Transition) or (isinstance(row, Conv) and row.stride > 1)
        for row in get(name).rows
    )
