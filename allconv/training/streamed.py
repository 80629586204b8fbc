"""The images of one preset that stay on the disk, and what is measured on them."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from allconv.data import batches, crops, loader, measured, streams
from allconv.data.augmentation import AUGMENTATIONS
from allconv.data.index import Index
from allconv.data.preprocessing import Preprocessor
from allconv.presets.preset import Preset
from allconv.results.evaluation import Evaluation, evaluate, probabilities, score
from allconv.training.inputs import Inputs, Supply, check_count

BATCH = 64  # images at a time where they are measured, ten views of each


def supply(preset: Preset, data_dir: str | Path | None = None) -> Supply:
    """The images of a preset, in memory or on the disk, as it says."""
    kind = Inputs if preset.image_size is None else Streamed
    return kind(preset, data_dir)


class Streamed:
    """A `Supply` of files; for its attributes see there.

    Args:
        preset: With an `image_size`.
        data_dir: As for `streams.load`.

    Raises:
        DataError: As `streams.load`.
        ValueError: If `hold_out`, `train_size` or `batch_size` ask for more images than
            there are.
    """

    def __init__(self, preset: Preset, data_dir: str | Path | None = None):
        images = streams.load(preset.dataset, data_dir)
        train, held, self.split = images.train, images.test, "test"
        every = np.arange(len(train))
        if preset.hold_out:
            check_count("hold_out", preset.hold_out, len(train) - 1)
            held, self.split = train.take(every[: preset.hold_out]), "hold_out"
            train = train.take(every[preset.hold_out :])
        if preset.train_size is not None:
            check_count("train_size", preset.train_size, len(train))
            train = train.take(every[: preset.train_size])
        assert preset.image_size is not None
        self.size, self.train, self.test = preset.image_size, train, held
        self.input_shape = (self.size, self.size, 3)
        self.fingerprints = {
            "train": train.fingerprint(),
            self.split: held.fingerprint(),
            "order": train.order(),
        }
        passed = batches.steps_per_epoch(len(train), preset.batch_size)
        self.steps = preset.steps_per_epoch or passed
        found = measured.measure(train, self.size, data_dir)
        self.colours = found.colours
        self.preprocessor = found.preprocessor(preset.preprocessing)
        self.classes = len(images.class_names)
        self.facts = {
            "class_names": list(images.class_names),
            "image_size": self.size,
        }

    def stream(self, preset: Preset, seed: int, start: int) -> tf.data.Dataset:
        """As `Supply` has it."""
        return loader.batches(
            self.train,
            size=self.size,
            preprocessor=self.preprocessor,
            seed=seed,
            batch_size=preset.batch_size,
            augmentation=AUGMENTATIONS[preset.augmentation],
            colours=self.colours,
            start=start,
            stop=preset.epochs * self.steps,
            rounds=preset.shuffle_rounds,
        )

    def held(self) -> tf.data.Dataset:
        """As `Supply` has it."""
        labels = tf.data.Dataset.from_tensor_slices(self.test.labels).batch(BATCH)
        inputs = _middles(self.test, self.size, self.preprocessor)
        return tf.data.Dataset.zip((inputs, labels))

    def measure(self, model: keras.Model) -> tuple[Evaluation, dict]:
        """As `Supply` has it: of centre crops; and of ten crops for the record."""
        one = centre_crops(model, self.test, self.size, self.preprocessor)
        ten = ten_crops(model, self.test, self.size, self.preprocessor)
        further = {
            "top5_error": round(one.top5_error, 4),
            "ten_crop_error": round(ten.error, 4),
            "ten_crop_top5_error": round(ten.top5_error, 4),
        }
        return one, further


def middles(
    dataset: str, size: int, count: int, data_dir: str | Path | None = None
) -> np.ndarray:
    """uint8 `(n, size, size, 3)`: the middle of the first `count` test images."""
    test = streams.load(dataset, data_dir).test
    first = test.take(np.arange(min(count, len(test))))
    (found,) = loader.views(first, size=size, batch_size=count).as_numpy_iterator()
    return found


def _middles(images: Index, size: int, preprocessor: Preprocessor) -> tf.data.Dataset:
    """Batches of a network's inputs: the middle of each image, in order."""
    views = loader.views(images, size=size, batch_size=BATCH)
    return views.map(lambda x: loader.prepared(x, preprocessor))


def centre_crops(
    model: keras.Model, images: Index, size: int, preprocessor: Preprocessor
) -> Evaluation:
    """The outcome on the middle of each image.

    Args:
        model: Gives logits or probabilities `(n, classes)`.
        images: Where they lie.
        size: Height and width that the model is given, in pixels.
        preprocessor: `MeanStd` or `MeanPixel`, fitted.
    """
    return evaluate(model, _middles(images, size, preprocessor), images.labels)


def ten_crops(
    model: keras.Model, images: Index, size: int, preprocessor: Preprocessor
) -> Evaluation:
    """As `centre_crops`, of mean probabilities over ten views of each image.

    Krizhevsky et al. (2012), and Zeiler & Fergus (2014) for Tables 2 and 3.
    """

    traced = tf.function(lambda x: model(x, training=False), autograph=False)
    views = loader.views(images, size=size, batch_size=BATCH, ten=True)
    means = []
    for view in views:
        outputs = traced(loader.prepared(view, preprocessor)).numpy()
        shares = probabilities(outputs.astype(np.float64))
        means.append(shares.reshape(-1, crops.TEN, shares.shape[-1]).mean(axis=1))
    return score(np.concatenate(means), images.labels, from_logits=False)
