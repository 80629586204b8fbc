"""Photographs as an array that is read when asked for."""

import numpy as np
import pytest
from PIL import Image

from allconv.data.photos import Photos


def noise(path, width, height, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.mark.parametrize("size", [224, 227])
def test_the_middle_of_a_photograph_of_256_pixels_is_cut_out_as_it_is(tmp_path, size):
    whole = noise(tmp_path / "n00000001.png", 320, 256, 0)
    (middle,) = Photos(tmp_path, size)[:]
    if size == 224:
        np.testing.assert_array_equal(middle, whole[16:240, 48:272])
    else:  # half a pixel off the grid
        near = whole[14:241, 46:273].astype(float)
        assert np.corrcoef(middle.ravel(), near.ravel())[0, 1] > 0.5


def test_photographs_are_scaled_cut_and_told_by_number(tmp_path):
    for name, seed in (("n00000002_7.png", 1), ("n00000001.png", 0), ("else.png", 2)):
        noise(tmp_path / name, 20, 40, seed)
    photos = Photos(tmp_path, 14, ["n00000001 tench", "n00000002 goldfish"])
    assert photos.files[0].name == "else.png"
    assert photos.labels.tolist() == [-1, 0, 1]
    assert len(photos) == 3
    assert photos.shape == (3, 14, 14, 3)
    every = photos[:]
    assert every.dtype == np.uint8
    np.testing.assert_array_equal(photos[[2, 0]], every[[2, 0]])
    np.testing.assert_array_equal(photos[np.array([[1], [2]])], every[[1, 2]][:, None])
    # The short side is scaled to 16 of which 14 are kept: 17.5 of the 20 pixels.
    with Image.open(tmp_path / "n00000001.png") as image:
        box = (1.25, 11.25, 18.75, 28.75)
        expected = image.resize((14, 14), Image.Resampling.BILINEAR, box)
    np.testing.assert_array_equal(every[1], expected)
