"""Images in TFRecord files, as TensorFlow Datasets writes them; it is not needed.

A record is an `Example` whose features `image` and `label` are an encoded image and its
class. An image's bytes lie in the file as they are, so that where they begin is all
that is needed to read them again, in any order.
"""

from collections.abc import Iterator
from pathlib import Path

from allconv.core.disk import read_bytes
from allconv.data.cifar import DataError

TRAINING, TEST = ("train",), ("validation", "test")  # what follows the data set's name
LABELS = "label.labels.txt"  # the classes' names, in their order
HEAD, FOOT = 12, 4  # bytes of a record before its content (length) and behind it


def is_one(path: Path) -> bool:
    """Whether a file is named as TFRecord files are."""
    return ".tfrecord" in path.name


def find(folder: Path) -> tuple[list[Path], list[Path]] | None:
    """The files to train on and to test on, sorted; None where there are none.

    Raises:
        DataError: If there are some of one kind alone.
    """
    every = sorted(p for p in folder.iterdir() if p.is_file() and is_one(p))
    if not every:
        return None
    train, test = (
        next((found for kind in kinds if (found := _of(every, kind))), [])
        for kinds in (TRAINING, TEST)
    )
    if not train or not test:
        raise DataError(
            f"{folder} should hold files such as mine-train.tfrecord-00000-of-00001 "
            "and mine-validation.tfrecord-00000-of-00001. "
            f"Received: {len(train)} to train on, {len(test)} to test on"
        )
    return train, test


def _of(files: list[Path], kind: str) -> list[Path]:
    return [p for p in files if p.name.partition(".")[0].endswith(kind)]


def names(folder: Path, count: int) -> tuple[str, ...]:
    """The names of the classes, as TensorFlow Datasets keeps them; else numbers.

    Raises:
        DataError: If there are fewer names than labels.
    """
    if not (folder / LABELS).is_file():
        return tuple(map(str, range(count)))
    found = read_bytes(folder / LABELS, 2**24).decode("utf-8", "replace").split("\n")
    found = [name.strip() for name in found if name.strip()]
    if len(found) < count:
        raise DataError(
            f"{folder / LABELS} should name {count} classes. Received: {len(found)}"
        )
    return tuple(found)


def images(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Where each image of a file begins, its label, and its bytes.

    Raises:
        Exception: Of a damaged record TensorFlow's own, which names it.
    """
    import tensorflow as tf

    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }
    at = 0
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        example = tf.io.parse_single_example(record, features)
        image = example["image"].numpy()
        yield at + HEAD + record.index(image), int(example["label"]), image
        at += HEAD + len(record) + FOOT
