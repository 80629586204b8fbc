"""The images of one preset: loaded, split, preprocessed; and their batches."""

import contextlib
import hashlib
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from allconv.core import files
from allconv.core.waiting import say_if_long
from allconv.data import batches, datasets, whitenings
from allconv.data.augmentation import AUGMENTATIONS
from allconv.data.cifar import Split
from allconv.data.preprocessing import KINDS, Preprocessor
from allconv.presets.preset import Preset
from allconv.results.evaluation import Evaluation, evaluate


class Batches(Protocol):
    """What a network is built for and trained on, wherever its images lie.

    Attributes:
        input_shape: Height, width and channels of what a network is given.
        classes: Number of classes.
        steps: Steps per epoch.
    """

    input_shape: tuple[int, int, int]
    classes: int
    steps: int

    def stream(self, preset: Preset, seed: int, start: int) -> tf.data.Dataset:
        """Batches of inputs and labels from step `start` to the preset's last."""

    def held(self) -> tf.data.Dataset:
        """Batches of inputs and labels to measure on, in order."""


class Supply(Batches, Protocol):
    """All that a run needs of its images.

    Attributes:
        split: `"test"` or `"hold_out"`: what is measured on.
        preprocessor: The fitted preprocessing.
        fingerprints: Of the training images and of those that are measured on.
        facts: What a weight file should say of the images, besides.
    """

    split: str
    preprocessor: Preprocessor
    fingerprints: dict[str, str]
    facts: dict

    def measure(self, model: keras.Model) -> tuple[Evaluation, dict]:
        """The outcome on these, and further fields of a record."""


class Arrays:
    """`Batches` of arrays in memory.

    Args:
        train, test: float32 images and integer labels, as attributes `x_train`,
            `y_train`, `x_test` and `y_test`.
        classes: Number of classes.
        steps: Steps per epoch.
    """

    def __init__(self, train: Split, test: Split, classes: int, steps: int):
        self.x_train, self.y_train = train
        self.x_test, self.y_test = test
        self.classes, self.steps = classes, steps
        _, height, width, channels = self.x_train.shape
        self.input_shape = (height, width, channels)
        self.facts: dict = {}

    def stream(self, preset: Preset, seed: int, start: int) -> tf.data.Dataset:
        """As `Batches` has it."""
        return batches.batches(
            self.x_train,
            self.y_train,
            seed=seed,
            batch_size=preset.batch_size,
            augmentation=AUGMENTATIONS[preset.augmentation],
            windows=preset.windows,
            start=start,
            stop=preset.epochs * self.steps,
            rounds=preset.shuffle_rounds,
        )

    def held(self) -> tf.data.Dataset:
        """As `Batches` has it."""
        return batches.in_order(self.x_test, self.y_test, batch_size=250)

    def measure(self, model: keras.Model) -> tuple[Evaluation, dict]:
        """As `Supply` has it."""
        return evaluate(model, self.x_test, self.y_test), {}


class Inputs(Arrays):
    """A `Supply` of arrays.

    Attributes:
        x_train, y_train, x_test, y_test: float32 images and int64 labels. The test
            arrays are the held-out training images where the preset asks for it.
        fingerprints: Those of the raw training and test images, which do not depend
            on their order; and `"order"`, which does, of the training images.

    Raises:
        ValueError: If `hold_out` and `train_size` leave nothing to train on.
    """

    def __init__(self, preset: Preset, data_dir: str | Path | None = None):
        (x, y), (x_test, y_test) = datasets.load(preset.dataset, data_dir)
        self.split = "test"
        if preset.hold_out:
            (x, y), (x_test, y_test) = datasets.hold_out(x, y, preset.hold_out)
            self.split = "hold_out"
        if preset.train_size is not None:
            check_count("train_size", preset.train_size, len(x))
            x, y = x[: preset.train_size], y[: preset.train_size]
        order = hashlib.sha256(np.ascontiguousarray(x).data)
        order.update(np.ascontiguousarray(y).data)
        self.fingerprints = {
            "train": datasets.fingerprint(x, y),
            self.split: datasets.fingerprint(x_test, y_test),
            "order": order.hexdigest(),
        }
        passed = batches.steps_per_epoch(len(x), preset.batch_size)
        self.preprocessor = fitted(
            preset.preprocessing, x, self.fingerprints["train"], data_dir
        )
        super().__init__(
            (self.preprocessor(x), y),
            (self.preprocessor(x_test), y_test),
            len(datasets.class_names(preset.dataset)),
            preset.steps_per_epoch or passed,
        )


def check_count(name: str, asked: int, most: int) -> None:
    """Refuse to take more images than there are, or none.

    Raises:
        ValueError: Naming the preset's field.
    """
    if not 1 <= asked <= most:
        raise ValueError(f"`{name}` should be from 1 to {most}. Received: {asked!r}")


def fitted(
    kind: str, images: np.ndarray, print_: str, data_dir: str | Path | None
) -> Preprocessor:
    """The preprocessing fitted to training images, from the cache where it lies there.

    Args:
        kind: A key of `preprocessing.KINDS`.
        images: uint8 training images.
        print_: Their fingerprint, which names the cached file.
        data_dir: As in `data.load`.
    """
    if kind != "gcn_zca":
        return KINDS[kind]().fit(images)
    cached = datasets.data_folder(data_dir) / f"{kind}-{print_[:16]}.h5"
    with contextlib.suppress(OSError, files.DamagedFileError):
        arrays, meta = files.read(cached)
        if meta == {"kind": kind, "data": print_}:
            return KINDS[kind].from_arrays(arrays)
    what = f"Whitening: measuring the covariance of {len(images):,} images ..."
    with say_if_long(what):
        preprocessor = KINDS[kind]().fit(images)
    with contextlib.suppress(OSError):  # a read-only folder costs time, nothing else
        cached.parent.mkdir(parents=True, exist_ok=True)
        files.write(cached, preprocessor.arrays(), {"kind": kind, "data": print_})
        whitenings.clean(data_dir, keep=whitenings.KEPT)
    return preprocessor
