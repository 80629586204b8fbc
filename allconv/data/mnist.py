"""MNIST and Fashion-MNIST on this disk: found, fetched once, verified.

Understood are the four IDX files of either, packed by gzip or not, and Keras' npz. All
are verified alike, by the MD5 of the unpacked IDX files: an npz holds the same bytes
but for the heads. Images of one grey channel come out with three that are equal, as
every network here takes them.
"""

import hashlib
import zlib
from gzip import BadGzipFile, GzipFile
from pathlib import Path

import numpy as np

from allconv.core.arguments import checked
from allconv.core.checks import check_choice, one_line
from allconv.core.disk import open_file, sweep
from allconv.core.locks import in_turn
from allconv.data.cifar import DataError, Downloader, Split
from allconv.data.cifar_files import data_folder, keras_folder, read_npz

SIDE = 28  # pixels
FILES = (
    *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
# MD5 of these files as they are, unpacked; and packed, as their authors publish them.
UNPACKED = {
    "mnist": (
        *("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
        *("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
    ),
    "fashion_mnist": (
        *("f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9"),
        *("8181f5470baa50b63fa0f6fddb340f0a", "15d484375f8d13e6eb1aabb0c3f46965"),
    ),
}
PUBLISHED = {
    "mnist": (
        *("f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432"),
        *("9fb629c4189551a2d022fa330f9573f3", "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    "fashion_mnist": (
        *("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe"),
        *("bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
}
SITES = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",  # torchvision's
    "fashion_mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
# What others call the folder of the four files: this project, Keras, torchvision.
FOLDERS = {
    "mnist": ("mnist", "MNIST/raw"),
    "fashion_mnist": ("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
}
# Where Debian's package `dataset-fashion-mnist` puts them, packed once more.
DEBIAN = {"fashion_mnist": Path("/usr/share/datasets/fashion-mnist")}


@checked
def load(name: str, data_dir: str | Path | None = None) -> tuple[Split, Split]:
    """Find the data set where it may be, or fetch it; verify it.

    Args:
        name: `"mnist"` or `"fashion_mnist"`.
        data_dir: As for `datasets.load`.

    Returns:
        `((x_train, y_train), (x_test, y_test))`: uint8 images `(n, 28, 28, 3)`, 60,000
        and 10,000, of three equal channels, and int64 labels `(n,)`.

    Raises:
        ValueError: If the name is of neither.
        DataError: If a file is damaged, or missing and cannot be fetched.
    """
    found = places(name, data_dir)
    place = found[0] if found else _fetch(name, data_folder(data_dir))
    contents = _of_npz(place) if place.suffix == ".npz" else _of_folder(place)
    for file, content, expected in zip(FILES, contents, UNPACKED[name], strict=True):
        digest = hashlib.md5(content).hexdigest()
        if digest != expected:
            raise DataError(
                f"{place} is not the original {name}: {file} has MD5 {digest} unpacked,"
                f" the official one {expected}. Delete it to have it fetched again."
            )
    train, test = (_split(*contents[i : i + 2]) for i in (0, 2))
    return train, test


@checked
def places(name: str, data_dir: str | Path | None = None) -> list[Path]:
    """The npz files, and the folders of IDX files, that `load` looks in and that exist.

    The files of both sets have the same names. In a folder that is not of one set by
    its name, the labels tell which it is.

    Raises:
        ValueError: If the name is of neither.
    """
    check_choice("name", name, UNPACKED)
    folder = data_folder(data_dir)
    roots = [folder, *([keras_folder()] if data_dir is None else [])]
    named = [root / f"{name}.npz" for root in roots if root]
    named += [root / one for root in roots if root for one in FOLDERS[name]]
    named += [DEBIAN[name]] if name in DEBIAN else []
    found = [
        place
        for place in named
        if (place.is_file() if place.suffix == ".npz" else _file(place, FILES[-1]))
    ]
    labels = _file(folder, FILES[-1])
    if labels and hashlib.md5(_content(labels)).hexdigest() == UNPACKED[name][-1]:
        found.append(folder)
    return found


def idx(array: np.ndarray) -> bytes:
    """Bytes in an IDX file: two zeros, a type, the number of axes, their sizes."""
    head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes()
    return head + array.tobytes()


def _file(folder: Path, name: str) -> Path | None:
    """A file of that name, packed or not; None where there is none."""
    both = (folder / name, folder / f"{name}.gz")
    return next((path for path in both if path.is_file()), None)


def _content(path: Path) -> bytes:
    """What is in a file, unpacked; no more than a byte too much of it is read."""
    most = 16 + 60_000 * SIDE**2 + 1
    try:
        with open_file(path) as file:
            if path.suffix == ".gz":
                return GzipFile(fileobj=file).read(most)
            return file.read(most)
    except (BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged ({one_line(error)[:120]}). Delete it to have it fetched"
            " again."
        ) from error


def _of_folder(folder: Path) -> list[bytes]:
    found = {name: _file(folder, name) for name in FILES}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}.")
    return [_content(path) for path in found.values() if path]


def _of_npz(path: Path) -> list[bytes]:
    train, test = read_npz(path)
    arrays = (*train, *test)
    if any(array.dtype != np.uint8 for array in arrays):
        kinds = ", ".join(str(array.dtype) for array in arrays)
        raise DataError(f"{path} should hold uint8 arrays. Received: {kinds}")
    return [idx(array) for array in arrays]


def _split(images: bytes, labels: bytes) -> Split:
    """Verified files as arrays."""
    grey = np.frombuffer(images, np.uint8, offset=16).reshape(-1, SIDE, SIDE, 1)
    numbers = np.frombuffer(labels, np.uint8, offset=8)
    return np.repeat(grey, 3, axis=-1), numbers.astype(np.int64)


def _fetch(name: str, folder: Path) -> Path:
    """Fetch the packed files, each whole or not at all; of several processes one."""
    import pooch  # only who downloads pays for the import

    pooch.get_logger().setLevel("WARNING")
    place = folder / name
    try:
        place.mkdir(parents=True, exist_ok=True)
        with in_turn(folder / f".{name}.lock", f"fetching {name}"):
            sweep(place)
            for file, md5 in zip(FILES, PUBLISHED[name], strict=True):
                pooch.retrieve(
                    f"{SITES[name]}{file}.gz",
                    known_hash=f"md5:{md5}",
                    fname=f"{file}.gz",
                    path=place,
                    downloader=Downloader(),
                )
    except Exception as error:  # a download has many ways to fail, a disk too
        raise DataError(
            f"{name} is not in {folder} and could not be fetched "
            f"({one_line(error)[:120]}). Put {FILES[0]}.gz and its three companions "
            f"into {place}, or {name}.npz into {folder}, or name another folder by "
            "ALLCONV_DATA or data_dir."
        ) from error
    return place
