"""MNIST's loaders: every kind of file, what is mangled, missing or another set's."""

import gzip
import hashlib
import struct
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from allconv.commands import show
from allconv.commands.arguments import parser
from allconv.data import datasets, mnist
from allconv.data.cifar import DataError

COUNTS = (11, 6)  # images to train on and to test on: the digests alone say how many
SETS = ("mnist", "fashion_mnist")


def arrays(name):
    rng = np.random.default_rng(SETS.index(name))
    return [
        part
        for n in COUNTS
        for part in (
            rng.integers(0, 256, (n, 28, 28), dtype=np.uint8),
            rng.integers(0, 10, n, dtype=np.uint8),
        )
    ]


def files(name):
    """IDX files, written number by number as their authors describe the format."""
    out = {}
    for file, array in zip(mnist.FILES, arrays(name), strict=True):
        magic = {3: 2051, 1: 2049}[array.ndim]
        head = b"".join(struct.pack(">i", n) for n in (magic, *array.shape))
        out[file] = head + bytes(array.ravel().tolist())
    return out


def put(name, folder, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files(name).items():
        if packed:
            (folder / f"{file}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (folder / file).write_bytes(content)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """The published digests replaced by those of small sets; nothing found outside."""
    for name in SETS:
        content = files(name).values()
        digests = tuple(hashlib.md5(c).hexdigest() for c in content)
        monkeypatch.setitem(mnist.UNPACKED, name, digests)
        packed = (gzip.compress(c, mtime=0) for c in content)
        digests = tuple(hashlib.md5(c).hexdigest() for c in packed)
        monkeypatch.setitem(mnist.PUBLISHED, name, digests)
        monkeypatch.setitem(mnist.SITES, name, "http://127.0.0.1:9/")  # refuses
    monkeypatch.setattr(mnist, "DEBIAN", {})
    monkeypatch.delenv("ALLCONV_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def assert_loaded(name, data_dir=None):
    (x, y), (xt, yt) = datasets.load(name, data_dir)
    for found, expected in zip((x, y, xt, yt), arrays(name), strict=True):
        if expected.ndim == 3:
            assert found.dtype == np.uint8
            expected = np.stack([expected] * 3, axis=-1)
        else:
            assert found.dtype == np.int64
        np.testing.assert_array_equal(found, expected)
    assert datasets.is_cached(name, data_dir)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_are_read_from_every_folder(name, packed, tmp_path):
    for i, inside in enumerate((*mnist.FOLDERS[name], "")):
        put(name, tmp_path / str(i) / inside, packed)
        assert_loaded(name, tmp_path / str(i))


@pytest.mark.parametrize("name", SETS)
def test_keras_own_files_are_found_and_verified(name, tmp_path):
    folder = tmp_path / "keras" / "datasets"
    folder.mkdir(parents=True)
    assert not datasets.is_cached(name)
    if name == "fashion_mnist":
        put(name, folder / "fashion-mnist")
        return assert_loaded(name)
    names = ("x_train", "y_train", "x_test", "y_test")
    content = dict(zip(names, arrays(name), strict=True))
    np.savez(folder / "mnist.npz", **content)
    assert_loaded(name)
    content["x_test"] = content["x_test"].copy()
    content["x_test"][1, 2, 3] ^= 1
    np.savez(folder / "mnist.npz", **content)
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte has MD5"):
        datasets.load(name)
    content["x_test"] = content["x_test"] / 255
    np.savez(folder / "mnist.npz", **content)
    with pytest.raises(DataError, match=r"uint8 arrays\. Received: uint8, uint8, f"):
        datasets.load(name)


def test_the_files_of_the_other_set_are_passed_over(tmp_path, monkeypatch):
    put("fashion_mnist", tmp_path)
    assert not datasets.is_cached("mnist", tmp_path)
    monkeypatch.setattr(mnist, "DEBIAN", {"fashion_mnist": tmp_path})
    assert datasets.places("fashion_mnist", tmp_path / "gone") == [tmp_path]
    put("fashion_mnist", tmp_path / "mnist")
    with pytest.raises(DataError, match="is not the original mnist: train-images"):
        datasets.load("mnist", tmp_path)


@pytest.mark.parametrize("packed", [True, False])
def test_mangled_files_are_refused(packed, tmp_path):
    put("mnist", tmp_path / "mnist", packed)
    paths = sorted((tmp_path / "mnist").iterdir())
    kept = {path: path.read_bytes() for path in paths}

    @hypothesis.settings(max_examples=30)
    @hypothesis.given(st.data())
    def check(drawn):
        path = drawn.draw(st.sampled_from(paths))
        content = bytearray(kept[path])
        at = drawn.draw(st.integers(0, len(content) - 1))
        if drawn.draw(st.booleans()):
            content = content[:at]
        else:
            content[at] ^= 255
        path.write_bytes(content)
        try:
            assert_loaded("mnist", tmp_path)  # of a gzip file the head has no checksum
        except DataError:
            pass
        finally:
            path.write_bytes(kept[path])

    check()
    paths[0].unlink()
    with pytest.raises(DataError, match=r"lacks t10k-images-idx3-ubyte\."):
        datasets.load("mnist", tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_missing_files_are_fetched_once_and_verified(name, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"could not be fetched \(.*three companions"):
        datasets.load(name, tmp_path / "mine")
    put(name, tmp_path / "site")
    asked = []

    class Site(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            asked.append(self.path)

    handler = partial(Site, directory=tmp_path / "site")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setitem(mnist.SITES, name, site)
        broken = tmp_path / "site" / "t10k-labels-idx1-ubyte.gz"
        content = broken.read_bytes()
        broken.write_bytes(content[:-1])
        with pytest.raises(DataError, match="could not be fetched"):
            datasets.load(name, tmp_path / "mine")
        broken.write_bytes(content)
        assert_loaded(name, tmp_path / "mine")
        assert_loaded(name, tmp_path / "mine")
        server.shutdown()
    assert len(asked) == 5  # those that were whole are not fetched again


def test_the_command_says_where_the_data_lie(tmp_path, capsys):
    put("fashion_mnist", tmp_path / "fashion-mnist")
    show.data(
        parser().parse_args(["data", "fashion_mnist", "--data-dir", str(tmp_path)])
    )
    out = capsys.readouterr().out
    assert "fashion_mnist: 11 training and 6 test images" in out
    assert f"in           {tmp_path / 'fashion-mnist'}" in out


def test_other_rooms_know_their_size():
    for name in SETS:
        assert datasets.shape(name) == (60_000, 28, 28)
        assert len(datasets.class_names(name)) == 10
