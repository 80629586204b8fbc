"""A square slides over an image: what does the network still see? (Figure 7)

Zeiler & Fergus, section 4.2: for each position of a grey square, the probability of the
true class, the predicted class, and the total activation of the feature map that
answered most strongly to the whole image.

Windows reach past every border: all positions of the grid that touch the image are
used, so a corner pixel is covered as often as one in the middle (size / stride times
per axis, rounded up or down). A pixel's value is the mean over the windows that cover
it; a change that is the same for all windows gives a constant map.

    result = occlude(model, inputs, 8, 1, fill=0, labels=labels, layer="conv5")
    maps = saliency.deconvnet(model, inputs, layer="conv5", channel=result.channel)
    figure = probes.occlusion_figure(pictures, result, class_names, maps)
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from allconv.core.arguments import Maps, Whole, checked
from allconv.core.arrays import batch_of
from allconv.probes.features import (
    Preprocess,
    batches,
    check_maps,
    check_model,
    classes_of,
    fill_of,
    probabilities_of,
    reader,
)


class Occlusion(NamedTuple):
    """Maps over the pixels of each image, and the values without a square.

    `classes` `(n,)` are the classes watched. `probability` and `activation` are float32
    `(n, height, width)`: the mean over the windows that cover a pixel. `label` is int64
    of the same shape: the class predicted when the square is centred nearest to the
    pixel. `clean_probability`, `clean_label` and `clean_activation` are `(n,)`.
    `channel` `(n,)` is the feature map summed.
    Without a `layer`, the two activations and `channel` are None.
    """

    classes: np.ndarray
    probability: np.ndarray
    label: np.ndarray
    activation: np.ndarray | None
    clean_probability: np.ndarray
    clean_label: np.ndarray
    clean_activation: np.ndarray | None
    channel: np.ndarray | None

    @property
    def drop(self) -> np.ndarray:
        """Probability lost when a pixel is covered, `(n, height, width)`."""
        return self.clean_probability[:, None, None] - self.probability


@checked
def occlude(
    model: keras.Model,
    images: np.ndarray,
    size: int,
    stride: int,
    fill: float | Sequence[float],
    *,
    labels: np.ndarray | None = None,
    layer: str | None = None,
    from_logits: bool = False,
    multi_label: bool = False,
    preprocess: Preprocess | None = None,
    batch_size: int | None = None,
) -> Occlusion:
    """Occlude each image at each position of a grid of windows.

    All windows of all images go through one traced function in batches of one size;
    memory does not grow with their number.

    Args:
        model: Any Keras model from images to class probabilities or logits.
        images: `(n, height, width, channels)`, or a single image without `n`, in the
            units of the model's inputs, or of `preprocess`.
        size: Side of the square, pixels.
        stride: Pixels between windows, at most `size`.
        fill: Colour of the square, one number or one per channel. Grey is the mean of
            the inputs: 0 for centred inputs, 127.5 for pixels in [0, 255].
        labels: True classes `(n,)`; None: the class predicted for the whole image.
        layer: Layer whose strongest feature map is summed, strongest by its sum over
            the whole image; None: no activations.
        from_logits: Whether the model ends in logits; softmax is then applied, or a
            sigmoid to a single column, which is the second of two classes.
        multi_label: Whether each column is a probability of its own, a sigmoid's.
        preprocess: NumPy function from occluded images to the model's inputs.
        batch_size: Windows at a time; None: 256 at 32 x 32 pixels, 5 at 224 x 224.

    Returns:
        An `Occlusion`. A single image is a batch of one.

    Raises:
        ValueError: If the window does not fit, the layer has no map, or the model's
            outputs are not what `from_logits` says.
    """
    images = np.asarray(images)
    images = batch_of(images[None] if images.ndim == 3 else images)
    n, height, width, channels = images.shape
    check_model(model, images, preprocess)
    colour = fill_of(fill, channels)
    rows, columns = (starts(length, size, stride) for length in (height, width))
    read = reader(model, [layer] if layer else (), preprocess)
    measure = _measurer(read, layer, from_logits, multi_label, images, size, colour)

    # The unchanged image is one more window, which lies below the image.
    each = np.arange(n)
    clean, sums = _measure_all(
        measure, images, each, np.full(n, height), np.zeros(n, int), batch_size
    )
    classes = classes_of(labels, clean, multi_label)
    channel = sums.argmax(axis=1)

    index = np.repeat(each, len(rows) * len(columns))
    tops = np.tile(np.repeat(rows, len(columns)), n)
    lefts = np.tile(columns, n * len(rows))
    probability, activation = np.empty((2, len(index)), np.float32)
    label = np.empty(len(index), np.int64)
    for batch in batches(len(index), images, batch_size):
        of = index[batch]
        p, s = (out.numpy() for out in measure(of, tops[batch], lefts[batch]))
        window = np.arange(len(batch))
        probability[batch] = p[window, classes[of]]
        activation[batch] = s[window, channel[of]]
        label[batch] = p.argmax(axis=1)

    grid = (n, len(rows), len(columns))

    def pixels(values: np.ndarray) -> np.ndarray:
        return pixel_map(values.reshape(grid), height, width, size, stride)

    near = np.ix_(each, _nearest(rows, size, height), _nearest(columns, size, width))
    return Occlusion(
        classes=classes,
        probability=pixels(probability),
        label=label.reshape(grid)[near],
        activation=pixels(activation) if layer else None,
        clean_probability=clean[each, classes],
        clean_label=clean.argmax(axis=1),
        clean_activation=sums[each, channel] if layer else None,
        channel=channel if layer else None,
    )


@checked
def starts(length: Whole, size: Whole, stride: Whole) -> np.ndarray:
    """First pixels of all windows that touch an axis of `length` pixels.

    The grid begins with the window that covers the first `stride` pixels alone.

    Raises:
        ValueError: If the window is empty or larger than the axis, or pixels would be
            left between windows.
    """
    if not 1 <= size <= length:
        raise ValueError(
            f"`size` should be from 1 to the image's {length} pixels. "
            f"Received: size={size}"
        )
    if not 1 <= stride <= size:
        raise ValueError(
            f"`stride` should be from 1 to `size`, or pixels are never covered. "
            f"Received: stride={stride}, size={size}"
        )
    return np.arange(stride - size, length, stride)


@checked
def pixel_map(
    values: Maps, height: Whole, width: Whole, size: Whole, stride: Whole
) -> np.ndarray:
    """Mean over the windows that cover each pixel.

    Args:
        values: `(n, rows, columns)`, one per window of the grid of `starts`.
        height: Of the image, in pixels; `width` likewise.
        width: Of the image.
        size: Side of a window.
        stride: Pixels between windows.

    Returns:
        float32 `(n, height, width)`.
    """
    rows, columns = _shares(height, size, stride), _shares(width, size, stride)
    return np.einsum("hr,nrc,wc->nhw", rows, values, columns, optimize=True).astype(
        np.float32
    )


def _shares(length: int, size: int, stride: int) -> np.ndarray:
    """Share of each window in each pixel's mean, `(length, windows)`."""
    offset = np.arange(length)[:, None] - starts(length, size, stride)
    cover = (offset >= 0) & (offset < size)
    return cover / cover.sum(axis=1, keepdims=True)


def _nearest(first: np.ndarray, size: int, length: int) -> np.ndarray:
    """Number of the window centred nearest to each pixel; the first of two."""
    centre = first + (size - 1) / 2
    return np.abs(np.arange(length)[:, None] - centre).argmin(axis=1)


def _measurer(read, layer, from_logits, multi_label, images, size, colour):
    """Compile: image numbers and window corners -> probabilities, summed maps."""
    height, width = images.shape[1:3]
    images = tf.constant(images)

    def covers(first, length):
        offset = tf.range(length) - first[:, None]
        return (offset >= 0) & (offset < size)

    corners = tf.TensorSpec((None,), tf.int32)

    @tf.function(input_signature=[corners] * 3, autograph=False)
    def measure(index, tops, lefts):
        square = (
            covers(tops, height)[:, :, None, None]
            & covers(lefts, width)[:, None, :, None]
        )
        features, output = read(tf.where(square, colour, tf.gather(images, index)))
        probabilities = probabilities_of(output, from_logits, multi_label)
        if layer is None:
            return probabilities, tf.zeros((tf.shape(index)[0], 1))
        check_maps(features[0], layer)
        return probabilities, tf.reduce_sum(features[0], axis=(1, 2))

    return measure


def _measure_all(measure, images, index, tops, lefts, batch_size):
    parts = [
        [part.numpy() for part in measure(index[b], tops[b], lefts[b])]
        for b in batches(len(index), images, batch_size)
    ]
    return (np.concatenate(column)[: len(index)] for column in zip(*parts, strict=True))
