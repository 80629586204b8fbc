"""A data set, a recipe and a network of one's own, from an empty folder to a table."""

import json
import re
import sys

import keras
import numpy as np
import pytest

from allconv import __main__ as cli
from allconv.commands import arguments
from allconv.commands.train import recipe
from allconv.data import datasets, shapes
from allconv.networks import builders, own, registry
from allconv.networks.classifier import Classifier
from allconv.presets import catalogue, limits, preset_file
from allconv.presets.preset import Preset

NAMES = list(shapes.SHAPES)[:5]
NETWORK = """\
from keras import layers

from allconv.networks import register


def hidden(x, options):
    x = layers.Conv2D(8, 3, 2, activation="relu", name="conv1")(x)
    return layers.Conv2D(8, 3, 2, activation="relu", name="conv2")(x)


register("my_net", hidden, smallest_input=7)
"""


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty folder with five classes of 40 x 40 pixels; what is registered goes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "FAMILIES", registry.FAMILIES)
    monkeypatch.setattr(registry, "NAMES", registry.NAMES)
    monkeypatch.setattr(catalogue, "PRESETS", dict(catalogue.PRESETS))
    x, y = shapes.draw(600, seed=3)
    x = np.pad(x[y < 5], ((0, 0), (4, 4), (4, 4), (0, 0)))
    y = y[y < 5]
    np.savez(
        tmp_path / "five.npz",
        **{"x_train": x[:200], "y_train": y[:200]},
        **{"x_test": x[200:260], "y_test": y[200:260]},
        class_names=np.array(NAMES),
    )
    yield tmp_path
    sys.modules.pop("mynets", None)


def test_fewer_images_than_a_batch_are_trained_on_by_one_more_word(empty):
    with np.load("five.npz") as file:
        np.savez("few.npz", **{k: v[:20] for k, v in file.items()})
    words = ["train", "fast", "--data", "few.npz"]
    refused = "1 to the 20 images .* give `--batch-size`.* Received: batch_size=128"
    with pytest.raises(ValueError, match=refused):
        limits.check(recipe(arguments.parser().parse_args(words)))
    smaller = recipe(arguments.parser().parse_args([*words, "--batch-size", "20"]))
    limits.check(smaller)
    assert (smaller.batch_size, smaller.name) == (20, "fast-few-batch_size=20")


def test_photographs_too_large_to_whiten_train_by_one_more_word(empty):
    with np.load("five.npz") as file:
        large = {k: np.repeat(v, 2, 1) for k, v in file.items() if k[0] == "x"}
        labels = {k: v for k, v in file.items() if k[0] == "y"}
    np.savez("large.npz", **{k: np.repeat(v, 2, 2) for k, v in large.items()}, **labels)
    words = ["train", "fast", "--data", "large.npz", "--epochs", "3"]
    with pytest.raises(ValueError, match="`preprocessing` should be mean_std"):
        limits.check(recipe(arguments.parser().parse_args(words)))
    words += ["--preprocessing", "mean_std"]
    preset = recipe(arguments.parser().parse_args(words))
    limits.check(preset)
    assert preset.preprocessing == "mean_std"
    assert preset.name == "fast-large-3ep-preprocessing=mean_std"


def test_a_folder_is_the_same_however_it_is_written(empty):
    (empty / "photos").mkdir()
    for word in ("photos", "photos/", "./photos", "photos/."):
        words = ["train", "tiny", "--data", word]
        assert recipe(arguments.parser().parse_args(words)).dataset == "photos/"
        (empty / "mine.json").write_text(json.dumps({"dataset": word}))
        assert preset_file.read("mine.json").dataset == "photos/"
    (empty / "cifar10").mkdir()
    for word in ("cifar10", "gone/photos", "five.npz"):
        assert datasets.spelling(word) == word
    assert datasets.spelling("./five.npz") == "five.npz"


def test_from_an_empty_folder_to_a_table(empty, capsys):
    (empty / "mynets.py").write_text(NETWORK)
    recipe = {"base": "tiny", "architecture": "my_net", "dataset": "five.npz"}
    recipe |= {"epochs": 1, "train_size": None, "name": "mine"}
    (empty / "mine.json").write_text(json.dumps(recipe))

    def call(*words):
        status = cli.main(list(words))
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    mine, fast = ("--import", "mynets"), ("--precision", "float32")
    out = call(
        "train", "--preset-file", "mine.json", "--records", "records", *mine, *fast
    )
    assert "mine, seed 0: error" in out
    record = json.loads((empty / "records" / "mine-seed0.json").read_text())
    assert record["preset"]["dataset"] == "five.npz"
    assert np.shape(record["confusion"]) == (5, 5)

    weights = ("--weights", "runs/mine-seed0/weights.h5")
    out = call("evaluate", *weights, *mine)
    assert f"my_net on five.npz: error {record['error']:.2f} %" in out
    assert f"\n  {NAMES[4]} " in out
    out = call("table", "five", "--records", "records")
    assert re.search(rf"my_net +mine +1 +{record['parameters']:,} +\d", out)
    out = call("list", *mine)
    assert "\n your own\n  my_net\n" in out
    out = call("explain", "3", "--model", "my_net", *weights, "--layer", "conv2")
    assert out.split() == ["explanation.png", "explanation.npz", "explanation.json"]
    assert np.load("explanation.npz")["map"].shape == (40, 40, 3)
    call("gallery", *weights, "--records", "records")
    page = (empty / "gallery" / "index.html").read_text("utf-8")
    assert NAMES[4] in page
    assert "trained on five" in page

    # The file knows its classes, wherever the data are by now.
    classifier = Classifier.load("runs/mine-seed0/weights.h5")
    (empty / "five.npz").unlink()
    classifier.save("again.h5")
    assert Classifier.load("again.h5").meta["class_names"] == NAMES


def test_a_recipe_registered_is_trained_by_name(empty, capsys):
    with pytest.raises(ValueError, match="There is a preset 'tiny'"):
        catalogue.register(Preset("tiny", "all_cnn_c"))
    with pytest.raises(ValueError, match="`epochs` should be"):
        catalogue.register(Preset("mine", "all_cnn_c", epochs=0))
    catalogue.register(Preset("mine", "all_cnn_c", epochs=7))
    assert cli.main(["list"]) == 0
    assert "\n  mine " in capsys.readouterr().out


def hidden(x, options):
    return keras.layers.Conv2D(4, 3, name="conv1")(x)


def test_a_network_registered_is_built_as_any(empty):
    own.register("mine", hidden, classes=3, smallest_input=3, input_size=9)
    model = builders.build("mine")
    assert (model.input_shape, model.output_shape) == ((None, 9, 9, 3), (None, 3))
    assert builders.build("mine", classes=7).output_shape == (None, 7)
    last = builders.build("mine", include_top=False, input_shape=(None, None, 3))
    assert last.output_shape == (None, None, None, 4)
    registry_size = len(registry.NAMES)
    own.register("mine", hidden, classes=5)  # as a notebook's cell does, run again
    assert builders.build("mine").output_shape == (None, 5)
    assert len(registry.NAMES) == registry_size
    own.register("mine", hidden, classes=3, smallest_input=3, input_size=9)
    with pytest.raises(ValueError, match="`norm` should be one of none for mine"):
        builders.build("mine", norm="batch")
    with pytest.raises(ValueError, match="`input_shape` should be"):
        builders.build("mine", input_shape=(2, 2, 3))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("all_cnn_c", hidden), "There is a network 'all_cnn_c'"),
        (("my net", hidden), "should be a word, as `my_net`"),
        (("mine", "hidden"), "should be functions"),
        (("mine", hidden, 3), "should be functions"),
    ],
)
def test_what_cannot_be_registered(empty, arguments, message):
    with pytest.raises(ValueError, match=message):
        own.register(*arguments)
    with pytest.raises(ValueError, match="`norms` should be some of none, batch"):
        own.register("mine", hidden, norms=("layer",))


def test_a_module_that_is_not_there_is_one_line(empty, capsys):
    assert cli.main(["list", "--import", "nowhere"]) == 2
    assert capsys.readouterr().err == "allconv: No module named 'nowhere'\n"
    with pytest.raises(SystemExit, match="2"):
        cli.main(["list", "--import", ".."])
    assert "should be a module's name, as `import` takes" in capsys.readouterr().err
