"""Complete state in one file: written whole or not at all, verified before it is read.

A file holds named arrays and one JSON document in HDF5, behind a block of 512 bytes
that begins with the SHA-256 of all that follows it:

    head -n 1 FILE                      # allconv file, SHA-256 from byte 512: 1f3a...
    tail -c +513 FILE | sha256sum       # 1f3a...

HDF5 passes over the block, so that `h5py.File` opens the file as any other. The digest
is looked at first, since HDF5 itself may loop for ever or end the process on a byte
that has changed. Files of earlier versions have no block; see `_in_a_child`.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np

from allconv.core.annotations import LATER
from allconv.core.arguments import checked
from allconv.core.disk import (
    LARGEST,
    DamagedFileError,
    read_bytes,
    sweep,
    write_bytes,
)

__all__ = [
    "Arrays",
    "DamagedFileError",
    "digest",
    "read",
    "read_bytes",
    "sweep",
    "write",
    "write_bytes",
]

Arrays = Mapping[str, Annotated[np.ndarray, LATER]]

BLOCK = 512  # bytes: the smallest that HDF5 passes over
HDF5 = b"\x89HDF\r\n\x1a\n"  # what begins a file without a block
UNPACKED = 2**30  # bytes of the deflated arrays of a file, together
PATIENCE = 60  # seconds for a file without a block


def digest(arrays: Arrays, meta: object) -> str:
    """SHA-256 (hex) of named arrays and a JSON document, whatever their order."""
    total = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        total.update(array.tobytes())
    return total.hexdigest()


@checked
def write(
    path: str | Path, arrays: Arrays, meta: object, compress: bool = False
) -> None:
    """Write named arrays and a JSON document to one file, atomically.

    Args:
        path: The file; its folder exists.
        arrays: Arrays of NumPy's own numeric dtypes, of any shape. A `/` in a name
            makes a group.
        meta: Anything that `json.dumps` takes.
        compress: Whether to deflate the arrays, which takes a second or so.

    Raises:
        ValueError: If an array has a dtype that HDF5 would not give back, bfloat16 say,
            or there is more than a file may hold.
    """
    write_bytes(path, _packed(arrays, meta, compress))


def _packed(arrays: Arrays, meta: object, compress: bool = False) -> bytes:
    """The bytes of a file."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.kind not in "biufc":
            raise ValueError(
                "`arrays` should be of numbers that a file can hold, float32 say. "
                f"Received: {name!r} of dtype {np.asarray(array).dtype}"
            )
    total = sum(np.asarray(array).nbytes for array in arrays.values())
    most = UNPACKED if compress else LARGEST // 2
    if total > most:
        raise ValueError(f"A file holds {most:,} bytes at most. Received: {total:,}")
    try:
        meta = json.loads(json.dumps(meta))  # its keys as `read` gives them back
    except (TypeError, ValueError) as error:
        raise ValueError(f"`meta` should be what JSON can hold: {error}") from error
    packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
    memory = io.BytesIO()
    with h5py.File(memory, "w", userblock_size=BLOCK) as file:
        file.create_group("arrays")
        for name, array in arrays.items():
            options = packed if compress and np.ndim(array) else {}
            file.create_dataset(f"arrays/{name}", data=array, **options)
        # A data set, since HDF5 limits an attribute to 64 KiB.
        text = json.dumps(meta).encode()
        file.create_dataset("meta", data=np.frombuffer(text, np.uint8))
        file.attrs["sha256"] = digest(arrays, meta)
    view = memory.getbuffer()
    view[:BLOCK] = _block(view[BLOCK:])
    return memory.getvalue()


def _block(content: bytes | memoryview) -> bytes:
    """What stands before the content."""
    found = hashlib.sha256(content).hexdigest()
    line = f"allconv file, SHA-256 from byte {BLOCK}: {found}\n"
    return line.encode().ljust(BLOCK, b"\0")


@checked
def read(path: str | Path, sha256: str | None = None) -> tuple[dict, dict]:
    """Read a file of `write`, its bytes verified before they are understood.

    Args:
        path: The file.
        sha256: Of the whole file, in hex, where it is known from elsewhere.

    Returns:
        `(arrays, meta)`.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedFileError: If the file is not whole or not of this kind.
        OSError: If it cannot be read now, which says nothing of its content.
    """
    path, content = Path(path), read_bytes(path)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedFileError(
            f"{path} is damaged: its SHA-256 is not the one on record. Restore it from "
            "where it came from."
        )
    if content.startswith(HDF5):
        if sha256 is None:
            content = _in_a_child(path, content)
    elif content[:BLOCK] != _block(memoryview(content)[BLOCK:]):
        raise DamagedFileError(
            f"{path} is damaged or not a file of this project: its SHA-256 is not the "
            "one that was written."
        )
    try:
        return _unpacked(content)
    except MemoryError:
        raise
    except Exception as error:  # h5py raises half a dozen kinds
        raise DamagedFileError(
            f"{path} is damaged or not a file of this project ({error})."
        ) from error


def _unpacked(content: bytes) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and document of a file's bytes, which HDF5 is trusted with.

    Each thing is looked at before memory is taken for it, and nothing that lies in
    another file is followed.
    """
    arrays: dict[str, np.ndarray] = {}
    unpacked = 0

    def collect(name: str, item: h5py.HLObject) -> None:
        nonlocal unpacked
        if not isinstance(item, h5py.Dataset):
            return
        stored = item.id.get_storage_size()
        if item.chunks is not None:
            unpacked += item.nbytes
            stored = item.nbytes if unpacked <= UNPACKED else stored
        plain = item.dtype.kind in "biufc" and not item.is_virtual
        if not plain or item.external or stored != item.nbytes:
            raise ValueError(
                f"{name} is {item.dtype}, {item.shape}, in {stored:,} bytes: no array "
                "of this file"
            )
        arrays[name] = item[()]

    with h5py.File(io.BytesIO(content), "r") as file:
        for name in ("arrays", "meta"):
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"it has no {name} of its own")
        collect("meta", file["meta"])
        meta = json.loads(arrays.pop("meta").tobytes())
        file["arrays"].visititems(collect)  # which follows no link
        expected = file.attrs["sha256"]
    found = digest(arrays, meta)
    if found != expected:
        raise ValueError(
            f"its content has SHA-256 {found[:12]}..., {str(expected)[:12]}... was "
            "written"
        )
    return arrays, meta


def _in_a_child(path: Path, content: bytes) -> bytes:
    """The bytes of an earlier version's file, as `write` would make them now.

    Its digest lies within HDF5. A process of its own reads it: should HDF5 crash or
    loop on a damaged one, that ends the child, and the file is refused.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from allconv.core import files; files._repack()"],
            input=content,
            capture_output=True,
            timeout=PATIENCE + len(content) / 1e7,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(_absolute, sys.path))},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DamagedFileError(f"{path} is damaged: HDF5 does not end on it.") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"HDF5 ended with status {done.returncode}"
        raise DamagedFileError(
            f"{path} is damaged or not a file of this project ({reason})."
        )
    return done.stdout


def _absolute(folder: str) -> str:
    return str(Path(folder).absolute())


def _repack() -> None:
    """What the child does: bytes in, bytes out."""
    try:
        packed = _packed(*_unpacked(sys.stdin.buffer.read()))
    except Exception as error:
        sys.exit(" ".join(str(error).split()) or type(error).__name__)
    sys.stdout.buffer.write(packed)
