"""Pickled CIFAR is read without unpickling, and nothing else is."""

import contextlib
import io
import os
import pickle
import pickletools
import tarfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from allconv.data import cifar_files, datasets, pickled
from allconv.data.cifar import DataError


def python_2(value) -> bytes:
    """A pickle as Python 2 and its NumPy wrote the published files, by hand."""
    memo = iter(range(10_000))

    def put() -> bytes:
        return b"r" + next(memo).to_bytes(4, "little")

    def text(word: str | bytes) -> bytes:
        raw = word.encode() if isinstance(word, str) else word
        if len(raw) < 256:
            return b"U" + bytes([len(raw)]) + raw + put()
        return b"T" + len(raw).to_bytes(4, "little") + raw + put()

    def dump(one) -> bytes:
        if isinstance(one, dict):
            items = b"".join(dump(k) + dump(v) for k, v in one.items())
            return b"}" + put() + b"(" + items + b"u"
        if isinstance(one, list):
            return b"]" + put() + b"(" + b"".join(map(dump, one)) + b"e"
        if isinstance(one, int):
            return b"K" + bytes([one])
        if isinstance(one, np.ndarray):
            made = b"cnumpy.core.multiarray\n_reconstruct\n" + put()
            made += b"cnumpy\nndarray\n" + put() + b"K\x00\x85" + put() + text("b")
            made += b"\x87" + put() + b"R" + put()
            shape = b"".join(b"J" + n.to_bytes(4, "little") for n in one.shape)
            kind = b"cnumpy\ndtype\n" + put() + text("u1") + b"K\x00K\x01\x87" + put()
            kind += b"R" + put() + b"(K\x03" + text("|") + b"NNN" + b"J\xff\xff\xff\xff"
            kind += b"J\xff\xff\xff\xff" + b"K\x00t" + put() + b"b"
            state = b"(K\x01" + shape + b"\x86" + put() + kind + b"\x89"
            return made + state + text(one.tobytes()) + b"t" + put() + b"b"
        return text(one)

    return b"\x80\x02" + dump(value) + b"."


def batch(labels: str, n: int = 20) -> tuple[dict, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3)).astype(np.uint8)
    planar = np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(n, -1))
    numbers = [i % 10 for i in range(n)]
    return {"batch_label": "one", labels: numbers, "data": planar}, images


def test_a_published_batch_is_what_pickle_would_give():
    content = python_2(batch("labels")[0])
    ours, theirs = pickled.parse(content), pickle.loads(content, encoding="latin-1")
    assert ours["labels"] == theirs["labels"]
    assert ours["batch_label"] == theirs["batch_label"]
    np.testing.assert_array_equal(ours["data"].value, theirs["data"])


@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_archives_and_folders_of_keras_and_torchvision(name, packed, tmp_path):
    train, test, labels = pickled.FILES[name]
    fields, images = batch(labels)
    inside = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    if packed:
        place = tmp_path / f"{inside}.tar.gz"
        with tarfile.open(place, "w:gz") as tar:
            for file in (*train, *test, "batches.meta"):
                content = python_2(fields)
                info = tarfile.TarInfo(f"{inside}/{file}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    else:
        place = tmp_path / f"{inside}_extracted"
        (place / inside).mkdir(parents=True)
        for file in (*train, *test):
            (place / inside / file).write_bytes(python_2(fields))
    assert pickled.find(name, tmp_path) == [place]
    (x, y), (x_test, _) = pickled.read(name, place)
    assert len(x) == 20 * len(train)
    np.testing.assert_array_equal(x[-20:], images)
    np.testing.assert_array_equal(x_test, images)
    assert y[:3].tolist() == [0, 1, 2]


def test_it_is_compared_with_the_published_digests(tmp_path, monkeypatch):
    """20 images a batch are too few; a wrong image is found by the same way."""
    (tmp_path / "cifar-10-batches-py").mkdir()
    for file in (*pickled.FILES["cifar10"][0], "test_batch"):
        content = python_2(batch("labels")[0])
        (tmp_path / "cifar-10-batches-py" / file).write_bytes(content)
    with pytest.raises(datasets.DataError, match="is not cifar10: 50000 uint8 images"):
        datasets.load("cifar10", tmp_path)


def test_keras_own_folder_is_looked_in_and_a_damaged_one_passed_over(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("ALLCONV_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    damaged = tmp_path / "datasets" / "cifar-10-batches-py.tar.gz"
    damaged.parent.mkdir()
    damaged.write_bytes(b"half")
    assert datasets.is_cached("cifar10")
    with pytest.warns(UserWarning, match="Passed over: .*cifar-10-batches-py"):
        assert cifar_files._find_with_keras("cifar10") is None
    monkeypatch.setenv("ALLCONV_DATA", str(tmp_path / "elsewhere"))
    assert not datasets.is_cached("cifar10")


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_that_a_file_says_is_run(protocol, tmp_path):
    trap = tmp_path / "trap"
    content = pickle.dumps({"data": Trap(trap), "labels": [1]}, protocol)
    with pytest.raises(DataError, match="is not as it was published"):
        pickled._batch(content, "labels", "here")
    assert not trap.exists()
    pickle.loads(content)
    assert trap.exists()


def test_other_types_than_bytes_are_refused():
    for value in (np.ones(3), np.array([object()]), {1, 2}, np.random.default_rng()):
        with pytest.raises(ValueError, match=r"it (holds|calls|sets)"):
            pickled.parse(pickle.dumps(value, 2))


WHOLE = python_2(batch("labels", n=2)[0])


@hypothesis.given(st.data())
def test_a_mangled_file_is_refused_or_read_and_never_more(data):
    """Bytes changed, cut out or put in; `genops` and the stack may meet anything."""
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, 200) | st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3)
            | st.sampled_from([op.code.encode("latin-1") for op in pickletools.opcodes])
        )
    with contextlib.suppress(DataError):  # and nothing else
        images, labels = pickled._batch(bytes(content), "labels", "here")
        assert images.shape == (len(labels), 32, 32, 3)
