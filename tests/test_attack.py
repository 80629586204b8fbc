"""A little of each attack of `python -m tests.attack`."""

import subprocess
import sys

import pytest

from allconv.core import disk
from tests.attack import calls, commands, odd_files, right_calls, writes


def broke(outcomes):
    found = [f"{what}: {why}" for what, why in outcomes if why]
    return "\n".join(found)


def test_a_full_disk_or_two_writers_at_each_place_leave_what_is_whole(tmp_path):
    assert not broke(writes.attack(tmp_path))


def test_what_is_damaged_is_refused_before_it_is_understood(tmp_path):
    assert not broke(odd_files.damaged(tmp_path, 60))


def test_odd_records_enter_no_table(tmp_path):
    assert not broke(odd_files.odd_records(tmp_path, 40))


def test_odd_manifests_are_refused_by_name(tmp_path):
    assert not broke(odd_files.odd_manifests(tmp_path, 60))


def test_no_command_line_ends_in_a_traceback(tmp_path):
    assert not broke(commands.attack(tmp_path, 60))


def test_odd_arguments_are_refused_by_name_and_give_nothing_odd(tmp_path):
    right_calls.furnish(tmp_path)
    found = calls.calls(tmp_path, every=17, slow=False)
    assert found.refused > 200
    assert not found.nonsense
    assert found.named >= calls.NAMED * found.refused, "\n".join(found.unnamed)


WRITING = """
import os, sys
from allconv.core import disk
byte = sys.argv[2].encode()
for _ in range(200):
    disk.write_bytes(sys.argv[1], byte * 100_000)
"""


def test_two_processes_that_write_one_file_tear_nothing(tmp_path):
    path = tmp_path / "file"
    command = [sys.executable, "-c", WRITING, str(path)]
    running = [subprocess.Popen([*command, byte]) for byte in "ab"]
    torn = 0
    while any(process.poll() is None for process in running):
        if path.exists():
            torn += path.read_bytes() not in (b"a" * 100_000, b"b" * 100_000)
    assert [process.returncode for process in running] == [0, 0]
    assert not torn
    assert list(tmp_path.iterdir()) == [path]


LIMITED = """
import resource, signal, sys
from allconv.core import disk
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    disk.write_bytes(sys.argv[1], b"x" * 100_000)
except OSError as error:
    print(error.filename, flush=True)
"""


@pytest.mark.skipif(disk.fcntl is None, reason="no such limit")
def test_a_disk_that_takes_no_more_leaves_the_old_file(tmp_path):
    """By the system's own limit, in the middle of the content."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", LIMITED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}\n"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
