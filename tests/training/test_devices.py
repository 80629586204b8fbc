"""Several devices train as one: the same losses, masks and steps that are left out."""

import json
import subprocess
import sys
from dataclasses import replace

import keras
import pytest

from allconv.training import devices
from tests.runs import SMALL, run


def replicas(what: str) -> dict:
    """What `tests/training/replicas.py` prints."""
    command = [sys.executable, "-m", "tests.training.replicas", what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found():
    return replicas("cheap")


def assert_alike(alone: list[dict], several: list[dict]) -> None:
    for one, other in zip(alone, several, strict=True):
        assert other == pytest.approx(one, abs=1e-5)


def test_losses_are_those_of_one_device(found):
    """With both norms, dropout, decay, and images to measure on that do not split."""
    alone, two = found["record 1"], found["record 2"]
    assert_alike(alone["history"], two["history"])
    assert {"val_loss", "val_accuracy"} <= set(alone["history"][0])
    assert two["error"] == alone["error"]
    assert two["loss"] == pytest.approx(alone["loss"], abs=2e-5)


@pytest.mark.slow
def test_networks_of_the_papers_train_alike_on_one_two_and_four_devices():
    for histories in replicas("slow").values():
        alone, two, four = histories
        assert_alike(alone, two)
        assert_alike(alone, four)


def test_devices_hold_the_same_bytes_after_each_epoch(found):
    assert found["same copies"] == [True, True]


def test_a_run_on_two_devices_goes_on_exactly_and_its_record_names_them(found):
    resumed, whole = found["resumed"], found["record 2"]
    assert resumed["state_sha256"] == whole["state_sha256"]
    assert resumed["history"] == whole["history"]
    assert whole["environment"]["devices"] == 2
    assert "devices" not in found["record 1"]["environment"]


def test_masks_are_those_of_one_device_and_differ_from_device_to_device(found):
    alone, two, four = found["masks"]
    assert alone == two == four
    parts = [str(alone[i : i + 2]) for i in range(0, 8, 2)]
    assert len(set(parts)) == 4


def test_an_overflow_on_either_device_is_left_out_on_both(found):
    start, first, second, sound = found["overflow"]
    for _, _, *kernels in found["overflow"]:
        assert kernels[0] == kernels[1]
    assert [first[:2], second[:2], sound[:2]] == [[2**14, 0], [2**13, 0], [2**13, 1]]
    assert start[2] == first[2] == second[2] != sound[2]


@pytest.mark.parametrize(
    "count, change, message",
    [
        (3, {}, "divide the batch.* Received: devices=3, batch_size=8"),
        (2, {"jit_compile": True}, "1 where XLA compiles .* Received: devices=2"),
        (0, {}, "an integer from 1. Received: devices=0"),
        (8, {}, r"up to the 1 that TensorFlow has here \(CPU\). Received: devices=8"),
    ],
)
def test_what_several_devices_cannot_do_is_refused_before_the_run(
    tmp_path, count, change, message
):
    keras.ops.zeros(1)  # TensorFlow has begun, with one device
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", replace(SMALL, **change), devices=count)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "layer", [keras.layers.GaussianNoise(0.1), keras.layers.SpectralNormalization]
)
def test_layers_that_would_act_for_themselves_are_refused_by_name(layer):
    if isinstance(layer, type):
        layer = layer(keras.layers.Dense(2))
    model = keras.Sequential([keras.Input((3,)), layer])
    with pytest.raises(ValueError, match=f"Received: layer '{layer.name}' of type"):
        devices.agree(model)
