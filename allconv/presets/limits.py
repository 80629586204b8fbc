"""What a recipe's fields may be, alone and together: what a run can follow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from allconv.core.checks import nearest
from allconv.data import datasets, streams
from allconv.data.augmentation import AUGMENTATIONS
from allconv.data.preprocessing import KINDS
from allconv.networks import registry

if TYPE_CHECKING:
    from allconv.presets.preset import Preset

CHOICES: dict[str, tuple[str, ...]] = {
    "preprocessing": tuple(KINDS),
    "augmentation": tuple(AUGMENTATIONS),
    "schedule": ("steps", "linear", "cosine"),
    "norm": registry.NORMS,
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
}
INTEGERS = {
    "epochs": (1, 10**6),
    "batch_size": (1, 10**6),
    "train_size": (1, 10**6),
    "hold_out": (0, 10**6),
    "validate_every": (0, 10**6),
    "shuffle_rounds": (4, 64),
}
NUMBERS = {
    "learning_rate": (0, 1e3),
    "momentum": (0, 1),
    "muon": (0, 1e3),
    "averaging": (0, 1),
    "weight_decay": (0, 1),
    "warmup": (0, 1),
    "dropout": (0, 1),
    "score_bias": (0, 1e3),
    "label_smoothing": (0, 1),
}
LARGEST_WHITENED = 48  # pixels; the covariance of all pixels then takes 190 MB
# Those of Keras that fill a kernel of any rank. Another is looked for in Keras itself.
INITIALIZERS = (
    *("glorot_normal", "glorot_uniform", "he_normal", "he_uniform"),
    *("lecun_normal", "lecun_uniform", "random_normal", "random_uniform"),
    *("orthogonal", "truncated_normal", "variance_scaling"),
)


def check(preset: Preset) -> None:
    """Refuse a preset that no run can follow.

    Raises:
        ValueError: Naming the field, what it should be and what it is, in one line.
    """
    if not hasattr(preset, "architecture"):
        raise ValueError(f"`preset` should be a Preset. Received: {preset!r}")
    check_fields(preset)
    check_images(preset)
    check_network(preset)


def check_fields(preset: Preset) -> None:
    """Refuse what no field can be, whatever the others are."""
    if not isinstance(preset.name, str) or not re.fullmatch(
        r"\w[\w.,=+-]*", preset.name
    ):
        raise _refusal(preset, "name", "a word that a folder may be called")
    network = preset.architecture
    if not isinstance(network, str) or network not in registry.NAMES:
        known = "a network that `python -m allconv list` shows, or of a module that "
        refusal = _refusal(preset, "architecture", known + "--import names")
        raise ValueError(f"{refusal}{nearest(network, registry.NAMES)}")
    datasets.check("dataset", preset.dataset)
    for name, allowed in CHOICES.items():
        value = getattr(preset, name)
        if not isinstance(value, str) or value not in allowed:
            raise _refusal(preset, name, f"one of {', '.join(allowed)}")
    for name, (low, high) in INTEGERS.items():
        value = getattr(preset, name)
        if name == "train_size" and value is None:
            continue
        if type(value) is not int or not low <= value <= high:
            raise _refusal(preset, name, f"an integer from {low} to {high}")
    if preset.shuffle_rounds % 2:
        raise _refusal(preset, "shuffle_rounds", "even")
    for name, (lowest, highest) in NUMBERS.items():
        value = getattr(preset, name)
        if not _is_number(value) or not lowest <= value <= highest:
            raise _refusal(preset, name, f"a number from {lowest} to {highest:g}")
    for name in ("image_size", "steps_per_epoch"):
        value = getattr(preset, name)
        if value is not None and (type(value) is not int or not 1 <= value <= 10**6):
            raise _refusal(preset, name, f"None, or an integer from 1 to {10**6}")
    for name in ("nesterov", "jit_compile"):
        if type(getattr(preset, name)) is not bool:
            raise _refusal(preset, name, "true or false")
    milestones = preset.milestones
    if not isinstance(milestones, tuple | list) or not all(
        _is_number(m) and 0 <= m < 1e6 for m in milestones
    ):
        raise _refusal(preset, "milestones", "epochs, from 0")
    if not _fills_kernels(preset.initializer):
        what = "None, or the name of a Keras initialiser that fills any kernel"
        raise _refusal(preset, "initializer", what)


def check_images(preset: Preset) -> None:
    """Refuse to train on images that there are not, or not as the recipe says."""
    crops = AUGMENTATIONS[preset.augmentation].crop != "centre"
    if preset.image_size is None:
        if preset.dataset in datasets.ON_DISK:
            raise _refusal(preset, "image_size", f"set for {preset.dataset}", "dataset")
        if crops or preset.preprocessing == "mean_pixel":
            name = "augmentation" if crops else "preprocessing"
            raise _refusal(preset, name, "another where image_size is None")
    else:
        if preset.dataset in datasets.NAMES and preset.dataset != "shapes":
            what = "imagenet, shapes or a folder, with image_size"
            raise _refusal(preset, "dataset", what)
        if preset.preprocessing not in ("mean_std", "mean_pixel"):
            what = "mean_std or mean_pixel, with image_size"
            raise _refusal(preset, "preprocessing", what)
        if not crops and preset.augmentation not in ("none", "flip"):
            what = "none, flip or one of crops, with image_size"
            raise _refusal(preset, "augmentation", what)
        if preset.windows:
            raise _refusal(preset, "windows", "empty, with image_size")
    images, height, width = _shape(preset)
    if preset.preprocessing == "gcn_zca" and height * width > LARGEST_WHITENED**2:
        what = f"mean_std for images of {height} x {width}: a covariance would not fit"
        raise _refusal(preset, "preprocessing", what)
    least = 2 if preset.preprocessing == "gcn_zca" else 1  # for a covariance
    if preset.hold_out > images - least:
        raise _refusal(
            preset,
            "hold_out",
            f"{images - least} at most, so that {least} of the {images} training "
            f"images of {preset.dataset} are left",
        )
    images -= preset.hold_out
    if preset.train_size is not None:
        if not least <= preset.train_size <= images:
            raise _refusal(preset, "train_size", f"from {least} to {images}")
        images = preset.train_size
    if preset.batch_size > images:
        raise _refusal(
            preset,
            "batch_size",
            f"from 1 to the {images} images that are trained on: give `--batch-size`, "
            "or more images",
        )


def check_network(preset: Preset) -> None:
    """Refuse what the family of the network cannot bear."""
    name, family = preset.architecture, registry.family(preset.architecture)
    registry.check_norm(name, preset.norm, preset.norm_options)
    size = min(_shape(preset)[1:])
    smallest = family.smallest_input(name)
    if smallest > size:
        raise _refusal(
            preset,
            "architecture",
            f"a network for images of {size} x {size} pixels; {name} takes {smallest} "
            "or more",
        )
    windows = preset.windows
    if not isinstance(windows, tuple | list) or not all(
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and all(type(n) is int for n in pair)
        for pair in windows
    ):
        raise _refusal(preset, "windows", "(epoch, size) pairs of integers")
    epochs = [epoch for epoch, _ in windows]
    if epochs and (epochs[0] != 0 or epochs != sorted(set(epochs))):
        raise _refusal(
            preset, "windows", "(epoch, size) pairs in order, the first of epoch 0"
        )
    if windows and not family.sizes_change:
        raise _refusal(
            preset, "windows", f"empty for {name}, which takes images of one size"
        )
    if not all(smallest <= side <= size for _, side in windows):
        raise _refusal(
            preset,
            "windows",
            f"of sizes from {smallest} pixels, which {name} needs, to {size}, "
            "which all images have",
        )
    if preset.score_bias and not family.score_bias:
        raise _refusal(
            preset, "score_bias", f"0 for {name}, whose class scores are not rectified"
        )
    if preset.muon and not (family.muon and preset.norm == "batch" and preset.momentum):
        raise _refusal(
            preset,
            "muon",
            '0, but for All-CNN networks and ZFNets with norm="batch" and momentum',
            "architecture",
            "norm",
            "momentum",
        )


def _shape(preset: Preset) -> tuple[int, int, int]:
    """Number of training images, height and width of what a network is given."""
    size = preset.image_size
    if size is None:
        return datasets.shape(preset.dataset)
    # Of records the number is known when they have been read.
    return streams.count(preset.dataset) or 2**31 - 1, size, size


def _refusal(preset: Preset, name: str, words: str, *others: str) -> ValueError:
    """`name` should be `words`; received were its value and those of the others."""
    received = (f"{one}={getattr(preset, one)!r}" for one in (name, *others))
    line = f"`{name}` should be {words}. Received: {', '.join(received)}"
    return ValueError(" ".join(line.split()))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fills_kernels(initializer: object) -> bool:
    """Whether a field names an initialiser of convolutions and of dense layers."""
    if not isinstance(initializer, str):
        return initializer is None
    if initializer in INITIALIZERS:
        return True
    from keras import initializers  # and TensorFlow, which tables do without

    try:
        draw = initializers.get(initializer)
        drawn = [np.asarray(draw(shape)) for shape in ((1, 1, 2, 2), (2, 2))]
    except Exception:  # of an initialiser that may be anyone's
        return False
    return all(bool(np.isfinite(kernel).all()) for kernel in drawn)
