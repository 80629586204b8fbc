"""Checkpoints in a run's folder: the last two stay, the newest whole one is read."""

import re
import warnings
from pathlib import Path

import numpy as np

from allconv.core.files import Arrays, DamagedFileError, read, write


def files(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first."""
    named = re.compile(r"epoch-\d{4,}\.h5")
    found = [f for f in Path(folder).glob("epoch-*.h5") if named.fullmatch(f.name)]
    return sorted(found, key=lambda file: int(file.stem[6:]), reverse=True)


def save(folder: Path, epoch: int, arrays: Arrays, meta: dict, keep: int = 2) -> Path:
    """Write `epoch-NNNN.h5` into a folder and delete all but the last `keep`."""
    path = Path(folder) / f"epoch-{epoch:04d}.h5"
    write(path, arrays, {**meta, "epoch": epoch})
    for old in files(folder)[keep:]:
        old.unlink(missing_ok=True)
    return path


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
        except DamagedFileError as error:
            warnings.warn(f"{error} It is passed over.", stacklevel=2)
    if candidates:
        raise DamagedFileError(
            f"Every checkpoint in {folder} is damaged "
            f"({', '.join(path.name for path in candidates)}). Nothing was changed. "
            "Restore one of them, or start again in another folder."
        )
    return None
