"""A file on the disk is whole or absent, and nothing but a file is read."""

import ast
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from allconv.core import disk, files


def test_only_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name, kind in (("pipe", "a pipe"), ("folder", "a folder"), ("device", "a dev")):
        with pytest.raises(files.DamagedFileError, match=f"{name} should be .* {kind}"):
            files.read(tmp_path / name)
    for name in ("link", "nothing", "folder/../link/below"):
        with pytest.raises(FileNotFoundError, match="There is no file"):
            files.read(tmp_path / name)


def test_a_pipe_that_takes_a_files_place_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    was = (tmp_path / "file").stat()
    monkeypatch.setattr(Path, "stat", lambda self: was)
    assert disk.read_bytes(tmp_path / "pipe") == b""


def test_a_file_too_large_is_refused_by_its_size(tmp_path):
    with (tmp_path / "sparse.h5").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(files.DamagedFileError, match="1,099,511,627,776 bytes"):
        files.read(tmp_path / "sparse.h5")


def test_threads_that_write_one_path_tear_nothing(tmp_path):
    """Each reader sees all of one writer's bytes; no write fails; nothing is left."""
    path, failures, torn = tmp_path / "file", [], []

    def work(i):
        try:
            for _ in range(40):
                files.write_bytes(path, bytes([i]) * 100_000)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            content = path.read_bytes()
            torn += [1] * (len(content) != 100_000 or len(set(content)) != 1)
    assert not failures
    assert not torn
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


WRITER = """
import os, sys
from allconv.core import disk
def die(descriptor): os.kill(os.getpid(), 9)
os.fsync = die
disk.write_bytes(sys.argv[1], b"half")
"""


def test_what_a_killed_writer_leaves_goes_with_the_next_write(tmp_path):
    for _ in range(2):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "a[b].h5")]
        assert subprocess.run(command, check=False).returncode == -9
    (left,) = tmp_path.iterdir()  # the second has swept up after the first
    assert re.fullmatch(r"\.a\[b\]\.h5\.[0-9a-f]{12}\.tmp", left.name)
    files.write_bytes(tmp_path / "a[b].h5", b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a[b].h5"]


DYING = """
import os, sys
from allconv.core import files
name, after = sys.argv[2], sys.argv[3] == "after"
real = getattr(os, name)
def die(*arguments, **kwargs):
    if after: real(*arguments, **kwargs)
    os.kill(os.getpid(), 9)
setattr(os, name, die)
files.write_bytes(sys.argv[1], b"new" * 100_000)
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["fsync", "replace", "open"])
def test_a_kill_at_any_step_leaves_the_old_or_the_new(tmp_path, name, when):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", DYING, str(path), name, when]
    assert subprocess.run(command, check=False).returncode == -9
    moved = name == "open" or (name, when) == ("replace", "after")
    assert path.read_bytes() == (b"new" * 100_000 if moved else b"old")
    files.write_bytes(path, b"newer")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def writes_by_itself(tree):
    """Calls that write to a path and are none of this module's."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name, *rest = ast.unparse(node.func).split(".")[::-1]
        modes = [re.fullmatch("'[wxa]b?t?'", ast.unparse(a)) for a in node.args]
        opened = name == "open" and any(modes)
        if name == "savefig" and all(k.arg != "format" for k in node.keywords):
            yield node.lineno  # to a name; what is in memory has no ending
        if opened or (
            name in ("write_text", "write_bytes")
            and rest not in ([], ["files"], ["written"])
        ):
            yield node.lineno


def test_all_that_is_written_is_written_whole():
    """So that what is true of `write_bytes` is true of caches, records and pages."""
    package = Path(files.__file__).parents[1]
    folders = (package, package.parent / "experiments")
    found = [p for folder in folders for p in folder.rglob("*.py")]
    paths = [p for p in found if p.parent.name != "core"]
    assert len(paths) > 40
    for path in paths:
        lines = list(writes_by_itself(ast.parse(path.read_text())))
        assert not lines, f"{path} writes by itself in lines {lines}"
    bad = "open('x', 'wb')\nPath('x').write_text('y')\nfiles.write_bytes(a, b)"
    assert list(writes_by_itself(ast.parse(bad))) == [1, 2]


def test_what_a_living_writer_has_begun_is_not_swept(tmp_path):
    with disk._temporary(tmp_path / "x") as (temporary, _):
        files.sweep(tmp_path)
        assert temporary.exists()
    files.sweep(tmp_path)
    assert not temporary.exists()


def test_a_writer_whose_new_file_was_swept_at_once_makes_another(tmp_path, monkeypatch):
    real, calls = disk._lock, []

    def late(file):
        calls.append(file.name)
        if len(calls) == 1:
            Path(file.name).unlink()
        return real(file)

    monkeypatch.setattr(disk, "_lock", late)
    files.write_bytes(tmp_path / "x", b"whole")
    assert len(calls) == 2
    assert (tmp_path / "x").read_bytes() == b"whole"


def test_a_full_disk_is_told_with_the_files_name(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*file\.h5'"):
        files.write(tmp_path / "file.h5", {}, {})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_opened_is_no_failure(tmp_path, monkeypatch):
    """As Windows has it, which opens no folder."""
    real = os.open

    def no_folder(path, *args, **kwargs):
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", no_folder)
    files.write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"


def test_a_new_file_has_the_permissions_that_the_process_gives(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_bytes(tmp_path / "x", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    files.write_bytes(tmp_path / ("x" * 251 + ".png"), b"new")
    assert len(list(tmp_path.iterdir())) == 1
