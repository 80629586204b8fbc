"""Decoding and cutting of images against Pillow's."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from PIL import Image

from allconv.data import crops
from tests.data.jpeg import encoded, photo


def test_a_jpeg_is_decoded_as_by_pillow_and_any_other_by_it():
    decode = tf.function(crops.decode)
    for turn, mode, size in (
        *((t, "RGB", (21, 13)) for t in range(1, 9)),
        *((1, "L", (9, 16)), (6, "CMYK", (30, 17)), (3, "P", (8, 9))),
    ):
        exif = Image.Exif()
        exif[0x0112] = turn
        kind = "PNG" if mode == "P" else "JPEG"
        content = encoded(photo(turn, size, mode), kind, exif=exif)
        plain = mode in ("RGB", "L")
        found = decode(content, tf.constant(plain), tf.constant(turn if plain else 1))
        np.testing.assert_array_equal(found, crops.pixels(content))
        if plain and turn == 1:
            np.testing.assert_array_equal(crops.decode(content), found)


@settings(max_examples=25)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(0, 99),
    st.sampled_from([1, 7, 24, 50]),
    st.data(),
)
def test_a_box_is_scaled_as_by_pillow(height, width, seed, size, data):
    box = [
        data.draw(st.floats(0, 0.7)) * height,
        data.draw(st.floats(0, 0.7)) * width,
    ]
    box += [data.draw(st.floats(0.2, 0.3)) * n for n in (height, width)]
    image = photo(seed, (width, height))
    found = crops.cut(
        tf.constant(np.asarray(image)), tf.constant(box, tf.float32), size
    )
    around = (box[1], box[0], box[1] + box[3], box[0] + box[2])
    bilinear = Image.Resampling.BILINEAR
    expected = np.asarray(image.resize((size, size), bilinear, box=around), int)
    assert np.abs(found.numpy() - expected).max() <= 1


def test_the_middle_is_what_scaling_to_256_and_cutting_224_gives():
    image = photo(0, (512, 384))
    whole = np.asarray(image.resize((341, 256), Image.Resampling.BILINEAR), int)
    middle = whole[16:240, 58:282]  # of 341.33 pixels: half of one is left and right
    box = crops.centre(tf.constant([384, 512]), 224)
    np.testing.assert_allclose(box, [24, 88, 336, 336])
    found = crops.cut(tf.constant(np.asarray(image)), box, 224).numpy()
    assert np.abs(found - middle).mean() < 3
    assert crops.short_side(224) == 256
    assert crops.short_side(64) == 73


def test_boxes_lie_inside_and_are_as_often_as_they_should():
    shape = tf.constant([60, 90])

    @tf.function
    def drawn(box):
        keys = tf.constant([[7, i] for i in range(300)])
        return tf.map_fn(box, keys, fn_output_signature=tf.float32)

    somewhere = drawn(lambda key: crops.somewhere(shape, 56, key)).numpy()
    side = 60 * 56 / 64
    np.testing.assert_allclose(somewhere[:, 2:], side)
    rows = np.rint((somewhere[:, 0]) / (60 / 64)).astype(int)
    assert np.bincount(rows, minlength=9).min() > 15  # of 33 expected: 3 deviations
    assert (somewhere[:, 1] >= 15).all()
    assert (somewhere[:, 1] <= 15 + 60 - side).all()
    of_area = drawn(lambda key: crops.scaled(shape, key)).numpy()
    assert (of_area[:, :2] >= 0).all()
    assert (of_area[:, :2] + of_area[:, 2:] <= [60, 90]).all()
    share = of_area[:, 2] * of_area[:, 3] / 5400
    assert 0.07 < share.min() < 0.2
    assert 0.8 < share.max() < 0.9  # 60 x 80 pixels is the largest
    ratio = of_area[:, 3] / of_area[:, 2]
    assert 0.7 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.43
    # None of ten fits: the middle, as wide as may be.
    thin = crops.scaled(tf.constant([1, 400]), tf.constant([0, 1]))
    np.testing.assert_allclose(thin, [0, 199, 1, 4 / 3], 1e-2)
    five = [crops.corner(shape, 56, tf.constant(i)).numpy() for i in range(5)]
    room = 60 - side
    corners = [[0, 15], [0, 15 + room], [room, 15], [room, 15 + room]]
    expected = [*corners, [room / 2, 15 + room / 2]]
    np.testing.assert_allclose([box[:2] for box in five], expected, atol=1e-4)
