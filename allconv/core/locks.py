"""One process at a time: in a run's folder, and at the fetch of data.

The locks are the system's own (`flock`): they end with the process that holds them, so
that none is ever left behind by a process that was killed or a machine that went down.
"""

import contextlib
import errno
import json
import os
import socket
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import filelock

from allconv.core.arguments import checked
from allconv.core.disk import fcntl

LOCK, OWNER = ".lock", ".owner"
_NO_LOCKS = {
    getattr(errno, name, errno.ENOSYS) for name in ("ENOSYS", "ENOLCK", "EOPNOTSUPP")
}


class BusyError(RuntimeError):
    """Another process is at work there."""


class Owner:
    """Who works in a folder: written to `.owner` there, which is locked besides.

    `.lock` alone could be deleted during a run, by a cleaner or a tool that copies
    folders, and the next process would get a new one.
    """

    def __init__(self, folder: Path):
        self.path = folder / OWNER
        self.text = json.dumps(
            {"host": socket.gethostname(), "pid": os.getpid(), "of": uuid.uuid4().hex}
        )
        self.lock = _lock(self.path)

    def take(self) -> None:
        """Lock and write the file.

        Raises:
            BusyError: If another process holds it.
        """
        _acquire(self.lock, f"training in {self.path.parent}")
        self.path.write_text(self.text)

    def check(self) -> None:
        """Refuse to go on where another process has taken the folder.

        Raises:
            BusyError: If the file is another process's; one that is gone is made again.
        """
        try:
            found = self.path.read_text()
        except FileNotFoundError:
            self.lock.release()
            self.lock = _lock(self.path)
            self.take()
            return
        if found != self.text:
            raise BusyError(
                f"{self.path.parent} was taken by another process ({_who(self.path)}) "
                "after its lock was deleted. This one keeps nothing more there."
            )


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[Owner]:
    """Work in a folder that no other process works in.

    Raises:
        BusyError: If one does.
        RuntimeError: If the file system has no locks.
    """
    owner = Owner(folder)
    lock = _lock(folder / LOCK)
    _acquire(lock, f"training in {folder}", owner.path)
    try:
        owner.take()
        try:
            yield owner
        finally:
            owner.lock.release()
    finally:
        lock.release()


@checked
def is_held(folder: str | Path) -> bool:
    """Whether a process works in a folder."""
    owner = Path(folder) / OWNER
    if not owner.is_file():
        return False
    lock = _lock(owner)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return False


@contextlib.contextmanager
def held_by_child(folder: Path) -> Iterator[tuple[int, ...]]:
    """Hold a folder in such a way that a child process does, should this one be killed.

    Returns:
        What to pass to `subprocess` as `pass_fds`; `is_held` says whether one is left.
    """
    with (folder / OWNER).open("w") as file:
        if fcntl is None:
            yield ()
            return
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield (file.fileno(),)


@contextlib.contextmanager
def in_turn(path: Path, what: str, patience: float = 1800) -> Iterator[None]:
    """Do what one process does at a time; the others wait, and say so.

    Args:
        path: The lock file.
        what: What is done, for messages: 'fetching cifar10'.
        patience: Seconds to wait.

    Raises:
        BusyError: If the other one is still at it then.
        RuntimeError: If the file system has no locks.
    """
    lock, who = _lock(path), path.with_name(f"{path.name}-owner")
    try:
        _acquire(lock, what, who)
    except BusyError as error:
        warnings.warn(f"{error} It is waited for.", stacklevel=4)
        _acquire(lock, what, who, patience)
    try:
        with contextlib.suppress(OSError):
            text = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})
            who.write_text(text)
        yield
    finally:
        with contextlib.suppress(OSError):
            who.unlink()
        lock.release()


def _lock(path: Path) -> filelock.FileLock:
    return filelock.FileLock(path, fallback_to_soft=False)


def _acquire(
    lock: filelock.FileLock, what: str, who: Path | None = None, patience: float = 0
) -> None:
    path = Path(lock.lock_file)
    try:
        lock.acquire(timeout=patience)
    except filelock.Timeout:
        raise BusyError(
            f"Another process ({_who(who or path)}) is {what}, and holds {path}. Wait "
            "for it, end it, or name another folder."
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise RuntimeError(
            f"{path} cannot be locked on {socket.gethostname()}: {error.strerror}. Two "
            "processes could not be kept apart there: name a folder on another disk."
        ) from error


def _who(path: Path) -> str:
    """What an owner's file says of it."""
    try:
        found = json.loads(path.read_text())
        return f"{int(found['pid'])} on {found['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "of an unknown number"
