"""Data sets on the disk: found as people have them, looked at once, read exactly."""

import itertools
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from allconv.data import (
    crops,
    datasets,
    folders,
    index,
    loader,
    measured,
    shapes,
    streams,
)
from allconv.data.augmentation import AUGMENTATIONS
from allconv.data.preprocessing import MeanPixel, MeanStd
from tests.data.jpeg import photo


def draw(folder, n, start=0, **kwargs):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        size = (40 + 3 * i, 30) if i % 2 else (24, 50 - i)
        photo(start + i, size).save(folder / f"{i:03}.JPEG", quality=90, **kwargs)


@pytest.fixture
def classes(tmp_path):
    """Three classes of JPEG files, those of the test in folders too."""
    for label, name in enumerate(("n01", "n02", "n03")):
        draw(tmp_path / "set" / "train" / name, 6, 10 * label)
        draw(tmp_path / "set" / "val" / name, 2, 100 + 10 * label)
    return tmp_path / "set"


@pytest.fixture(autouse=True)
def _kept(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLCONV_DATA", str(tmp_path / "kept"))


def test_a_flat_val_is_labelled_by_each_list_that_people_have(classes):
    by_folder = folders.find(classes)
    flat = classes / "val"
    truth = []
    for i, (file, label) in enumerate(zip(*by_folder.test, strict=True)):
        file.rename(flat / f"ILSVRC2012_val_{i:08}.JPEG")
        truth.append(label)
    for name in by_folder.names:
        (flat / name).rmdir()
    with pytest.raises(datasets.DataError, match="or the devkit"):
        folders.find(classes)
    (classes / "test").mkdir()  # Kaggle's: images without a class
    photo(0).save(classes / "test" / "1.JPEG")

    rows = [f"ILSVRC2012_val_{i:08}" for i in range(6)]
    names = by_folder.names
    caffe = "\n".join(f"{r}.JPEG {n}" for r, n in zip(rows, truth, strict=True))
    kaggle = "\n".join(
        ["ImageId,PredictionString"]
        + [f"{r},{names[n]} 1 2 3 4" for r, n in zip(rows, truth, strict=True)]
    )
    for name, text in (("val.txt", caffe), ("LOC_val_solution.csv", kaggle)):
        (classes / name).write_text(text)
        found = folders.find(classes)
        assert (found.test[1], len(found.test[0])) == (truth, 6)
        (classes / name).unlink()
    (classes / "val.txt").write_text(caffe.replace(" 2", " 7"))
    with pytest.raises(datasets.DataError, match=r"3 classes for .*Received: 7"):
        folders.find(classes)


def test_the_devkit_numbers_the_classes_in_an_order_of_its_own(tmp_path):
    names = ("n00000001", "n00000002", "n00000003")
    for name in names:
        draw(tmp_path / "train" / name, 1)
    (tmp_path / "val").mkdir()
    for i in range(4):
        photo(i).save(tmp_path / "val" / f"ILSVRC2012_val_{i:08}.JPEG")
    kit = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    order = (names[2], names[0], names[1], "n00000099")
    text = b"".join(b"\x0e\0 " + n.encode("utf-16-le") + b" gloss" for n in order)
    body = zlib.compress(text)
    element = struct.pack("<II", 15, len(body)) + body
    (kit / "meta.mat").write_bytes(b"MATLAB 5.0".ljust(128) + element)
    truth = kit / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("1\n2\n3\n1\n")
    assert folders.find(tmp_path).test[1] == [2, 0, 1, 2]
    truth.write_text("1\n2\n3\n0\n")
    with pytest.raises(datasets.DataError, match=r"3 classes for .*Received: no\. 0"):
        folders.find(tmp_path)
    truth.write_text("1\n2\n3\n")
    with pytest.raises(datasets.DataError, match=r"of 4 images\. Received: 3"):
        folders.find(tmp_path)


def test_damaged_files_are_named_and_odd_ones_told_before_a_run(classes, monkeypatch):
    folder = classes / "train" / "n01"
    photo(0, mode="CMYK").save(folder / "cmyk.jpg")
    photo(0).save(folder / "odd.JPEG", "PNG")
    whole = (folder / "002.JPEG").read_bytes()
    (folder / "002.JPEG").write_bytes(whole[: len(whole) // 2])
    (folder / "003.JPEG").write_bytes(b"<html>")
    with pytest.raises(datasets.DataError, match="2 of 26 files") as caught:
        streams.load(str(classes))
    assert "train/n01/002.JPEG (" in str(caught.value)
    assert "train/n01/003.JPEG (" in str(caught.value)
    (folder / "002.JPEG").write_bytes(whole)
    (folder / "003.JPEG").unlink()
    seen = []
    look = index._look
    monkeypatch.setattr(index, "_look", lambda p: seen.append(p.name) or look(p))
    found = streams.load(str(classes))
    assert seen == ["002.JPEG"]  # all others were known
    others = {path.rpartition("/")[2] for path in found.train.others()}
    assert others == {"cmyk.jpg", "odd.JPEG"}
    assert found.class_names == ("n01", "n02", "n03")
    assert np.bincount(found.train.labels).tolist() == [7, 6, 6]
    again = streams.load(str(classes))
    assert again.train.order() == found.train.order()
    swapped = found.train.take(np.arange(len(found.train))[::-1])
    assert swapped.order() != found.train.order()
    assert swapped.fingerprint() == found.train.fingerprint()
    relabelled = replace(found.train, labels=found.train.labels[::-1])
    assert relabelled.fingerprint() != found.train.fingerprint()


def write_records(folder, kind, files, labels):
    def feature(value):
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    folder.mkdir(parents=True, exist_ok=True)
    for part in range(2):
        path = folder / f"mine-{kind}.tfrecord-0000{part}-of-00002"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for file, label in list(zip(files, labels, strict=True))[part::2]:
                features = {"image": feature(file.read_bytes())}
                features |= {"label": feature(label), "file_name": feature(b"x.JPEG")}
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())


def test_records_give_what_the_files_in_them_give(classes, tmp_path):
    found = folders.find(classes)
    folder = tmp_path / "imagenet" / "5.1.0"
    write_records(folder, "train", *found.train)
    write_records(folder, "validation", *found.test)
    (folder / "label.labels.txt").write_text("\n".join(found.names) + "\n")
    of_files, of_records = streams.load(str(classes)), streams.load(str(folder))
    assert of_records.class_names == found.names
    assert of_records.train.fingerprint() == of_files.train.fingerprint()

    def pictures(images):
        found = loader.views(images, size=16, batch_size=5)
        every = np.concatenate([*found.as_numpy_iterator()])
        order = np.lexsort(every.reshape(len(every), -1).T)
        return every[order], images.labels[order]

    for one, other in zip(
        pictures(of_files.test), pictures(of_records.test), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(datasets.DataError, match="should have 1000 classes"):
        streams.load("imagenet", tmp_path)
    path = folder / "mine-train.tfrecord-00001-of-00002"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(datasets.DataError, match="1 of 4 files"):
        streams.load(str(folder))


def settings_of(images, **changes):
    few = measured.measure(images, 16)
    return {
        **{"size": 16, "preprocessor": few.preprocessor("mean_std"), "seed": 5},
        **{"batch_size": 4, "augmentation": AUGMENTATIONS["random_crops_colour"]},
        **{"colours": few.colours},
        **changes,
    }


def first(dataset, n):
    return [*itertools.islice(dataset.as_numpy_iterator(), n)]


def test_batches_are_a_function_of_seed_and_step(classes):
    images = streams.load(str(classes)).train
    settings = settings_of(images)
    whole = first(loader.batches(images, **settings), 9)
    for start in (1, 4):  # within the first epoch of four steps, and at an end
        later = first(loader.batches(images, start=start, stop=9, **settings), 9)
        assert len(later) == 9 - start
        for one, other in zip(whole[start:], later, strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
    other = first(loader.batches(images, **(settings | {"seed": 6})), 1)[0]
    assert not np.array_equal(whole[0][0], other[0])
    # 18 images, 16 an epoch: none twice in one.
    numbered = replace(images, labels=np.arange(18))
    seen = [b[1] for b in first(loader.batches(numbered, **settings), 8)]
    for epoch in (seen[:4], seen[4:]):
        assert len(set(np.concatenate(epoch))) == 16


def test_a_batch_is_what_a_slow_reader_makes_of_its_images(classes):
    images = streams.load(str(classes)).train
    numbered = replace(images, labels=np.arange(18))
    plain = settings_of(images, augmentation=AUGMENTATIONS["none"])
    (batch, numbers), *_ = first(loader.batches(numbered, **plain), 1)
    few = measured.measure(images, 16)
    every = np.stack([slow(images, i) for i in range(18)])
    assert np.abs(every.mean(0) - few.image).max() < 1
    pixels = every.reshape(-1, 3)
    np.testing.assert_allclose(few.std, pixels.std(0), atol=0.5)
    for image, number in zip(batch, numbers, strict=True):
        expected = (every[number] - few.mean) / few.std
        assert np.abs(image - expected).max() <= 1 / few.std.min() + 1e-4
    by_pixel = plain | {"preprocessor": few.preprocessor("mean_pixel")}
    (batch, numbers), *_ = first(loader.batches(numbered, **by_pixel), 1)
    preprocessor = MeanPixel(few.image)
    for image, number in zip(batch, numbers, strict=True):
        expected = preprocessor(every[number].astype(np.uint8)[None])[0]
        assert np.abs(image - expected).max() <= 1
    # Krizhevsky's colours: pixels' covariance is made of the components again.
    values, vectors = np.linalg.eigh(np.cov(pixels.T / 255))
    lengths = np.linalg.norm(few.colours, axis=1)
    np.testing.assert_allclose(lengths, 255 * values, rtol=0.05)
    np.testing.assert_allclose(
        np.abs((few.colours / lengths[:, None]) @ vectors), np.eye(3), atol=0.1
    )


def slow(images, number):
    """The middle of an image by Pillow alone."""
    with Image.open(images.files[images.file[number]]) as file:
        image = file.convert("RGB")
    side = min(image.size) * 16 / crops.short_side(16)
    left, top = ((n - side) / 2 for n in image.size)
    box = (left, top, left + side, top + side)
    resized = image.resize((16, 16), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized, float)


def test_colour_and_mirror_change_an_image_as_they_should(classes):
    images = streams.load(str(classes)).train
    flat = MeanStd(np.zeros(3, np.float32), np.ones(3, np.float32))
    none = AUGMENTATIONS["none"]

    def with_(augmentation):
        settings = settings_of(images, preprocessor=flat, augmentation=augmentation)
        return np.concatenate(
            [b for b, _ in first(loader.batches(images, **settings), 4)]
        )

    plain, mirrored = with_(none), with_(replace(none, flip=True))
    same = [np.array_equal(a, b) for a, b in zip(plain, mirrored, strict=True)]
    turned = [
        np.array_equal(a, b[:, ::-1]) for a, b in zip(plain, mirrored, strict=True)
    ]
    assert np.array(same).tolist() == np.logical_not(turned).tolist()
    assert 3 <= sum(turned) <= 13
    change = with_(replace(none, colour=0.1)) - plain
    assert np.ptp(change, axis=(1, 2)).max() < 1e-3  # one change for all pixels
    few = measured.measure(images, 16)
    shares = change[:, 0, 0] @ np.linalg.inv(few.colours)
    assert 0.06 < shares.std() < 0.15


def test_ten_views_are_corners_middle_and_mirrors(classes):
    images = streams.load(str(classes)).test
    middles = np.concatenate(
        [*loader.views(images, size=16, batch_size=4).as_numpy_iterator()]
    )
    every = loader.views(images, size=16, batch_size=4, ten=True).as_numpy_iterator()
    ten = np.concatenate([*every]).reshape(6, 10, 16, 16, 3)
    np.testing.assert_array_equal(ten[:, 4], middles)
    np.testing.assert_array_equal(ten[:, 5:], ten[:, :5, :, ::-1])
    assert len({view.tobytes() for view in ten[0]}) == 10


def test_what_cannot_be_found_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(datasets.DataError, match=r"ImageNet was not found.*--data-dir"):
        streams.load("imagenet", tmp_path)
    with pytest.raises(datasets.DataError, match="There is no folder"):
        streams.load(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="reads imagenet as it is needed"):
        datasets.load("imagenet")
    assert not streams.is_there(tmp_path)
    assert streams.count("imagenet") == 1_281_167


def test_drawn_shapes_lie_on_the_disk_once(tmp_path):
    path = shapes.folder(tmp_path / "drawn", 40, 40)
    found = folders.find(path)
    assert found.names == tuple(sorted(shapes.SHAPES))
    assert (len(found.train[0]), len(found.test[0])) == (40, 40)
    stamp = path.stat().st_mtime_ns
    assert shapes.folder(path, 40, 40).stat().st_mtime_ns == stamp
