"""Networks that others trained, against what their own frameworks compute."""

import json
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from allconv import __main__ as program
from allconv.networks import imported
from allconv.reports import inputs


@pytest.fixture(scope="module")
def arrays():
    """Random weights of SqueezeNet by the names of its file."""
    rng = np.random.default_rng(0)
    found, channels = {}, 64

    def add(name, size, of, filters):
        kernel = rng.normal(size=(size, size, of, filters)) * (2 / size**2 / of) ** 0.5
        found[f"{name}/kernel"] = kernel.astype(np.float32)
        found[f"{name}/bias"] = rng.normal(size=filters).astype(np.float32)

    add("conv1", 3, 3, 64)
    for number, squeezed in imported.FIRES.items():
        add(f"fire{number}/squeeze1x1", 1, channels, squeezed)
        add(f"fire{number}/expand1x1", 1, squeezed, 4 * squeezed)
        add(f"fire{number}/expand3x3", 3, squeezed, 4 * squeezed)
        channels = 8 * squeezed
    add("conv10", 1, channels, 1000)
    return found


@pytest.fixture(scope="module")
def file(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("squeezenet") / "weights.npz"
    np.savez(path, **arrays)
    return path


def slow_squeezenet(arrays, pixels):
    """As Caffe has it: blue, green, red; a pool's last window may hang over."""
    x = pixels[..., ::-1] - np.array([104, 117, 123], np.float32)

    def convolve(x, name, stride=1, pad=0):
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        y = tf.nn.conv2d(x, arrays[f"{name}/kernel"], stride, "VALID")
        return tf.nn.relu(y + arrays[f"{name}/bias"])

    def pool(x):
        size = x.shape[1]
        windows = -(-(size - 3) // 2) + 1
        over = 3 + 2 * (windows - 1) - size
        pad = [[0, 0], [0, over], [0, over], [0, 0]]
        return tf.nn.max_pool2d(tf.pad(x, pad, constant_values=-1e9), 3, 2, "VALID")

    x = convolve(x, "conv1", 2)
    for number in imported.FIRES:
        x = pool(x) if number in (2, 4, 6) else x
        x = convolve(x, f"fire{number}/squeeze1x1")
        wide = convolve(x, f"fire{number}/expand3x3", pad=1)
        x = tf.concat([convolve(x, f"fire{number}/expand1x1"), wide], -1)
    return tf.nn.softmax(tf.reduce_mean(convolve(x, "conv10"), (1, 2))).numpy()


def test_squeezenet_is_caffes_and_takes_raw_pixels(arrays, file):
    model = imported.from_file("squeezenet", file)
    assert model.count_params() == 1_235_496
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 227, 227, 3)).astype("f4")
    expected = slow_squeezenet(arrays, pixels)
    np.testing.assert_allclose(model(pixels), expected, rtol=1e-3, atol=1e-6)
    assert inputs.found(model)[0] == "white:255"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"conv1/bias": None}, "'conv1/bias' of shape .64,. .* Received: none"),
        ({"conv1/bias": np.zeros(3)}, r"Received: shape \(3,\)"),
        ({"conv10/bias": np.full(1000, np.nan)}, "'conv10/bias' is not finite"),
        ({"fc/bias": np.zeros(3)}, "has what squeezenet has not: fc/bias"),
    ],
)
def test_files_of_other_networks_are_refused_by_name(arrays, tmp_path, change, message):
    changed = {k: v for k, v in (arrays | change).items() if v is not None}
    np.savez(tmp_path / "other.npz", **changed)
    with pytest.raises(ValueError, match=message):
        imported.from_file("squeezenet", tmp_path / "other.npz")


MODULES = sorted(
    {
        getattr(keras.applications, name).__module__
        for name in dir(keras.applications)
        if name[0].isupper()
    }
)


@pytest.mark.parametrize("module", MODULES)
def test_the_preprocessing_of_every_keras_application_is_found(module):
    preprocess = sys.modules[module].preprocess_input
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 2, 2, 3)).astype("f4")
    scale, offset, bgr = imported._affine(preprocess)
    found = pixels * scale + offset
    expected = preprocess(pixels.copy())
    np.testing.assert_allclose(found[..., ::-1] if bgr else found, expected, atol=1e-4)


def test_a_keras_application_takes_raw_pixels(same_weights):
    model = imported.from_keras("MobileNet", weights=None)
    plain = keras.applications.MobileNet(weights=None)
    plain.set_weights(model.get_weights())
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 224, 224, 3)).astype("f4")
    expected = plain(keras.applications.mobilenet.preprocess_input(pixels.copy()))
    np.testing.assert_allclose(model(pixels), expected, atol=1e-6)
    assert inputs.found(model)[0] == "white:255"
    with pytest.raises(ValueError, match="a builder of keras"):
        imported.from_keras("MobileNets")


def test_the_command_writes_the_file_and_what_it_is(file, tmp_path, capsys):
    Image.new("RGB", (300, 256), "red").save(tmp_path / "n01440764_1.png")
    (tmp_path / "classes.txt").write_text("n01440764 tench\n")
    out = tmp_path / "new" / "mine.keras"
    command = ["import", "squeezenet", str(file), "-o", str(out)]
    command += ["--images", str(tmp_path), "--classes", str(tmp_path / "classes.txt")]
    assert program.main(command) == 0
    facts = json.loads(out.with_suffix(".json").read_text())
    assert facts["n"] == 1
    assert facts["top5_error"] in (0.0, 100.0)
    assert len(facts["source_sha256"]) == len(facts["weights_sha256"]) == 64
    assert "1,235,496 parameters" in capsys.readouterr().out
    assert keras.models.load_model(out).count_params() == facts["parameters"]
