#!/usr/bin/env bash
# Guess: `FileLock` locks by the operating system or raises; `SoftFileLock` is for the rest.
# Seen (filelock 4.3.1): where the file system has no flock, `FileLock` gives a warning and
# takes a marker file, whose presence is the lock: `fallback_to_soft` is True by default.
# (flock is replaced here by what such a file system answers, ENOSYS.)
# Why it matters: a lock of the system ends with its process, a marker file does not.
# `allconv/core/locks.py` passes fallback_to_soft=False, which raises OSError instead.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m venv "$folder/env"
python="$folder/env/bin/python"
"$python" -m pip install -qq --disable-pip-version-check filelock==4.3.1
"$python" - <<'PYTHON'
import errno
import fcntl
import os
import tempfile
import warnings


def flock(*_):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


fcntl.flock = flock
import filelock  # noqa: E402, after flock is gone

print("filelock", filelock.__version__)
with tempfile.TemporaryDirectory() as folder:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        lock = filelock.FileLock(os.path.join(folder, "a.lock"), timeout=1)
        lock.acquire()
    print("by default: locked", lock.is_locked, "-", *(w.message for w in seen))
    marker = open(lock.lock_file).read().split()
    print("the marker file begins with this process:", int(marker[0]) == os.getpid())
    assert lock.is_locked and "falling back" in str(seen[0].message)
    assert int(marker[0]) == os.getpid()
    lock.release()

    strict = filelock.FileLock(
        os.path.join(folder, "b.lock"), timeout=1, fallback_to_soft=False
    )
    try:
        strict.acquire()
    except OSError as error:
        print("fallback_to_soft=False:", error)
        assert error.errno == errno.ENOSYS
    else:
        raise SystemExit("fallback_to_soft=False did not raise")
PYTHON
