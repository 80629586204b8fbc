"""Exports open in their runtimes, alone, and say what the network says."""

import errno
import importlib.util
import os
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest
from keras import layers, ops

from allconv import __main__ as cli
from allconv.data import preprocessing, shapes
from allconv.networks import builders, export, own, registry
from allconv.networks.classifier import Classifier
from allconv.saliency.explainer import explain

IMAGES, _ = shapes.draw(12)
SMALL = IMAGES[:, 8:24, 8:24]  # of which a covariance is soon measured
ONE_COLOUR = np.broadcast_to(
    np.arange(0, 256, 51, dtype=np.uint8)[:, None, None, None], (6, 16, 16, 3)
)


def needs(format):
    if format == "onnx":
        for package in ("tf2onnx", "onnxruntime"):
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is not installed: extra `export`")


def classifier(name, preprocessor, images=IMAGES, **options):
    """A network with random weights that matter, and a fitted preprocessing."""
    keras.utils.set_random_seed(0)
    model = builders.build(name, input_shape=images.shape[1:], **options)
    return Classifier(
        model, preprocessor.fit(images), {"architecture": name, "dataset": "shapes"}
    )


@pytest.fixture
def forget():
    """Forgets networks that a test registers."""
    before = registry.FAMILIES, registry.NAMES
    yield
    registry.FAMILIES, registry.NAMES = before


@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_a_released_network_gives_its_probabilities_in_each_runtime(format, tmp_path):
    needs(format)
    released = Classifier.released("zfnet_32")
    path = tmp_path / f"net{export.FORMATS[format].suffix}"
    assert export.write(path, released, IMAGES, format) < 1e-5
    (written,) = tmp_path.iterdir()
    assert written == path
    found = export.FORMATS[format].open(path)(IMAGES[:5])  # another number of images
    np.testing.assert_allclose(found, released.predict(IMAGES[:5]), atol=1e-5)


@pytest.mark.parametrize(
    "name, options",
    [
        ("strided_cnn_a", {"norm": "deconv"}),
        ("conv_pool_cnn_a", {"norm": "batch"}),
        ("alexnet_32", {}),  # groups, and normalised responses
        ("mobilenet_v2_cifar", {"norm": "none"}),  # depthwise
    ],
)
def test_every_layer_of_ours_has_a_plain_form(name, options):
    mine = classifier(name, preprocessing.MeanStd(), **options)
    model = export.plain(mine)
    kinds = {type(layer) for layer in model._flatten_layers()}
    assert all(kind.__module__.startswith("keras.") for kind in kinds)
    found = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(found, mine.predict(IMAGES), atol=1e-5)


@pytest.mark.parametrize("format", ["keras", "onnx", "litert"])
def test_the_mean_of_each_pixel_is_part_of_the_file(format, tmp_path):
    needs(format)
    mine = classifier("strided_cnn_a", preprocessing.MeanPixel(), SMALL)
    path = tmp_path / f"net{export.FORMATS[format].suffix}"
    assert export.write(path, mine, SMALL, format) < 1e-5


def test_whitening_is_part_of_the_file_and_one_colour_stays_without_contrast():
    mine = classifier("strided_cnn_a", preprocessing.GCNZCA(), SMALL)
    model = export.plain(mine)
    for images in (SMALL, ONE_COLOUR):
        found = model.predict(images, verbose=0)
        np.testing.assert_allclose(found, mine.predict(images), atol=1e-5)


def test_it_is_in_float32_whatever_it_was_trained_in():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mine = classifier("strided_cnn_a", preprocessing.MeanStd())
        model = export.plain(mine)
    finally:
        keras.config.set_dtype_policy(policy)
    assert {layer.compute_dtype for layer in model._flatten_layers()} == {"float32"}
    # As precise as the policy lets the network itself be.
    found = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(found, mine.predict(IMAGES), atol=0.02)


def test_a_keras_file_opens_where_this_project_is_not(tmp_path):
    mine = classifier("alexnet_32", preprocessing.MeanStd())
    export.write(tmp_path / "net.keras", mine, IMAGES, "keras")
    np.save(tmp_path / "images.npy", IMAGES)
    code = (
        "import sys; sys.modules['allconv'] = None  # as if it were not installed\n"
        "import keras, numpy as np\n"
        "model = keras.models.load_model('net.keras')\n"
        "np.save('found.npy', model.predict(np.load('images.npy'), verbose=0))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_allclose(found, mine.predict(IMAGES), atol=1e-5)


@keras.saving.register_keras_serializable(package="tests")
class Twice(layers.Layer):
    """A layer that nobody else has."""

    def call(self, x):
        return 2 * x


@pytest.mark.parametrize(
    "layer, format, message",
    [
        (Twice, "keras", "should have layers of Keras alone.*Received: Twice"),
        (lambda: ops.erfinv, "litert", "own_net cannot be exported as litert.*Erfinv"),
        (lambda: ops.erfinv, "onnx", "own_net cannot be exported as onnx.*Erfinv"),
    ],
)
def test_what_a_format_cannot_hold_is_named_and_not_written(
    layer, format, message, tmp_path, forget
):
    needs(format)
    own.register("own_net", lambda x, _: layer()(layers.Conv2D(4, 3, name="c")(x)))
    mine = classifier("own_net", preprocessing.MeanStd())
    path = tmp_path / f"net{export.FORMATS[format].suffix}"
    with pytest.raises(ValueError, match=message):
        export.write(path, mine, IMAGES, format)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch):
    mine = classifier("strided_cnn_a", preprocessing.MeanStd(), SMALL)
    predict = Classifier.predict
    for wrong in (lambda p: p + 2e-4, lambda p: p * np.nan):
        monkeypatch.setattr(Classifier, "predict", lambda *a, w=wrong: w(predict(*a)))
        with pytest.raises(ValueError, match="should give the same probabilities"):
            export.write(tmp_path / "net.keras", mine, SMALL, "keras")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_no_fault_of_the_format_and_the_old_file_stays(
    tmp_path, monkeypatch
):
    """Full for the draft, which a format writes itself, and then for the file."""
    path, drafts = tmp_path / "net.keras", tmp_path / "drafts"
    path.write_bytes(b"old")
    drafts.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(drafts))
    mine = classifier("strided_cnn_a", preprocessing.MeanStd(), SMALL)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for owner, name, named in ((keras.Model, "save", drafts), (os, "fsync", path)):
        with monkeypatch.context() as changed:
            changed.setattr(owner, name, full)
            with pytest.raises(OSError, match="No space left") as caught:
                export.write(path, mine, SMALL, "keras")
        assert caught.value.filename.startswith(str(named))
        assert path.read_bytes() == b"old"
        assert {p.name for p in tmp_path.rglob("*")} == {"net.keras", "drafts"}
    assert export.write(path, mine, SMALL, "keras") < 1e-5


def test_the_command(tmp_path, capsys):
    mine = classifier("strided_cnn_a", preprocessing.MeanStd())
    mine.save(tmp_path / "mine.h5")
    path = tmp_path / "new" / "net.keras"
    words = ["export", "--weights", str(tmp_path / "mine.h5"), "--format", "keras"]
    assert cli.main([*words, "-o", str(path)]) == 0
    said = capsys.readouterr().out
    assert "takes        images: uint8 or float32, 0 to 255, (n, 32, 32, 3)" in said
    model = keras.models.load_model(path)
    found = explain(model, IMAGES[:2].astype("float32"), "backprop", target=3)
    expected = explain(mine.model, mine.inputs(IMAGES[:2]), "backprop", target=3)
    same = mine.preprocessor.pullback(IMAGES[:2], expected)
    np.testing.assert_allclose(found, same, rtol=1e-3, atol=1e-4 * np.abs(same).max())
    assert "100 test images of shapes: the largest difference" in said
    assert path.exists()


@pytest.mark.parametrize(
    "words, message",
    [
        ("zfnet_32 --format pickle", "`format` should be one of keras, onnx, litert"),
        ("zfnet_32 --format onnx -o net.keras", "format onnx should end in .onnx"),
        ("--format keras", "Name a network"),
        ("--weights x --dataset cifar10 --format keras", "leave out --dataset"),
    ],
)
def test_wrong_words_are_one_line(words, message, capsys):
    assert cli.main(["export", *words.split()]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_package_is_said_before_anything_is_made(monkeypatch, tmp_path):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda p: None if p == "tf2onnx" else there(p)
    )
    with pytest.raises(ImportError, match=r"tf2onnx: .*allconv\[export\]"):
        export.check(tmp_path / "a.onnx", "onnx")
    assert export.check(tmp_path / "a.tflite", "litert") == tmp_path / "a.tflite"
