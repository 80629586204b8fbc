"""The program of ZFNet's figures and tables, of any network, on drawn photographs."""

import functools
import json

import keras
import numpy as np
import pytest
from PIL import Image

from allconv.data import shapes
from experiments.zfnet import __main__ as program, photos


@pytest.fixture
def run(tmp_path, same_weights, monkeypatch, capsys):
    images, labels = shapes.draw(24)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "photos" / f"c{label % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    layers = keras.layers
    model = keras.Sequential(
        [
            *(keras.Input((32, 32, 3)), layers.Rescaling(1 / 255)),
            layers.Conv2D(4, 3, strides=2, activation="relu", name="low"),
            *(layers.MaxPooling2D(), layers.Conv2D(6, 3, activation="relu", name="up")),
            *(layers.GlobalAveragePooling2D(), layers.Dense(3, "softmax")),
        ]
    )
    model.save(tmp_path / "net.keras")
    (tmp_path / "classes.txt").write_text("c0\nc1\nc2\n")
    boxes = {f"{i}.png": {"middle": [12, 12, 20, 20]} for i in (3, 13)}
    (tmp_path / "parts.json").write_text(json.dumps({"parts": boxes}))
    few = functools.partial(photos.transfer, per_class=2, tested=2)
    monkeypatch.setitem(program.ON_PHOTOS, "transfer", few)

    def call(*more):
        command = ["--model", "net.keras", "--images", "photos", "--out", "out"]
        command += ["--classes", "classes.txt", "--parts", "parts.json", *more]
        monkeypatch.chdir(tmp_path)
        assert program.main(command) == 0
        return capsys.readouterr().out

    return call


def test_every_figure_and_table_of_a_network_of_ones_own_is_made(run, tmp_path):
    printed = run("--transfer", "photos")
    assert "not run" not in printed
    assert sorted(p.name for p in (tmp_path / "out" / "figures").iterdir()) == [
        "zfnet_correspondence.png",
        "zfnet_correspondence_masks.png",
        "zfnet_invariance.png",
        "zfnet_occlusion.png",
        "zfnet_strongest.png",
    ]
    transfer = (tmp_path / "out" / "tables" / "zfnet_transfer.md").read_text()
    assert [line.split(" | ")[0] for line in transfer.splitlines()[4:]] == [
        *("| pixels", "| low", "| up")
    ]
    boxes = (tmp_path / "out" / "tables" / "zfnet_correspondence.md").read_text()
    assert "| middle | up |" in boxes


def test_what_is_missing_is_named(run, tmp_path):
    printed = run("--only", "transfer")
    assert "transfer: not run: name a folder of class folders" in printed
    assert "evolution: not run: of the networks at CIFAR size" in run(
        "--only", "evolution"
    )
    boxes = {"none.png": {"middle": [12, 12, 20, 20]}}
    (tmp_path / "parts.json").write_text(json.dumps({"parts": boxes}))
    printed = run("--only", "correspondence")
    assert "photos has no none.png" in printed


def test_photographs_without_a_class_count_as_what_the_network_says(run, tmp_path):
    subject = photos.OnPhotos(
        file=str(tmp_path / "net.keras"),
        folder=tmp_path / "photos",
        parts=tmp_path / "parts.json",
        out=tmp_path,
    )
    assert len(subject.right) == 24
    np.testing.assert_array_equal(subject.labels, subject._predicted)
    np.testing.assert_allclose(subject.grey, (123, 117, 104))
