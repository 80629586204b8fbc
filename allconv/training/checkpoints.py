"""Checkpoints in a run's folder: the last two stay, the newest whole one is read."""

import re
import uuid
import warnings
from pathlib import Path

import numpy as np

from allconv.core.arguments import Count, Whole, checked
from allconv.core.files import Arrays, DamagedFileError, read, write


@checked
def files(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first."""
    named = re.compile(r"epoch-\d{4,}\.h5")
    found = [f for f in Path(folder).glob("epoch-*.h5") if named.fullmatch(f.name)]
    return sorted(found, key=_epoch, reverse=True)


def _epoch(file: Path) -> int:
    return int(file.stem[6:])


@checked
def save(
    folder: Path, epoch: Count, arrays: Arrays, meta: dict, keep: Whole = 2
) -> Path:
    """Write `epoch-NNNN.h5` into a folder; of it and earlier ones the last `keep` stay.

    What is no file, and has the name, is moved aside.

    Raises:
        ValueError: If none would stay.
    """
    path = Path(folder) / f"epoch-{epoch:04d}.h5"
    if (path.exists() or path.is_symlink()) and not path.is_file():
        path.rename(path.with_name(f"{path.name}.aside-{uuid.uuid4().hex[:6]}"))
    write(path, arrays, {**meta, "epoch": epoch})
    prune(folder, epoch, keep)
    return path


@checked
def prune(folder: Path, epoch: int, keep: int = 2) -> None:
    """Delete the checkpoints of an epoch and before it, but the last `keep` of them.

    Later ones, which may be damaged, count for nothing.
    """
    earlier = [file for file in files(folder) if _epoch(file) <= epoch]
    for old in earlier[keep:]:
        if old.is_file():
            old.unlink(missing_ok=True)


@checked
def load_latest(folder: Path) -> tuple[dict[str, np.ndarray], dict] | None:
    """The newest undamaged checkpoint of a folder; None where there never was one.

    Returns:
        `(arrays, meta)`. A damaged newer file is passed over with a warning.

    Raises:
        DamagedFileError: If there are checkpoints and every one is damaged.
    """
    candidates = files(folder)
    for path in candidates:
        try:
            return read(path)
        except (DamagedFileError, FileNotFoundError) as error:  # e.g. a dangling link
            warnings.warn(f"{error} It is passed over.", stacklevel=2)
    if candidates:
        raise DamagedFileError(
            f"Every checkpoint in {folder} is damaged "
            f"({', '.join(path.name for path in candidates)}). Nothing was changed. "
            "Restore one of them, or start again in another folder."
        )
    return None
