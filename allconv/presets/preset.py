"""What a training recipe is: `Preset` and its fields."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from allconv.core.arguments import checked


@dataclass(frozen=True)
class Preset:
    """All that determines a training run but its seed.

    Attributes:
        name: What the command line, records and tables call it.
        architecture: One of `registry.NAMES`.
        dataset: One of `datasets.NAMES`, `"imagenet"`, or a path.
        preprocessing: `"gcn_zca"` (the paper's), `"mean_std"`, or with `image_size`
            also `"mean_pixel"`.
        augmentation: One of `AUGMENTATIONS`; with `image_size` those of crops.
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
        muon: Above 0: the kernels of all normalised convolutions take the steps of
            `muon.Muon`, at this times the learning rate, without weight decay. Of the
            All-CNN networks and ZFNets with batch normalisation only.
        averaging: Above 0: of the weights that a run ends with, each is an average over
            the steps in which a step before counts this times the one after it; it
            begins with the weights after the first step. Measurements on the way and
            checkpoints are of the weights themselves.
        weight_decay: Caffe's: this times the weight is added to the gradient, of
            kernels and biases alike.
        dropout: Factor on the architecture's dropout rates.
        initializer: Keras initialiser of the kernels, by name; None: the network's
            own. Not in the paper; `"lecun_uniform"` is Caffe's `xavier`.
        score_bias: Where the class scores start: above 0, at this for every image
            (kernel 0), so that no rectified score is off from the start; 0: wherever
            `initializer` has it. Of the All-CNN networks only.
        norm: `"none"` (the paper's), `"batch"` or `"deconv"`; see `builders.ARGUMENTS`.
        norm_options: Arguments for the layers of that norm, e.g. `{"iterations": 7}`;
            see `registry.NORM_OPTIONS`.
        label_smoothing: From 0 to 1.
        train_size: Train on the first so many images only; None: on all.
        hold_out: Keep so many training images back and measure on them, not on the
            test set: for choosing settings.
        validate_every: Epochs between measurements of the error; 0: only at the end.
        shuffle_rounds: Of the cipher that orders an epoch: even, from 4. The default is
            that of the first recipes, whose order is not quite uniform; new ones take
            8. See `batches`.
        precision: Keras dtype policy, `"float32"`, `"mixed_bfloat16"` or
            `"mixed_float16"` (with a loss scale). Records that differ in it alone
            count for one recipe: float32 and bfloat16 ended 1.2 points apart, less than
            one standard deviation (`experiments/precision.py`, three seeds).
        jit_compile: Whether XLA compiles the training step.
        image_size: Pixels of a square that is cut from each image, which is read from
            the disk as it is needed: see `data.streams`. None: all images are of one
            size, and held in memory.
        steps_per_epoch: Steps that count for an epoch: state is kept, milestones are
            counted and the error is measured by them, whatever the images are; None:
            those of a pass over the training images.
        description: What to expect of it, for people; no part of the recipe.
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
    averaging: float = 0.0
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
    norm_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    image_size: int | None = None
    steps_per_epoch: int | None = None
    description: str = field(default="", compare=False)

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON would give them back; those of `LATER` only if set.

        Records from before there were any are thus of the same recipe.
        """
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        del values["description"]
        for name in LATER:
            if not values[name]:
                del values[name]
        if "norm_options" in values:
            values["norm_options"] = dict(values["norm_options"])
        return json.loads(json.dumps(values))


LATER = ("norm_options", "image_size", "steps_per_epoch")
"""Fields that the first records lack; their defaults are empty."""


@checked
def complete(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored preset's fields; one that an older version lacks has its default.

    One that this version lacks stays, so that the recipe equals none of this version.
    """
    filled = Preset("", "").as_dict() | dict(stored)
    return {k: v for k, v in filled.items() if k not in LATER or v}


def recipe_of(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored preset's fields, its precision aside: equal of one recipe's records."""
    return complete(stored) | {"precision": "float32"}


@checked
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
