"""Segmentation sets: what is drawn, and folders of pairs in every layout."""

import numpy as np
import pytest
from PIL import Image

from allconv.data import segmentation
from allconv.data.cifar import DataError

RNG = np.random.default_rng(0)


def image(path, size=(12, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*size[::-1], 3), np.uint8)).save(path)


def mask(path, numbers, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = Image.fromarray(np.asarray(numbers, np.uint8))
    if mode == "P":  # as VOC has them: the numbers are places in a palette
        drawn = drawn.copy()
        drawn.putpalette(RNG.integers(0, 256, 768).tolist())
    drawn.convert(mode).save(path) if mode == "RGB" else drawn.save(path)


def test_what_is_drawn_is_a_function_of_the_seed():
    images, masks = segmentation.draw(40, 3)
    again = segmentation.draw(40, 3)
    np.testing.assert_array_equal(images, again[0])
    np.testing.assert_array_equal(masks, again[1])
    assert (images.dtype, masks.dtype) == (np.uint8, np.uint8)
    assert set(np.unique(masks)) == set(range(6))
    assert (segmentation.draw(40, 4)[1] != masks).any()


def test_a_lone_shape_has_its_outline(monkeypatch):
    monkeypatch.setattr(segmentation, "FIGURES", 1)
    _, masks = segmentation.draw(200, 0)
    for drawn in masks:
        ground, *found = np.unique(drawn)
        assert (ground, len(found)) == (0, 1)
        shape = segmentation.SHAPES[found[0] - 1]
        rows, columns = np.nonzero(drawn)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        middle = drawn[round(rows.mean()), round(columns.mean())] > 0
        assert middle == (shape != "ring")
        filled = len(rows) / (height * width)
        if shape == "disc":
            assert filled == pytest.approx(np.pi / 4, abs=0.08)
        if shape == "ring":  # from 0.55 to 1.05 of the radius
            assert filled == pytest.approx(
                np.pi / 4 * (1 - (0.55 / 1.05) ** 2), abs=0.1
            )


def test_a_colour_says_nothing_of_the_shape():
    """Shapes of all kinds have the same mean colour and the same spread."""
    images, masks = segmentation.draw(400, 0)
    inside = [images[masks == k] for k in range(1, 6)]
    assert np.ptp([colours.mean() for colours in inside]) < 16
    assert np.ptp([colours.std() for colours in inside]) < 10
    changes = np.abs(np.diff(images[:, :, 32].astype(int), axis=1)).mean()
    assert changes > 15  # of the ground, which is most of a column: a texture


def test_cityscapes_numbers_become_classes(tmp_path):
    numbers = np.zeros((8, 12))
    numbers[:, 2:10] = [[7, 8, 11, 0, 33, 26, 1, 255]] * 8
    for split, city in (("train", "aachen"), ("train", "ulm"), ("val", "bonn")):
        stem = f"{city}_000000_000019"
        image(tmp_path / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png")
        place = tmp_path / "gtFine" / split / city
        mask(place / f"{stem}_gtFine_labelIds.png", numbers)
    found = segmentation.load(str(tmp_path), 8)
    assert [len(part) for part in (*found.train, *found.test)] == [2, 2, 1, 1]
    assert found.class_names[0] == "road"
    assert len(found.class_names) == 19
    assert found.train[1][0].tolist() == [[0, 1, 2, 255, 18, 13, 255, 255]] * 8
    with Image.open(next((tmp_path / "leftImg8bit" / "val").rglob("*.png"))) as one:
        middle = np.asarray(one)[:, 2:10]
    np.testing.assert_array_equal(found.test[0][0], middle)


def test_voc_lists_palettes_and_ignored_borders(tmp_path):
    numbers = np.array([[0, 15, 255, 20] * 3] * 8)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_000032\n2007_000039\n")
    for stem in ("2007_000032", "2007_000039", "2007_000063", "unlisted"):
        image(tmp_path / "JPEGImages" / f"{stem}.jpg")
        mask(tmp_path / "SegmentationClass" / f"{stem}.png", numbers, "P")
    with pytest.raises(DataError, match=r"lacks ImageSets/Segmentation/val\.txt"):
        segmentation.load(str(tmp_path), 8)
    (lists / "val.txt").write_text("2007_000063\n")
    found = segmentation.load(str(tmp_path), 8)
    assert [len(part) for part in (*found.train, *found.test)] == [2, 2, 1, 1]
    assert found.class_names[15] == "person"
    np.testing.assert_array_equal(found.test[1][0], numbers[:, 2:10])
    (tmp_path / "SegmentationClass" / "2007_000063.png").unlink()
    with pytest.raises(DataError, match=r"There is no .*2007_000063\.png, which its"):
        segmentation.load(str(tmp_path), 8)


def pairs(folder, numbers, mode="L"):
    for i in range(10):
        image(folder / "images" / f"{i}.png")
        mask(folder / "masks" / f"{i}.png", numbers, mode)


def test_any_folder_of_pairs_is_split_always_alike(tmp_path):
    numbers = np.array([[0, 1, 2, 255] * 3] * 8)
    pairs(tmp_path, numbers)
    found = segmentation.load(str(tmp_path), 8)
    assert [len(part) for part in (*found.train, *found.test)] == [8, 8, 2, 2]
    assert found.class_names == ("0", "1", "2")
    again = segmentation.load(str(tmp_path), 8)
    np.testing.assert_array_equal(found.test[0], again.test[0])
    halved = segmentation.load(str(tmp_path), 16).train[1][0]  # enlarged, not mixed
    np.testing.assert_array_equal(halved[::2, ::2], numbers[:, 2:10])


@pytest.mark.parametrize(
    "numbers, mode, message",
    [
        (np.zeros((8, 11)), "L", r"should have the size of its image.*\(11, 8\)"),
        (np.zeros((8, 12)), "RGB", "one channel, of numbers of classes"),
        (np.full((8, 12), 255), "L", "numbers of classes below 255"),
    ],
)
def test_what_masks_cannot_be(tmp_path, numbers, mode, message):
    pairs(tmp_path, numbers, mode)
    with pytest.raises(DataError, match=message):
        segmentation.load(str(tmp_path), 8)


def test_what_is_no_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match='should be "textures", or a folder'):
        segmentation.load(str(tmp_path))
    with pytest.raises(ValueError, match="`size` should be 64 of textures"):
        segmentation.load("textures", 32)
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="should be pairs to train on"):
        segmentation.load(str(tmp_path))
    (tmp_path / "images" / "0.png").write_bytes(b"none")
    with pytest.raises(DataError, match="is no image that can be read"):
        segmentation.load(str(tmp_path))
