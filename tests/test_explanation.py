"""From the command line to three files; what cannot be explained is named."""

import json

import keras
import numpy as np
import pytest
from matplotlib import image as pictures

from allconv import __main__ as cli
from allconv import data, models, preprocessing, saliency, shapes, weights
from allconv.classifier import Classifier


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(weight file, .keras file, PNG) of random nets and a drawn image."""
    folder = tmp_path_factory.mktemp("explain")
    images, _ = shapes.draw(30)
    model = models.StridedCNNA(kernel_initializer="he_normal")
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
    pixels = data.load("shapes")[1][0][7:8]
    expected = saliency.guided_backprop(
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
        capsys, image, "--model", network, "--rule", "backprop", "-o", output
    )
    assert status == 0
    assert np.load(output.with_suffix(".npz"))["map"].shape == (16, 16, 3)


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
        (("IMAGE", "-o", "/nonexistent/out.png"), "No such file or directory"),
    ],
)
def test_wrong_input_is_one_line(capsys, files, tmp_path, arguments, message):
    weight_file, network, image = files
    text = tmp_path / "text.png"
    text.write_text("no image")
    named = {"IMAGE": image, "TEXT": text, "H5": weight_file}
    arguments = [named.get(a, a) for a in arguments]
    if "--model" not in arguments:
        arguments += ["--model", network]
    if "-o" not in arguments:
        arguments += ["-o", tmp_path / "out.png"]
    status, _, err = call(capsys, *arguments)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out.json").exists()
