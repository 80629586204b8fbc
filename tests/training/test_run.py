"""What one run trains, records and leaves behind, and the recipes it refuses."""

import json
import os
from dataclasses import replace
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from allconv.core import files
from allconv.data import datasets, whitenings
from allconv.data.augmentation import AUGMENTATIONS
from allconv.data.batches import batches
from allconv.data.preprocessing import MeanStd
from allconv.networks.classifier import Classifier
from allconv.presets import catalogue
from allconv.probes import evolution
from allconv.results.evaluation import evaluate
from allconv.training import checkpoints, inputs
from allconv.training.callbacks import restore, state
from allconv.training.run import average, compiled, fit, runtime
from tests.runs import SMALL, run


def test_a_record_says_what_was_done(finished):
    folder, record = finished
    assert record == json.loads((folder / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["preset"] == SMALL.as_dict()
    assert record["seed"] == 3
    assert record["split"] == "hold_out"
    assert record["n"] == 64 == np.sum(record["confusion"])
    assert record["wrong"] == 64 - np.trace(record["confusion"])
    assert record["error"] == round(100 * record["wrong"] / 64, 4)
    assert record["parameters"] == 839_242
    assert [row["epoch"] for row in record["history"]] == [1, 2, 3]
    assert ["val_loss" in row for row in record["history"]] == [False, True, False]
    assert set(record["data"]) == {"train", "hold_out", "order"}
    assert record["environment"]["keras"] == keras.__version__
    header, *rows = (folder / "history.csv").read_text().splitlines()
    assert header.startswith("epoch,accuracy,loss")
    assert len(rows) == 3


def test_weights_of_a_run_give_its_error(finished):
    folder, record = finished
    small = inputs.Inputs(SMALL)
    classifier = Classifier.load(folder / "weights.h5")
    result = evaluate(classifier.model, small.x_test, small.y_test)
    assert result.wrong == record["wrong"]
    assert classifier.meta["preset"] == "small"


def test_two_folders_same_seed_same_bytes_other_seed_other_bytes(finished, tmp_path):
    _, record = finished
    again = run(tmp_path / "again")
    assert again["state_sha256"] == record["state_sha256"]
    assert again["history"] == record["history"]
    other = run(tmp_path / "other", seed=4)
    assert other["state_sha256"] != record["state_sha256"]


def test_weight_decay_is_caffes():
    """One SGD step: w - lr * (gradient + decay * w), biases included."""
    small = inputs.Inputs(SMALL)
    x, y = small.x_train[:8], keras.ops.one_hot(small.y_train[:8], 10)
    after = []
    for decay in (0.0, 0.1):
        preset = replace(
            SMALL, weight_decay=decay, dropout=0.0, schedule="steps", learning_rate=0.5
        )
        runtime.set_seed(0)
        model = compiled(preset, small)
        before = {v.path: np.asarray(v.value) for v in model.trainable_variables}
        model.get_layer("conv1").bias.assign(before["conv1/bias"] + 2)
        model.train_on_batch(x, y)
        after.append({v.path: np.asarray(v.value) for v in model.trainable_variables})
    before["conv1/bias"] = before["conv1/bias"] + 2
    for path, plain in after[0].items():
        np.testing.assert_allclose(
            after[1][path], plain - 0.5 * 0.1 * before[path], atol=1e-5
        )


def test_class_scores_that_start_on_are_on_and_learn():
    small = inputs.Inputs(SMALL)
    model = compiled(replace(SMALL, score_bias=2.0), small)
    last = model.get_layer("global_pool").input
    before = keras.Model(model.inputs[0], last)(small.x_train[:8])
    np.testing.assert_array_equal(before, 2.0)
    names = {layer.output.name: layer for layer in model.layers}
    scores = names[last.name]
    assert scores.kernel.shape[-1] == 10
    model.train_on_batch(small.x_train[:64], keras.ops.one_hot(small.y_train[:64], 10))
    assert np.abs(np.asarray(scores.kernel.value)).max(axis=(0, 1, 2)).all()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"architecture": "vgg"}, "`architecture` should be a network that"),
        ({"schedule": "once"}, "steps, linear.* Received: schedule='once'"),
        ({"windows": ((1, 24),)}, "the first of epoch 0"),
        ({"windows": ((0, 0),)}, "sizes from 9 pixels"),
        ({"windows": ((0, 40),)}, "to 32, which all images have"),
        ({"hold_out": 5000}, "`hold_out` should be 4999 at most"),
        ({"epochs": 2.5}, "`epochs` should be an integer"),
        ({"precision": "float64"}, "`precision` should be one of"),
        ({"shuffle_rounds": 5}, "`shuffle_rounds` should be even. Received: "),
        ({"shuffle_rounds": 2}, "`shuffle_rounds` should be an integer from 4"),
        ({"epochs": 0}, "`epochs` should be an integer from 1"),
        ({"architecture": "zfnet_32", "score_bias": 1.0}, "scores are not rectified"),
        ({"muon": 0.3}, "`muon` should be 0, but for All-CNN networks"),
        ({"momentum": 1.5}, "`momentum` should be a number from 0 to 1"),
        ({"train_size": 10**6}, "`train_size` should be from 1 to 4936"),
        ({"batch_size": 97}, "`batch_size` should be from 1 to the 96"),
    ],
)
def test_presets_that_cannot_be_followed(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", replace(SMALL, **change))
    assert not list(tmp_path.iterdir())


def test_a_strategy_of_ones_own_is_refused_before_a_folder_is_made(tmp_path):
    with (
        tf.distribute.OneDeviceStrategy("/cpu:0").scope(),
        pytest.raises(RuntimeError, match=r"outside any `tf\.distribute` strategy"),
    ):
        run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_newest_whitenings_alone_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(whitenings, "KEPT", 2)
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 2, 3), np.uint8)
    for day, name in enumerate("abcd"):
        inputs.fitted("gcn_zca", images, name * 64, tmp_path)
        os.utime(tmp_path / f"gcn_zca-{name * 16}.h5", (day, day))
    left = [p.name for p in sorted(tmp_path.iterdir())]
    assert left == [f"gcn_zca-{name * 16}.h5" for name in "cd"]


def test_bad_seed_and_preset_name(tmp_path):
    for seed in (-1, True, 1.0):
        with pytest.raises(ValueError, match=rf"from 0 to .* Received: {seed}"):
            run(tmp_path, seed=seed)
    with pytest.raises(ValueError, match=r"A preset should be one .* Received: 'nope'"):
        catalogue.get("nope")


@pytest.mark.parametrize(
    "changes",
    [{"norm": "batch"}, {"norm": "deconv"}, {"norm": "batch", "muon": 0.3}],
)
def test_normalised_networks_train_and_their_weights_stand_alone(tmp_path, changes):
    preset = replace(SMALL, epochs=1, **changes)
    record = run(tmp_path, preset)
    small = inputs.Inputs(preset)
    classifier = Classifier.load(tmp_path / "weights.h5")
    result = evaluate(classifier.model, small.x_test, small.y_test)
    assert result.wrong == record["wrong"]
    kinds = {type(layer).__name__ for layer in classifier.model.layers}
    assert kinds.isdisjoint({"BatchNormalization", "NetworkDeconvolution2D"})


def test_small_windows_train_and_the_weights_take_whole_images(tmp_path):
    record = run(tmp_path, replace(SMALL, windows=((0, 24), (1, 32))))
    assert record["status"] == "finished"
    assert Classifier.load(tmp_path / "weights.h5").model.input_shape[1:3] == (32, 32)


def test_bfloat16_trains(tmp_path):
    record = run(tmp_path, replace(SMALL, precision="mixed_bfloat16", epochs=1))
    assert record["status"] == "finished"
    assert keras.config.dtype_policy().name == "float32"


def test_the_optimizer_and_the_loss_are_the_recipes():
    preset = replace(SMALL, momentum=0.7, nesterov=True, label_smoothing=0.1)
    model = compiled(preset, inputs.Inputs(SMALL))
    assert (model.optimizer.momentum, model.optimizer.nesterov) == (0.7, True)
    assert model.loss.get_config()["label_smoothing"] == 0.1


def test_hidden_kernels_turn_and_only_other_kernels_and_biases_decay():
    preset = replace(SMALL, norm="batch", muon=0.3)
    model = compiled(preset, inputs.Inputs(SMALL))
    *hidden, last = [v.path for v in model.trainable_variables if v.name == "kernel"]
    assert (model.optimizer.factor, list(model.optimizer.hidden)) == (0.3, hidden)
    decaying = {v.path for v in model.trainable_variables if v.regularizer}
    assert decaying == {last, last.replace("kernel", "bias")}


def test_snapshots_of_a_normed_run_fit_its_weights_and_change_nothing(tmp_path):
    preset = replace(SMALL, norm="batch", epochs=2)
    kept = evolution.Snapshots(tmp_path / "kept", (1, 2), folded=True)
    watched = run(tmp_path / "kept", preset, callbacks=[kept])
    plain = run(tmp_path / "plain", preset)
    assert watched["state_sha256"] == plain["state_sha256"]
    model = Classifier.load(tmp_path / "kept" / "weights.h5").model
    last = model.get_weights()
    with evolution.loaded(model, evolution.snapshots(tmp_path / "kept")[2]):
        for own, there in zip(last, model.get_weights(), strict=True):
            np.testing.assert_array_equal(own, there)


class Averaging(keras.callbacks.Callback):
    """Averages by a slow loop; and keeps the weights as each epoch leaves them."""

    def __init__(self):
        super().__init__()
        self.averages, self.ends = None, []

    def on_train_batch_end(self, batch, logs=None):
        now = [v.numpy() for v in self.model.trainable_variables]
        before = self.averages or now
        pairs = zip(before, now, strict=True)
        self.averages = [0.75 * then + 0.25 * new for then, new in pairs]

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append([v.numpy() for v in self.model.trainable_variables])


def test_a_run_ends_with_the_averages_of_its_weights(tmp_path):
    """Also one that was killed between its last checkpoint and its record."""
    changes = {"norm": "batch", "muon": 0.1, "train_size": 48, "validate_every": 0}
    preset = replace(SMALL, epochs=2, averaging=0.75, **changes)
    slow = Averaging()
    record = run(tmp_path, preset, callbacks=[slow])
    model = compiled(preset, inputs.Inputs(preset))
    restore(model, checkpoints.load_latest(tmp_path))
    for variable, raw in zip(model.trainable_variables, slow.ends[-1], strict=True):
        np.testing.assert_array_equal(variable, raw)
    average(model, preset)
    pairs = zip(model.trainable_variables, slow.averages, slow.ends[-1], strict=True)
    for variable, expected, raw in pairs:
        np.testing.assert_allclose(variable, expected, rtol=1e-5, atol=1e-6)
        assert not np.array_equal(variable, raw)
    assert files.digest(state(model), record["history"]) == record["state_sha256"]
    (tmp_path / "record.json").unlink()
    (tmp_path / "weights.h5").unlink()
    again = run(tmp_path, preset)
    assert again["state_sha256"] == record["state_sha256"]
    assert again["error"] == record["error"]
    (tmp_path / "weights.h5").unlink()
    with pytest.warns(UserWarning, match="made again"):
        run(tmp_path, preset)


def test_the_network_is_the_recipes():
    changes = {"dropout": 0.5, "norm": "batch", "initializer": "zeros"}
    preset = replace(SMALL, precision="mixed_bfloat16", **changes)
    model = compiled(preset, inputs.Inputs(SMALL))
    rates = [x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert rates == [0.1, 0.25, 0.25]
    assert model.get_layer("conv1_norm").compute_dtype == "bfloat16"
    assert not np.any(model.get_layer("conv1").kernel)


def test_training_sees_the_batches_of_the_recipe(monkeypatch):
    followed = mock.Mock(wraps=batches)
    monkeypatch.setattr(inputs.batches, "batches", followed)
    preset = replace(
        SMALL, epochs=1, windows=((0, 24),), validate_every=0, shuffle_rounds=6
    )
    small = inputs.Inputs(preset)
    fit(compiled(preset, small), small, preset, 5, 0, [])
    seen = followed.call_args.kwargs
    assert (seen["seed"], seen["windows"]) == (5, ((0, 24),))
    assert seen["rounds"] == 6
    assert seen["augmentation"] == AUGMENTATIONS["paper"]


def test_the_preprocessing_is_fitted_to_the_training_images_alone():
    (x, y), _ = datasets.load("shapes")
    (x, _), _ = datasets.hold_out(x, y, SMALL.hold_out)
    expected = MeanStd().fit(x[: SMALL.train_size])
    found = inputs.Inputs(SMALL).preprocessor
    np.testing.assert_array_equal(found.mean, expected.mean)
    np.testing.assert_array_equal(found.std, expected.std)


def test_a_record_holds_the_loss_and_the_minutes(finished):
    folder, record = finished
    small = inputs.Inputs(SMALL)
    model = Classifier.load(folder / "weights.h5").model
    result = evaluate(model, small.x_test, small.y_test)
    for measure in ("loss", "calibration_error"):
        assert record[measure] == pytest.approx(getattr(result, measure), abs=1e-4)
    _, meta = checkpoints.load_latest(folder)
    assert record["minutes"] == round(sum(meta["seconds"]) / 60, 2)
