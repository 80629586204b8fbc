"""How alike maps are: to one another, to those of other classes, to mere edges.

Adebayo et al., 'Sanity Checks for Saliency Maps' (2018), section 4.1: rank correlation
of the values, with and without their sign, and structural similarity.

    compare(maps, edge_maps(images))                   # is it an edge detector?
    class_similarity(np.stack([... for target in range(10)]))
"""

import itertools

import numpy as np
import tensorflow as tf

from allconv.core import backend  # noqa: F401
from allconv.core.arguments import Batch, Images, checked


@checked
def compare(a: Batch, b: Batch) -> dict[str, np.ndarray]:
    """How alike two sets of maps are, image by image.

    Args:
        a: Maps `(n, height, width, channels)`.
        b: Maps of the same shape.

    Returns:
        Arrays `(n,)`: `"rank"`, Spearman's correlation of the signed values;
        `"absolute rank"`, that of the magnitudes; `"ssim"`, the structural similarity
        of the magnitudes as they would be looked at: summed over the channels, each
        map over its maximum. NaN where a map is constant or, of `"ssim"`, zero.

    Raises:
        ValueError: If the shapes differ, or a value is not finite.
    """
    return {
        "rank": rank_correlation(a, b),
        "absolute rank": rank_correlation(np.abs(a), np.abs(b)),
        "ssim": ssim(a, b),
    }


@checked
def rank_correlation(a: Batch, b: Batch) -> np.ndarray:
    """Spearman's rank correlation of two sets of maps; ties get their mean rank.

    Args:
        a: `(n, ...)`.
        b: `(n, ...)`, same shape.

    Returns:
        float64 array `(n,)`; NaN where a map is constant.

    Raises:
        ValueError: If the shapes differ, or a value is not finite.
    """
    a, b = _pair(a, b)
    x, y = (np.stack([_ranks(one.ravel()) for one in maps]) for maps in (a, b))
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (x, y))
    with np.errstate(invalid="ignore"):
        return (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))


def _pair(a: Batch, b: Batch) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise ValueError(
            "`a` and `b` should be maps of one shape. "
            f"Received: shapes {a.shape} and {b.shape}"
        )
    return a, b


def _ranks(values: np.ndarray) -> np.ndarray:
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[where]


@checked
def ssim(a: Batch, b: Batch) -> np.ndarray:
    """Structural similarity of the magnitudes of two sets of maps.

    Args:
        a: Maps `(n, height, width, channels)`.
        b: Maps of the same shape.

    Returns:
        float64 array `(n,)`; NaN where a map is zero. The window is Gaussian, 11x11
        pixels or as large as the map.

    Raises:
        ValueError: If the shapes differ, or a value is not finite.
    """
    a, b = _pair(a, b)

    def look(maps):
        grey = np.abs(maps).sum(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore"):
            return tf.cast(grey / grey.max(axis=(1, 2), keepdims=True), tf.float32)

    window = min(11, *a.shape[1:3])
    values = tf.image.ssim(look(a), look(b), 1.0, filter_size=window)
    return values.numpy().astype(np.float64)


@checked
def edge_maps(images: Images) -> np.ndarray:
    """Strength of the Sobel edges of images: a map that no network had a part in.

    Args:
        images: `(n, height, width, channels)`.

    Returns:
        float32 array of the same shape, not negative.
    """
    edges = tf.image.sobel_edges(tf.cast(images, tf.float32))
    return tf.norm(edges, axis=-1).numpy()


@checked
def class_similarity(maps: np.ndarray) -> dict[str, np.ndarray]:
    """How alike the maps of different classes are: 1 means they tell none apart.

    Args:
        maps: `(classes, n, height, width, channels)`: each image explained for each
            of two or more classes.

    Returns:
        As for `compare`, averaged over all pairs of classes whose maps are not
        constant. A class whose score a rectifier cut off has a map of zeros under
        backprop and guided backprop: explain the score before the rectifier.

    Raises:
        ValueError: If `maps` has another shape.
    """
    maps = np.asarray(maps)
    if maps.ndim != 5 or len(maps) < 2:
        raise ValueError(
            "`maps` should be (classes, n, height, width, channels) with at least two "
            f"classes. Received: an array of shape {maps.shape}"
        )
    pairs = [compare(a, b) for a, b in itertools.combinations(maps, 2)]
    scores = {name: [pair[name] for pair in pairs] for name in pairs[0]}
    return {
        name: np.ma.masked_invalid(score).mean(axis=0).filled(np.nan)
        for name, score in scores.items()
    }
