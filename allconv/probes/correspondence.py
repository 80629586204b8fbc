"""Mask the same part in several images: do the features change alike? (Table 1)

Zeiler & Fergus, section 4.3. With `x_i` the features of image i at a layer and `x~_i`
those after a part (say the left eye) is masked, `e_i = x_i - x~_i`. The measure is
`sum over i != j of H(sign(e_i), sign(e_j))`, H the Hamming distance; the lower, the
more the network treats the part alike in all images. Parts are compared with random
masks (Figure 8).

The sign is -1, 0 or 1; 0 means that the feature did not change at all, as where a
rectifier is off both times. H counts the features whose signs differ, divided by their
number: a fraction, as the paper's values (0.07 to 0.11) must be. The paper's sum over
ordered pairs counts each pair of images twice; mean and spread are over the pairs,
counted once.

Signs of features that did not change agree, so a mask that changes little scores low,
wherever it is. `Score.among_changed` leaves those features out: of the features that
the mask changed in either image, the fraction whose signs differ.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from allconv.core.annotations import Span
from allconv.core.arguments import Seed, checked
from allconv.core.arrays import batch_of, check_finite
from allconv.probes.features import Preprocess, batches, check_model, fill_of, reader

RANDOM = "random"


class Parts(NamedTuple):
    """Boxes of parts in images: `names` of the images and, per part, int `(n, 4)`.

    A box is left, top, right, bottom in pixels, right and bottom excluded.
    """

    names: tuple[str, ...]
    boxes: dict[str, np.ndarray]


class Score(NamedTuple):
    """Hamming distances of one part at one layer, per pair of images.

    `pairs` float64 `(n (n - 1) / 2,)`: the fraction of features whose signs differ. For
    random masks, the pairs of all draws. `among_changed`, of the same shape: the
    fraction among the features that changed in at least one of the two images.
    """

    part: str
    layer: str
    pairs: np.ndarray
    among_changed: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.pairs.mean())

    @property
    def std(self) -> float:
        """Sample standard deviation over pairs; NaN for a single pair."""
        return float(self.pairs.std(ddof=1)) if len(self.pairs) > 1 else float("nan")


def load_parts(path: str | Path) -> Parts:
    """Read boxes of parts from a JSON file.

    The file holds `{"parts": {image: {part: [left, top, right, bottom]}}}`, in pixels,
    right and bottom excluded; every image has the same parts. Other keys are ignored.

    Raises:
        ValueError: If the file is not of this form; the message names the entry.
    """
    try:
        document = json.loads(Path(path).read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    images = document.get("parts") if isinstance(document, dict) else None
    if not isinstance(images, dict) or not images:
        raise ValueError(f'{path} should hold {{"parts": {{image: {{part: box}}}}}}.')
    first = next(iter(images.values()))
    for image, parts in images.items():
        if not isinstance(parts, dict) or not parts or parts.keys() != first.keys():
            raise ValueError(
                f"{path}: every image should have the same parts, one at least, each "
                f"with its box. Received: {image}: {parts}"
            )
        for part, box in parts.items():
            whole = isinstance(box, list) and all(type(n) is int for n in box)
            if not whole or len(box) != 4 or box[0] >= box[2] or box[1] >= box[3]:
                raise ValueError(
                    f"{path}: a box should be four integers, left < right and "
                    f"top < bottom. Received: {image}, {part}: {box}"
                )
    return Parts(
        tuple(images),
        {part: np.array([images[i][part] for i in images]) for part in first},
    )


@checked
def mask(
    images: np.ndarray, boxes: np.ndarray, fill: float | Sequence[float]
) -> np.ndarray:
    """Paint one box in each image.

    Args:
        images: `(n, height, width, channels)`.
        boxes: Integers `(n, 4)`: left, top, right, bottom in pixels, right and bottom
            excluded.
        fill: Colour, one number or one per channel.

    Returns:
        float32 of the same shape.

    Raises:
        ValueError: If a box is not inside its image.
    """
    images = batch_of(images)
    boxes = np.asarray(boxes)
    _check_boxes(boxes, images.shape)
    out = images.copy()
    colour = fill_of(fill, images.shape[3])
    for image, (left, top, right, bottom) in zip(out, boxes, strict=True):
        image[top:bottom, left:right] = colour
    return out


def _check_boxes(boxes: np.ndarray, shape: tuple[int, ...]) -> None:
    n, height, width, _ = shape
    if boxes.shape != (n, 4) or not np.issubdtype(boxes.dtype, np.integer):
        raise ValueError(
            f"`boxes` should be integers, four for each of the {n} images. "
            f"Received: shape={boxes.shape}, dtype={boxes.dtype}"
        )
    for i, (left, top, right, bottom) in enumerate(boxes):
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ValueError(
                f"Box {boxes[i].tolist()} (left, top, right, bottom) is not inside "
                f"image {i}, {width} x {height} pixels."
            )


def random_boxes(
    boxes: np.ndarray, height: int, width: int, rng: np.random.Generator
) -> np.ndarray:
    """Boxes of the same sizes anywhere inside the images, uniformly."""
    boxes = np.asarray(boxes)
    sizes = boxes[:, 2:] - boxes[:, :2]
    corner = rng.integers(0, np.array([width, height]) - sizes, endpoint=True)
    return np.concatenate([corner, corner + sizes], axis=1)


@checked
def compare(
    model: keras.Model,
    images: np.ndarray,
    parts: Mapping[str, np.ndarray],
    layers: Sequence[str],
    fill: float | Sequence[float],
    *,
    draws: Annotated[int, Span(1, 10_000)] = 10,
    seed: Seed = 0,
    preprocess: Preprocess | None = None,
    batch_size: int | None = None,
) -> list[Score]:
    """Score how alike the features of several images change with each part (Table 1).

    Args:
        model: Any Keras model with one input and one output.
        images: `(n, height, width, channels)`, at least 2, in the units of the model's
            inputs, or of `preprocess`.
        parts: Per part, boxes `(n, 4)`: `Parts.boxes`. A part `"random"` is added:
            boxes of the sizes of the first part, anywhere.
        layers: Names of layers; the paper's are 5 (maps) and 7 (dense).
        fill: Colour of the masks, one number or one per channel.
        draws: Draws of the random boxes, from 1 to 10,000.
        seed: Of the random boxes.
        preprocess: NumPy function from masked images to the model's inputs.
        batch_size: Images at a time; None: 256 at 32 x 32 pixels, 5 at 224 x 224.

    Returns:
        A `Score` per part and layer, parts in order, `"random"` last.

    Raises:
        ValueError: If there are fewer than 2 images, or a box is not inside its image.
    """
    images = batch_of(images)
    n, height, width, _ = images.shape
    if n < 2:
        raise ValueError(f"Pairs need at least 2 images. Received: {n}")
    if not parts or not layers or RANDOM in parts:
        raise ValueError(
            "`parts` and `layers` should name at least one each, and no part 'random'. "
            f"Received: parts={list(parts)}, layers={list(layers)}"
        )
    for boxes in parts.values():
        _check_boxes(np.asarray(boxes), images.shape)
    sizes, rng = next(iter(parts.values())), np.random.default_rng(seed)
    anywhere = [random_boxes(sizes, height, width, rng) for _ in range(draws)]
    masks = [(part, [boxes]) for part, boxes in parts.items()] + [(RANDOM, anywhere)]

    check_model(model, images, preprocess)
    layers_of = reader(model, layers, preprocess)
    read = tf.function(lambda images: layers_of(images)[0], autograph=False)

    def features(images: np.ndarray) -> list[np.ndarray]:
        out = [
            [f.numpy() for f in read(images[batch])]
            for batch in batches(n, images, batch_size)
        ]
        found = [np.concatenate(f)[:n].reshape(n, -1) for f in zip(*out, strict=True)]
        for layer, values in zip(layers, found, strict=True):
            check_finite(values, f"The features of {layer!r}")
        return found

    clean = features(images)
    scores = []
    for part, drawn in masks:
        changes = [
            [x - changed for x, changed in zip(clean, masked, strict=True)]
            for masked in (features(mask(images, boxes, fill)) for boxes in drawn)
        ]
        for layer, of_layer in zip(layers, zip(*changes, strict=True), strict=True):
            distances = [sign_distances(change) for change in of_layer]
            pairs, among_changed = np.concatenate(distances, axis=1)
            scores.append(Score(part, layer, pairs, among_changed))
    return scores


@checked
def sign_distances(changes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractions of entries whose signs (-1, 0, 1) differ, per pair of rows.

    Args:
        changes: `(n, features)`.

    Returns:
        Two float64 arrays `(n (n - 1) / 2,)`, pairs in the order (0, 1), (0, 2), ...,
        (1, 2), ...: the fraction of all entries, and of those that are not 0 in both
        rows. The latter is 0 where there are none.

    Raises:
        ValueError: If a change is not finite.
    """
    check_finite(changes, "The changes")
    signs = np.sign(changes).astype(np.int8)
    pairs = zip(*np.triu_indices(len(signs), 1), strict=True)
    counts = np.array(
        [
            ((signs[i] != signs[j]).sum(), ((signs[i] | signs[j]) != 0).sum())
            for i, j in pairs
        ]
    ).reshape(-1, 2)
    differ, changed = counts.T
    return differ / signs.shape[1], differ / np.maximum(changed, 1)
