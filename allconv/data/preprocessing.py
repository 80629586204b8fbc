"""From uint8 images to network inputs, and maps back: GCN + ZCA, or mean and std.

The paper follows Goodfellow et al. (Maxout networks, 2013): global contrast
normalisation of each image to norm 55, then ZCA whitening with 0.1 added to the
covariance's eigenvalues, fitted on the training images only.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from allconv.core.arguments import Images, Positive, checked

GCN_SCALE = 55.0  # L2 norm of an image after contrast normalisation (Goodfellow)
ZCA_BIAS = 0.1  # added to every eigenvalue of the covariance
FIXED_POINT = 3e-4  # unit of a compact matrix, whose values are below 0.1 ** -0.5


@runtime_checkable
class Preprocessor(Protocol):
    """The way from uint8 images to a network's inputs, and back for gradients."""

    name: str

    def fit(self, images: np.ndarray) -> "Preprocessor":
        """Measure training images `(n, height, width, channels)`; returns itself."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 `(n, height, width, channels)` to float32 inputs of the same shape."""

    def pullback(self, images: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Carry a gradient at the inputs back to the pixels, by the chain rule.

        Args:
            images: The raw images `(n, height, width, channels)`.
            maps: Gradients with respect to the inputs `self(images)`, same shape.

        Returns:
            float32 gradients with respect to the raw pixel values, same shape.
        """

    def invert(self, images: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Carry what looks like an input, such as a deconvnet's projection, to pixels.

        The inverse where `pullback` is the transpose: the change of the pixels that
        changes the inputs by `maps`, each image's own contrast held. Of a gradient at
        whitened inputs it makes the pattern that goes with the feature in real images
        (Haufe et al., On the interpretation of weight vectors, NeuroImage 2014), where
        `pullback` makes the filter, whose fine grain cancels what pixels share.

        Args:
            images: The raw images `(n, height, width, channels)`.
            maps: Differences of inputs, same shape.

        Returns:
            float32 differences of pixel values, same shape.
        """

    def arrays(self) -> dict[str, np.ndarray]:
        """The constants that were measured, by name, for `from_arrays`."""

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Preprocessor":
        """The preprocessing that has these constants."""


@checked
def gcn(images: Images, scale: Positive = GCN_SCALE) -> np.ndarray:
    """Global contrast normalisation: subtract each image's mean, set its norm.

    Args:
        images: `(n, height, width, channels)`, uint8 or float, any range.
        scale: L2 norm of a normalised image.

    Returns:
        float32 of the same shape. An image of one colour in all pixels and channels
        has no contrast and becomes zero.
    """
    centred, divisor = _contrast(images, scale)
    centred /= divisor
    return centred.reshape(images.shape)


def _contrast(images: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A row for each image, its mean taken off, and what divides it."""
    flat = _flat(images).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    divisor = np.linalg.norm(flat, axis=1, keepdims=True) / scale
    # Float32 rounding leaves a norm of about 1e-4 where there is no contrast at all.
    return flat, np.where(divisor < 1e-6, 1.0, divisor).astype(flat.dtype)


class ZCA:
    """Whitening that stays closest to the images: `(x - mean) @ matrix`.

    `matrix = E diag((d + bias) ** -0.5) E'`, where `E diag(d) E'` is the covariance
    (divided by n) of the images that were fitted. It is symmetric.

    Args:
        bias: Added to each eigenvalue of the covariance.
    """

    @checked
    def __init__(self, bias: float = ZCA_BIAS):
        self.bias = bias
        self.mean: np.ndarray | None = None
        self.matrix: np.ndarray | None = None

    def fit(self, images: np.ndarray) -> "ZCA":
        """Measure mean and covariance of `(n, height, width, channels)` images."""
        flat = _flat(images)
        if len(flat) < 2:
            raise ValueError(
                "ZCA needs at least 2 images to measure a covariance. "
                f"Received: {len(flat)}"
            )
        mean = flat.mean(axis=0, dtype=np.float64)
        if len(flat) < len(mean) and self.bias == 0:
            raise ValueError(
                f"Without a bias, ZCA needs as many images as an image has values, "
                f"{len(mean)}. Received: {len(flat)}"
            )
        measure = _matrix if len(flat) >= len(mean) else _matrix_of_few
        self.matrix = measure(flat, mean, self.bias).astype(np.float32)
        self.mean = mean.astype(np.float32)
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Whiten images of the fitted size; float32, same shape."""
        mean, matrix = self.constants()
        return ((self._rows(images) - mean) @ matrix).reshape(images.shape)

    def inverse(self, whitened: np.ndarray, centred: bool = False) -> np.ndarray:
        """Undo `transform`, of differences if `centred`; float32, same shape."""
        mean, matrix = self.constants()
        flat = np.linalg.solve(
            matrix.astype(np.float64), self._rows(whitened).T.astype(np.float64)
        ).T
        if not centred:
            flat += mean
        return flat.astype(np.float32).reshape(whitened.shape)

    def constants(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and matrix; raises `ValueError` before `fit`."""
        if self.mean is None or self.matrix is None:
            raise ValueError("This ZCA has not been fitted: call `fit(images)` first.")
        return self.mean, self.matrix

    def _rows(self, images: np.ndarray) -> np.ndarray:
        flat, (mean, _) = _flat(images), self.constants()
        if flat.shape[1] != len(mean):
            raise ValueError(
                f"This ZCA was fitted on images of {len(mean)} values. "
                f"Received: shape={images.shape}"
            )
        return flat.astype(np.float32)


def _matrix(flat: np.ndarray, mean: np.ndarray, bias: float) -> np.ndarray:
    covariance = np.zeros((len(mean), len(mean)))
    for start in range(0, len(flat), 10_000):  # float64 blocks bound the memory
        block = flat[start : start + 10_000] - mean
        covariance += block.T @ block
    values, vectors = np.linalg.eigh(covariance / len(flat))
    scaled = vectors * (np.maximum(values, 0) + bias) ** -0.5
    return scaled @ vectors.T


def _matrix_of_few(flat: np.ndarray, mean: np.ndarray, bias: float) -> np.ndarray:
    """The same of fewer images than values: all but n eigenvalues are 0."""
    _, singular, vectors = np.linalg.svd(flat - mean, full_matrices=False)
    of_zero = bias**-0.5
    change = (singular**2 / len(flat) + bias) ** -0.5 - of_zero
    return of_zero * np.eye(len(mean)) + (vectors.T * change) @ vectors


class GCNZCA:
    """The paper's preprocessing, uint8 images to network inputs."""

    name = "gcn_zca"

    def __init__(self, zca: ZCA | None = None):
        self.zca = zca or ZCA()

    def fit(self, images: np.ndarray) -> "GCNZCA":
        self.zca.fit(gcn(images))
        return self

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 `(n, height, width, channels)` to float32 inputs of the same shape."""
        return self.zca.transform(gcn(images))

    def pullback(self, images: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Carry a gradient at the inputs back to the pixels, by the chain rule.

        Args:
            images: The raw images `(n, height, width, channels)`.
            maps: Gradients with respect to the inputs `self(images)`, same shape.

        Returns:
            float32 gradients with respect to the raw pixel values, same shape.
        """
        centred, divisor = _contrast(images, GCN_SCALE)
        unit = centred / np.maximum(
            np.linalg.norm(centred, axis=1, keepdims=True), 1e-8
        )
        _, matrix = self.zca.constants()
        back = _flat(maps).astype(np.float32) @ matrix
        # The Jacobian of x / |x| projects out x itself; centring projects out 1.
        back = (back - unit * (back * unit).sum(axis=1, keepdims=True)) / divisor
        back -= back.mean(axis=1, keepdims=True)
        return back.reshape(images.shape)

    def invert(self, images: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Carry what looks like an input to pixels: undo the whitening."""
        _, divisor = _contrast(images, GCN_SCALE)
        return self.zca.inverse(maps, centred=True) * divisor[:, :, None, None]

    def arrays(self) -> dict[str, np.ndarray]:
        mean, matrix = self.zca.constants()
        return {"mean": mean, "matrix": matrix}

    def compact(self) -> dict[str, np.ndarray]:
        """Arrays a tenth of the size: half of the symmetric matrix, in fixed point."""
        mean, matrix = self.zca.constants()
        half = matrix[np.triu_indices(len(matrix))]
        return {"mean": mean, "half": np.rint(half / FIXED_POINT).astype(np.int16)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "GCNZCA":
        """From `arrays()` or `compact()`."""
        zca = ZCA()
        zca.mean = arrays["mean"]
        if "half" in arrays:
            n = len(arrays["mean"])
            matrix = np.zeros((n, n), np.float32)
            rows, columns = np.triu_indices(n)
            values = arrays["half"] * np.float32(FIXED_POINT)
            matrix[rows, columns] = matrix[columns, rows] = values
            zca.matrix = matrix
        else:
            zca.matrix = arrays["matrix"]
        return cls(zca)


class MeanStd:
    """Per channel: subtract the training mean, divide by the standard deviation."""

    name = "mean_std"

    @checked
    def __init__(self, mean: np.ndarray | None = None, std: np.ndarray | None = None):
        self.mean, self.std = mean, std

    def _constants(self) -> tuple[np.ndarray, np.ndarray]:
        if self.mean is None or self.std is None:
            raise ValueError("This MeanStd has not been fitted: call `fit` first.")
        return self.mean, self.std

    def fit(self, images: np.ndarray) -> "MeanStd":
        """Measure images; raises `ValueError` of a channel that is constant."""
        axes = tuple(range(images.ndim - 1))
        self.mean = images.mean(axis=axes, dtype=np.float64).astype(np.float32)
        self.std = images.std(axis=axes, dtype=np.float64).astype(np.float32)
        if not self.std.all():
            raise ValueError(
                "Every channel of the training images should vary. Received: standard "
                f"deviations {self.std.tolist()}"
            )
        return self

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 `(n, height, width, channels)` to float32 inputs of the same shape.

        Raises:
            ValueError: If the images have another shape.
        """
        _check(images)
        mean, std = self._constants()
        return (images.astype(np.float32) - mean) / std

    def pullback(self, images: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Carry a gradient at the inputs back to the pixels: divide by the std."""
        _, std = self._constants()
        return (maps / std).astype(np.float32)

    def invert(self, images: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Carry what looks like an input to pixels: multiply by the std."""
        _, std = self._constants()
        return (maps * std).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        mean, std = self._constants()
        return {"mean": mean, "std": std}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "MeanStd":
        return cls(arrays["mean"], arrays["std"])


class MeanPixel:
    """Subtract the mean of the training images, pixel by pixel (Zeiler & Fergus)."""

    name = "mean_pixel"

    @checked
    def __init__(self, mean: np.ndarray | None = None):
        self.mean = mean

    def _constant(self) -> np.ndarray:
        if self.mean is None:
            raise ValueError("This MeanPixel has not been fitted: call `fit` first.")
        return self.mean

    def fit(self, images: np.ndarray) -> "MeanPixel":
        """Measure images."""
        _check(images)
        self.mean = images.mean(axis=0, dtype=np.float64).astype(np.float32)
        return self

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 `(n, height, width, channels)` to float32 inputs of the same shape.

        Raises:
            ValueError: If the images have another shape.
        """
        _check(images)
        if images.shape[1:] != self._constant().shape:
            raise ValueError(
                f"This MeanPixel was fitted on images of {self._constant().shape}. "
                f"Received: shape={images.shape}"
            )
        return images.astype(np.float32) - self._constant()

    def pullback(self, images: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Carry a gradient at the inputs back to the pixels: as it is."""
        return maps.astype(np.float32)

    def invert(self, images: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Carry what looks like an input to pixels: as it is."""
        return maps.astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"mean": self._constant()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "MeanPixel":
        return cls(arrays["mean"])


KINDS: dict[str, type[Preprocessor]] = {
    GCNZCA.name: GCNZCA,
    MeanStd.name: MeanStd,
    MeanPixel.name: MeanPixel,
}


def _flat(images: np.ndarray) -> np.ndarray:
    _check(images)
    return images.reshape(len(images), -1)


def _check(images: np.ndarray) -> None:
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            "Images should have shape (n, height, width, channels), one at least. "
            f"Received: shape={images.shape}"
        )
