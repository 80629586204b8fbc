"""A training on files of the disk, from class folders to a table."""

import json
from dataclasses import replace

import numpy as np
import pytest

from allconv import __main__ as cli
from allconv.core import files
from allconv.data import shapes, streams
from allconv.networks.classifier import Classifier
from allconv.presets import catalogue, imagenet
from allconv.presets.limits import check
from allconv.results import paper, records, tables
from allconv.training import callbacks, streamed
from allconv.training.run import train
from experiments import imagenet as tables_of_imagenet
from experiments.zfnet import __main__ as zfnet
from tests.runs import StopAfter


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Class folders of JPEG files of four sizes, and a recipe for them."""
    folder = tmp_path_factory.mktemp("data")
    path = shapes.folder(folder / "drawn", 120, 40)
    recipe = replace(
        catalogue.get("zfnet_rehearsal"),
        name="rehearsal",
        architecture="zfnet_32",
        dataset=str(path),
        epochs=2,
        batch_size=16,
        learning_rate=1e-4,  # small enough for the large inputs of a small network
        train_size=100,
        steps_per_epoch=7,  # a pass has six: the last batch of the first is another's
        validate_every=0,
    )
    return folder, recipe


def test_from_class_folders_to_a_table_through_a_stop(drawn, tmp_path, capsys):
    folder, recipe = drawn
    check(recipe)
    whole = train(recipe, 3, tmp_path / "whole", data_dir=folder, progress=False)
    with pytest.raises(callbacks.Interrupted, match="The 1 finished ones are safe"):
        train(
            recipe,
            3,
            tmp_path / "stopped",
            data_dir=folder,
            callbacks=[StopAfter(1)],
            progress=False,
        )
    resumed = train(recipe, 3, tmp_path / "stopped", data_dir=folder, progress=False)
    assert resumed["state_sha256"] == whole["state_sha256"]
    losses = [epoch["loss"] for epoch in whole["history"]]
    assert [epoch["loss"] for epoch in resumed["history"]] == losses

    # What the record says is measured again by another way.
    weights = str(tmp_path / "stopped" / "weights.h5")
    classifier = Classifier.load(weights)
    images = streams.load(recipe.dataset, folder).test
    views = [*streamed.loader.views(images, size=64, batch_size=40).as_numpy_iterator()]
    shares = classifier.predict(views[0])
    wrong = (shares.argmax(1) != images.labels).sum()
    assert whole["wrong"] == wrong < 40
    ranks = (shares > shares[np.arange(40), images.labels][:, None]).sum(1)
    assert whole["top5_error"] == 100 * (ranks >= 5).mean()
    ten = streamed.loader.views(images, size=64, batch_size=40, ten=True)
    shares = classifier.predict(next(ten.as_numpy_iterator())).reshape(40, 10, 10)
    wrong = (shares.mean(1).argmax(1) != images.labels).sum()
    assert whole["ten_crop_error"] == 100 * wrong / 40

    # Any figure of it: as one file of raw pixels it is anybody's network.
    data = ["--data-dir", str(folder)]
    net = str(tmp_path / "net.keras")
    command = ["export", "--weights", weights, "--format", "keras", "-o", net]
    assert cli.main([*command, *data]) == 0
    assert "opened       40 test images" in capsys.readouterr().out
    command = ["--model", net, "--images", f"{recipe.dataset}/test", "--no-strict"]
    assert zfnet.main([*command, "--out", str(tmp_path), "--only", "strongest"]) == 0
    assert (tmp_path / "figures" / "zfnet_strongest.png").exists()
    capsys.readouterr()

    assert cli.main(["evaluate", "--weights", weights, "--ten-crops", *data]) == 0
    out = capsys.readouterr().out
    assert f"error {whole['error']:.2f} %" in out
    assert f"of ten crops: error {whole['ten_crop_error']:.2f} %" in out
    copies = tmp_path / "records"
    copies.mkdir()
    copy = copies / "rehearsal-seed3.json"
    copy.write_bytes(files.read_bytes(tmp_path / "stopped" / "record.json"))
    assert records.read(copy)["preset"] == recipe.as_dict()
    assert cli.main(["table", "drawn", "--records", str(copies)]) == 0
    assert f" {whole['ten_crop_error']:.2f} " in capsys.readouterr().out
    assert cli.main(["data", recipe.dataset, "--on-disk", *data]) == 0
    found = capsys.readouterr().out
    assert "10 classes, 120 training and 40 test images, all of them decoded" in found


def test_images_held_back_are_measured_in_place_of_the_test_images(drawn):
    folder, recipe = drawn
    recipe = replace(recipe, hold_out=20, train_size=None)
    held = streamed.Streamed(recipe, folder)
    assert (len(held.train), len(held.test), held.split) == (100, 20, "hold_out")
    every = {bytes(d) for d in held.train.rows["digest"]}
    assert not every & {bytes(d) for d in held.test.rows["digest"]}
    assert held.steps == 7
    with pytest.raises(ValueError, match="`train_size` should be from 1 to 100"):
        streamed.Streamed(replace(recipe, train_size=101), folder)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"image_size": 0}, "`image_size` should be None, or an integer from 1"),
        ({"image_size": 3}, "`architecture` should be a network for images of 3 x"),
        ({"preprocessing": "gcn_zca"}, "`preprocessing` should be mean_std or mean_p"),
        ({"augmentation": "paper"}, "`augmentation` should be none, flip or one of c"),
        ({"dataset": "cifar10"}, "`dataset` should be imagenet, shapes or a folder"),
        ({"windows": ((0, 48),)}, "`windows` should be empty"),
        ({"image_size": None}, "`augmentation` should be another where image_size"),
        ({"batch_size": 121}, "`batch_size` should be from 1 to the 120 images"),
        ({"dataset": "imagenet", "image_size": None}, "`image_size` should be set for"),
    ],
)
def test_what_no_run_on_files_can_follow(drawn, changes, message):
    _, recipe = drawn
    recipe = replace(recipe, train_size=None)
    with pytest.raises(ValueError, match=message):
        check(replace(recipe, **changes))


def test_recipes_are_the_papers():
    assert imagenet.ALL_CNN.epochs * imagenet.ALL_CNN.steps_per_epoch == 450_000
    starts = [m * imagenet.ALL_CNN.steps_per_epoch for m in imagenet.ALL_CNN.milestones]
    assert starts == [200_000, 400_000]
    named = [preset.name for preset in imagenet.ROWS]
    assert set(imagenet.TABLE_3.values()) == set(paper.ABLATION)
    assert set(imagenet.TABLE_2) == set(paper.NETDECONV_TABLE_2)
    assert set(paper.IMAGENET_RECIPES) == {n for n in named if "rehearsal" not in n}
    for (network, norm), (errors, _) in imagenet.TABLE_2.items():
        theirs = paper.NETDECONV_TABLE_2[network, norm]
        expected = [f"{100 - theirs[k].value:.2f}" for k in ("top1", "top5")]
        assert errors == " / ".join(expected)
    for preset in imagenet.ROWS:
        assert "rehearsal" in preset.name or preset.dataset == "imagenet"


def test_tables_of_imagenet_say_what_was_not_run():
    made = [tables_of_imagenet.zfnet([]), tables_of_imagenet.netdeconv([])]
    assert made[0].count("not run") == 3 * 12
    assert made[1].count("not run") == 2 * 7
    run = {"seed": 0, "status": "finished", "minutes": 60.0, "split": "test"}
    run |= {"error": 45.0, "top5_error": 21.0, "ten_crop_error": 39.5}
    run |= {"ten_crop_top5_error": 17.25, "history": [{"epoch": 70, "accuracy": 0.75}]}
    one = run | {"preset": catalogue.get("zfnet").as_dict(), "parameters": 62_357_608}
    line = tables_of_imagenet.zfnet([one]).splitlines()[2]
    assert line == "| zfnet | 33.1 | 25.00 | 38.4 | 16.5 | 39.50 | 17.25 | 1 |"
    other = run | {"preset": catalogue.get("resnet18_deconv").as_dict()}
    line = tables_of_imagenet.netdeconv([other]).splitlines()[6]
    assert line == "| resnet18 | deconv | 71.24 | 90.14 | 55.00 | 79.00 | 1 |"
    row = next(r for r in tables.rows("imagenet", [one]) if r["recipe"] == "zfnet")
    assert row["our error %"] == "39.50"
    assert row["parameters"] == "62,357,608"


def test_a_record_of_a_thousand_classes_has_no_confusion_matrix(tmp_path):
    path = next((tables_of_imagenet.RECORDS).glob("*.json"))
    record = json.loads(path.read_text())
    del record["confusion"]
    with pytest.raises(ValueError, match="`confusion` of a finished run is missing"):
        records.check(record)
    records.check(record | {"per_class": [1.0] * 1000})
