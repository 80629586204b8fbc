"""Does a map point at what the score depends on? Deletion and insertion curves.

Petsiuk et al. 'RISE' (2018), section 4.2. Pixels are taken away, the most important
first, and the score should fall soon; or they are put onto an empty image, and it
should rise soon. The areas under the two curves are a score of the map.

    importance = np.abs(maps).sum(-1)
    found = curves(predict, images, importance, target, fill=0)
    found.deletion_area.mean(), found.insertion_area.mean()   # low and high are good

A network may not know what to make of an image with holes: compare maps of one network
with one fill, and with a random order, never across networks.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from allconv.core.arguments import Whole, checked
from allconv.core.arrays import batch_of
from allconv.probes import features


class Curves(NamedTuple):
    """Scores while pixels go and come.

    `share`: how much of the image was changed, `(steps + 1,)`, from 0 to 1. `deletion`,
    `insertion`: the score of each image then, float64 `(n, steps + 1)`.
    """

    share: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def deletion_area(self) -> np.ndarray:
        """The mean score over the shares, `(n,)`; lower is better."""
        return np.trapezoid(self.deletion, self.share, axis=1)

    @property
    def insertion_area(self) -> np.ndarray:
        """The mean score over the shares, `(n,)`; higher is better."""
        return np.trapezoid(self.insertion, self.share, axis=1)


@checked
def curves(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    importance: np.ndarray,
    target: int | Sequence[int],
    fill: float | Sequence[float] | np.ndarray,
    *,
    steps: Whole = 32,
    seed: int = 0,
) -> Curves:
    """Take pixels away, and put them back, in the order of their importance.

    Args:
        predict: Function of images that returns scores `(n, classes)`, say
            probabilities: `lambda x: model.predict(x, verbose=0)`.
        images: `(n, height, width, channels)`, as `predict` takes them.
        importance: `(n, height, width)`; larger goes first. Of equal pixels, which
            there are many of where a map is 0, the order is random.
        target: The class whose score is watched, one for all or one per image.
        fill: What stands where a pixel is not: a number, one per channel, or an array
            as `images`, such as blurred ones.
        steps: Number of equal portions of pixels.
        seed: Of the order of equal pixels.

    Returns:
        A `Curves`.

    Raises:
        ValueError: If an argument is none of these, or a score is not finite.
    """
    images = batch_of(images)
    n, height, width, channels = images.shape
    importance, blank = np.asarray(importance), np.asarray(fill, np.float32)
    if importance.shape != images.shape[:3] or not np.isfinite(importance).all():
        raise ValueError(
            f"`importance` should be finite, of shape {images.shape[:3]}. "
            f"Received: shape {importance.shape}"
        )
    if steps > height * width:
        raise ValueError(
            f"`steps` should be from 1 to {height * width}, the number of pixels. "
            f"Received: steps={steps!r}"
        )
    if blank.shape != images.shape:
        blank = np.broadcast_to(
            features.fill_of(blank.tolist(), channels), images.shape
        )
    rank = ranks(importance, seed)
    classes = np.asarray(target)
    if classes.shape not in ((), (n,)) or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(
            f"`target` should be a class, one for all or one for each of {n} images. "
            f"Received: target={target!r}"
        )

    def score(changed: np.ndarray) -> np.ndarray:
        scores = np.asarray(predict(changed), np.float64)
        if scores.ndim != 2 or not np.isfinite(scores).all():
            raise ValueError(
                "`predict` should return finite scores (n, classes). Received: "
                f"an array of shape {scores.shape}"
            )
        if classes.min() < 0 or classes.max() >= scores.shape[1]:
            raise ValueError(
                f"`target` should be from 0 to {scores.shape[1] - 1}. "
                f"Received: target={target!r}"
            )
        return scores[np.arange(n), classes]

    counts = np.round(np.linspace(0, height * width, steps + 1))
    deletion, insertion = [], []
    for count in counts:
        first = (rank < count)[..., None]
        deletion.append(score(np.where(first, blank, images)))
        insertion.append(score(np.where(first, images, blank)))
    share = counts / (height * width)
    return Curves(share, np.stack(deletion, 1), np.stack(insertion, 1))


def ranks(importance: np.ndarray, seed: int = 0) -> np.ndarray:
    """The place of each pixel in the order, 0 the most important; equal ones drawn.

    Args:
        importance: `(n, height, width)`.
        seed: Of the draws; an image's do not depend on the others of the batch.

    Returns:
        int64 array of the same shape.
    """
    flat = importance.reshape(len(importance), -1)
    tie = np.random.default_rng(seed).permutation(flat.shape[1])
    order = np.stack([np.lexsort((tie, -row)) for row in flat])
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(flat.shape[1])[None], axis=1)
    return rank.reshape(importance.shape)
