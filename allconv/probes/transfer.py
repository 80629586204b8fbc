"""Are the features of one data set of use on another? (Tables 4 to 7)

Zeiler & Fergus, section 5.2 and 5.3: the features of a trained network are kept, and a
linear classifier is trained on them with few images per class of another data set, five
times with other images; accuracy is the mean over classes. Layer by layer this says how
far up features go on getting better.

The classifier is ridge regression to one-hot targets. It has a closed form, and so has
its error on an image that was left out of the training: the penalty is the one with the
highest leave-one-out accuracy on the training images. No step size, no number of
iterations, nothing chosen on the test images; every layer gets the classifier that
suits it. (The paper trains linear SVMs.)
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from allconv.core.arguments import Images, Labels, Matrix, Seed, Whole, checked
from allconv.core.arrays import batch_of, check_finite
from allconv.probes.features import Preprocess, batches, reader

PIXELS = "pixels"
# Times the mean squared length of the centred features.
PENALTIES = tuple(float(10.0**k) for k in np.arange(-6, 1.5, 0.5))


class Transfer(NamedTuple):
    """What a linear classifier makes of one layer's features.

    `accuracy` float64 `(folds,)`: mean over classes, in %. `penalty` `(folds,)`: chosen
    from `PENALTIES`. `length`: number of features per image.
    """

    accuracy: np.ndarray
    penalty: np.ndarray
    length: int

    @property
    def mean(self) -> float:
        return float(self.accuracy.mean())

    @property
    def std(self) -> float:
        """Sample standard deviation over folds; NaN for a single one."""
        one = len(self.accuracy) < 2
        return float("nan") if one else float(self.accuracy.std(ddof=1))


@checked
def carry(
    model: keras.Model,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    layers: Sequence[str],
    per_class: Whole = 15,
    *,
    folds: Whole = 5,
    length: Whole = 1024,
    seed: int = 0,
    preprocess: Preprocess | None = None,
    batch_size: int | None = None,
) -> dict[str, Transfer]:
    """Train a linear classifier on each layer's features, with few images per class.

    Args:
        model: Any Keras model with one input and one output, trained on other data.
        train: Images `(n, height, width, channels)`, in the units of the model's
            inputs, or of `preprocess`, and integer labels `(n,)`. Each fold draws its
            images from these; no image is in two folds.
        test: Images and labels, the same for every fold.
        layers: Names of layers, maps or vectors.
        per_class: Training images per class; the paper's are 15, 30, 45 and 60.
        folds: Repetitions.
        length: Maps are averaged over the cells of the finest grid that gives no more
            features than this (see `pool`), so that layers compete at about the same
            length.
        seed: Of the draws.
        preprocess: NumPy function from images to the model's inputs.
        batch_size: Images at a time; None: 256 at 32 x 32 pixels, 5 at 224 x 224.

    Returns:
        A `Transfer` per layer, before them one for `"pixels"`: the images themselves,
        pooled in the same way.

    Raises:
        ValueError: If a layer is unknown, a class has too few images, or images or
            features are not finite.
    """
    (x, y), (x_test, y_test) = (_labelled(*split) for split in (train, test))
    classes = np.unique(y)
    if not np.isin(y_test, classes).all():
        raise ValueError("`test` has a class that `train` has not.")
    chosen = draw(y, per_class, folds, seed)
    kept, place = np.unique(chosen, return_inverse=True)
    place = place.reshape(chosen.shape)
    arguments = (layers, length, preprocess, batch_size)
    before = features(model, x[kept], *arguments)
    after = features(model, x_test, *arguments)

    results = {}
    for name in before:
        accuracy, penalty = [], []
        for images, index in zip(place, chosen, strict=True):
            found = ridge(before[name][images], y[index], classes)
            right = found.classify(after[name]) == y_test
            accuracy.append(_mean_per_class(right, y_test))
            penalty.append(found.penalty)
        results[name] = Transfer(
            np.array(accuracy), np.array(penalty), before[name].shape[1]
        )
    return results


@checked
def draw(labels: Labels, per_class: Whole, folds: Whole, seed: Seed) -> np.ndarray:
    """Images for each fold, `per_class` of every class; none is in two folds.

    Returns:
        Numbers of images, int `(folds, classes * per_class)`.

    Raises:
        ValueError: If a class has too few images.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < per_class * folds:
        raise ValueError(
            f"{folds} folds of {per_class} images per class need {per_class * folds} "
            f"of each; class {classes[counts.argmin()]} has {counts.min()}."
        )
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(np.flatnonzero(labels == c)) for c in classes]
    dealt = [s[: folds * per_class].reshape(folds, per_class) for s in shuffled]
    return np.concatenate(dealt, axis=1)


@checked
def features(
    model: keras.Model,
    images: np.ndarray,
    layers: Sequence[str],
    length: Whole = 1024,
    preprocess: Preprocess | None = None,
    batch_size: int | None = None,
) -> dict[str, np.ndarray]:
    """Features of layers, maps pooled by `pool`, and the images pooled alike.

    Args:
        As for `transfer`.

    Returns:
        float32 `(n, features)` by layer name, `"pixels"` first.
    """
    if not layers or PIXELS in layers:
        raise ValueError(
            f"`layers` should name a layer, and none {PIXELS!r}. "
            f"Received: layers={layers}"
        )
    images = np.asarray(images)
    batch_of(images[:1])
    check_finite(images, "The images")
    read = reader(model, layers, preprocess)

    @tf.function(autograph=False)
    def pooled(batch):
        batch = tf.cast(batch, tf.float32)
        return [pool(maps, length) for maps in (batch, *read(batch)[0])]

    parts = [
        [part.numpy() for part in pooled(images[batch])]
        for batch in batches(len(images), images, batch_size)
    ]
    whole = [np.concatenate(p)[: len(images)] for p in zip(*parts, strict=True)]
    found = dict(zip((PIXELS, *layers), whole, strict=True))
    for name, values in found.items():
        check_finite(values, f"The features of {name!r}")
    return found


@checked
def pool(maps: Images | tf.Tensor, length: Whole) -> tf.Tensor:
    """Average maps over the cells of a grid and flatten them.

    The grid is the finest of `g x g` equal cells with `g * g * channels <= length`, at
    least one cell and at most as many as the map has pixels along its shorter side. A
    pixel that lies across a border counts in both cells, by its area.

    Args:
        maps: `(n, height, width, channels)`; of any other rank, they are only
            flattened.
        length: Largest number of features, unless there are more channels.

    Returns:
        `(n, features)`.
    """
    if len(maps.shape) == 4:
        _, height, width, channels = maps.shape
        grid = int(np.clip((length / channels) ** 0.5, 1, min(height, width)))
        maps = tf.image.resize(maps, (grid, grid), method="area")
    return tf.reshape(maps, (tf.shape(maps)[0], -1))


class Ridge(NamedTuple):
    """A linear classifier: the class whose score `x @ weights + bias` is highest.

    `weights` `(features, classes)`, `bias` `(classes,)`, `classes` `(classes,)`: the
    labels. `penalty`: in units of the mean squared length of the centred features.
    `left_out`: its accuracy on the training examples, each left out in turn, in %.
    """

    weights: np.ndarray
    bias: np.ndarray
    classes: np.ndarray
    penalty: float
    left_out: float

    def classify(self, x: np.ndarray) -> np.ndarray:
        """Labels `(n,)` of features `(n, features)`."""
        return self.classes[(x @ self.weights + self.bias).argmax(axis=1)]


@checked
def ridge(
    x: Matrix,
    labels: Labels,
    classes: Labels,
    penalties: Sequence[float] = PENALTIES,
) -> Ridge:
    """Fit ridge regression to one-hot targets, its penalty by leave-one-out accuracy.

    With the centred features `X = U diag(s) V'` and centred targets Y, the weights are
    `V diag(s / (s^2 + penalty)) U' Y`. `H = U diag(s^2 / (s^2 + penalty)) U' + 1 / n`
    takes targets to predictions; with example i left out, its residual is that of the
    full fit over `1 - H_ii` (Allen 1974), so no fit is repeated.

    Args:
        x: Features `(n, features)`.
        labels: `(n,)`, each one of `classes`.
        classes: Labels in the order of the scores.
        penalties: Candidates, in units of the mean squared length of the centred
            features; of equally accurate ones the largest is taken.

    Returns:
        A `Ridge`.

    Raises:
        ValueError: If the features are all alike or not finite.
    """
    x = np.asarray(x, np.float64)
    target = (labels[:, None] == classes).astype(np.float64)
    centre, share = x.mean(axis=0), target.mean(axis=0)
    x, y = x - centre, target - share
    unit = (x**2).sum(axis=1).mean()
    if not np.isfinite(unit) or not unit:
        raise ValueError(
            "The features should be finite, and not the same for all examples."
        )
    u, s, v = np.linalg.svd(x, full_matrices=False)
    projected = u.T @ y

    found = []
    for penalty in sorted(penalties, reverse=True):
        shrunk = s**2 / (s**2 + penalty * unit)
        residual = y - u @ (shrunk[:, None] * projected)
        leverage = (u**2) @ shrunk + 1 / len(x)
        scores = target - residual / (1 - leverage)[:, None]
        right = 100 * np.mean(classes[scores.argmax(axis=1)] == labels)
        found.append((right, penalty))
    left_out, penalty = max(found, key=lambda one: one[0])  # the largest of equals
    weights = v.T @ ((s / (s**2 + penalty * unit))[:, None] * projected)
    return Ridge(weights, share - centre @ weights, classes, penalty, float(left_out))


def _mean_per_class(right: np.ndarray, labels: np.ndarray) -> float:
    return 100 * np.mean([right[labels == c].mean() for c in np.unique(labels)])


def _labelled(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images, labels = np.asarray(images), np.asarray(labels)
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            "Each image should have an integer label. Received: images of shape "
            f"{images.shape}, labels of shape {labels.shape} {labels.dtype}"
        )
    return images, labels
