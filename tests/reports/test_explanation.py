"""From the command line to three files; what cannot be explained is named."""

import json

import keras
import numpy as np
import pytest
from matplotlib import image as pictures

from allconv import __main__ as cli
from allconv.data import datasets, preprocessing, shapes
from allconv.networks import all_cnn, weights
from allconv.networks.classifier import Classifier
from allconv.saliency import explainer


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(weight file, .keras file, PNG) of random nets and a drawn image."""
    folder = tmp_path_factory.mktemp("explain")
    images, _ = shapes.draw(30)
    model = all_cnn.StridedCNNA(kernel_initializer="he_normal")
    prepared = preprocessing.MeanStd().fit(images)
    weights.save(folder / "net.h5", model, "strided_cnn_a", prepared, "shapes", {})
    small = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    small.save(folder / "net.keras")
    pictures.imsave(folder / "image.png", images[4])
    return folder / "net.h5", folder / "net.keras", folder / "image.png"


def call(capsys, *arguments):
    status = cli.main(["explain", *(str(a) for a in arguments)])
    return (status, *capsys.readouterr())


def test_three_files_that_say_the_same(capsys, files, tmp_path):
    network, _, _ = files
    output = tmp_path / "out.png"
    neuron = ("--layer", "conv2", "--channel", 5, "--position", 3, 4)
    status, out, _ = call(
        capsys,
        *(7, "--model", "strided_cnn_a", "--weights", network, "--dataset", "shapes"),
        *("--rule", "guided", *neuron, "-o", output),
    )
    assert status == 0
    assert out.split() == [
        str(output.with_suffix(s)) for s in (".png", ".npz", ".json")
    ]
    facts = json.loads(output.with_suffix(".json").read_text())
    assert facts["neuron"] == {"layer": "conv2", "channel": 5, "position": [3, 4]}
    assert len(facts["weights_sha256"]) == 64
    assert "2 of 2 rectifiers guided" in facts["audit"]

    arrays = np.load(output.with_suffix(".npz"))
    classifier = Classifier.load(network)
    pixels = datasets.load("shapes")[1][0][7:8]
    expected = explainer.guided_backprop(
        classifier.model,
        classifier.preprocessor(pixels),
        layer="conv2",
        channel=5,
        position=(3, 4),
    )
    np.testing.assert_array_equal(arrays["image"], pixels[0])
    np.testing.assert_allclose(arrays["map_at_inputs"], expected[0], rtol=1e-5)
    np.testing.assert_allclose(
        arrays["map"], expected[0] / classifier.preprocessor.std, rtol=1e-5
    )
    assert pictures.imread(output).shape[2] in (3, 4)


def test_a_keras_file_and_an_image_file(capsys, files, tmp_path):
    _, network, image = files
    output = tmp_path / "out.png"
    status, _, _ = call(
        *(capsys, image, "--model", network, "--white", 255),
        *("--rule", "backprop", "-o", output),
    )
    assert status == 0
    arrays = np.load(output.with_suffix(".npz"))
    assert arrays["map"].shape == (16, 16, 3)
    np.testing.assert_array_equal(arrays["map"], arrays["map_at_inputs"])
    facts = json.loads(output.with_suffix(".json").read_text())
    model = keras.models.load_model(network)
    scores = model(arrays["image"][None].astype("float32"))[0]
    assert facts["index"] == [int(np.argmax(scores))]
    assert facts["activation"] == pytest.approx(float(np.max(scores)), rel=1e-5)
    assert facts["white"] == 255


def test_a_model_for_images_of_any_size_and_a_name_with_a_dot(capsys, files, tmp_path):
    _, _, image = files
    anywhere = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(anywhere)
    keras.Model(anywhere, x).save(tmp_path / "any.keras")
    for name in ("run.v1", "run.v2"):
        status, out, _ = call(
            *(capsys, image, "--model", tmp_path / "any.keras", "--white", 1),
            *("--layer", "conv", "--channel", 2, "-o", tmp_path / name),
        )
        assert status == 0
        assert out.split()[0] == str(tmp_path / f"{name}.png")
        facts = json.loads((tmp_path / f"{name}.json").read_text())
        assert facts["index"][-1] == 2


class Own(keras.layers.Layer):
    """Not registered: Keras cannot load it again."""


def test_a_model_with_classes_of_its_own_is_one_line(capsys, files, tmp_path):
    own = keras.Sequential([keras.Input((16, 16, 3)), Own(), keras.layers.ReLU()])
    own.save(tmp_path / "own.keras")
    status, _, err = call(
        capsys, files[2], "--model", tmp_path / "own.keras", "--white", 1
    )
    assert status == 2
    assert "Keras cannot load" in err
    assert "allconv.saliency.explain" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("99999", "--dataset", "shapes"), "from 0 to 999. Received: 99999"),
        (("gone.png",), "should be a file or an index. Received: 'gone.png'"),
        (("TEXT",), "is no image that can be read"),
        (("IMAGE", "--rule", "grad"), "grad"),
        (("IMAGE", "--layer", "conv9"), "conv9"),
        (("IMAGE", "--layer", "conv", "--channel", "4"), "4"),
        (("IMAGE", "--model", "vgg"), "a network that `list` shows or a .keras file"),
        (("IMAGE", "--model", "gone.keras"), "There is no file gone.keras"),
        (("IMAGE", "--model", "all_cnn_c", "--weights", "H5"), "holds strided_cnn_a"),
        (("IMAGE", "-o", "/dev/null/out.png"), "File exists: '/dev/null'"),
        (("IMAGE", "--weights", "H5"), "holds its own weights: name no other"),
        (("IMAGE", "--model", "all_cnn_c", "--white", "1"), "`white` is for a .keras"),
        (("IMAGE", "--model", "KERAS"), "give `white`, the input value of a white"),
    ],
)
def test_wrong_input_is_one_line(capsys, files, tmp_path, arguments, message):
    weight_file, network, image = files
    text = tmp_path / "text.png"
    text.write_text("no image")
    named = {"IMAGE": image, "TEXT": text, "H5": weight_file, "KERAS": network}
    arguments = [named.get(a, a) for a in arguments]
    if "--model" not in arguments:
        arguments += ["--model", network, "--white", 1]
    if "-o" not in arguments:
        arguments += ["-o", tmp_path / "out.png"]
    status, _, err = call(capsys, *arguments)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out.json").exists()


def test_white_is_the_input_of_a_white_pixel(capsys, files, tmp_path):
    _, network, image = files
    out = tmp_path / "out.png"
    neuron = ("--layer", "conv", "--channel", 2, "--position", 3, 4)
    which = ("--model", network, "--white", 1, "--rule", "backprop")
    assert call(capsys, image, *which, *neuron, "-o", out)[0] == 0
    arrays = np.load(out.with_suffix(".npz"))
    np.testing.assert_allclose(arrays["map"] * 255, arrays["map_at_inputs"], rtol=1e-5)
