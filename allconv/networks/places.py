"""Where released weights and run records lie: a checkout, a wheel, or an address.

A wheel carries the manifest, the headline networks and all records; what it leaves out
is fetched where `ALLCONV_WEIGHTS_URL` names a place that has it. Needs no TensorFlow.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

from allconv.core.annotations import refuse
from allconv.core.disk import read_bytes
from allconv.data import datasets
from allconv.networks import facts

PACKAGE = Path(__file__).resolve().parents[1]
URL = "ALLCONV_WEIGHTS_URL"
MANIFEST = "manifest.json"


def folder(name: str) -> Path:
    """The folder `"weights"` or `"records"`: of the wheel or, without, the checkout.

    A folder of that name beside an installed package is another's and not looked at.
    """
    inside = PACKAGE / "released" / name
    beside = PACKAGE.parent / name
    if not inside.is_dir() and (PACKAGE.parent / "pyproject.toml").is_file():
        return beside
    return inside


def cache() -> Path:
    """The folder that fetched weights are kept in, beside the data."""
    return datasets.data_folder() / "weights"


def find(place: Path, name: str, digest: str) -> Path:
    """A released file, fetched and kept where the place has none.

    Args:
        place: The folder to look in first.
        name: The file's name.
        digest: Its SHA-256. A file of `place` is not verified here; any other is.

    Raises:
        FileNotFoundError: If it is not on this machine and not fetched; says why.
    """
    if (place / name).exists():
        return place / name
    kept = cache() / name
    if kept.is_file() and hashlib.sha256(kept.read_bytes()).hexdigest() == digest:
        return kept
    address = os.environ.get(URL)
    if not address:
        raise FileNotFoundError(
            f"There is no file {place / name}, which is needed here. A checkout has it "
            f"in weights/; or set {URL} to the address of a folder that holds it, and "
            "it is fetched and verified."
        )
    import pooch  # only who downloads pays for the import

    print(f"Fetching {name} from {address}", file=sys.stderr)
    try:
        pooch.get_logger().setLevel("WARNING")
        pooch.retrieve(
            f"{address.rstrip('/')}/{name}",
            known_hash=f"sha256:{digest}",
            fname=name,
            path=cache(),
        )
    except Exception as error:  # each kind of address has its own ways to fail
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FileNotFoundError(
            f"{name} is not on this machine and could not be fetched from {address}, "
            f"which {URL} names: {line}"
        ) from error
    return kept


def manifest(place: Path | None = None) -> list[dict]:
    """The files released in a folder, one dict each; empty where there are none.

    Args:
        place: None: `folder("weights")`.

    Raises:
        ValueError: Naming the file and the field, if it is no manifest.
    """
    path = (place or folder("weights")) / MANIFEST
    try:
        entries = json.loads(read_bytes(path, largest=2**26))
        refuse(entries, list[facts.Entry], "entries")
    except FileNotFoundError:
        return []
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no manifest of weights: {error}") from error
    return entries
