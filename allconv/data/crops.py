"""One image file's bytes become the pixels that a network is given: decode, cut, scale.

All are TensorFlow operations without a state, for `tf.data`. A crop is a box in the
image as it is stored, so that cutting and scaling are one step: the same pixels as
scaling all and cutting then, for less work.
"""

import io

import numpy as np
import tensorflow as tf

from allconv.core import backend  # noqa: F401
from allconv.data import photo

ENLARGED = 256 / 224  # the short side that an image is scaled to, in crops
SMALLEST_AREA, ASPECT = 0.08, 3 / 4  # of a crop with scale and aspect (Szegedy, 2015)
TRIES = 10  # before such a crop is given up and the middle taken, as in torchvision
TEN = 10  # views of an image at a test: four corners and the middle, each mirrored too


def short_side(size: int) -> int:
    """The pixels that the short side has when crops of `size` are cut: 256 for 224."""
    return round(size * ENLARGED)


def decode(
    content: tf.Tensor,
    plain: tf.Tensor | bool = True,
    turn: tf.Tensor | int = 1,
) -> tf.Tensor:
    """Pixels of an image, upright: uint8 `(height, width, 3)`, as Pillow has them.

    Args:
        content: The file's bytes.
        plain: Whether it is a JPEG, of colour or grey. Any other is Pillow's to decode.
        turn: EXIF's orientation, 1 to 8, of a JPEG.
    """

    def jpeg() -> tf.Tensor:
        # The default is a faster transform, one grey level off in two values of three.
        image = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
        return image if isinstance(turn, int) and turn == 1 else _turned(image, turn)

    def other() -> tf.Tensor:
        # With a state, as is the default, `tf.data` would make one image at a time.
        return tf.numpy_function(pixels, [content], tf.uint8, stateful=False)

    image = jpeg() if plain is True else tf.cond(plain, jpeg, other)
    return tf.ensure_shape(image, [None, None, 3])


def _turned(image: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """What EXIF's orientation makes of the stored rows."""

    def across() -> tf.Tensor:
        return tf.transpose(image, [1, 0, 2])

    image = tf.cond(turn >= 5, across, lambda: image)
    down = tf.where((turn == 3) | (turn == 4) | (turn == 7) | (turn == 8), -1, 1)
    right = tf.where((turn == 2) | (turn == 3) | (turn == 6) | (turn == 7), -1, 1)
    return image[::down, ::right]


def pixels(content: bytes) -> np.ndarray:
    """What Pillow makes of a file's bytes, upright: uint8 `(height, width, 3)`."""
    return photo.from_file(io.BytesIO(content))


def cut(image: tf.Tensor, box: tf.Tensor, size: int) -> tf.Tensor:
    """A box of an image, scaled to `size` x `size` pixels with antialiasing.

    Within one grey level of Pillow's `resize(..., BILINEAR, box=box)`.

    Args:
        image: uint8 `(height, width, 3)`.
        box: float32 `(4,)`: top, left, height and width, in pixels of the image.
        size: In pixels.

    Returns:
        uint8 `(size, size, 3)`.
    """
    scale = size / box[2:]
    scaled = tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=[size, size],
        scale=scale,
        translation=-box[:2] * scale,
        kernel_type="triangle",
        antialias=True,
    )[0]
    whole = tf.cast(tf.clip_by_value(tf.round(scaled), 0, 255), tf.uint8)
    return tf.ensure_shape(whole, [size, size, 3])


def centre(shape: tf.Tensor, size: int) -> tf.Tensor:
    """The box in the middle of an image that is `(height, width)` pixels large."""
    return _offset(shape, size, tf.constant([0.5, 0.5]))


def corner(shape: tf.Tensor, size: int, number: tf.Tensor) -> tf.Tensor:
    """Box `number`, from 0 to 4, of the middle square: its corners, then its middle."""
    places = tf.constant([[0, 0], [0, 1], [1, 0], [1, 1], [0.5, 0.5]], tf.float32)
    return _offset(shape, size, places[number])


def somewhere(shape: tf.Tensor, size: int, key: tf.Tensor) -> tf.Tensor:
    """Any box of the middle square, each as likely (Krizhevsky et al., 2012)."""
    room = short_side(size) - size
    drawn = tf.random.stateless_uniform([2], key, 0, room + 1, tf.int32)
    return _offset(shape, size, tf.cast(drawn, tf.float32) / max(room, 1))


def _offset(shape: tf.Tensor, size: int, share: tf.Tensor) -> tf.Tensor:
    """The box at a share, from 0 to 1, of the way down and across the middle square."""
    shape = tf.cast(shape, tf.float32)
    short = tf.reduce_min(shape)
    side = short * size / short_side(size)
    begin = (shape - short) / 2 + (short - side) * share
    return tf.concat([begin, [side, side]], 0)


def scaled(shape: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """A box of 8 to 100 % of the area, its sides 3 : 4 to 4 : 3 (Szegedy et al.).

    Of ten that are drawn the first that fits; if none does, the middle.
    """
    shape = tf.cast(shape, tf.float32)
    drawn = tf.random.stateless_uniform([4, TRIES], key)
    area = (SMALLEST_AREA + (1 - SMALLEST_AREA) * drawn[0]) * shape[0] * shape[1]
    aspect = tf.exp((2 * drawn[1] - 1) * -tf.math.log(ASPECT))
    sides = tf.round(tf.sqrt(tf.stack([area / aspect, area * aspect], 1)))
    fits = tf.reduce_all((sides >= 1) & (sides <= shape), axis=1)
    first = tf.argmax(fits)
    whole = tf.minimum(shape, shape[::-1] / ASPECT)
    side = tf.where(tf.reduce_any(fits), sides[first], whole)
    share = tf.where(tf.reduce_any(fits), drawn[2:, first], 0.5)
    return tf.concat([tf.floor((shape - side) * share), side], 0)
