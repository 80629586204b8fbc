"""A data set of your own, by its path: an `.npz`, or a folder of class folders."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from allconv.core.arguments import checked
from allconv.data import folders
from allconv.data.cifar import DataError, Split

LARGEST_SIDE = 96  # pixels that images of several sizes are scaled to, at most


@dataclass(frozen=True)
class OwnData:
    """Images with labels and the names of their classes.

    Attributes:
        train, test: uint8 images `(n, height, width, 3)` and int64 labels `(n,)`.
        class_names: One a class, by its label.
    """

    train: Split
    test: Split
    class_names: tuple[str, ...]


def is_path(name: str) -> bool:
    """Whether this can only be a path: it has a slash, ends in .npz, or is a folder."""
    return "/" in name or "\\" in name or name.endswith(".npz") or Path(name).is_dir()


@checked
def load(path: str | Path) -> OwnData:
    """Load a data set from a file or a folder.

    An `.npz` holds x_train, y_train, x_test, y_test: uint8 images `(n, height, width,
    3)`, or of one channel, which is repeated; and numbers of classes from 0. It may
    hold class_names.

    A folder holds a folder of images for each class, or folders `train` and `test` of
    such. Where nobody has split them, every fifth image of a class, by a fixed draw, is
    a test image. Images of one size stay as they are; of several sizes, each is cut to
    its middle square and scaled to the shortest side of all, 96 pixels at most.

    Raises:
        DataError: If it is not there, or no such data set; says what is wrong.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        every = (p for p in path.rglob("*") if p.suffix.lower() in folders.KINDS)
        files = tuple(sorted(every))
        stamp = (len(files), max((p.stat().st_mtime_ns for p in files), default=0))
        return _load(path, stamp)
    if path.is_file():
        return _load(path, (path.stat().st_size, path.stat().st_mtime_ns))
    raise DataError(f"There is no data set {path}: no file and no folder.")


@functools.lru_cache(maxsize=1)  # names, sizes and images are asked for one by one
def _load(path: Path, stamp: tuple[int, int]) -> OwnData:
    return _from_folder(path) if path.is_dir() else _from_npz(path)


def _from_npz(path: Path) -> OwnData:
    names: list[str] | None = None
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = [file[k] for k in ("x_train", "y_train", "x_test", "y_test")]
            if "class_names" in file:
                names = [str(name) for name in file["class_names"]]
    except Exception as error:  # zip, zlib and npy each raise their own kinds
        line = " ".join(str(error).split())[:120]
        raise DataError(
            f"{path} cannot be read ({line}). It should be an npz of x_train, y_train, "
            "x_test, y_test without pickled objects."
        ) from error
    splits = [
        _checked(arrays[i], arrays[i + 1], f"{path}: {split}")
        for i, split in ((0, "train"), (2, "test"))
    ]
    if splits[0][0].shape[1:] != splits[1][0].shape[1:]:
        raise DataError(
            f"{path}: images to train on should be of the size of those to test on. "
            f"Received: {splits[0][0].shape[1:]}, {splits[1][0].shape[1:]}"
        )
    count = 1 + max(int(labels.max()) for _, labels in splits)
    if names is None:
        names = [str(i) for i in range(count)]
    if count > len(names) or len(names) < 2:
        raise DataError(
            f"{path}: labels should be below the number of classes, 2 or more. "
            f"Received: labels up to {count - 1}, {len(names)} classes"
        )
    return OwnData(splits[0], splits[1], tuple(names))


def _checked(images: np.ndarray, labels: np.ndarray, where: str) -> Split:
    labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    images = images[..., None] if images.ndim == 3 else images
    good = images.ndim == 4 and images.dtype == np.uint8 and images.shape[-1] in (1, 3)
    good = good and labels.shape == (len(images),) and len(images) > 0
    if not (good and np.issubdtype(labels.dtype, np.integer) and labels.min() >= 0):
        raise DataError(
            f"{where} should be uint8 images (n, height, width, 3), n at least 1, and "
            f"as many whole labels from 0. Received: images {images.shape} "
            f"{images.dtype}, labels {labels.shape} {labels.dtype}"
        )
    if labels.max() >= 10_000:
        raise DataError(f"{where}: label {labels.max()} is above 9999.")
    if images.shape[-1] == 1:
        images = np.repeat(images, 3, axis=-1)
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _from_folder(path: Path) -> OwnData:
    found = folders.find(path)
    side = _common_side(found.train[0] + found.test[0])
    train, test = (
        (np.stack([_pixels(f, side) for f in files]), np.array(labels, np.int64))
        for files, labels in (found.train, found.test)
    )
    return OwnData(train, test, found.names)


def _common_side(files: list[Path]) -> int | None:
    """The side that images of several sizes are scaled to; None if all are alike."""
    from PIL import Image

    sizes = set()
    for file in files:
        try:
            with Image.open(file) as image:
                turned = image.getexif().get(0x0112, 1) >= 5
                sizes.add(image.size[::-1] if turned else image.size)
        except Exception as error:  # Pillow raises many kinds on mangled files
            raise DataError(f"{file} is no image that can be read.") from error
    if len(sizes) == 1:
        return None
    return min(LARGEST_SIDE, *(min(size) for size in sizes))


def _pixels(file: Path, side: int | None) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
            if side is not None:
                image = ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)
            return np.asarray(image, np.uint8)
    except Exception as error:
        raise DataError(f"{file} is no image that can be read.") from error
