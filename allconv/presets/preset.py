"""What a training recipe is: `Preset`, its fields and what they may be."""

import json
from dataclasses import asdict, dataclass, replace

from allconv.core.checks import check_choice
from allconv.data.augmentation import AUGMENTATIONS
from allconv.data.preprocessing import KINDS
from allconv.networks import all_cnn_rows
from allconv.networks.registry import NORMS


@dataclass(frozen=True)
class Preset:
    """All that determines a training run but its seed.

    Attributes:
        name: What the command line, records and tables call it.
        architecture: One of `registry.NAMES`.
        dataset: One of `data.NAMES`.
        preprocessing: `"gcn_zca"` (the paper's) or `"mean_std"`.
        augmentation: One of `AUGMENTATIONS`.
        windows: `(epoch, size)` pairs, the first of epoch 0: from that epoch on, train
            on the middle `size` x `size` pixels of each (shifted) image; empty: on all.
        epochs: Passes over the training images.
        batch_size: Images a step. Not in the paper; 256 in the public Caffe run.
        learning_rate: Of SGD: the first (`"steps"`) or the largest (`"linear"`). The
            paper tries 0.25, 0.1, 0.05 and 0.01 on each network and reports the best.
        schedule: `"steps"`: times 0.1 at each of `milestones`. `"linear"`: from 0 up
            over `warmup` of the steps, then straight down to 0. `"cosine"`: down to 0
            along half a cosine.
        milestones: Epochs, for `"steps"`.
        warmup: Fraction of all steps, for `"linear"`.
        momentum: Of SGD.
        nesterov: Whether the momentum is Nesterov's.
        muon: Above 0: the kernels of all convolutions but the last take the steps of
            `muon.Muon`, at this times the learning rate, without weight decay. Of the
            All-CNN networks with batch normalisation only.
        weight_decay: Caffe's: this times the weight is added to the gradient, of
            kernels and biases alike.
        dropout: Factor on the architecture's dropout rates.
        initializer: Keras initialiser of the kernels; None: the network's own. Not in
            the paper; `"lecun_uniform"` is Caffe's `xavier`.
        score_bias: Where the class scores start: above 0, at this for every image
            (kernel 0), so that no rectified score is off from the start; 0: wherever
            `initializer` has it. Of the All-CNN networks only.
        norm: `"none"` (the paper's), `"batch"` or `"deconv"`; see `all_cnn.build`.
        label_smoothing: From 0 to 1.
        train_size: Train on the first so many images only; None: on all.
        hold_out: Keep so many training images back and measure on them, not on the
            test set: for choosing settings.
        validate_every: Epochs between measurements of the error; 0: only at the end.
        shuffle_rounds: Of the cipher that orders an epoch: even, from 4. The default is
            that of the first recipes, whose order is not quite uniform; new ones take
            8. See `batches`.
        precision: Keras dtype policy, `"float32"` or `"mixed_bfloat16"`.
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
    muon: float = 0.0
    weight_decay: float = 1e-3
    dropout: float = 1.0
    initializer: str | None = "lecun_uniform"
    score_bias: float = 0.0
    norm: str = "none"
    label_smoothing: float = 0.0
    train_size: int | None = None
    hold_out: int = 0
    validate_every: int = 1
    shuffle_rounds: int = 4
    precision: str = "float32"
    jit_compile: bool = False

    def as_dict(self) -> dict:
        """The fields as JSON would give them back."""
        return json.loads(json.dumps(asdict(self)))


def complete(fields: dict) -> dict:
    """A stored preset's fields; one that an older version lacks has its default.

    One that this version lacks stays, so that the recipe equals none of this version.
    """
    return Preset("", "").as_dict() | fields


def shorten(preset: Preset, epochs: int) -> Preset:
    """The same recipe in fewer (or more) epochs, its milestones scaled alike.

    The last of its windows has one epoch at least.
    """
    if epochs == preset.epochs:
        return preset
    if epochs < 1:
        raise ValueError(f"`epochs` should be 1 or more. Received: epochs={epochs}")
    factor = epochs / preset.epochs
    windows = {min(round(e * factor), epochs - 1): size for e, size in preset.windows}
    return replace(
        preset,
        name=f"{preset.name}-{epochs}ep",
        epochs=epochs,
        milestones=tuple(round(m * factor, 2) for m in preset.milestones),
        windows=tuple(windows.items()),
    )


def check(preset: Preset) -> None:
    """Refuse a preset that no run can follow.

    Raises:
        ValueError: Naming the field, what it should be and what it is.
    """
    for field, allowed in (
        ("augmentation", tuple(AUGMENTATIONS)),
        ("schedule", ("steps", "linear", "cosine")),
        ("preprocessing", tuple(KINDS)),
        ("norm", NORMS),
        # float16 needs a loss scale, whose skipped steps no epoch could account for.
        ("precision", ("float32", "mixed_bfloat16")),
    ):
        check_choice(field, getattr(preset, field), allowed)
    for field, low, high in (
        ("epochs", 1, 1e6),
        ("batch_size", 1, 1e6),
        ("learning_rate", 0, 1e3),
        ("momentum", 0, 1),
        ("muon", 0, 1e3),
        ("weight_decay", 0, 1),
        ("warmup", 0, 1),
        ("dropout", 0, 1),
        ("score_bias", 0, 1e3),
        ("label_smoothing", 0, 1),
        ("hold_out", 0, 49_999),
        ("validate_every", 0, 1e6),
        ("shuffle_rounds", 4, 64),
    ):
        value = getattr(preset, field)
        if not _is_number(value) or not low <= value <= high:
            raise ValueError(
                f"`{field}` should be a number from {low} to {high:g}. "
                f"Received: {value!r}"
            )
    for field in (
        *("epochs", "batch_size", "hold_out", "validate_every", "train_size"),
        "shuffle_rounds",
    ):
        value = getattr(preset, field)
        if value is not None and type(value) is not int:
            raise ValueError(f"`{field}` should be an integer. Received: {value!r}")
    if preset.shuffle_rounds % 2:
        raise ValueError(
            f"`shuffle_rounds` should be even. Received: {preset.shuffle_rounds}"
        )
    for field in ("nesterov", "jit_compile"):
        value = getattr(preset, field)
        if type(value) is not bool:
            raise ValueError(f"`{field}` should be true or false. Received: {value!r}")
    if not all(_is_number(m) and 0 <= m < 1e6 for m in preset.milestones):
        raise ValueError(
            f"`milestones` should be epochs, from 0. Received: {preset.milestones!r}"
        )
    pairs = all(isinstance(w, tuple | list) and len(w) == 2 for w in preset.windows)
    epochs = [epoch for epoch, _ in preset.windows] if pairs else [-1]
    if epochs and (epochs[0] != 0 or epochs != sorted(set(epochs))):
        raise ValueError(
            "`windows` should be (epoch, size) pairs in order, the first of epoch 0. "
            f"Received: {preset.windows!r}"
        )
    for field, value in asdict(preset).items():
        try:
            json.dumps(value)
        except TypeError as error:
            raise ValueError(
                f"`{field}` should be what a record can hold. Received: {value!r} "
                f"({error})"
            ) from error
    if preset.score_bias and preset.architecture not in all_cnn_rows.NAMES:
        raise ValueError(
            "`score_bias` is for the networks whose class scores are rectified, "
            f"{', '.join(all_cnn_rows.NAMES)}. "
            f"Received: architecture={preset.architecture!r}"
        )
    if preset.muon and not (
        preset.architecture in all_cnn_rows.NAMES
        and preset.norm == "batch"
        and preset.momentum
    ):
        raise ValueError(
            '`muon` is for the All-CNN networks with norm="batch" and some momentum. '
            f"Received: architecture={preset.architecture!r}, norm={preset.norm!r}, "
            f"momentum={preset.momentum!r}"
        )
    smallest = 1
    if preset.architecture in all_cnn_rows.NAMES:
        smallest = all_cnn_rows.smallest_input(preset.architecture)
    sizes = [size for _, size in preset.windows]
    if not all(isinstance(n, int) for n in epochs + sizes) or any(
        not smallest <= size <= 32 for size in sizes
    ):
        raise ValueError(
            f"`windows` should have whole epochs, and sizes from {smallest} pixels, "
            f"which {preset.architecture} needs, to 32, which all images have. "
            f"Received: {preset.windows!r}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
