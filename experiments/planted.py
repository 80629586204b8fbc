"""Images and networks whose evidence is known: one planted patch decides each class.

Each class has a pattern of 6 x 6 pixels. An image holds the patterns of some classes,
each independently with probability 1/2, in places drawn at random, and for each absent
class a decoy: a patch of the same kind of pixels that is no class's pattern. Rectangles
of flat colour lie behind, with edges as strong as the patches. Whether a class is there
can be told from its patch alone, and from nothing else in the image.

Three kinds of networks: one is built by hand, a matched filter for each pattern, whose
score is a function of the patch and of nothing else; two are trained on such images,
one all-convolutional, one with max-pooling.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

SIZE, PATCH, CLASSES = 24, 6, 4
CELL = SIZE // 3  # a patch lies in one of nine cells, so that none overlap


class Planted(NamedTuple):
    """`images` float32 `(n, 24, 24, 3)`; `present` bool `(n, classes)`; `where` bool
    `(n, classes, 24, 24)`: the patch of each class, or its decoy.
    """

    images: np.ndarray
    present: np.ndarray
    where: np.ndarray


def patterns(seed: int) -> np.ndarray:
    """One pattern per class, `(classes, 6, 6, 3)`, of -1 and 1, half of each."""
    return _patches(np.random.default_rng([seed, 0]), CLASSES)


def _patches(rng, n) -> np.ndarray:
    half = np.repeat([-1.0, 1.0], PATCH**2 // 2)
    flat = rng.permuted(np.tile(half, (n, 3, 1)), axis=2)  # each channel adds up to 0
    return flat.transpose(0, 2, 1).reshape(n, PATCH, PATCH, 3)


def draw(n: int, seed: int, part: int, sure: int = 0) -> Planted:
    """Draw images.

    Args:
        n: How many.
        seed: Of the patterns.
        part: Another number, another draw of images with these patterns.
        sure: How many classes, drawn at random, are there for certain.
    """
    rng, planted = np.random.default_rng([seed, 1, part]), patterns(seed)
    present = rng.random((n, CLASSES)) < 0.5
    certain = rng.permuted(np.tile(np.arange(CLASSES), (n, 1)), axis=1)[:, :sure]
    np.put_along_axis(present, certain, True, axis=1)
    images = np.zeros((n, SIZE, SIZE, 3))
    where = np.zeros((n, CLASSES, SIZE, SIZE), bool)
    for i in range(n):
        for _ in range(4):
            (top, left), (height, width) = (
                rng.integers(0, SIZE - 6, 2),
                rng.integers(4, 16, 2),
            )
            images[i, top : top + height, left : left + width] = rng.uniform(-1, 1, 3)
        cells, decoys = rng.permutation(9)[:CLASSES], _patches(rng, CLASSES)
        for c, cell in enumerate(cells):
            y, x = np.array(divmod(cell, 3)) * CELL + rng.integers(
                0, CELL - PATCH + 1, 2
            )
            patch = np.s_[y : y + PATCH, x : x + PATCH]
            images[i][patch] = planted[c] if present[i, c] else decoys[c]
            where[i, c][patch] = True
    images += rng.normal(0, 0.1, images.shape)
    return Planted(images.astype(np.float32), present, where)


def built(seed: int) -> keras.Model:
    """A matched filter per class: its unit is 0 but where the whole pattern lies."""
    model = _head(
        layers.Conv2D(CLASSES, PATCH, activation="relu", name="hidden"),
    )
    kernel = patterns(seed).transpose(1, 2, 3, 0) / (3 * PATCH**2)  # 1 at a match
    places = (SIZE - PATCH + 1) ** 2
    model.set_weights(
        [
            *(kernel, np.full(CLASSES, -0.7)),
            # Logits: 0.3 * 20 - 3 = 3 with the pattern, -3 without.
            *(np.eye(CLASSES)[None, None] * places * 20, np.full(CLASSES, -3.0)),
        ]
    )
    return model


class _Learned(keras.callbacks.Callback):
    """Stop when the last epoch's answers were right, of the images trained on."""

    def on_epoch_end(self, epoch, logs):
        self.model.stop_training = logs["binary_accuracy"] > 0.995


def trained(
    seed: int, pooled: bool = False, n: int = 4000, epochs: int = 30
) -> keras.Model:
    """A small network, trained on `n` images until 99.5 % of its answers are right.

    Args:
        seed: Of the patterns, the weights and the order of the images.
        pooled: Whether it halves the maps by max-pooling; else by a stride.
        n: Number of images.
        epochs: Number of passes over them, at most.
    """
    keras.utils.set_random_seed(seed)
    relu = {"padding": "same", "activation": "relu"}
    model = _head(
        layers.Conv2D(16, 3, **relu, name="conv1"),
        *([layers.MaxPooling2D(2)] if pooled else []),
        layers.Conv2D(32, 3, 1 if pooled else 2, **relu, name="conv2"),
        layers.Conv2D(32, 3, **relu, name="hidden"),
    )
    data = draw(n, seed, part=0)
    adam = keras.optimizers.Adam(3e-3)
    model.compile(adam, "binary_crossentropy", metrics=["binary_accuracy"])
    labels = data.present.astype(np.float32)
    model.fit(data.images, labels, 64, epochs, verbose=0, callbacks=[_Learned()])
    return model


def _head(*rows) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            *rows,
            layers.Conv2D(CLASSES, 1, name="scores"),
            layers.GlobalAveragePooling2D(),
            layers.Activation("sigmoid"),
        ]
    )


NETWORKS: dict[str, Callable[[int], keras.Model]] = {
    "built": built,
    "strided": trained,
    "pooled": functools.partial(trained, pooled=True),
}
