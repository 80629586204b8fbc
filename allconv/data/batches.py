"""Training batches as a pure function of (seed, step), so that a run resumes exactly.

No random state survives from one step to the next: order, shifts, flips and cuts are
stateless functions of the seed and the step's number.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from allconv.core import backend  # noqa: F401
from allconv.core.arguments import Count, Images, Labels, Seed, Whole, checked
from allconv.data.augmentation import AUGMENTATIONS, Augmentation

# Independent random streams of one seed; CROP and COLOUR are `loader`'s.
ORDER, SHIFT, FLIP, CROP, COLOUR, CUT = range(6)


@checked
def steps_per_epoch(n: Whole, batch_size: Whole) -> int:
    """Whole batches in an epoch; the rest of the shuffled images waits for another."""
    if not 1 <= batch_size <= n:
        raise ValueError(
            f"`batch_size` should be from 1 to the {n} training images. "
            f"Received: batch_size={batch_size}"
        )
    return n // batch_size


@checked
def batches(
    images: Images | tf.Tensor,
    labels: Labels | tf.Tensor,
    *,
    seed: Seed,
    batch_size: Whole,
    augmentation: Augmentation = AUGMENTATIONS["none"],
    windows: Sequence[tuple[int, int]] = (),
    start: Count = 0,
    stop: Count | None = None,
    rounds: int = 8,
) -> tf.data.Dataset:
    """Batches `start`, `start + 1`, ... of one training run.

    Element `step` depends on `(seed, step)` and the data, and on nothing else:
    `batches(start=k)` is `batches()` without its first k elements. Each epoch goes
    through the images in an order of its own.

    Args:
        images: `(n, height, width, channels)`, float32.
        labels: `(n,)` integers.
        seed: An integer from 0 to 2**31 - 1.
        batch_size: Images a step.
        augmentation: Random changes of each image.
        windows: As in `Preset`: `(epoch, size)` pairs.
        start: First step.
        stop: The step to end before; None: without end.
        rounds: Of the cipher that makes an epoch's order: even, from 4. With 4, as in
            `tf.random.experimental.index_shuffle`, the order is not uniform: of 50,000
            images the sum of a batch's indices has a third of the variance that chance
            gives; with 8 all of it.

    Returns:
        A `tf.data.Dataset` of `(images, labels)`.

    Raises:
        ValueError: If there is not one label for each image, or `rounds` is odd.
    """
    images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
    n = int(images.shape[0])
    if labels.shape != (n,):
        raise ValueError(
            f"Labels should be {n} integers, one for each image. "
            f"Received: {labels.shape}"
        )
    if rounds < 4 or rounds % 2:
        raise ValueError(
            f"`rounds` should be an even number from 4. Received: rounds={rounds}"
        )
    per_epoch = steps_per_epoch(n, batch_size)

    def batch_at(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        position = step % per_epoch * batch_size + tf.range(batch_size, dtype=tf.int64)
        epoch = step // per_epoch
        key = key_of(seed, ORDER, epoch)
        chosen = shuffled(position, key, n, rounds)
        if not augmentation.flip:
            mirrored = None
        elif augmentation.alternate:
            key = key_of(seed, FLIP, tf.zeros_like(epoch))
            half = shuffled(chosen, key, n, rounds)
            mirrored = (half + epoch) % 2 == 0
        else:
            mirrored = _coins(seed, step, batch_size)
        window = None
        for first, size in windows:
            window = size if window is None else tf.where(epoch < first, window, size)
        batch = tf.gather(images, chosen)
        batch = move(batch, augmentation, seed, step, mirrored, window)
        if augmentation.cutout:
            batch = cut_out(batch, augmentation.cutout, seed, step)
        return batch, tf.gather(labels, chosen)

    # Without a `stop`, some 10**15 years of steps.
    steps = tf.data.Dataset.range(start, stop if stop is not None else 2**62)
    return untuned(steps.map(batch_at).prefetch(2))


@checked
def in_order(*arrays: np.ndarray, batch_size: Whole) -> tf.data.Dataset:
    """Arrays of equal length, in batches, as they stand: for measuring.

    Args:
        arrays: Each `(n, ...)`; of one array the elements are tensors, else tuples.
        batch_size: The last batch holds what is left.
    """
    content = arrays if len(arrays) > 1 else arrays[0]
    return untuned(tf.data.Dataset.from_tensor_slices(content).batch(batch_size))


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Without TensorFlow's tuning of parallel stages, of which there are none here.

    The tuner's thread sleeps twice as long each time, up to a minute, and the end of
    the iterator waits for it: seen in TensorFlow 2.21 as up to 53 idle seconds at the
    end of an epoch of 90.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def move(
    images: tf.Tensor,
    augmentation: Augmentation,
    seed: int,
    step: tf.Tensor,
    mirrored: tf.Tensor | None = None,
    window: int | tf.Tensor | None = None,
) -> tf.Tensor:
    """Mirror and shift each image of a batch and cut out its middle.

    Args:
        images: `(n, height, width, channels)`.
        augmentation: How far to shift, and what enters at the border.
        seed: Of the shifts, with `step`.
        step: The step's number, int64.
        mirrored: bool `(n,)`: which images to mirror; None: none.
        window: Size in pixels of what is kept, at most that of the images; None: all.
    """
    shift = augmentation.shift
    if mirrored is None and window is None and not shift:
        return images
    n, height, width = images.shape[0], images.shape[1], images.shape[2]
    tall, wide = (height, width) if window is None else (window, window)
    rows = tf.tile(tf.range(tall)[None] + (height - tall) // 2, [n, 1])
    columns = tf.tile(tf.range(wide)[None] + (width - wide) // 2, [n, 1])
    if mirrored is not None:
        columns = tf.where(mirrored[:, None], width - 1 - columns, columns)
    if shift:
        pad = [[0, 0], [shift, shift], [shift, shift], [0, 0]]
        images = tf.pad(images, pad, augmentation.mode)
        offsets = tf.random.stateless_uniform(
            [2, n, 1], key_of(seed, SHIFT, step), 0, 2 * shift + 1, tf.int32
        )
        rows, columns = rows + offsets[0], columns + offsets[1]
    images = tf.gather(images, rows, axis=1, batch_dims=1)
    return tf.gather(images, columns, axis=2, batch_dims=1)


def cut_out(images: tf.Tensor, side: int, seed: int, step: tf.Tensor) -> tf.Tensor:
    """Set a square of each image of a batch to 0; at the border a part of it.

    Args:
        images: `(n, height, width, channels)`.
        side: Of the square, in pixels.
        seed: Of the places, with `step`.
        step: The step's number, int64.
    """
    shape = tf.shape(images)
    at = tf.random.stateless_uniform([2, shape[0], 1], key_of(seed, CUT, step))

    def inside(length: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        first = tf.cast(place * tf.cast(length, tf.float32), tf.int32) - side // 2
        index = tf.range(length)[None]
        return (index >= first) & (index < first + side)

    rows, columns = inside(shape[1], at[0]), inside(shape[2], at[1])
    cut = (rows[:, :, None] & columns[:, None])[..., None]
    return tf.where(cut, tf.zeros((), images.dtype), images)


def shuffled(index: tf.Tensor, key: tf.Tensor, n: int, rounds: int) -> tf.Tensor:
    """Where indices from 0 to n - 1 stand in the order that a key has.

    With 4 rounds it is `tf.random.experimental.index_shuffle`, which has no others.
    """
    key = tf.pad(key, [[1, 0]], constant_values=498247692)
    return tf.raw_ops.RandomIndexShuffle(
        index=index, seed=key, max_index=tf.cast(n - 1, index.dtype), rounds=rounds
    )


def _coins(seed: int, step: tf.Tensor, n: int) -> tf.Tensor:
    """A fair coin for each image of a step's batch, bool `(n,)`."""
    return tf.random.stateless_uniform([n, 1], key_of(seed, FLIP, step))[:, 0] < 0.5


def key_of(seed: int, stream: int, count: tf.Tensor) -> tf.Tensor:
    """The key of one of a seed's random streams at one place."""
    return tf.random.experimental.stateless_fold_in(
        tf.constant([seed, stream], tf.int64), count
    )
