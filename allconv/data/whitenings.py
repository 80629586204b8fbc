"""The cache of fitted whitenings, which take seconds to a minute each to measure."""

from pathlib import Path

from allconv.core.arguments import checked
from allconv.data import datasets

KEPT = 5  # of the newest; one for images of 32 x 32 has 37 MB
PATTERN = "gcn_zca-????????????????.h5"


@checked
def clean(data_dir: str | Path | None = None, keep: int = 0) -> list[tuple[Path, int]]:
    """Delete the whitenings that were kept.

    Args:
        data_dir: As in `datasets.load`.
        keep: How many of the newest stay.

    Returns:
        What was deleted, with its size in bytes.
    """
    found = datasets.data_folder(data_dir).glob(PATTERN)
    oldest = sorted(found, key=lambda path: path.stat().st_mtime_ns)
    gone = []
    for path in oldest[: max(len(oldest) - keep, 0)]:
        gone.append((path, path.stat().st_size))
        path.unlink(missing_ok=True)
    return gone
