"""Files are verified before they are understood, and written whole or not at all."""

import ast
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from allconv.core import disk, files

EXAMPLE = {"a/b": np.arange(12.0).reshape(3, 4), "c": np.uint32(7)}
META = {"history": [{"epoch": 1, "accuracy": 0.5}], "name": "x"}


def without_block(arrays=EXAMPLE, meta=META, **packed):
    """The bytes that the first version wrote."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.create_group("arrays")
        for name, array in arrays.items():
            options = packed if np.ndim(array) else {}
            file.create_dataset(f"arrays/{name}", data=array, **options)
        text = json.dumps(meta, sort_keys=True).encode()
        file.create_dataset("meta", data=np.frombuffer(text, np.uint8))
        file.attrs["sha256"] = files.digest(arrays, meta)
    return memory.getvalue()


def with_block(content):
    """A block with the right digest before any HDF5 of a user block of 512 bytes."""
    return files._block(content[512:]) + content[512:]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "file.h5"
    files.write(path, EXAMPLE, META)
    return path


@hypothesis.settings(max_examples=300)
@hypothesis.given(st.data())
def test_any_changed_byte_is_refused_before_hdf5_sees_it(written, data):
    content = bytearray(written.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path = written.with_name("changed.h5")
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_unpacked", None)  # would fail if it were called
        with pytest.raises(files.DamagedFileError, match=r"changed\.h5 is damaged"):
            files.read(path)


def test_any_cut_and_any_tail_is_refused(written):
    content = written.read_bytes()
    path = written.with_name("cut.h5")
    cuts = [0, 1, 8, 511, 512, 513, 520, len(content) // 2, len(content) - 1]
    for changed in (*(content[:n] for n in cuts), content + b"\0"):
        path.write_bytes(changed)
        with pytest.raises(files.DamagedFileError, match=r"cut\.h5 is damaged"):
            files.read(path)


def test_the_block_is_for_people_and_hdf5_passes_over_it(written):
    line = written.read_bytes().partition(b"\n")[0]
    assert line.startswith(b"allconv file, SHA-256 from byte 512: ")
    tail = subprocess.run(
        f"tail -c +513 {written} | sha256sum",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert tail.stdout.split()[0] == line.split()[-1].decode()
    with h5py.File(written) as file:
        np.testing.assert_array_equal(file["arrays/a/b"], EXAMPLE["a/b"])


@pytest.mark.parametrize("packed", [{}, {"compression": "gzip", "shuffle": True}])
def test_files_of_earlier_versions_load(tmp_path, packed):
    path = tmp_path / "old.h5"
    path.write_bytes(without_block(**packed))
    arrays, meta = files.read(path)
    assert meta == META
    assert arrays.keys() == EXAMPLE.keys()
    np.testing.assert_array_equal(arrays["a/b"], EXAMPLE["a/b"])
    other = without_block(EXAMPLE | {"c": np.uint32(8)}, **packed)
    changed = other.replace(files.digest(*files._unpacked(other)).encode(), b"0" * 64)
    path.write_bytes(changed)
    with pytest.raises(files.DamagedFileError, match=r"old\.h5 is damaged"):
        files.read(path)


@pytest.mark.parametrize(
    "child, message",
    [
        ("kill -SEGV $$", "HDF5 ended with status -11"),
        ("exec sleep 60", "HDF5 does not end on it"),
    ],
)
def test_a_crash_or_a_loop_of_hdf5_ends_a_child_alone(
    tmp_path, monkeypatch, child, message
):
    (tmp_path / "python").write_text(f"#!/bin/sh\n{child}\n")
    (tmp_path / "python").chmod(0o700)
    (tmp_path / "old.h5").write_bytes(without_block())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(files, "PATIENCE", 1)
    with pytest.raises(files.DamagedFileError, match=message):
        files.read(tmp_path / "old.h5")


def test_a_digest_that_is_known_spares_the_child(tmp_path, monkeypatch):
    path = tmp_path / "old.h5"
    path.write_bytes(without_block())
    known = files.hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(files, "_in_a_child", None)
    assert files.read(path, known)[1] == META
    with pytest.raises(files.DamagedFileError, match="not the one on record"):
        files.read(path, known[::-1])


def hostile(make):
    memory = io.BytesIO()
    with h5py.File(memory, "w", userblock_size=512) as file:
        file.create_group("arrays")
        text = np.frombuffer(b"{}", np.uint8)
        file.create_dataset("meta", data=text)
        file.attrs["sha256"] = files.digest({}, {})
        make(file)
    return with_block(memory.getvalue())


def external_storage(file):
    part = [(str(Path(__file__)), 0, 64)]
    file.create_dataset("arrays/x", (64,), "u1", external=part)


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("arrays/x", layout)


def linked(file):
    del file["arrays"]
    file["arrays"] = h5py.ExternalLink("other.h5", "/arrays")


def soft(file):
    del file["meta"]
    file["meta"] = h5py.SoftLink("/arrays/x")
    file["arrays/x"] = np.frombuffer(b"{}", np.uint8)


def bomb(file):
    file.create_dataset("arrays/x", (10**6, 10**6), "f8", compression="gzip")


def empty_claim(file):
    file.create_dataset("arrays/x", (10**6, 10**6), "f8")


def text(file):
    file.create_dataset("arrays/x", data=["a", "b"])


def compound(file):
    file.create_dataset("arrays/x", data=np.zeros(3, [("a", "f4"), ("b", "i4")]))


def no_digest(file):
    del file.attrs["sha256"]


@pytest.mark.parametrize(
    "make",
    [
        *(external_storage, virtual, linked, soft, bomb, empty_claim, text, compound),
        no_digest,
    ],
)
def test_a_right_digest_does_not_open_other_files_nor_take_memory(tmp_path, make):
    path = tmp_path / "hostile.h5"
    path.write_bytes(hostile(make))
    with pytest.raises(files.DamagedFileError, match=r"hostile\.h5 is damaged or not"):
        files.read(path)


def test_arrays_of_zeros_shrink_and_come_back(tmp_path):
    zeros = {
        "x": np.zeros((1000, 1000)),
        "none": np.zeros((0, 3)),
        "one": np.float16(1),
    }
    files.write(tmp_path / "zeros.h5", zeros, {}, compress=True)
    assert (tmp_path / "zeros.h5").stat().st_size < 100_000
    back, _ = files.read(tmp_path / "zeros.h5")
    assert {k: (v.shape, v.dtype) for k, v in back.items()} == {
        k: (v.shape, v.dtype) for k, v in zeros.items()
    }


def test_a_document_keeps_the_order_of_its_keys(tmp_path):
    files.write(tmp_path / "x.h5", {}, {"b": 1, "a": {"d": 1, "c": 2}})
    assert (
        json.dumps(files.read(tmp_path / "x.h5")[1])
        == '{"b": 1, "a": {"d": 1, "c": 2}}'
    )


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


def test_reading_is_as_fast_as_the_digest(tmp_path):
    arrays = {"x": np.random.default_rng(0).normal(size=10**6)}
    files.write(tmp_path / "x.h5", arrays, {})
    begun = time.perf_counter()
    files.read(tmp_path / "x.h5")
    assert time.perf_counter() - begun < 2
