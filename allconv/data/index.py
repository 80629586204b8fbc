"""An index of image files: what each is, found out before a training, and kept.

Every file is read and decoded once, so that one that no run can read is named at once,
not in hour 30. A file whose size and time have not changed is not read again.
"""

import contextlib
import hashlib
import io
import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tqdm
from PIL import Image

from allconv.core import files
from allconv.core.checks import one_line
from allconv.core.machine import cores
from allconv.core.waiting import PATIENCE, say_if_long
from allconv.data import photo, tfrecords
from allconv.data.cifar import DataError

# One image: where its bytes begin in its file, and how many they are; EXIF's
# orientation; whether it is a JPEG of colour or grey, which TensorFlow decodes as
# Pillow does; its class, of a record, else -1; the SHA-256 of its bytes.
ROW = np.dtype(
    [
        *(("offset", "<i8"), ("size", "<i8"), ("turn", "i1"), ("plain", "?")),
        *(("label", "<i4"), ("digest", "u1", 32)),
    ]
)
SAVED_EVERY = 120  # seconds: what a stopped reading of a large data set may lose
NAMED = 10  # damaged files in a message

Known = dict[str, tuple[tuple[int, int], np.ndarray]]  # name: size and time, and rows


@dataclass(frozen=True, eq=False)
class Index:
    """Images in files.

    Attributes:
        files: Paths.
        file: int64 `(n,)`: which of the files an image is in.
        rows: `(n,)` of `ROW`.
        labels: int64 `(n,)`.
    """

    files: tuple[str, ...]
    file: np.ndarray
    rows: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, numbers: np.ndarray) -> "Index":
        """Some of the images, in that order."""
        mine = (self.file[numbers], self.rows[numbers], self.labels[numbers])
        return Index(self.files, *mine)

    def fingerprint(self) -> str:
        """SHA-256 over images and labels that does not depend on their order."""
        labels = self.labels.astype("<i8")[:, None].view("u1")
        both = np.concatenate([self.rows["digest"], labels], axis=1)
        return hashlib.sha256(b"".join(sorted(map(bytes, both)))).hexdigest()

    def order(self) -> str:
        """SHA-256 over images and labels as they stand."""
        total = hashlib.sha256(self.rows["digest"].tobytes())
        total.update(self.labels.astype("<i8").tobytes())
        return total.hexdigest()

    def others(self) -> list[str]:
        """The files that Pillow has to decode: CMYK, PNG in a JPEG's name, ..."""
        return [self.files[i] for i in self.file[~self.rows["plain"]]]


def read(
    root: Path, paths: Sequence[Path], kept: Path, labels: Sequence[int] | None = None
) -> Index:
    """Look at the images of all files, but for those that are known already.

    Args:
        root: The folder that they are in.
        paths: Image files, or TFRecord files.
        kept: Where the index is kept.
        labels: One a file; None: of records, which have their own.

    Raises:
        DataError: If files are no images that can be read; names ten of them.
    """
    names = [path.relative_to(root).as_posix() for path in paths]
    stamps = [(s.st_size, s.st_mtime_ns) for s in (path.stat() for path in paths)]
    known = _load(kept, root)
    new = [i for i, n in enumerate(names) if known.get(n, (None,))[0] != stamps[i]]
    damaged, saved = [], time.monotonic()
    what = f"Reading and checking {len(new):,} files in {root}, once ..."
    bar = tqdm.tqdm(
        *(None, f"index of {root.name}", len(new)),
        **{"unit": "file", "delay": PATIENCE, "disable": not sys.stderr.isatty()},
    )
    with say_if_long(what), bar, ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(new), 1000):
            part = new[start : start + 1000]
            for i, found in zip(
                part, pool.map(_look, [paths[i] for i in part]), strict=True
            ):
                if isinstance(found, str):
                    damaged.append(f"{names[i]} ({found})")
                else:
                    known[names[i]] = stamps[i], found
                bar.update()
            if time.monotonic() - saved > SAVED_EVERY:
                _save(kept, root, known)
                saved = time.monotonic()
    if new:
        _save(kept, root, {name: known[name] for name in names if name in known})
    if damaged:
        rest = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
        raise DataError(
            f"{len(damaged)} of {len(paths)} files in {root} cannot be read: "
            f"{', '.join(damaged[:NAMED])}{rest}. Restore or delete them."
        )
    found_rows = [known[name][1] for name in names]
    counts = [len(rows) for rows in found_rows]
    file = np.repeat(np.arange(len(names)), counts)
    rows = np.concatenate(found_rows)
    of = rows["label"].astype(np.int64) if labels is None else np.array(labels)[file]
    return Index(tuple(map(str, paths)), file, rows, of)


def _look(path: Path) -> np.ndarray | str:
    """The rows of one file, or what is wrong with it."""
    try:
        if tfrecords.is_one(path):
            found = [(at, label, image) for at, label, image in tfrecords.images(path)]
            return np.array([_row(at, one, label) for at, label, one in found], ROW)
        return np.array([_row(0, files.read_bytes(path, 2**30))], ROW)
    except Exception as error:  # Pillow's and TensorFlow's decoders raise many kinds
        return one_line(error)[:120]


def _row(offset: int, content: bytes, label: int = -1) -> tuple:
    from allconv.data import crops  # and TensorFlow, which a folder's names do without

    turn, plain = 1, False
    with Image.open(io.BytesIO(content)) as image:
        if image.width * image.height > photo.MAX_PIXELS:
            raise ValueError(f"more than {photo.MAX_PIXELS} pixels")
        if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L"):
            plain = True
            with contextlib.suppress(Exception):  # EXIF may be anything
                turn = int(image.getexif().get(0x0112, 1))
            turn = turn if 1 <= turn <= 8 else 1
    crops.decode(content) if plain else crops.pixels(content)
    digest = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
    return offset, len(content), turn, plain, label, digest


def _load(kept: Path, root: Path) -> Known:
    """What an index knows; nothing where there is none, or none of this folder."""
    try:
        arrays, meta = files.read(kept)
        if meta.get("index") != 1 or meta["root"] != str(root):
            return {}
        rows = arrays["rows"].reshape(-1, ROW.itemsize).copy().view(ROW)[:, 0]
        parts = np.split(rows, np.cumsum(arrays["counts"])[:-1])
        stamps = map(tuple, arrays["stamps"].tolist())
        return dict(zip(meta["files"], zip(stamps, parts, strict=True), strict=True))
    except (OSError, files.DamagedFileError, KeyError, ValueError):
        return {}


def _save(kept: Path, root: Path, known: Known) -> None:
    rows = np.concatenate([rows for _, rows in known.values()] or [np.zeros(0, ROW)])
    arrays: dict[str, np.ndarray] = {
        "rows": np.frombuffer(rows.tobytes(), np.uint8),
        "counts": np.array([len(rows) for _, rows in known.values()], np.int64),
        "stamps": np.array([stamp for stamp, _ in known.values()], np.int64),
    }
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        files.write(kept, arrays, {"index": 1, "root": str(root), "files": list(known)})
    except OSError as error:
        warnings.warn(
            f"The index of {root} cannot be kept ({one_line(error)}): the next run "
            "reads all files again. Set ALLCONV_DATA to a folder that can be written.",
            stacklevel=3,
        )
