"""A checkpoint is whole or absent: round trips, mangled bytes, failing disks."""

import os
import resource
import stat
import subprocess
import sys

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from allconv.core import files
from allconv.training import checkpoints

arrays = st.dictionaries(
    st.text("abcdef0123-", min_size=1, max_size=8),
    hnp.arrays(
        st.sampled_from([np.float32, np.float16, np.int64, np.uint32]),
        hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
    ),
    max_size=4,
)
EXAMPLE = {"model/conv1/0-kernel": np.arange(12.0).reshape(3, 4), "seed": np.uint32(7)}
META = {"history": [{"epoch": 1, "loss": 0.1}], "text": "é" * 70_000}


@hypothesis.given(arrays)
def test_round_trip(tmp_path_factory, named):
    path = tmp_path_factory.mktemp("round") / "file.h5"
    files.write(path, named, META)
    back, meta = files.read(path)
    assert meta == META
    assert back.keys() == named.keys()
    for name, array in named.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_digest_sees_every_part_and_no_order():
    base = files.digest({"a": np.zeros(2), "b": np.ones(2)}, {"x": 1, "y": 2})
    assert base == files.digest({"b": np.ones(2), "a": np.zeros(2)}, {"y": 2, "x": 1})
    for other in (
        ({"a": np.zeros(2), "c": np.ones(2)}, {"x": 1, "y": 2}),
        ({"a": np.zeros((2, 1)), "b": np.ones(2)}, {"x": 1, "y": 2}),
        ({"a": np.zeros(2, np.float32), "b": np.ones(2)}, {"x": 1, "y": 2}),
        ({"a": np.zeros(2), "b": np.ones(2)}, {"x": 1, "y": 3}),
        ({"a": np.zeros(2), "b": np.array([1, 1 + 1e-15])}, {"x": 1, "y": 2}),
    ):
        assert files.digest(*other) != base


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.h5"):
        files.read(tmp_path / "gone.h5")


def test_the_last_two_are_kept(tmp_path):
    for epoch in range(1, 6):
        checkpoints.save(tmp_path, epoch, EXAMPLE, {})
    assert [p.name for p in checkpoints.files(tmp_path)] == [
        "epoch-0005.h5",
        "epoch-0004.h5",
    ]
    assert checkpoints.load_latest(tmp_path)[1]["epoch"] == 5
    for epoch in (9999, 10_000):  # by number, not by letters
        checkpoints.save(tmp_path, epoch, EXAMPLE, {})
    assert checkpoints.load_latest(tmp_path)[1]["epoch"] == 10_000


@pytest.mark.parametrize("keep", [0, -1, True, 1.0])
def test_none_kept_is_refused(tmp_path, keep):
    with pytest.raises(ValueError, match=f"`keep` should be .* Received: keep={keep}"):
        checkpoints.save(tmp_path, 1, EXAMPLE, {}, keep=keep)
    assert not list(tmp_path.iterdir())


def test_a_damaged_later_one_does_not_push_out_a_whole_one(tmp_path):
    for epoch in (1, 2, 8, 9):
        checkpoints.save(tmp_path, epoch, EXAMPLE, {})
    for path in checkpoints.files(tmp_path):
        path.write_bytes(b"nonsense")
    for epoch in (1, 2, 3):
        checkpoints.save(tmp_path, epoch, EXAMPLE, {})
    with pytest.warns(UserWarning, match="passed over"):
        assert checkpoints.load_latest(tmp_path)[1]["epoch"] == 3
    names = [p.name for p in checkpoints.files(tmp_path)]
    assert names[-2:] == ["epoch-0003.h5", "epoch-0002.h5"]


def test_a_damaged_newest_gives_the_one_before_with_a_warning(tmp_path):
    for epoch in (1, 2):
        checkpoints.save(tmp_path, epoch, EXAMPLE, {})
    newest = checkpoints.files(tmp_path)[0]
    newest.write_bytes(newest.read_bytes()[:-9])
    with pytest.warns(UserWarning, match=r"epoch-0002\.h5 is damaged.*passed over"):
        assert checkpoints.load_latest(tmp_path)[1]["epoch"] == 1


def test_what_hdf5_would_not_give_back_is_refused(tmp_path):
    array = np.asarray(keras.ops.ones(3, "bfloat16"))
    with pytest.raises(
        ValueError, match=r"`arrays` should be .* 'w' of dtype bfloat16"
    ):
        files.write(tmp_path / "x.h5", {"w": array}, {})
    assert not list(tmp_path.iterdir())


def test_a_newest_that_cannot_be_read_now_is_not_passed_over(tmp_path, monkeypatch):
    for epoch in (1, 2):
        checkpoints.save(tmp_path, epoch, EXAMPLE, {})

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError, match="Input/output"):
        checkpoints.load_latest(tmp_path)


def test_meta_comes_back_as_json_has_it(tmp_path):
    files.write(tmp_path / "file.h5", {}, {9: 1, 10: 2, "x": (1, 2)})
    assert files.read(tmp_path / "file.h5")[1] == {"9": 1, "10": 2, "x": [1, 2]}


def test_links_and_pipes_stay_what_they_are(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    files.write_bytes(tmp_path / "pipe", b"new")
    assert reader.communicate(timeout=30)[0] == b"new"
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_that_cannot_be_flushed_is_no_failure(tmp_path, monkeypatch):
    """As some network mounts have it: the content is flushed and in its place."""
    real = os.fsync

    def only_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    files.write(tmp_path / "file.h5", EXAMPLE, {})
    assert files.read(tmp_path / "file.h5")[0].keys() == EXAMPLE.keys()


def test_all_damaged_is_an_error_not_a_fresh_start(tmp_path):
    for epoch in (1, 2):
        checkpoints.save(tmp_path, epoch, EXAMPLE, {}).write_bytes(b"nonsense")
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(files.DamagedFileError, match="Every checkpoint in"),
    ):
        checkpoints.load_latest(tmp_path)
    assert len(checkpoints.files(tmp_path)) == 2


def test_an_empty_folder_is_a_fresh_start(tmp_path):
    (tmp_path / ".epoch-0001.h5.123.tmp").write_bytes(b"half")
    (tmp_path / "epoch-best.h5").write_bytes(b"somebody's")
    (tmp_path / ".notes.tmp").write_bytes(b"somebody's")
    (tmp_path / ".epoch-0001.h5.124.tmp").mkdir()
    assert checkpoints.load_latest(tmp_path) is None
    files.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("epoch-best.h5", ".notes.tmp", ".epoch-0001.h5.124.tmp")
    }


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_failing_disk_leaves_the_old_file(tmp_path, monkeypatch, function):
    checkpoints.save(tmp_path, 1, EXAMPLE, {})
    before = checkpoints.files(tmp_path)[0].read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match="No space left"):
        files.write(tmp_path / "epoch-0001.h5", {"a": np.zeros(3)}, {})
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-0001.h5"]
    assert checkpoints.files(tmp_path)[0].read_bytes() == before


def test_a_real_write_that_the_kernel_refuses(tmp_path):
    """In a process that may write 20 kB a file: the old content survives."""
    checkpoints.save(tmp_path, 1, EXAMPLE, {})
    before = checkpoints.files(tmp_path)[0].read_bytes()
    program = (
        "import signal, sys, numpy as np; from allconv.core import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: files.write(sys.argv[1], {'a': np.zeros(100_000)}, {})\n"
        "except OSError as error: print('refused', error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "epoch-0001.h5")],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.stdout.startswith("refused")
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-0001.h5"]
    assert checkpoints.files(tmp_path)[0].read_bytes() == before


def test_an_unwritable_folder_is_an_os_error(tmp_path):
    with pytest.raises(OSError):
        files.write(tmp_path / "nowhere" / "file.h5", EXAMPLE, {})
