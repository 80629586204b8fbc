"""First-layer filters in numbers: dead, dominant, aliased (Figure 6).

Zeiler & Fergus, section 4.1 ('Architecture Selection'), look at the first layer of
AlexNet and see filters that learned nothing, a few that dominate unless their RMS is
bounded, and aliasing in layer 2 from the stride of 4. Here each is a number.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from allconv.core.arguments import NotNegative, Whole, checked
from allconv.core.arrays import batch_of
from allconv.probes import features


class Filters(NamedTuple):
    """Statistics of the filters of a convolution, arrays of shape `(filters,)`.

    `rms`: root mean square of the weights. `dead`: whether it is at most a tenth (or
    the given share) of the layer's median. `aliased_power`: share of the filter's
    spectral power beyond the highest frequency that its stride can represent.
    `aliased`: whether that is more than half.
    """

    rms: np.ndarray
    dead: np.ndarray
    aliased_power: np.ndarray
    aliased: np.ndarray

    @property
    def dominance(self) -> float:
        """Largest RMS over the median RMS: 1 when all filters are equally strong."""
        median = np.median(self.rms)
        return float(self.rms.max() / median) if median else float("inf")


@checked
def filter_statistics(
    kernel: np.ndarray, stride: Whole, *, dead: NotNegative = 0.1, points: Whole = 64
) -> Filters:
    """Measure the filters of a convolution.

    A map sampled every `stride` pixels represents frequencies up to
    `1 / (2 stride)` cycles per pixel along each axis; what a filter lets through beyond
    that returns under a false, lower frequency. For a filter of white noise the share
    beyond is about `1 - 1 / stride**2`, a little less with few `points`.

    Args:
        kernel: `(height, width, channels, filters)`.
        stride: Of the convolution, pixels.
        dead: A filter is dead if its RMS is at most this share of the median RMS.
        points: Frequencies per axis; the kernel is padded with zeros to this size.

    Returns:
        `Filters`. A filter of zeros is dead and has no aliased power.

    Raises:
        ValueError: If the kernel or the stride is not that of a 2-D convolution, or a
            weight is not finite.
    """
    kernel = np.asarray(kernel, np.float64)
    if kernel.ndim != 4 or not kernel.size or max(kernel.shape[:2]) > points:
        raise ValueError(
            "`kernel` should be (height, width, channels, filters), none of them 0, at "
            f"most {points} pixels wide. Received: shape={kernel.shape}"
        )
    rms = np.sqrt((kernel**2).mean(axis=(0, 1, 2)))
    power = np.abs(np.fft.fft2(kernel, (points, points), axes=(0, 1))) ** 2
    power = power.sum(axis=2)
    frequency = np.abs(np.fft.fftfreq(points))
    beyond = np.maximum.outer(frequency, frequency) > 1 / (2 * stride)
    total = power.sum(axis=(0, 1))
    aliased = power[beyond].sum(axis=0) / np.where(total > 0, total, 1)
    return Filters(rms, rms <= dead * np.median(rms), aliased, aliased > 0.5)


@checked
def silent(
    model: keras.Model,
    images: np.ndarray,
    layer: str,
    *,
    preprocess: features.Preprocess | None = None,
    batch_size: int | None = None,
) -> np.ndarray:
    """Which feature maps are zero everywhere in all images.

    The other reading of 'dead': a filter may have large weights and never answer.

    Args:
        model: Any Keras model with one input and one output.
        images: `(n, height, width, channels)`.
        layer: A layer of maps, after its rectifier.
        preprocess: NumPy function from images to the model's inputs.
        batch_size: Images at a time; None: 256 at 32 x 32 pixels, 5 at 224 x 224.

    Returns:
        bool `(filters,)`.

    Raises:
        ValueError: If the layer has no maps, or one is not finite.
    """
    images = batch_of(images)
    read = features.reader(model, [layer], preprocess)

    @tf.function(autograph=False)
    def answers(images):
        (maps,), _ = read(images)
        features.check_maps(maps, layer)
        return tf.reduce_max(maps, axis=(0, 1, 2))

    parts = features.batches(len(images), images, batch_size)
    largest = np.max([answers(images[batch]).numpy() for batch in parts], axis=0)
    features.check_finite(largest, f"The maps of {layer!r}")
    return largest <= 0
