"""Inverse square roots of covariances, as Newton-Schulz steps leave them.

Ye et al., "Network Deconvolution", ICLR 2020 (arXiv 1905.11926). The authors iterate
`T = (3I - ZY) / 2, Y <- YT, Z <- TZ` from `Y = A / |A|` (Frobenius), `Z = I`, and
return `Z / sqrt(|A|)`. All of these are polynomials in `A` and commute, so `W = ZY`
obeys `W <- WTT` on its own. For few iterations the result is a smooth, damped inverse
root: eigenvalues far below `|A|` are raised by at most `1.5 ** iterations`.

There are two ways to the same polynomial. `by_products` multiplies matrices: 28
products for 5 iterations and their gradient. `by_eigenvectors` takes the matrix apart,
and evaluates the polynomial, and its divided differences for the gradient, on the
eigenvalues: on a CPU that takes half the time (of 576 x 576, 49 ms of a core with
AVX-512 in place of 104).

Gradients are written by hand and cannot be differentiated again. TensorFlow's own of
the eigenvectors divides by differences of eigenvalues: it is wrong where two are equal,
as those of constant or white inputs are. Here the quotient of such a pair is the
derivative, which it tends to.
"""

import tensorflow as tf

from allconv.core import backend  # noqa: F401
from allconv.layers import whitening

LARGE = 128  # features from which taking matrices apart is the faster way
EQUAL = 1e-10  # of eigenvalues in float64, the largest of which is 1 at most


def inverse_root(matrix: tf.Tensor, iterations: int = 5) -> tf.Tensor:
    """Inverse square root of symmetric positive matrices, by the faster way.

    Args:
        matrix: `(..., n, n)`, symmetric.
        iterations: number of steps. 5 in the paper, 15 in some first layers.

    Returns:
        `(..., n, n)`.
    """
    slow = tf.config.list_physical_devices("GPU")  # at taking matrices apart
    small = matrix.shape[-1] < LARGE or iterations < 3
    return (by_products if slow or small else by_eigenvectors)(matrix, iterations)


def by_eigenvectors(matrix: tf.Tensor, iterations: int = 5) -> tf.Tensor:
    """As `inverse_root`; a matrix with NaN or infinity gives NaN."""

    @tf.custom_gradient
    def root(a):
        # Infinities have no eigenvectors: the solver would end the program.
        finite = tf.reduce_all(tf.math.is_finite(a), (-2, -1), keepdims=True)
        identity = tf.eye(a.shape[-1], dtype=a.dtype)
        values, vectors = tf.linalg.eigh(tf.where(finite, a, identity))
        norm = tf.norm(values, axis=-1, keepdims=True)
        # Few numbers, but their differences will be taken: in float64.
        w = tf.cast(values, tf.float64) / tf.cast(norm, tf.float64)
        z, slope = _polynomial(w, iterations)
        nan = tf.where(finite, tf.ones_like(norm)[..., None], float("nan"))
        scale = nan / tf.sqrt(norm)[..., None]
        damped = tf.cast(z, a.dtype)

        def gradient(upstream):
            g = tf.matmul(vectors, (upstream + _transposed(upstream)) / 2, True)
            g = tf.matmul(g, vectors)  # in the basis of the eigenvectors
            inner = g * tf.cast(_divided_differences(w, z, slope), g.dtype)
            # |A| depends on A as well.
            diagonal = tf.linalg.diag_part(inner)
            along = tf.linalg.diag_part(g) * damped / 2 + diagonal * values / norm
            along = tf.reduce_sum(along, -1, keepdims=True)
            inner = tf.linalg.set_diag(inner, diagonal - along / norm * values)
            back = _between(vectors, inner)
            return _once(back * scale / norm[..., None])

        return _between(vectors, damped[..., None, :]) * scale, gradient

    return root(matrix)


def _polynomial(w: tf.Tensor, iterations: int) -> tuple[tf.Tensor, tf.Tensor]:
    """`z` of the eigenvalues `w`, and its derivative."""
    z, slope, along = tf.ones_like(w), tf.zeros_like(w), tf.ones_like(w)
    for _ in range(iterations):  # `along` is the derivative of the current `w`
        t = (3 - w) / 2
        z, slope = z * t, slope * t - z * along / 2
        along *= t * (t - w)
        w *= t * t
    return z, slope


def _divided_differences(w: tf.Tensor, z: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    """`(z_i - z_j) / (w_i - w_j)`; where the two are about equal, the derivative."""
    across = w[..., :, None] - w[..., None, :]
    quotient = tf.math.divide_no_nan(z[..., :, None] - z[..., None, :], across)
    return tf.where(tf.abs(across) < EQUAL, slope[..., None, :], quotient)


def _between(vectors: tf.Tensor, inner: tf.Tensor) -> tf.Tensor:
    """`V inner V'`, symmetric; a row for `inner` stands for a diagonal matrix."""
    diagonal = inner.shape[-2] == 1 != vectors.shape[-1]
    left = vectors * inner if diagonal else tf.matmul(vectors, inner)
    n = vectors.shape[-1]
    if n < whitening.WIDE or n % whitening.PANELS:
        return tf.matmul(left, vectors, transpose_b=True)
    parts = tf.split(vectors, whitening.PANELS, -2)
    return whitening.mirrored(
        [
            tf.matmul(rows, tf.concat(parts[i:], -2) if i else vectors, False, True)
            for i, rows in enumerate(tf.split(left, whitening.PANELS, -2))
        ]
    )


def by_products(matrix: tf.Tensor, iterations: int = 5) -> tf.Tensor:
    """As `inverse_root`, by products of matrices alone.

    A polynomial of a symmetric matrix has a self-adjoint derivative, so the gradient is
    the *forward* derivative in the direction of the incoming one: 16 products for 5
    iterations where automatic differentiation of the coupled iteration needs 30.
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
