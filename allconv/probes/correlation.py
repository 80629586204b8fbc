"""How correlated the values are that a layer reads, and what that does to learning.

The arithmetic behind 'Network Deconvolution' (Ye et al., ICLR 2020), apart from any
training: patches, their covariance, the matrix that whitens them, and gradient descent
on least squares before and after.
"""

import keras
import numpy as np

from allconv.core.arguments import Images, Matrix, NotNegative, Positive, Whole, checked
from allconv.layers import roots, whitening
from allconv.layers.netdeconv import NetworkDeconvolution2D
from allconv.layers.whitening_layer import in_full


@checked
def patch_rows(images: Images, size: Whole) -> np.ndarray:
    """Cut images into tiles: what a convolution reads at every `size`-th position.

    Args:
        images: `(n, height, width, channels)`.
        size: Width of a tile in pixels.

    Returns:
        float32 `(tiles, size * size * channels)`, in the order of a kernel's weights
        (row, column, channel). Pixels that fill no tile are left out.

    Raises:
        ValueError: If no tile fits into the images.
    """
    images = np.asarray(images, "float32")
    if size > min(images.shape[1:3]):
        raise ValueError(
            "`size` should be from 1 to the width of images. "
            f"Received: size={size}, images of shape {images.shape}"
        )
    cut = whitening.patches(images, (size, size), (size, size))
    return whitening.interleave(cut, 1)[:, 0].numpy()


def layer_rows(model: keras.Model, name: str, images: np.ndarray) -> np.ndarray:
    """The rows of values that a whitening layer inside a model takes statistics of.

    Args:
        model: A functional model.
        name: Of a `NetworkDeconvolution2D` without groups.
        images: Inputs of the model, which runs in inference.

    Returns:
        float32 `(rows, features)`, one row for each block of each patch.

    Raises:
        ValueError: If the layer is none of the kind.
    """
    layer = model.get_layer(name)
    if not isinstance(layer, NetworkDeconvolution2D) or layer.groups > 1:
        raise ValueError(
            "`name` should be that of a NetworkDeconvolution2D layer with one group. "
            f"Received: {name!r}, a {type(layer).__name__}"
        )
    below = keras.Model(model.inputs[0], layer.input)
    return layer.sample(in_full(below(images, training=False))).numpy()


@checked
def covariance(rows: Matrix) -> np.ndarray:
    """The covariance `(features, features)` of rows, in float64."""
    rows = np.asarray(rows, "float64")
    centred = rows - rows.mean(axis=0)
    return centred.T @ centred / len(rows)


@checked
def whitener(
    matrix: Matrix, epsilon: NotNegative = 1e-5, iterations: Whole | None = None
) -> np.ndarray:
    """The inverse root of a covariance, `D = (C + epsilon I)^(-1/2)`.

    Args:
        matrix: The covariance, `(features, features)`.
        epsilon: Added to its diagonal.
        iterations: Newton-Schulz steps, as in the layers; None: exact, by eigenvectors.

    Returns:
        A symmetric matrix of the same shape.

    Raises:
        ValueError: If the exact root does not exist: the rows were too few, say.
    """
    ridged = matrix + epsilon * np.eye(len(matrix))
    if iterations is not None:
        return roots.inverse_root(ridged, iterations).numpy()
    values, vectors = np.linalg.eigh(ridged)
    if values[0] <= len(ridged) * np.finfo(values.dtype).eps * values[-1]:
        raise ValueError(
            "The covariance plus `epsilon` should have positive eigenvalues: take more "
            f"rows than features, or a larger epsilon. Received: {values[0]:.3g} to "
            f"{values[-1]:.3g}"
        )
    return vectors / np.sqrt(values) @ vectors.T


@checked
def mean_correlation(matrix: Matrix) -> float:
    """Mean magnitude of the correlations off the diagonal, from a covariance.

    Features without variance correlate with nothing and are left out.

    Raises:
        ValueError: If fewer than two vary.
    """
    varying = np.diag(matrix) > 0
    if varying.sum() < 2:
        raise ValueError(
            f"Two features at least should vary. Received: {varying.sum()} that do"
        )
    matrix = matrix[np.ix_(varying, varying)]
    deviations = np.sqrt(np.diag(matrix))
    correlations = np.abs(matrix / np.outer(deviations, deviations))
    n = len(matrix)
    return float((correlations.sum() - n) / (n * (n - 1)))


@checked
def descend(
    inputs: Matrix, targets: np.ndarray, rate: Positive, steps: Whole
) -> np.ndarray:
    """Least squares by gradient descent, from weights of 0.

    Args:
        inputs: `(n, features)`, centred.
        targets: `(n,)`, centred.
        rate: Size of a step.
        steps: Number of steps.

    Returns:
        float64 `(steps + 1,)`: half the mean squared error before each step, and after
        the last.
    """
    inputs, targets = np.asarray(inputs, "float64"), np.asarray(targets, "float64")
    weights = np.zeros(inputs.shape[1])
    losses = []
    for _ in range(steps + 1):
        residual = inputs @ weights - targets
        losses.append(residual @ residual / len(inputs) / 2)
        weights -= rate * (inputs.T @ residual) / len(inputs)
    return np.array(losses)


def centre_surround(rows: np.ndarray, channels: int = 3) -> np.ndarray:
    """How much a patch's middle differs from the pixels around it: a target to learn.

    Args:
        rows: `(n, size * size * channels)`, as `patch_rows` makes them, size odd.
        channels: Number of channels.

    Returns:
        `(n,)`: the middle pixel minus the mean of its 8 neighbours, over channels.

    Raises:
        ValueError: If the rows are no such tiles, of 3 x 3 pixels at least.
    """
    size = round((rows.shape[1] / channels) ** 0.5)
    if size < 3 or size % 2 == 0 or size**2 * channels != rows.shape[1]:
        raise ValueError(
            "`rows` should be square tiles of odd width, 3 or more. Received: rows of "
            f"{rows.shape[1]} values, {channels} channels"
        )
    tiles = rows.reshape(-1, size, size, channels).mean(axis=-1)
    middle = size // 2
    around = tiles[:, middle - 1 : middle + 2, middle - 1 : middle + 2]
    return (9 * tiles[:, middle, middle] - around.sum(axis=(1, 2))) / 8


def one_step(rows: np.ndarray, steps: int = 1000) -> dict[str, np.ndarray]:
    """Learn `centre_surround` of patches, from pixels and from whitened pixels.

    Each descent has the step `1 / (largest eigenvalue of its inputs' covariance)`. For
    whitened inputs that is 1, and the first step is Newton's: it ends at the solution.

    Args:
        rows: As `patch_rows` makes them.
        steps: Number of steps.

    Returns:
        By label: the losses of `descend`, as fractions of the first.

    Raises:
        ValueError: As `centre_surround` and `whitener`, or if a pixel is the same in
            all patches.
    """
    targets = centre_surround(rows)
    centred = np.asarray(rows - rows.mean(axis=0), "float64")
    if not centred.std(axis=0).all():
        raise ValueError("Every pixel should vary. Received: one alike in all patches")
    matrix = covariance(centred)
    kinds = {
        "pixels": centred,
        "pixels, normalised": centred / centred.std(axis=0),
        "pixels, whitened": centred @ whitener(matrix, epsilon=0),
    }
    losses = {}
    for label, inputs in kinds.items():
        largest = np.linalg.eigvalsh(covariance(inputs))[-1]
        losses[label] = descend(inputs, targets - targets.mean(), 1 / largest, steps)
        losses[label] /= losses[label][0]
    return losses
