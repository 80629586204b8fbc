"""The loaders: every source, and what is missing, mangled, full or read-only."""

import os
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from allconv.data import cifar, cifar_files, datasets, shapes
from tests.data.conftest import binary, fake


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["npz", "archive", "unpacked"])
def test_every_kind_of_file_gives_the_same(blank, kind):
    name, folder, empty = blank
    place = cifar_files._places(name, folder)[kind]
    (empty / place.name).symlink_to(place)
    for (x, y), (x0, y0) in zip(datasets.load(name, empty), fake(name), strict=True):
        assert x.dtype == np.uint8
        assert y.dtype == np.int64
        np.testing.assert_array_equal(x, x0)
        np.testing.assert_array_equal(y, y0)
    assert datasets.is_cached(name, empty)


def test_environment_and_argument_name_the_folder(blank, monkeypatch):
    name, folder, empty = blank
    monkeypatch.setenv("ALLCONV_DATA", str(folder))
    assert datasets.data_folder() == folder
    assert datasets.data_folder(empty) == empty
    assert len(datasets.load(name)[0][0]) == 50_000
    monkeypatch.delenv("ALLCONV_DATA")
    monkeypatch.setenv("KERAS_HOME", str(empty))
    assert datasets.data_folder() == empty / "datasets" / "allconv"


def test_coarse_labels(blank):
    name, folder, _ = blank
    if name == "cifar10":
        with pytest.raises(ValueError, match="Only cifar100"):
            datasets.load(name, folder, coarse=True)
        return
    (_, y), _ = datasets.load(name, folder, coarse=True)
    np.testing.assert_array_equal(y[:100], datasets.COARSE)


# As the data set's page lists them: five classes of each superclass, in its order.
SUPERCLASSES = """
beaver dolphin otter seal whale
aquarium_fish flatfish ray shark trout
orchid poppy rose sunflower tulip
bottle bowl can cup plate
apple mushroom orange pear sweet_pepper
clock keyboard lamp telephone television
bed chair couch table wardrobe
bee beetle butterfly caterpillar cockroach
bear leopard lion tiger wolf
bridge castle house road skyscraper
cloud forest mountain plain sea
camel cattle chimpanzee elephant kangaroo
fox porcupine possum raccoon skunk
crab lobster snail spider worm
baby boy girl man woman
crocodile dinosaur lizard snake turtle
hamster mouse rabbit shrew squirrel
maple_tree oak_tree palm_tree pine_tree willow_tree
bicycle bus motorcycle pickup_truck train
lawn_mower rocket streetcar tank tractor
"""


def test_superclasses_hold_five_classes_each():
    names = np.array(datasets.CLASS_NAMES["cifar100"])
    assert sorted(names) == names.tolist()
    for number, line in enumerate(SUPERCLASSES.split("\n")[1:-1]):
        assert names[number == datasets.COARSE].tolist() == line.split()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_binary_records_are_planar(name):
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    raw = binary(name, images, np.array([7]))
    files = [f"{b}.bin" for b in cifar.CIFAR10_BATCHES] + ["train.bin", "test.bin"]
    _, (x, y) = cifar.parse(name, dict.fromkeys(files, raw), Path("here"))
    np.testing.assert_array_equal(x, images)
    assert y == [7]


def test_the_same_images_are_held_back_always():
    y = np.arange(5000)
    _, (_, held) = datasets.hold_out(y.reshape(-1, 1, 1, 1), y, 5)
    assert held.tolist() == [227, 1222, 2221, 3029, 4662]


def test_one_changed_byte_is_noticed(blank, tmp_path):
    name, folder, empty = blank
    (x, y), (xt, yt) = datasets.load(name, folder)
    x = x.copy()
    x[31_234, 5, 6, 1] ^= 1
    np.savez_compressed(
        empty / f"{name}.npz", x_train=x, y_train=y, x_test=xt, y_test=yt
    )
    if name == "cifar10":
        with pytest.raises(datasets.DataError, match="data_batch_4 has MD5"):
            datasets.load(name, empty)
    else:
        with pytest.warns(UserWarning, match="an image or a label differs"):
            datasets.load(name, empty)


@pytest.mark.parametrize("kind", [0, 1], ids=["npz", "archive"])
def test_mangled_files_are_refused(blank, kind):
    name, folder, empty = blank
    place = cifar_files._places(name, folder)[kind]
    content = place.read_bytes()

    @hypothesis.settings(max_examples=12)
    @hypothesis.given(st.data())
    def check(drawn):
        mangled = bytearray(content)
        if drawn.draw(st.booleans()):
            mangled = mangled[: drawn.draw(st.integers(0, len(content) - 1))]
        else:
            mangled[drawn.draw(st.integers(0, len(content) - 1))] ^= 255
        (empty / place.name).write_bytes(mangled)
        try:
            loaded = datasets.load(name, empty)
        except datasets.DataError:
            return
        np.testing.assert_array_equal(loaded[0][1], fake(name)[0][1])

    check()


def test_a_pickle_is_refused(tmp_path, monkeypatch):
    """An npz of objects would run code when unpickled; it never is."""

    class Trap:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'sprung'}",))

    bad = np.array([Trap()], dtype=object)
    np.savez(tmp_path / "cifar10.npz", x_train=bad, y_train=bad, x_test=bad, y_test=bad)
    with pytest.raises(datasets.DataError, match="without pickled objects"):
        datasets.load("cifar10", tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_wrong_shapes_and_labels_are_named(tmp_path):
    x, y = np.zeros((10, 32, 32, 3), np.uint8), np.zeros(10, np.int64)
    np.savez(tmp_path / "cifar10.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(
        datasets.DataError, match=r"is not cifar10.*images \(10, 32, 32, 3\)"
    ):
        datasets.load("cifar10", tmp_path)


def test_an_archive_without_a_batch_is_named(tmp_path):
    (tmp_path / "cifar-10-batches-bin").mkdir()
    (tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin").write_bytes(b"")
    with pytest.raises(datasets.DataError, match=r"lacks data_batch_2\.bin"):
        datasets.load("cifar10", tmp_path)


def test_fingerprint_does_not_see_order_but_all_else():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, 4, 4, 3)).astype(np.uint8)
    y = rng.integers(0, 10, 20)
    order = rng.permutation(20)
    base = datasets.fingerprint(x, y)
    assert base == datasets.fingerprint(x[order], y[order])
    assert base != datasets.fingerprint(x, y[order])
    assert base != datasets.fingerprint(x[:-1], y[:-1])
    assert base != datasets.fingerprint(np.append(x, x[:1], 0), np.append(y, y[:1]))


def test_hold_out_splits_without_overlap_and_always_alike():
    x, y = np.arange(100).reshape(100, 1, 1, 1), np.arange(100)
    (rest, y_rest), (held, y_held) = datasets.hold_out(x, y, 30)
    assert len(held) == 30
    assert sorted([*y_rest, *y_held]) == list(range(100))
    np.testing.assert_array_equal(rest[:, 0, 0, 0], y_rest)
    np.testing.assert_array_equal(datasets.hold_out(x, y, 30)[1][0], held)


def test_shapes_are_the_same_for_the_same_seed_and_balanced():
    (x, y), (xt, _) = datasets.load("shapes")
    assert x.shape == (5000, 32, 32, 3)
    assert x.dtype == np.uint8
    assert np.bincount(y).tolist() == [500] * 10
    np.testing.assert_array_equal(x[:50], shapes.draw(5000, seed=0)[0][:50])
    assert not np.array_equal(x[:1000], xt)
    # The golden digest of the drawing code: other bytes would be another data set.
    assert datasets.fingerprint(x, y)[:16] == SHAPES_PRINT


SHAPES_PRINT = "6d9f916b6d1cf79b"


def test_every_shape_shows_a_figure_on_a_ground():
    x, _ = shapes.draw(200, seed=3)
    spread = x.reshape(200, -1, 3).std(axis=1).max(axis=1)
    assert spread.min() > 20


def test_what_stands_in_says_so(capsys, monkeypatch):
    name, splits = datasets.load_or_draw("cifar10", draw=True)
    assert name == "shapes"
    assert all(map(np.array_equal, splits[0], shapes.draw(5000, seed=0)))
    assert capsys.readouterr().out.endswith("shapes, which stand in for cifar10\n")

    def load(name, data_dir=None, coarse=False):
        return name, data_dir, coarse

    monkeypatch.setattr(datasets, "load", load)
    loaded = datasets.load_or_draw("cifar100", False, "here", coarse=True)
    assert loaded == ("cifar100", ("cifar100", "here", True))
    assert capsys.readouterr().out == "data: cifar100, its superclasses\n"
    assert datasets.load_or_draw("shapes", draw=True)[0] == "shapes"
    assert "stand in" not in capsys.readouterr().out


def test_nothing_stands_in_for_missing_data_unasked(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar_files, "_fetch", lambda name, folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        datasets.load_or_draw("cifar10", False, tmp_path)


def test_unknown_name():
    for function in (datasets.load, datasets.is_cached):
        with pytest.raises(ValueError, match="cifar10, cifar100, shapes"):
            function("svhn")


def test_real_cifar10_has_the_published_means(cifar10):
    (x, y), (_, yt) = cifar10
    means = x.mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=1e-4)
    assert np.bincount(y).tolist() == [5000] * 10
    assert np.bincount(yt).tolist() == [1000] * 10


@pytest.mark.parametrize("place", ["cifar10.npz", "cifar-10-binary.tar.gz"])
def test_a_pipe_in_the_folder_is_not_waited_for(tmp_path, place):
    os.mkfifo(tmp_path / place)
    with pytest.raises(RuntimeError, match=rf"{place} should be a file. It is a pipe"):
        datasets.load("cifar10", tmp_path)


def test_an_npz_that_unpacks_to_more_than_the_data_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar_files, "UNPACKED", 10_000)
    np.savez_compressed(tmp_path / "cifar10.npz", x_train=np.zeros(10**6, np.uint8))
    with pytest.raises(datasets.DataError, match=r"it holds 1,000,.* bytes, 10,000"):
        datasets.load("cifar10", tmp_path)


def test_real_fashion_mnist_has_the_published_mean():
    if not datasets.is_cached("fashion_mnist"):
        pytest.skip("Fashion-MNIST is not here; Debian has it: dataset-fashion-mnist")
    (x, y), (xt, yt) = datasets.load("fashion_mnist")
    assert (x.shape, xt.shape) == ((60_000, 28, 28, 3), (10_000, 28, 28, 3))
    assert x[..., 0].mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert x[..., 2].std() / 255 == pytest.approx(0.3530, abs=5e-5)
    assert np.bincount(y).tolist() == [6000] * 10
    assert np.bincount(yt).tolist() == [1000] * 10
