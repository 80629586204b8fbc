"""Data sets that stay on the disk: their images are read as a training needs them.

`imagenet` is ILSVRC2012, class folders or TFRecord files; any path of class folders
works the same way; `shapes` are drawn as JPEG files of several sizes, once.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from allconv.core.arguments import checked
from allconv.data import datasets, folders, index, shapes, tfrecords
from allconv.data.cifar import DataError
from allconv.data.index import Index

PLACES = ("imagenet", "ILSVRC2012", "imagenet2012", "ILSVRC/Data/CLS-LOC")


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a data set, where they lie.

    Attributes:
        train, test: Those to train and to test on. The former are in an order that a
            fixed draw made, so that the first thousand are of all classes.
        class_names: By label.
    """

    train: Index
    test: Index
    class_names: tuple[str, ...]


@checked
def load(name: str, data_dir: str | Path | None = None) -> Images:
    """Find a data set's images and look at each, once: see `index`.

    Args:
        name: `"imagenet"`, `"shapes"`, or a folder: class folders, or `train` and
            `val` (or `test`) of such; or TFRecord files as TensorFlow Datasets names
            them. See `folders` for how a flat `val` is labelled.
        data_dir: Where `imagenet` lies, or the folder that holds it; where drawn shapes
            and the index are kept. None: as for `datasets.load`.

    Raises:
        DataError: If it is not there, a file cannot be read, or ImageNet has not its
            thousand classes; says what is wrong.
    """
    root = _root(name, data_dir)
    key = hashlib.sha256(str(root).encode()).hexdigest()[:16]
    kept = datasets.data_folder(data_dir) / f"index-{key}.h5"
    shards = tfrecords.find(root)
    if shards is None:
        found = folders.find(root)
        (train, labels), (test, test_labels) = found.train, found.test
        every = index.read(root, train + test, kept, labels + test_labels)
        names = found.names
    else:
        train, test = shards
        every = index.read(root, train + test, kept)
        names = tfrecords.names(root, 1 + int(every.labels.max()))
    if name == "imagenet" and len(names) != 1000:
        raise DataError(
            f"ImageNet in {root} should have 1000 classes; name another data set by "
            f"its path. Received: {len(names)} classes"
        )
    of_training = np.flatnonzero(every.file < len(train))
    drawn = np.random.default_rng(0).permutation(of_training)
    tested = np.flatnonzero(every.file >= len(train))
    if not len(drawn) or not len(tested):
        raise DataError(f"{root} should hold images to train on and to test on.")
    return Images(every.take(drawn), every.take(tested), names)


@checked
def count(name: str) -> int | None:
    """The number of training images, if it is known without reading a file."""
    if name == "shapes":
        return shapes.FILES
    if name in datasets.ON_DISK:
        return datasets.TRAINING_IMAGES[name]
    root = _root(name, None)
    return len(folders.find(root).train[0]) if tfrecords.find(root) is None else None


def _root(name: str, data_dir: str | Path | None) -> Path:
    """The folder of a data set.

    Raises:
        DataError: If there is none; says where it was looked for.
    """
    folder = datasets.data_folder(data_dir)
    if name == "shapes":
        return shapes.folder(folder / "shapes-jpeg")
    if name != "imagenet":
        path = Path(name).expanduser().absolute()
        if not path.is_dir():
            raise DataError(f"There is no folder {path} of images.")
        return path
    for place in imagenet_places(data_dir):
        if place.is_dir() and ((place / "train").is_dir() or tfrecords.find(place)):
            return place.absolute()
    raise DataError(
        f"ImageNet was not found in {folder}, nor in {', '.join(PLACES)} there. Name "
        "the folder by --data-dir or ALLCONV_DATA: it holds `train` and `val`, or "
        "TFRecord files. It cannot be fetched: image-net.org gives it on request."
    )


def imagenet_places(data_dir: str | Path | None) -> Iterator[Path]:
    """Where ImageNet is looked for, in order."""
    folder = datasets.data_folder(data_dir)
    yield folder
    for place in PLACES:
        yield folder / place
        yield from sorted((folder / place).glob("[0-9]*"))  # versions, of TFDS


@checked
def is_there(data_dir: str | Path | None = None) -> bool:
    """Whether ImageNet is found."""
    try:
        _root("imagenet", data_dir)
    except DataError:
        return False
    return True
