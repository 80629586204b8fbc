"""CIFAR of blank images in every form it comes in, and a folder for it."""

import hashlib
import io
import tarfile

import numpy as np
import pytest

from allconv.data import cifar, cifar_files, datasets

CLASSES = {"cifar10": 10, "cifar100": 100}


def fake(name):
    """As many images as the original, all blank, which compress to nothing."""
    x = np.zeros((60_000, 32, 32, 3), np.uint8)
    y = np.arange(60_000) % CLASSES[name]
    return (x[:50_000], y[:50_000]), (x[50_000:], y[50_000:])


def binary(name, images, labels):
    planar = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    columns = [labels[:, None].astype(np.uint8), planar]
    if name == "cifar100":
        columns.insert(0, datasets.COARSE[labels][:, None].astype(np.uint8))
    return np.concatenate(columns, axis=1).tobytes()


def files(name):
    (x, y), (xt, yt) = fake(name)
    if name == "cifar100":
        return {"train.bin": binary(name, x, y), "test.bin": binary(name, xt, yt)}
    out = {
        f"data_batch_{i + 1}.bin": binary(
            name, *(a[10_000 * i :][:10_000] for a in (x, y))
        )
        for i in range(5)
    }
    return out | {"test_batch.bin": binary(name, xt, yt)}


@pytest.fixture(scope="session", params=["cifar10", "cifar100"])
def source(request, tmp_path_factory):
    """(name, folder with packed archive, unpacked files and npz), made once."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    archive, _, inside = cifar.ARCHIVES[name]
    content = files(name)
    with tarfile.open(folder / archive, "w:gz", compresslevel=1) as tar:
        for file, body in content.items():
            info = tarfile.TarInfo(f"{inside}/{file}")
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    (folder / inside).mkdir()
    for file, body in content.items():
        (folder / inside / file).write_bytes(body)
    (x, y), (xt, yt) = fake(name)
    np.savez_compressed(
        folder / f"{name}.npz", x_train=x, y_train=y, x_test=xt, y_test=yt
    )
    return name, folder


@pytest.fixture
def blank(source, tmp_path, monkeypatch):
    """The published digests replaced by those of the blank set; a folder to fill."""
    name, folder = source
    archive, _, inside = cifar.ARCHIVES[name]
    md5 = hashlib.md5((folder / archive).read_bytes()).hexdigest()
    monkeypatch.setitem(cifar.ARCHIVES, name, (archive, md5, inside))
    digests = tuple(
        hashlib.md5((folder / inside / f"{b}.bin").read_bytes()).hexdigest()
        for b in cifar.CIFAR10_BATCHES
        if name == "cifar10"
    )
    monkeypatch.setattr(cifar_files, "CIFAR10_MD5", digests or cifar_files.CIFAR10_MD5)
    prints = tuple(datasets.fingerprint(*split) for split in fake(name))
    monkeypatch.setattr(cifar_files, "CIFAR100_PRINTS", prints)
    monkeypatch.delenv("ALLCONV_DATA", raising=False)
    return name, folder, tmp_path
