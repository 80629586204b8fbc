"""What is measured of a large data set's training images: means and colours."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from allconv.core import files
from allconv.core.arguments import Whole, checked
from allconv.core.waiting import say_if_long
from allconv.data import datasets
from allconv.data.index import Index
from allconv.data.preprocessing import MeanPixel, MeanStd, Preprocessor

SAMPLE = 10_000  # images; a mean of colour is then right to half a grey level


@dataclass(frozen=True, eq=False)
class Measured:
    """Of the middle of training images, scaled as a network is given them.

    Attributes:
        image: float32 `(size, size, 3)`: the mean of all.
        mean, std: float32 `(3,)`: of each colour, over all pixels.
        colours: float32 `(3, 3)`: by rows, the principal components of the pixels'
            colours, each times its eigenvalue, of pixels from 0 to 1, in grey levels.
    """

    image: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    colours: np.ndarray

    def preprocessor(self, kind: str) -> Preprocessor:
        """The preprocessing of that name."""
        if kind == MeanPixel.name:
            return MeanPixel(self.image)
        return MeanStd(self.mean, self.std)


@checked
def measure(images: Index, size: Whole, data_dir: str | Path | None = None) -> Measured:
    """Measure training images, the first 10,000 at most; or find what was measured.

    Args:
        images: Where they lie, in an order without a meaning.
        size: Height and width, in pixels.
        data_dir: As for `datasets.load`: where it is kept.

    Raises:
        ValueError: If a colour is the same in all pixels.
    """
    sample = images.take(np.arange(min(len(images), SAMPLE)))
    order = sample.order()
    of = {"data": order, "size": size}
    kept = datasets.data_folder(data_dir) / f"measured-{order[:16]}-{size}.h5"
    with contextlib.suppress(OSError, files.DamagedFileError):
        arrays, meta = files.read(kept)
        if meta == of:
            return Measured(**arrays)
    with say_if_long(f"Measuring the mean of {len(sample):,} images ..."):
        found = _measure(sample, size)
    with contextlib.suppress(OSError):  # a read-only folder costs time, nothing else
        kept.parent.mkdir(parents=True, exist_ok=True)
        files.write(kept, vars(found), of)
    return found


def _measure(images: Index, size: int) -> Measured:
    from allconv.data.loader import views

    total, squares = np.zeros((size, size, 3)), np.zeros((3, 3))
    for batch in views(images, size=size, batch_size=64).as_numpy_iterator():
        total += batch.sum(axis=0, dtype=np.float64)
        pixels = batch.reshape(-1, 3).astype(np.float64)
        squares += pixels.T @ pixels
    image = total / len(images)
    mean = image.mean(axis=(0, 1))
    covariance = squares / (len(images) * size**2) - np.outer(mean, mean)
    std = np.sqrt(np.maximum(np.diag(covariance), 0))
    if not std.all():
        raise ValueError(
            "Every channel of the training images should vary. Received: standard "
            f"deviations {std.tolist()}"
        )
    values, vectors = np.linalg.eigh(covariance / 255**2)
    # A component's sign is anyone's: its largest value is made positive.
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), range(3)])
    colours = 255 * (vectors * np.maximum(values, 0)).T
    arrays = (image, mean, std, colours)
    return Measured(*(array.astype(np.float32) for array in arrays))
