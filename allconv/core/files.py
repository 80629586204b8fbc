"""Complete state in one HDF5 file: written whole or not at all, verified on load.

A file holds named arrays, one JSON document and a SHA-256 of both. It is made in
memory, written to a temporary name, flushed to the disk and renamed; a reader never
sees half.
"""

import contextlib
import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

Arrays = Mapping[str, np.ndarray]


class DamagedFileError(RuntimeError):
    """A file that is not what was written: truncated, altered or of another kind."""


def digest(arrays: Arrays, meta: object) -> str:
    """SHA-256 (hex) of named arrays and a JSON document, whatever their order."""
    total = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that `path` holds either its old content or all of the new.

    What a link points to is written, and a device or a pipe is written to.

    Raises:
        OSError: E.g. a full disk or a read-only folder; `path` is as it was.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # which some network mounts refuse
            os.fsync(folder)  # the rename itself survives a power loss
    finally:
        os.close(folder)


def sweep(folder: Path, name: str = "*") -> None:
    """Delete what processes that were killed as they wrote a file have left behind."""
    for left in Path(folder).glob(f".{name}.*.tmp"):
        if re.fullmatch(r"\..+\.\d+\.tmp", left.name) and left.is_file():
            left.unlink()


def write(path: Path, arrays: Arrays, meta: object, compress: bool = False) -> None:
    """Write named arrays and a JSON document to one file, atomically.

    Args:
        path: The file; its folder exists.
        arrays: Arrays of NumPy's own numeric dtypes, of any shape. A `/` in a name
            makes a group.
        meta: Anything that `json.dumps` takes.
        compress: Whether to deflate the arrays, which takes a second or so.

    Raises:
        ValueError: If an array has a dtype that HDF5 would not give back, bfloat16 say.
    """
    for name, array in arrays.items():
        if np.asarray(array).dtype.kind not in "biufc":
            raise ValueError(
                f"A file cannot hold {name!r}: it is of dtype {array.dtype}. Make it "
                "float32, say."
            )
    meta = json.loads(json.dumps(meta))  # its keys as `read` gives them back
    packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.create_group("arrays")
        for name, array in arrays.items():
            options = packed if compress and np.ndim(array) else {}
            file.create_dataset(f"arrays/{name}", data=array, **options)
        # A data set, since HDF5 limits an attribute to 64 KiB.
        text = json.dumps(meta, sort_keys=True).encode()
        file.create_dataset("meta", data=np.frombuffer(text, np.uint8))
        file.attrs["sha256"] = digest(arrays, meta)
    write_bytes(path, memory.getvalue())


def read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Read and verify a file of `write`.

    Returns:
        `(arrays, meta)`.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedFileError: If the file is not whole or not of this kind.
        OSError: If it cannot be read now, which says nothing of its content.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    content = path.read_bytes()
    arrays: dict[str, np.ndarray] = {}

    def collect(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            file["arrays"].visititems(collect)
            meta = json.loads(file["meta"][()].tobytes())
            expected = file.attrs["sha256"]
        found = digest(arrays, meta)
    except MemoryError:
        raise
    except Exception as error:  # h5py raises half a dozen kinds on mangled bytes
        raise DamagedFileError(
            f"{path} is damaged or not a file of this project ({error})."
        ) from error
    if found != expected:
        raise DamagedFileError(
            f"{path} is damaged: its content has SHA-256 {found[:12]}..., "
            f"{str(expected)[:12]}... was written."
        )
    return arrays, meta
