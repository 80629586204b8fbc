"""Move, scale or turn an image: how far do the features go? (Figure 5)

Zeiler & Fergus, section 4.1 ('Feature Invariance'): Euclidean distance between the
feature vectors of an image and of its transformed version, at the first and the last
layers, and the probability of the true class, as functions of the transformation.

Images are warped by `keras.ops.image.affine_transform` with bilinear interpolation.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from allconv.core.arguments import Whole, checked
from allconv.core.arrays import batch_of, check_finite
from allconv.core.checks import check_choice
from allconv.probes.features import (
    Preprocess,
    batches,
    check_model,
    classes_of,
    fill_of,
    probabilities_of,
    reader,
)


@checked
def translation(value: float, height: Whole, width: Whole) -> np.ndarray:
    """Move down by `value` pixels."""
    return np.array([1, 0, 0, 0, 1, -value, 0, 0], np.float32)


@checked
def scale(value: float, height: Whole, width: Whole) -> np.ndarray:
    """Enlarge by the factor `value` about the centre."""
    if value <= 0:
        raise ValueError(f"A scale should be above 0. Received: {value}")
    return _about_centre(1 / value, 0.0, height, width)


@checked
def rotation(value: float, height: Whole, width: Whole) -> np.ndarray:
    """Turn by `value` degrees, anticlockwise on the screen, about the centre."""
    # Exact zeros at quarter turns, where cos and sin leave 1e-17.
    angle = np.deg2rad(value)
    cos, sin = (np.round(f(angle), 12) for f in (np.cos, np.sin))
    return _about_centre(cos, sin, height, width)


def _about_centre(cos, sin, height, width):
    """Rows of the matrix from output to input pixels that leaves the centre in place.

    An output pixel (x, y) takes its value from the input at
    (cos x - sin y + a, sin x + cos y + b); y points down.
    """
    x, y = (width - 1) / 2, (height - 1) / 2
    a = x - cos * x + sin * y
    b = y - sin * x - cos * y
    return np.array([cos, -sin, a, sin, cos, b, 0, 0], np.float32)


TRANSFORMS: dict[str, Callable[[float, int, int], np.ndarray]] = {
    "translation": translation,
    "scale": scale,
    "rotation": rotation,
}


class Invariance(NamedTuple):
    """Curves over the values of one transformation, one row per image.

    `values` `(v,)`: pixels, factors or degrees. `distance`: per layer, float32
    `(n, v)`, the Euclidean distance `|f(Tx) - f(x)|`. `relative`: the same divided by
    `|f(x)|`; NaN where all features of the unchanged image are 0. `probability`:
    float32 `(n, v)` of the class watched; `clean_probability` `(n,)` without a
    transformation. `classes` `(n,)`.
    """

    values: np.ndarray
    distance: dict[str, np.ndarray]
    relative: dict[str, np.ndarray]
    probability: np.ndarray
    clean_probability: np.ndarray
    classes: np.ndarray


@checked
def measure(
    model: keras.Model,
    images: np.ndarray,
    transform: str,
    values: Sequence[float] | np.ndarray,
    layers: Sequence[str],
    *,
    labels: np.ndarray | None = None,
    fill: float | Sequence[float] = 0.0,
    from_logits: bool = False,
    multi_label: bool = False,
    preprocess: Preprocess | None = None,
    batch_size: int | None = None,
) -> Invariance:
    """Measure how features and output change with one transformation.

    Args:
        model: Any Keras model from images to class probabilities or logits.
        images: `(n, height, width, channels)`, in the units of the model's inputs, or
            of `preprocess`.
        transform: `"translation"` (down, pixels), `"scale"` (factor) or `"rotation"`
            (anticlockwise, degrees).
        values: Amounts of the transformation.
        layers: Names of layers, such as the first and the last before the output.
        labels: True classes `(n,)`; None: the class predicted for the unchanged image.
        fill: Colour from outside the image, one number or one per channel.
        from_logits: Whether the model ends in logits; softmax is then applied, or a
            sigmoid to a single column, which is the second of two classes.
        multi_label: Whether each column is a probability of its own, a sigmoid's.
        preprocess: NumPy function from transformed images to the model's inputs.
        batch_size: Transformed images at a time; None: 256 at 32 x 32 pixels, 5 at
            224 x 224.

    Returns:
        An `Invariance`.

    Raises:
        ValueError: If the transformation or a layer is unknown, or the model's outputs
            are not what `from_logits` says.
    """
    images = batch_of(images)
    height, width, channels = images.shape[1:]
    check_choice("transform", transform, TRANSFORMS)
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not values.size or not layers:
        raise ValueError(
            "`values` and `layers` should name at least one each. "
            f"Received: values of shape {values.shape}, layers={layers}"
        )
    check_finite(values, "`values`")
    matrices = np.stack([TRANSFORMS[transform](v, height, width) for v in values])
    check_model(model, images, preprocess)
    read = reader(model, layers, preprocess)
    colour = fill_of(fill, channels)
    reference, measure = _measurers(
        read, from_logits, multi_label, images.shape[1:], colour
    )

    curves = []
    for image in images:
        features, probabilities = reference(image)
        moved = [
            measure(image, features, matrices[batch])
            for batch in batches(len(values), images, batch_size)
        ]
        distance, after = (
            np.concatenate(part)[: len(values)] for part in zip(*moved, strict=True)
        )
        norm = np.array([np.linalg.norm(f) for f in features])
        curves.append((probabilities.numpy(), norm, distance, after))
    clean, norm, distance, probability = (
        np.stack(column) for column in zip(*curves, strict=True)
    )
    classes = classes_of(labels, clean, multi_label)
    each = np.arange(len(images))
    norm = np.where(norm > 0, norm, np.nan).astype(np.float32)
    relative = distance / norm[:, None]
    return Invariance(
        values,
        {name: distance[..., j] for j, name in enumerate(layers)},
        {name: relative[..., j] for j, name in enumerate(layers)},
        probability[each, :, classes],
        clean[each, classes],
        classes,
    )


def warp(images: tf.Tensor, matrices: tf.Tensor, fill: np.ndarray) -> tf.Tensor:
    """Warp images `(n, height, width, channels)` by matrices `(n, 8)` or `(8,)`.

    What comes from outside is `fill`, a number or `(channels,)`.
    """
    warped = keras.ops.image.affine_transform(
        images - fill, matrices, "bilinear", "constant", data_format="channels_last"
    )
    return warped + fill


def _measurers(read, from_logits, multi_label, shape, fill):
    """Compile: an image to its features; and matrices to distances from these."""
    image = tf.TensorSpec(shape)

    @tf.function(input_signature=[image], autograph=False)
    def reference(image):
        features, output = read(image[None])
        return [f[0] for f in features], probabilities_of(
            output, from_logits, multi_label
        )[0]

    @tf.function(autograph=False)
    def measure(image, features, matrices):
        images = tf.repeat(image[None], tf.shape(matrices)[0], axis=0)
        moved, output = read(warp(images, matrices, fill))
        distances = [
            tf.norm(tf.reshape(m - f, (tf.shape(m)[0], -1)), axis=1)
            for m, f in zip(moved, features, strict=True)
        ]
        return tf.stack(distances, axis=1), probabilities_of(
            output, from_logits, multi_label
        )

    return reference, measure
