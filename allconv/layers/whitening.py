"""The mathematics of Network Deconvolution: patches and their moments.

Pure functions of TensorFlow tensors, used by the layers of `allconv.layers.netdeconv`.
Ye et al., "Network Deconvolution", ICLR 2020 (arXiv 1905.11926). `roots` has the
rest.

The gradient of the moments is written by hand. It is what automatic differentiation
would find, at a fraction of its cost, because covariances are symmetric.
"""

import math

import tensorflow as tf
from keras import ops

from allconv.core import backend  # noqa: F401

WIDE = 256  # features from which half of a symmetric product is the faster way
PANELS = 3


def patches(
    x: tf.Tensor,
    kernel_size: tuple[int, int],
    strides: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tf.Tensor:
    """Cuts an image into the patches that a convolution without padding reads.

    The image is first cut into cells as large as the stride. A patch is then a corner
    of one cell, or of a few neighbouring ones, so the axes need not even be moved yet:
    no value is gathered, and the gradient is free of scatters.

    Args:
        x: `(n, height, width, channels)`.
        kernel_size: rows and columns of a patch.
        strides: step between patches, in pixels.
        dilation: step between the pixels of a patch.

    Returns:
        `(n, patch rows, kernel rows, patch columns, kernel columns, channels)`.
    """
    rows = _cut(x, 1, kernel_size[0], strides[0], dilation[0])
    return _cut(rows, 3, kernel_size[1], strides[1], dilation[1])


def _cut(x: tf.Tensor, axis: int, size: int, stride: int, dilation: int) -> tf.Tensor:
    """Turns an axis of pixels into two: windows, and pixels of a window."""
    shape = ops.shape(x)
    extent = (size - 1) * dilation + 1
    windows = (shape[axis] - extent) // stride + 1
    spans = -(-extent // stride)
    cells = windows + spans - 1
    x = _resize(x, axis, cells * stride)
    x = tf.reshape(x, (*shape[:axis], cells, stride, *shape[axis + 1 :]))
    parts = []
    for span in range(spans):
        first = -span * stride % dilation
        last = min(stride, extent - span * stride)
        if first >= last:
            continue
        part = _slice(_slice(x, axis, span, windows), axis + 1, first, last - first)
        if dilation > 1:
            where = (*[slice(None)] * (axis + 1), slice(None, None, dilation))
            part = part[where]
        parts.append(part)
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis + 1)


def _resize(x: tf.Tensor, axis: int, size: int | tf.Tensor) -> tf.Tensor:
    """Crops an axis, or fills it up with zeros that no patch reads."""
    now = ops.shape(x)[axis]
    if not _known(size, now) or size > now:
        short = tf.maximum(size - now, 0)
        x = tf.pad(x, [[0, short if a == axis else 0] for a in range(x.shape.rank)])
    return _slice(x, axis, 0, size)


def _slice(x: tf.Tensor, axis: int, first: int, size: int | tf.Tensor) -> tf.Tensor:
    """A run of an axis. The gradient of `x[...]` would be many times slower."""
    sizes = list(ops.shape(x))
    if _known(size, sizes[axis]) and size == sizes[axis]:
        return x
    sizes[axis] = size
    return tf.slice(x, [first if a == axis else 0 for a in range(len(sizes))], sizes)


def interleave(x: tf.Tensor, groups: int) -> tf.Tensor:
    """Deals the features of a patch out to groups, as the authors' code does.

    They number the features channel by channel, `j = channel * positions + position`,
    and view the row of numbers as `(features, groups)`: group `g` holds
    `j = g, g + groups, ...`. A group is thus not a set of channels: with 9 positions
    and 2 groups each holds a checkerboard of every kernel window. All groups share one
    mean and one covariance, feature `i` of one standing for feature `i` of the others.

    Within a group, features are kept here with the channel running fastest; for one
    group that is the order of `kernel.reshape(-1, filters)`. Theirs is the transpose:
    `(channels / residues, features of one channel class)`, where channels fall into
    `residues = groups / gcd(positions, groups)` classes by their remainder. The
    whitening does not depend on this order.

    Args:
        x: patches, `(n, rows, kernel rows, columns, kernel columns, channels)`.
        groups: a divisor of `channels`.

    Returns:
        `(n * rows * columns, groups, kernel area * channels / groups)`.
    """
    n, rows, height, columns, width, channels = ops.shape(x)
    area = height * width
    residues = groups // math.gcd(area, groups)
    if residues == 1 and width % groups == 0:  # the groups are kernel columns
        x = tf.reshape(x, (n, rows, height, columns, -1, groups, channels))
        x = tf.transpose(x, (0, 1, 3, 5, 2, 4, 6))
    else:
        x = tf.reshape(x, (n, rows, height, columns, width, -1, residues))
        x = tf.transpose(x, (0, 1, 3, 6, 2, 4, 5))
        x = tf.reshape(x, (n, rows, columns, -1, groups, channels // residues))
        x = tf.transpose(x, (0, 1, 2, 4, 3, 5))
    return tf.reshape(x, (n * rows * columns, groups, area * channels // groups))


def deinterleave(x: tf.Tensor, kernel_size: tuple[int, int]) -> tf.Tensor:
    """Undoes `interleave`: to `(rows, kernel rows, kernel columns, channels)`."""
    rows, groups, features = ops.shape(x)
    area = math.prod(kernel_size)
    residues = groups // math.gcd(area, groups)
    x = tf.reshape(x, (rows, groups, -1, features * groups // area // residues))
    x = tf.transpose(x, (0, 2, 1, 3))
    x = tf.reshape(x, (rows, residues, *kernel_size, -1))
    x = tf.transpose(x, (0, 2, 3, 4, 1))
    return tf.reshape(x, (rows, *kernel_size, -1))


@tf.custom_gradient
def moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and covariance of the rows of a matrix, or of a stack of matrices.

    Args:
        x: `(..., rows, features)`.

    Returns:
        Mean `(..., features)`; covariance `(..., features, features)`, divided by
        the number of rows.
    """
    rows = tf.cast(tf.shape(x)[-2], x.dtype)
    mean = tf.reduce_mean(x, -2)
    centred = x - mean[..., None, :]
    covariance = products(centred) / rows

    def gradient(to_mean, to_covariance):
        slope = (to_covariance + tf.linalg.matrix_transpose(to_covariance)) / rows
        return tf.matmul(centred, slope) + to_mean[..., None, :] / rows

    return (mean, covariance), gradient


def products(rows: tf.Tensor) -> tf.Tensor:
    """`x' x` of `(..., rows, features)`: of wide ones each pair of features once.

    A third less work, at the price of two copies, which many rows are worth.
    """
    features = rows.shape[-1]
    if features < WIDE or features % PANELS:
        return tf.matmul(rows, rows, transpose_a=True)
    parts = tf.split(rows, PANELS, -1)
    return mirrored(
        [
            tf.matmul(part, tf.concat(parts[i:], -1) if i else rows, transpose_a=True)
            for i, part in enumerate(parts)
        ]
    )


def mirrored(panels: list[tf.Tensor]) -> tf.Tensor:
    """A symmetric matrix from its panels of rows, each from the diagonal on."""
    height = panels[0].shape[-2]
    whole = []
    for i, panel in enumerate(panels):
        left = [
            tf.linalg.matrix_transpose(above[..., (i - j) * height :][..., :height])
            for j, above in enumerate(panels[:i])
        ]
        whole.append(tf.concat([*left, panel], -1))
    return tf.concat(whole, -2)


def _known(*sizes: int | tf.Tensor) -> bool:
    return all(isinstance(size, int) for size in sizes)
