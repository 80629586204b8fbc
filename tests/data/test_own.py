"""Data sets of one's own, by path: read as they are, or refused in a line."""

import numpy as np
import pytest
from PIL import Image

from allconv.data import datasets, own


def arrays(n=60, side=20, classes=5, channels=3):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (n, side, side + 4, channels)).astype(np.uint8)
    y = np.arange(n) % classes
    return {"x_train": x, "y_train": y, "x_test": x[:10], "y_test": y[:10]}


def save(path, **changes):
    np.savez(path, **(arrays() | changes))
    return str(path)


def test_an_npz_of_any_size_and_number_of_classes(tmp_path):
    path = save(tmp_path / "mine.npz", class_names=np.array(list("abcde")))
    (x, y), (x_test, y_test) = datasets.load(path)
    np.testing.assert_array_equal(x, arrays()["x_train"])
    assert (x_test.shape, y.dtype, y_test.max()) == ((10, 20, 24, 3), np.int64, 4)
    assert datasets.class_names(path) == list("abcde")
    assert datasets.shape(path) == (60, 20, 24)
    assert datasets.title(path) == "mine"
    assert datasets.is_cached(path)
    save(tmp_path / "mine.npz", class_names=np.array(list("vwxyz")))
    assert datasets.class_names(path) == list("vwxyz")


def test_grey_images_and_columns_of_labels(tmp_path):
    grey = arrays(channels=1)
    grey["x_train"] = grey["x_train"][..., 0]
    grey["y_train"] = grey["y_train"][:, None]
    np.savez(tmp_path / "grey.npz", **grey)
    (x, y), _ = datasets.load(str(tmp_path / "grey.npz"))
    assert (x.shape, y.shape) == ((60, 20, 24, 3), (60,))
    np.testing.assert_array_equal(x[..., 0], x[..., 2])
    assert datasets.class_names(str(tmp_path / "grey.npz")) == list("01234")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"x_train": np.zeros((60, 20, 24, 3))}, "train should be uint8 images"),
        ({"x_train": np.zeros((60, 20, 24, 4), np.uint8)}, "should be uint8 images"),
        ({"y_train": np.zeros(59, int)}, "train should be uint8 images"),
        ({"y_train": np.eye(60)}, "train should be uint8 images"),
        ({"y_test": np.full(10, -1)}, "test should be uint8 images"),
        ({"y_test": np.full(10, 10**6)}, "is above 9999"),
        ({"x_test": np.zeros((10, 9, 9, 3), np.uint8)}, "of the size of those to"),
        ({"class_names": np.array(["a"])}, "below the number of classes"),
        ({"y_train": np.array([object()] * 60)}, "without pickled objects"),
    ],
)
def test_what_an_npz_cannot_be(tmp_path, changes, message):
    path = save(tmp_path / "bad.npz", **changes)
    with pytest.raises(datasets.DataError, match=message) as caught:
        datasets.load(path)
    assert path in str(caught.value)


def draw(folder, n, size=(12, 12), **kwargs):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        Image.new("RGB", size, (i, 2 * i, 7)).save(folder / f"{i:03}.png", **kwargs)


def test_class_folders_are_split_always_alike(tmp_path):
    for name in ("cat", "dog", "eel"):
        draw(tmp_path / name, 10)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (x, y), (x_test, y_test) = datasets.load(str(tmp_path))
    assert (x.shape, x_test.shape) == ((24, 12, 12, 3), (6, 12, 12, 3))
    assert np.bincount(y).tolist() == [8, 8, 8]
    assert np.bincount(y_test).tolist() == [2, 2, 2]
    assert datasets.class_names(str(tmp_path)) == ["cat", "dog", "eel"]
    own._load.cache_clear()
    np.testing.assert_array_equal(datasets.load(str(tmp_path))[1][0], x_test)
    together = np.sort(np.concatenate([x[y == 0], x_test[y_test == 0]])[:, 0, 0, 0])
    np.testing.assert_array_equal(together, np.arange(10))


def test_folders_train_and_test_stay_what_they_are(tmp_path):
    for split, n in (("train", 4), ("test", 2)):
        for name in ("cat", "dog"):
            draw(tmp_path / split / name, n)
    (_, y), (_, y_test) = datasets.load(str(tmp_path))
    assert (y.tolist(), y_test.tolist()) == ([0] * 4 + [1] * 4, [0, 0, 1, 1])
    draw(tmp_path / "test" / "emu", 1)
    with pytest.raises(datasets.DataError, match=r"has classes that .* not: \['emu'\]"):
        datasets.load(str(tmp_path))


def test_images_of_several_sizes_are_cut_and_scaled(tmp_path):
    draw(tmp_path / "cat", 5, (40, 30))
    draw(tmp_path / "dog", 5, (20, 50))
    (x, _), _ = datasets.load(str(tmp_path))
    assert x.shape[1:] == (20, 20, 3)
    assert (x[:4, :, :, 2] == 7).all()


def test_a_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned right
    draw(tmp_path / "cat", 5, (20, 10), exif=exif)
    draw(tmp_path / "dog", 5, (10, 20))
    assert datasets.load(str(tmp_path))[0][0].shape[1:] == (20, 10, 3)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: p.rmdir(), "no file and no folder"),
        (lambda p: draw(p / "cat", 9), "for each class, 2 at least. Received: cat"),
        (lambda p: [draw(p / c, 1) for c in "ab"], "holds no images"),
        (
            lambda p: [draw(p / c, n) for c, n in (("a", 9), ("b", 1))],
            "b holds too few",
        ),
        (lambda p: [draw(p / "train" / c, 9) for c in "ab"], "or neither"),
        (
            lambda p: (
                [draw(p / c, 9) for c in "ab"],
                (p / "a" / "000.png").write_bytes(b"\x89PNG"),
            ),
            r"000\.png is no image",
        ),
    ],
)
def test_what_a_folder_cannot_be(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(datasets.DataError, match=message):
        datasets.load(f"{tmp_path}/")


def test_a_name_is_a_path_only_if_it_looks_like_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="should be one of cifar10, cifar100, shapes"):
        datasets.load("mine")
    draw(tmp_path / "mine" / "a", 5)
    draw(tmp_path / "mine" / "b", 5)
    assert len(datasets.load("mine")[0][0]) == 8
