"""The mathematics of Network Deconvolution: patches, moments, inverse roots.

Pure functions of TensorFlow tensors, used by the layers of `allconv.layers.netdeconv`.
Ye et al., "Network Deconvolution", ICLR 2020 (arXiv 1905.11926).

Two gradients are written by hand. They are those that automatic differentiation
would find, at a fraction of its cost, because covariances and their roots are
symmetric. A second derivative of the root is refused.
"""

import math

import tensorflow as tf
from keras import ops

from allconv.core import backend  # noqa: F401


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
    covariance = tf.matmul(centred, centred, transpose_a=True) / rows

    def gradient(to_mean, to_covariance):
        slope = 2 / rows * _symmetric(to_covariance)
        return tf.matmul(centred, slope) + to_mean[..., None, :] / rows

    return (mean, covariance), gradient


def inverse_root(matrix: tf.Tensor, iterations: int = 5) -> tf.Tensor:
    """Inverse square root of symmetric positive matrices, by Newton-Schulz.

    The authors iterate `T = (3I - ZY) / 2, Y <- YT, Z <- TZ` from `Y = A / |A|`
    (Frobenius), `Z = I`, and return `Z / sqrt(|A|)`. All of these are polynomials in
    `A` and commute, so `W = ZY` obeys `W <- WTT` on its own. For few iterations the
    result is a smooth, damped inverse root: eigenvalues far below `|A|` are raised by
    at most `1.5 ** iterations`.

    The gradient uses the same fact. A polynomial of a symmetric matrix has a
    self-adjoint derivative, so the gradient is the *forward* derivative in the
    direction of the incoming one: 16 products for 5 iterations where automatic
    differentiation of the coupled iteration needs 30.

    Args:
        matrix: `(..., n, n)`, symmetric.
        iterations: number of steps. 5 in the paper, 15 in some first layers.

    Returns:
        `(..., n, n)`.
    """

    @tf.custom_gradient
    def root(a):
        norm = tf.norm(a, axis=(-2, -1), keepdims=True)
        identity = tf.eye(a.shape[-1], dtype=a.dtype)
        w, z = a / norm, identity
        states = []
        for step in range(iterations):
            t = 1.5 * identity - 0.5 * w
            states.append((w, t, z))
            z = t if step == 0 else t @ z
            if step < iterations - 1:
                w = w @ t @ t

        def gradient(upstream):
            g = _symmetric(upstream)
            slope = _derivative(g, states)
            along_norm = _inner(g, z) / 2 + _inner(slope, a) / norm
            return _once((slope - along_norm / norm * a) / norm**1.5)

        return z / tf.sqrt(norm), gradient

    return root(matrix)


def _derivative(g: tf.Tensor, states: list) -> tf.Tensor:
    """Derivative of `z` in the symmetric direction `g` of the first `w`.

    Read in eigenvalues `x, y` of the first `w`, `dw` and `dz` are `g` times the divided
    differences of `w` and `z`. From `w <- w (3 - w)^2 / 4`:
    `dw <- dw (9 - 6 (x + y) + x^2 + xy + y^2) / 4`, which takes two products, since
    `x^2 + xy + y^2 - 6 (x + y)` is `(y + x/2 - 6) y` plus its transpose.
    """
    dw, dz = g, None
    for step, (w, t, z) in enumerate(states):
        dz = -dw / 2 if step == 0 else t @ dz - dw @ z / 2
        if step < len(states) - 1:
            p = dw @ w
            half = (p + _transposed(p) / 2 - 6 * dw) @ w
            dw = (9 * dw + half + _transposed(half)) / 4
    return dz


@tf.custom_gradient
def _once(x):
    """Identity that refuses to be differentiated."""

    def gradient(*_):
        raise NotImplementedError(
            "The gradient of `inverse_root` cannot be differentiated again. "
            "Take second derivatives of the folded model, or in inference mode."
        )

    return x, gradient


def _inner(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(a * b, axis=(-2, -1), keepdims=True)


def _transposed(a: tf.Tensor) -> tf.Tensor:
    return tf.linalg.matrix_transpose(a)


def _symmetric(a: tf.Tensor) -> tf.Tensor:
    return (a + _transposed(a)) / 2


def _known(*sizes: int | tf.Tensor) -> bool:
    return all(isinstance(size, int) for size in sizes)
