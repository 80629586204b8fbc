"""Training recipes as rows: one frozen `Preset` for each cell that can be trained.

The paper's recipe (section 3.1) is one row; every other row is a `replace` of it.
"""

from dataclasses import asdict, dataclass, replace

from allconv import architectures

# The paper tries these on each network and reports the best; which won is unpublished.
LEARNING_RATES = (0.25, 0.1, 0.05, 0.01)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of one training image.

    Attributes:
        shift: Largest translation per axis, in pixels, either way.
        flip: Whether half of the images are mirrored left to right.
        mode: What enters at the border: `"CONSTANT"` (0) or `"REFLECT"`.
        alternate: With `flip`: half of the images are mirrored in the even epochs, the
            other half in the odd ones, so that two epochs show each image both ways
            (Jordan, '94% on CIFAR-10 in 3.29 seconds on a single GPU', 2024).
    """

    shift: int = 0
    flip: bool = False
    mode: str = "CONSTANT"
    alternate: bool = False


AUGMENTATIONS = {
    "none": Augmentation(),
    # Table 4, 'with augmentation': flips and translations of up to 5 pixels, made on
    # the whitened images, where 0 is the mean.
    "paper": Augmentation(shift=5, flip=True),
    # The custom of later work: 4 pixels, mirrored at the border.
    "reflect": Augmentation(shift=4, flip=True, mode="REFLECT"),
    "flip": Augmentation(flip=True),
    # Ye et al. (2020) for CIFAR: 4 pixels, with zeros.
    "crop": Augmentation(shift=4, flip=True),
    "alternate": Augmentation(shift=4, flip=True, mode="REFLECT", alternate=True),
}


@dataclass(frozen=True)
class Preset:
    """All that determines a training run but its seed.

    Attributes:
        name: What the command line, records and tables call it.
        architecture: One of `networks.NAMES`.
        dataset: One of `data.NAMES`.
        preprocessing: `"gcn_zca"` (the paper's) or `"mean_std"`.
        augmentation: One of `AUGMENTATIONS`.
        windows: `(epoch, size)` pairs, the first of epoch 0: from that epoch on, train
            on the middle `size` x `size` pixels of each (shifted) image; empty: on all.
        epochs: Passes over the training images.
        batch_size: Images a step. Not in the paper; 256 in the public Caffe run.
        learning_rate: Of SGD: the first (`"steps"`) or the largest (`"linear"`).
        schedule: `"steps"`: times 0.1 at each of `milestones`. `"linear"`: from 0 up
            over `warmup` of the steps, then straight down to 0. `"cosine"`: down to 0
            along half a cosine.
        milestones: Epochs, for `"steps"`.
        warmup: Fraction of all steps, for `"linear"`.
        momentum: Of SGD.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: Caffe's: this times the weight is added to the gradient, of
            kernels and biases alike.
        dropout: Factor on the architecture's dropout rates.
        initializer: Keras initialiser of the kernels; None: the network's own. Not in
            the paper; `"lecun_uniform"` is Caffe's `xavier`.
        score_bias: Where the class scores start: above 0, at this for every image
            (kernel 0), so that no rectified score is off from the start; 0: wherever
            `initializer` has it. Of the All-CNN networks only.
        norm: `"none"` (the paper's), `"batch"` or `"deconv"`; see `models.build`.
        label_smoothing: From 0 to 1.
        train_size: Train on the first so many images only; None: on all.
        hold_out: Keep so many training images back and measure on them, not on the
            test set: for choosing settings.
        validate_every: Epochs between measurements of the error; 0: only at the end.
        precision: Keras dtype policy.
        jit_compile: Whether XLA compiles the training step.
    """

    name: str
    architecture: str
    dataset: str = "cifar10"
    preprocessing: str = "gcn_zca"
    augmentation: str = "none"
    windows: tuple[tuple[int, int], ...] = ()
    epochs: int = 350
    batch_size: int = 256
    learning_rate: float = 0.05
    schedule: str = "steps"
    milestones: tuple[float, ...] = (200, 250, 300)
    warmup: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-3
    dropout: float = 1.0
    initializer: str | None = "lecun_uniform"
    score_bias: float = 0.0
    norm: str = "none"
    label_smoothing: float = 0.0
    train_size: int | None = None
    hold_out: int = 0
    validate_every: int = 1
    precision: str = "float32"
    jit_compile: bool = False

    def as_dict(self) -> dict:
        """The fields as JSON would give them back."""
        return {
            **asdict(self),
            "milestones": list(self.milestones),
            "windows": [list(pair) for pair in self.windows],
        }


def complete(fields: dict) -> dict:
    """A stored preset's fields; one that an older version lacks has its default."""
    defaults = Preset("", "").as_dict()
    return {name: fields.get(name, value) for name, value in defaults.items()}


def shorten(preset: Preset, epochs: int) -> Preset:
    """The same recipe in fewer (or more) epochs, its milestones scaled alike."""
    if epochs == preset.epochs:
        return preset
    if epochs < 1:
        raise ValueError(f"`epochs` should be 1 or more. Received: epochs={epochs}")
    factor = epochs / preset.epochs
    return replace(
        preset,
        name=f"{preset.name}-{epochs}ep",
        epochs=epochs,
        milestones=tuple(round(m * factor, 2) for m in preset.milestones),
        windows=tuple((round(e * factor), size) for e, size in preset.windows),
    )


PAPER = Preset("all_cnn_c", "all_cnn_c")

# Table 3 of Zeiler & Fergus at the size of CIFAR: rate and momentum theirs; no dropout,
# which a run of some minutes has no use for.
ZFNET = replace(
    PAPER,
    name="zfnet_32",
    architecture="zfnet_32",
    preprocessing="mean_std",
    epochs=2,
    batch_size=64,
    learning_rate=0.01,
    schedule="linear",
    warmup=0.1,
    milestones=(),
    weight_decay=5e-4,
    dropout=0.0,
    initializer=None,
)
ZFNET_32 = (
    *("zfnet_32", "zfnet_32_no_3_4", "zfnet_32_no_7", "zfnet_32_no_6_7"),
    *("zfnet_32_no_3_4_6_7", "zfnet_32_half_dense", "zfnet_32_double_dense"),
    *("zfnet_32_wide", "zfnet_32_wide_double_dense"),
    *("zfnet_32_unbounded", "alexnet_32"),
)

# Two epochs with normalisation, a rate that rises and falls, and flips.
SHORT = replace(
    PAPER,
    preprocessing="mean_std",
    augmentation="alternate",
    epochs=2,
    batch_size=128,
    learning_rate=0.2,
    schedule="linear",
    warmup=0.2,
    milestones=(),
    nesterov=True,
    dropout=0.0,
    initializer="he_normal",
    norm="batch",
)

# As well trained as an hour and a half on two cores allows: the middle of the images
# first, where a step costs half, then more of them, and all at the end.
FAST = replace(
    SHORT,
    name="fast_augmented",
    preprocessing="gcn_zca",
    epochs=16,
    windows=((0, 24), (10, 28), (13, 32)),
    label_smoothing=0.1,
    validate_every=0,
)

# Table 3 in some hours: the paper's inputs, optimiser and decay, no normalising layers;
# fewer epochs, most of them on the middle of the images. Batch size, rate and dropout
# were chosen on images held back (`experiments.trials budget`), once for all.
BUDGET = replace(
    PAPER,
    epochs=6,
    windows=((0, 24), (5, 32)),
    batch_size=32,
    learning_rate=0.02,
    schedule="linear",
    warmup=0.2,
    milestones=(),
    dropout=0.0,
    initializer="he_normal",
    score_bias=1.0,
    validate_every=0,
)

# Network deconvolution against batch normalisation (Ye et al., 2020).
WHITENING = replace(
    PAPER,
    architecture="vgg16_cifar",
    preprocessing="mean_std",
    augmentation="crop",
    epochs=1,
    batch_size=128,
    learning_rate=0.1,
    schedule="cosine",
    milestones=(),
    dropout=0.0,
    initializer=None,
)

_ROWS = (
    # Table 3: twelve networks on CIFAR-10, no augmentation.
    *(replace(PAPER, name=n, architecture=n) for n in architectures.NAMES[:12]),
    # Table 4: All-CNN-C on CIFAR-10 with augmentation; and on CIFAR-100.
    replace(PAPER, name="all_cnn_c_augmented", augmentation="paper"),
    replace(PAPER, name="all_cnn_c_cifar100", dataset="cifar100"),
    # The first 12 of the paper's 350 epochs, for comparison with the public Caffe run.
    replace(PAPER, name="caffe_start", epochs=12, milestones=()),
    # Some minutes on two cores: whitened layers, which learn in the fewest steps, no
    # dropout, small batches, a rate that falls to 0.
    replace(
        PAPER,
        name="quick",
        preprocessing="mean_std",
        epochs=1,
        train_size=16_000,
        batch_size=64,
        schedule="linear",
        learning_rate=0.1,
        warmup=0.1,
        milestones=(),
        dropout=0.0,
        norm="deconv",
        validate_every=0,
    ),
    # ZFNet and its ablations; the released one; and one to carry features back from.
    *(replace(ZFNET, name=name, architecture=name) for name in ZFNET_32),
    replace(ZFNET, name="zfnet_32_flips", augmentation="flip", epochs=8, dropout=0.5),
    replace(
        ZFNET,
        name="zfnet_32_cifar100",
        dataset="cifar100",
        augmentation="flip",
        epochs=8,
        dropout=0.5,
    ),
    # A quarter of an hour, for pictures: All-CNN-C, and Model C, whose pooling has
    # switches. Batch normalisation is folded away in their weights.
    *(
        replace(SHORT, name=f"{name}_short", architecture=name)
        for name in ("all_cnn_c", "model_c")
    ),
    FAST,
    replace(FAST, name="fast_augmented_cifar100", dataset="cifar100"),
    # Without shifts and flips. The middle alone would hide the borders for good, hence
    # whole images, fewer times; half of the paper's dropout. Neither was tuned.
    replace(FAST, name="fast", augmentation="none", epochs=12, windows=(), dropout=0.5),
    # And without any normalising layer, as the paper has it, in as many epochs.
    replace(
        FAST,
        name="fast_augmented_plain",
        norm="none",
        batch_size=BUDGET.batch_size,
        learning_rate=BUDGET.learning_rate,
        score_bias=BUDGET.score_bias,
    ),
    # Table 3 again, at a price that two cores can pay.
    *(
        replace(BUDGET, name=f"{name}_budget", architecture=name)
        for name in architectures.NAMES[:12]
    ),
    # Table 1 of Ye et al.: one epoch with the settings of the authors' main.py.
    *(
        replace(WHITENING, name=f"{name}_{norm}", norm=norm, **changes)
        for name, changes in (
            ("vgg16_cifar", {"architecture": "vgg16_cifar"}),
            ("resnet18_cifar", {"architecture": "resnet18_cifar"}),
            ("mobilenet_v2_cifar", {"architecture": "mobilenet_v2_cifar"}),
            (
                "vgg16_cifar_cifar100",
                {"architecture": "vgg16_cifar", "dataset": "cifar100"},
            ),
        )
        for norm in ("batch", "deconv")
    ),
    # Whether whitening helps All-CNN-C: the three norms in ten epochs of one recipe.
    *(
        replace(
            WHITENING,
            name=f"all_cnn_c_{norm}_10",
            architecture="all_cnn_c",
            norm=norm,
            epochs=10,
            learning_rate=0.05 if norm == "none" else 0.1,
            initializer="he_normal",
        )
        for norm in ("none", "batch", "deconv")
    ),
    # Seconds, on drawn shapes: what the tests and the quick notebooks train.
    replace(
        PAPER,
        name="tiny",
        architecture="strided_cnn_a",
        dataset="shapes",
        preprocessing="mean_std",
        epochs=2,
        train_size=640,
        batch_size=32,
        schedule="linear",
        learning_rate=0.02,
        milestones=(),
        initializer="he_normal",
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ROWS}


def get(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ValueError: If there is none.
    """
    if name not in PRESETS:
        raise ValueError(
            f"There is no preset {name!r}. The presets are {', '.join(PRESETS)}."
        )
    return PRESETS[name]


def check(preset: Preset) -> None:
    """Refuse a preset that no run can follow.

    Raises:
        ValueError: Naming the field, what it should be and what it is.
    """
    for field, allowed in (
        ("augmentation", tuple(AUGMENTATIONS)),
        ("schedule", ("steps", "linear", "cosine")),
        ("preprocessing", ("gcn_zca", "mean_std")),
        ("norm", ("none", "batch", "deconv")),
    ):
        value = getattr(preset, field)
        if value not in allowed:
            raise ValueError(
                f"`{field}` should be one of {', '.join(allowed)}. Received: {value!r}"
            )
    for field, low, high in (
        ("epochs", 1, 1e6),
        ("batch_size", 1, 1e6),
        ("learning_rate", 0, 1e3),
        ("momentum", 0, 1),
        ("weight_decay", 0, 1),
        ("warmup", 0, 1),
        ("score_bias", 0, 1e3),
        ("label_smoothing", 0, 1),
        ("hold_out", 0, 49_999),
        ("validate_every", 0, 1e6),
    ):
        value = getattr(preset, field)
        if not low <= value <= high:
            raise ValueError(
                f"`{field}` should be from {low} to {high:g}. Received: {value!r}"
            )
    if preset.score_bias and preset.architecture not in architectures.NAMES:
        raise ValueError(
            "`score_bias` is for the networks whose class scores are rectified, "
            f"{', '.join(architectures.NAMES)}. "
            f"Received: architecture={preset.architecture!r}"
        )
    epochs = [epoch for epoch, _ in preset.windows]
    if epochs and (epochs[0] != 0 or epochs != sorted(epochs)):
        raise ValueError(
            "`windows` should be (epoch, size) pairs in order, the first of epoch 0. "
            f"Received: {preset.windows!r}"
        )
    if any(size < 1 for _, size in preset.windows):
        raise ValueError(
            "`windows` should have sizes of 1 pixel or more. "
            f"Received: {preset.windows!r}"
        )
