"""Bytes on the disk: a file is whole or absent, and nothing but a file is read.

A write goes to a temporary file beside its place, is flushed to the disk and renamed; a
reader never sees half. Several processes and threads may write one file at once.
"""

import contextlib
import hashlib
import os
import re
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from allconv.core.arguments import Count, checked

try:
    import fcntl
except ImportError:  # Windows, which deletes no file that is open
    fcntl = None  # type: ignore[assignment]

LARGEST = 8 * 2**30  # bytes of a file


class DamagedFileError(RuntimeError):
    """A file that is not what was written: truncated, altered or of another kind."""


@checked
def open_file(path: str | Path, largest: Count = LARGEST) -> BinaryIO:
    """A regular file, open to be read; a pipe or a device is not waited for.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedFileError: If it is a folder, pipe or device, or larger than `largest`.
        OSError: If it cannot be read now, which says nothing of its content.
    """
    path = Path(path)
    try:
        found = path.stat()  # first, since to open a device may do something
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"There is no file {path}.") from None
    if not stat.S_ISREG(found.st_mode):
        raise DamagedFileError(f"{path} should be a file. It is {_kind(found)}.")
    if found.st_size > largest:
        raise DamagedFileError(
            f"{path} has {found.st_size:,} bytes; {largest:,} at most were expected."
        )
    # Should a pipe have come into its place, to open it does not wait for a writer.
    return open(path, "rb", opener=_without_waiting)


@checked
def read_bytes(path: str | Path, largest: Count = LARGEST) -> bytes:
    """The content of a regular file; raises what `open_file` raises."""
    with open_file(path, largest) as file:
        return file.read(largest)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _kind(found: os.stat_result) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for test, name in kinds if test(found.st_mode)), "a device")


@checked
def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file so that `path` holds either its old content or all of the new.

    What a link points to is written, and a device or a pipe is written to. What a
    killed process has left of an earlier write of the same file is deleted.

    Raises:
        OSError: E.g. a full disk or a read-only folder; `path` is as it was.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    sweep(path.parent, path.name)
    with _temporary(path) as (temporary, file):
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:  # it names no file
            raise OSError(error.errno, error.strerror, str(path)) from error
        if fcntl is None:
            file.close()  # Windows moves no file that is open
        os.replace(temporary, path)
    with contextlib.suppress(OSError):  # which some network mounts and Windows refuse
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the rename itself survives a power loss
        finally:
            os.close(folder)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file beside `path`, open and locked; gone at the end, if not moved away."""
    while True:
        name = f".{_short(path.name)}.{uuid.uuid4().hex[:12]}.tmp"
        temporary = path.with_name(name)
        file = temporary.open("xb")
        locked = _lock(file)
        if locked and (os.fstat(file.fileno()).st_nlink or fcntl is None):
            break
        file.close()  # a sweep has it, or had it, before it was locked
    try:
        with file:
            yield temporary, file
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _short(name: str) -> str:
    """What stands for a name in a longer one, which may have 255 bytes."""
    long = len(os.fsencode(name)) > 230
    return hashlib.sha256(os.fsencode(name)).hexdigest() if long else name


def _lock(file: BinaryIO) -> bool:
    """Lock an open file; whether nobody else has. True where there are no locks."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
    return True


@checked
def sweep(folder: str | Path, name: str | None = None) -> None:
    """Delete what processes that were killed as they wrote a file have left behind.

    Args:
        folder: Where; what is not there or cannot be deleted is passed over.
        name: Of the file that they wrote; None: any.
    """
    named = ".+" if name is None else re.escape(_short(name))
    pattern = re.compile(rf"\.{named}\.[0-9a-f]+\.tmp")
    with contextlib.suppress(OSError):
        for left in Path(folder).iterdir():
            if pattern.fullmatch(left.name) and left.is_file():
                with contextlib.suppress(OSError), left.open("rb") as file:
                    if _lock(file):  # else its writer is at work
                        left.unlink()
