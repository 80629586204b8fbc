"""Files are verified before they are understood, and written whole or not at all."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import h5py
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from allconv.core import files

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


def test_reading_is_as_fast_as_the_digest(tmp_path):
    arrays = {"x": np.random.default_rng(0).normal(size=10**6)}
    files.write(tmp_path / "x.h5", arrays, {})
    begun = time.perf_counter()
    files.read(tmp_path / "x.h5")
    assert time.perf_counter() - begun < 2
