"""One process at a time, and a word on who it is."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from allconv.core import locks


def test_who_holds_it_is_said(tmp_path):
    with locks.alone(tmp_path):
        assert locks.is_held(tmp_path)
        message = rf"Another process \({os.getpid()} on .*\) is training in .*\.lock"
        with pytest.raises(locks.BusyError, match=message), locks.alone(tmp_path):
            pass
    assert not locks.is_held(tmp_path)
    with locks.alone(tmp_path):
        pass


def test_a_folder_that_nobody_worked_in_is_not_held(tmp_path):
    assert not locks.is_held(tmp_path)
    assert not locks.is_held(tmp_path / "gone")
    assert not list(tmp_path.iterdir())


def test_a_lock_ends_with_its_process(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; from allconv.core import locks\n"
        "with locks.alone(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -9
    assert (tmp_path / ".owner").exists()
    assert not locks.is_held(tmp_path)
    with locks.alone(tmp_path):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_named(tmp_path, monkeypatch, number):
    """Even where the file of a dead process on another machine lies there."""
    (tmp_path / ".lock").write_text("4242\nnode-17\n")

    def missing(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", missing)
    message = r"\.lock cannot be locked on .*: name a folder on another disk"
    with pytest.raises(RuntimeError, match=message), locks.alone(tmp_path):
        pass
    with (
        pytest.raises(RuntimeError, match=message),
        locks.in_turn(tmp_path / ".lock", "fetching"),
    ):
        pass


def test_another_failure_is_not_called_a_missing_lock(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), locks.alone(tmp_path / "file"):
        pass


def test_a_wait_is_said_and_ends(tmp_path):
    path = tmp_path / ".x.lock"
    with (
        locks.in_turn(path, "fetching x"),
        pytest.warns(UserWarning, match=rf"\({os.getpid()} on .*fetching x.* waited"),
        pytest.raises(locks.BusyError, match=r"holds .*\.x\.lock"),
        locks.in_turn(path, "fetching x", patience=0.2),
    ):
        pass
    with locks.in_turn(path, "fetching x"):  # and nothing is left to wait for
        pass
