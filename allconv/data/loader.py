"""Batches of images that are read as they are needed, as a pure function of the step.

As `batches`, of files: which image, which part of it, whether mirrored and how its
colour is changed are stateless functions of the seed and the place in the training.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from allconv.core import backend  # noqa: F401
from allconv.core.arguments import Count, Seed, Whole, checked
from allconv.core.machine import cores
from allconv.data import batches as in_memory, crops
from allconv.data.augmentation import AUGMENTATIONS, Augmentation
from allconv.data.index import Index
from allconv.data.preprocessing import Preprocessor


@checked
def batches(
    images: Index,
    *,
    size: Whole,
    preprocessor: Preprocessor,
    seed: Seed,
    batch_size: Whole,
    augmentation: Augmentation = AUGMENTATIONS["none"],
    colours: np.ndarray | None = None,
    start: Count = 0,
    stop: Count | None = None,
    rounds: int = 8,
) -> tf.data.Dataset:
    """Batches `start`, `start + 1`, ... of one training run.

    Element `step` depends on `(seed, step)` and the data, and on nothing else:
    `batches(start=k)` is `batches()` without its first k elements.

    Args:
        images: Where they lie.
        size: Height and width that a network is given, in pixels.
        preprocessor: `MeanStd` or `MeanPixel`, fitted.
        seed, batch_size, start, stop, rounds: As for `data.batches.batches`.
        augmentation: Crop, flip, colour and cutout.
        colours: `(3, 3)`, of `measured.Measured`; needed where the augmentation has
            `colour`.

    Returns:
        A `tf.data.Dataset` of `(images, labels)`: float32 and int64.
    """
    n = len(images)
    per_epoch = in_memory.steps_per_epoch(n, batch_size)
    read = _Reader(images)

    def image_at(place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        step = place // batch_size
        position = step % per_epoch * batch_size + place % batch_size
        key = in_memory.key_of(seed, in_memory.ORDER, step // per_epoch)
        number = in_memory.shuffled(position[None], key, n, rounds)[0]
        image = read(number)
        box = _box(augmentation.crop, tf.shape(image)[:2], size, seed, place)
        cut = crops.cut(image, box, size)
        if augmentation.flip:
            coin = tf.random.stateless_uniform(
                [], in_memory.key_of(seed, in_memory.FLIP, place)
            )
            cut = tf.cond(coin < 0.5, lambda: cut[:, ::-1], lambda: cut)
        return cut, read.labels[number]

    def inputs(step, images: tf.Tensor, labels: tf.Tensor):
        change = None
        if augmentation.colour and colours is not None:
            key = in_memory.key_of(seed, in_memory.COLOUR, step)
            drawn = tf.random.stateless_normal([batch_size, 3], key)
            change = augmentation.colour * drawn @ colours.astype(np.float32)
        images = prepared(images, preprocessor, change)
        if augmentation.cutout:
            images = in_memory.cut_out(images, augmentation.cutout, seed, step)
        return images, labels

    last = 2**62 // batch_size if stop is None else stop
    places = tf.data.Dataset.range(start * batch_size, last * batch_size)
    made = places.map(image_at, num_parallel_calls=cores(), deterministic=True)
    made = made.batch(batch_size, drop_remainder=True)
    made = made.enumerate(start).map(lambda i, pair: inputs(i, *pair))
    return in_memory.untuned(made.prefetch(2))


@checked
def views(
    images: Index, *, size: Whole, batch_size: Whole, ten: bool = False
) -> tf.data.Dataset:
    """Images in order, the middle of each; or ten views of each, one after the other.

    Args:
        images: Where they lie.
        size: Height and width, in pixels.
        batch_size: Images an element; the last has what is left.
        ten: Whether to cut the corners and the middle of the middle square, and to add
            their mirror images: ten times as many an element.

    Returns:
        A `tf.data.Dataset` of uint8 `(n, size, size, 3)`.
    """
    read = _Reader(images)

    def middle(number: tf.Tensor) -> tf.Tensor:
        image = read(number)
        return crops.cut(image, crops.centre(tf.shape(image)[:2], size), size)

    def every(number: tf.Tensor) -> tf.Tensor:
        image = read(number)
        shape = tf.shape(image)[:2]
        boxes = [crops.corner(shape, size, tf.constant(i)) for i in range(5)]
        five = tf.stack([crops.cut(image, box, size) for box in boxes])
        return tf.concat([five, five[:, :, ::-1]], 0)

    numbers = tf.data.Dataset.range(len(images))
    found = numbers.map(every if ten else middle, cores(), deterministic=True)
    found = found.batch(batch_size)
    if ten:
        found = found.map(lambda x: tf.reshape(x, [-1, size, size, 3]))
    return in_memory.untuned(found.prefetch(2))


def prepared(
    images: tf.Tensor, preprocessor: Preprocessor, change: tf.Tensor | None = None
) -> tf.Tensor:
    """A network's inputs of uint8 images, float32.

    Args:
        images: `(n, height, width, 3)`.
        preprocessor: `MeanStd` or `MeanPixel`, fitted.
        change: `(n, 3)`: of the colour of each image.
    """
    shape = tuple(images.shape[1:])
    mean, std = (
        np.broadcast_to(constants, shape).reshape(1, -1)
        for constants in (preprocessor.arrays().get(k, 1.0) for k in ("mean", "std"))
    )
    # Rows of all values at once: by colours, three at a time, TensorFlow takes four
    # times as long.
    inputs = tf.reshape(tf.cast(images, tf.float32), (-1, mean.size))
    if change is not None:
        inputs += tf.tile(change, (1, mean.size // 3))
    return tf.reshape((inputs - mean) / std, (-1, *shape))


class _Reader:
    """Reads an image of an index by its number, in a graph."""

    def __init__(self, images: Index):
        rows = images.rows
        self.labels = tf.constant(images.labels)
        self._files, self._file = tf.constant(images.files), tf.constant(images.file)
        self._plain, self._turn = tf.constant(rows["plain"]), tf.constant(rows["turn"])
        self._offset, self._size = (
            tf.constant(np.ascontiguousarray(rows[k])) for k in ("offset", "size")
        )
        # A graph has only what its images need.
        self._whole = not rows["offset"].any()  # a file each, not records of one
        self._all_plain, self._upright = rows["plain"].all(), (rows["turn"] == 1).all()

    def __call__(self, number: tf.Tensor) -> tf.Tensor:
        path = self._files[self._file[number]]
        if self._whole:
            content = tf.io.read_file(path)
        else:
            place = [path, self._offset[number], self._size[number]]
            # With a state, as is the default, `tf.data` would read one at a time.
            content = tf.numpy_function(_part, place, tf.string, stateful=False)
            content = tf.ensure_shape(content, [])
        plain = True if self._all_plain else self._plain[number]
        turn = 1 if self._upright else self._turn[number]
        return crops.decode(content, plain, turn)


def _part(path: bytes, offset: int, size: int) -> bytes:
    with Path(path.decode()).open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _box(crop: str, shape: tf.Tensor, size: int, seed: int, place: tf.Tensor):
    key = in_memory.key_of(seed, in_memory.CROP, place)
    if crop == "random":
        return crops.somewhere(shape, size, key)
    if crop == "ten":
        five = tf.random.stateless_uniform([], key, 0, 5, tf.int32)
        return crops.corner(shape, size, five)
    if crop == "scale":
        return crops.scaled(shape, key)
    return crops.centre(shape, size)
