"""Which precision is chosen, which is refused, and what a run keeps of it."""

import json
from dataclasses import replace

import keras
import pytest
import tensorflow as tf

from allconv.training import callbacks, inputs, precision, run as training_run
from allconv.training.run import begun_in, compiled
from tests.runs import SMALL, run


@pytest.fixture
def measured(monkeypatch):
    """Rates as a machine might have them, and how often they were asked for."""
    asked = []

    def measure():
        asked.append(1)
        return {"float32": 100.0, "mixed_bfloat16": 190.0}

    monkeypatch.setattr(precision, "measure", measure)
    return asked


def test_the_fastest_is_measured_once_a_machine(tmp_path, measured, monkeypatch):
    assert precision.fastest(tmp_path) == "mixed_bfloat16"
    assert precision.fastest(tmp_path) == "mixed_bfloat16"
    assert len(measured) == 1
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # another machine, in effect
    assert precision.fastest(tmp_path) == "mixed_bfloat16"
    assert len(measured) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b'{"precision": 3}', b"\xff"])
def test_a_damaged_note_is_measured_again(tmp_path, measured, content):
    (tmp_path / precision.FILE).write_bytes(content)
    assert precision.fastest(tmp_path) == "mixed_bfloat16"
    assert len(measured) == 1
    kept = json.loads((tmp_path / precision.FILE).read_text())
    assert kept["images/s"] == {"float32": 100.0, "mixed_bfloat16": 190.0}


def test_a_difference_of_two_measurements_is_no_reason():
    assert precision.best({"float32": 100.0, "mixed_bfloat16": 115.0}) == "float32"
    assert precision.best({"float32": 100.0, "mixed_bfloat16": 50.0}) == "float32"


def test_a_measurement_is_of_each_precision():
    rates = precision.measure()
    assert list(rates) == ["float32", "mixed_bfloat16"]
    assert min(rates.values()) > 0
    assert keras.config.dtype_policy().name == "float32"


def test_bfloat16_is_refused_where_its_sums_would_be_wrong(
    tmp_path, monkeypatch, measured
):
    preset = replace(SMALL, precision="mixed_bfloat16")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    with pytest.raises(ValueError, match="TF_ENABLE_ONEDNN_OPTS=0 turns oneDNN off"):
        run(tmp_path / "run", preset)
    assert not (tmp_path / "run").exists()
    assert precision.fastest(tmp_path) == "float32"
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    tf.config.run_functions_eagerly(True)
    try:
        with pytest.raises(ValueError, match="runs functions eagerly"):
            precision.check("mixed_bfloat16")
    finally:
        tf.config.run_functions_eagerly(False)


def test_a_run_goes_on_in_the_precision_it_was_begun_in(tmp_path):
    assert begun_in(tmp_path) is None
    preset = replace(SMALL, precision="mixed_bfloat16", epochs=1, train_size=16)
    record = run(tmp_path, preset)
    assert begun_in(tmp_path) == "mixed_bfloat16"
    (tmp_path / "record.json").unlink()
    assert begun_in(tmp_path) == "mixed_bfloat16"
    assert run(tmp_path, preset)["state_sha256"] == record["state_sha256"]


class StopLater(keras.callbacks.Callback):
    """Ends the process' run when its first epoch is kept."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_float16_has_a_loss_scale_that_goes_on_after_a_stop(tmp_path):
    few = {"epochs": 2, "train_size": 16, "hold_out": 8, "validate_every": 0}
    preset = replace(SMALL, precision="mixed_float16", **few)
    whole = run(tmp_path / "whole", preset)
    assert whole["status"] == "finished"
    assert whole["skipped"] == 0
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", preset, callbacks=[StopLater()])
    parts = run(tmp_path / "parts", preset)
    assert parts["state_sha256"] == whole["state_sha256"]


def test_a_loss_scale_that_vanishes_ends_the_run(tmp_path):
    preset = replace(SMALL, precision="mixed_float16")
    model = compiled(preset, inputs.Inputs(preset))
    keeper = callbacks.Keeper(tmp_path, {}, {}, preset, 1, [], [], False)
    keeper.set_model(model)
    model.optimizer.dynamic_scale.assign(1.0)
    keeper.on_train_batch_end(0, {"loss": 1.0})
    model.optimizer.dynamic_scale.assign(0.5)
    with pytest.raises(callbacks.DivergedError, match="no loss scale is small enough"):
        keeper.on_train_batch_end(0, {"loss": 1.0})


def test_a_record_says_in_what_its_run_changed_machines(tmp_path, monkeypatch):
    few = {"epochs": 2, "train_size": 16, "hold_out": 8, "validate_every": 0}
    preset = replace(SMALL, **few)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, preset, callbacks=[StopLater()])
    here = training_run.runtime.made_with
    monkeypatch.setattr(
        training_run.runtime, "made_with", lambda: here() | {"instructions": "none"}
    )
    with pytest.warns(UserWarning, match="begun with another instructions"):
        record = run(tmp_path, preset)
    assert record["changed"] == ["instructions"]
