"""From the command line to three files; what cannot be explained is named."""

import json

import h5py
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings, strategies as st
from matplotlib import image as pictures

from allconv import __main__ as cli
from allconv.data import datasets, preprocessing, shapes
from allconv.networks import all_cnn, weights
from allconv.networks.classifier import Classifier
from allconv.reports import inputs
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
    assert facts["preprocess"] == "white:255"


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
        (("TEXT",), "should be an image file that can be read whole"),
        (("IMAGE", "--rule", "grad"), "grad"),
        (("IMAGE", "--layer", "conv9"), "conv9"),
        (("IMAGE", "--layer", "conv", "--channel", "4"), "4"),
        (("IMAGE", "--model", "vgg"), "a network that `list` shows or a .keras or .h5"),
        (("IMAGE", "--model", "gone.keras"), "There is no file gone.keras"),
        (("IMAGE", "--model", "all_cnn_c", "--weights", "H5"), "holds strided_cnn_a"),
        (("IMAGE", "-o", "/dev/null/out.png"), "File exists: '/dev/null'"),
        (("IMAGE", "--weights", "H5"), "holds its own weights: name no other"),
        (
            ("IMAGE", "--model", "all_cnn_c", "--white", "1"),
            "`preprocess` is for a .keras",
        ),
        (("IMAGE", "--model", "KERAS"), "white:1, white:255, tf, caffe, torch"),
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


def tiny(*first, channels=3, name="tiny"):
    return keras.Sequential(
        [
            keras.Input((16, 16, channels)),
            *first,
            keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
            keras.layers.GlobalAveragePooling2D(),
        ],
        name=name,
    )


def test_what_the_command_did_not_write_is_kept(capsys, files, tmp_path):
    _, network, image = files
    cat, own = tmp_path / "cat.png", tmp_path / "data.json"
    cat.write_bytes(image.read_bytes())
    own.write_text('{"mine": 1}')
    which = (cat, "--model", network, "--white", 1)
    for output in (cat, tmp_path / "data.png", tmp_path / "data"):
        status, _, err = call(capsys, *which, "-o", output)
        assert status == 2
        assert "choose another name" in err
    assert cat.read_bytes() == image.read_bytes()
    assert own.read_text() == '{"mine": 1}'
    for _ in range(2):  # its own files are written again
        assert call(capsys, *which, "-o", tmp_path / "map.png")[0] == 0
    (tmp_path / "map.png").write_bytes(image.read_bytes())
    assert call(capsys, *which, "-o", tmp_path / "map.png")[0] == 2


def test_a_folder_gets_visible_names(capsys, files, tmp_path):
    _, network, image = files
    which = (image, "--model", network, "--white", 1)
    for folder in (f"{tmp_path}/new/", tmp_path):
        status, out, _ = call(capsys, *which, "-o", folder)
        assert status == 0
        names = [line.rpartition("/")[2] for line in out.split()]
        assert names == ["explanation.png", "explanation.npz", "explanation.json"]
    for bad in ("", tmp_path / ".png", tmp_path / ".map"):
        status, _, err = call(capsys, *which, "-o", bad)
        assert status == 2
        assert "not hidden" in err


@pytest.mark.parametrize(
    "way, expected",
    [
        ("white:1", lambda x: x / 255),
        ("tf", keras.applications.mobilenet_v2.preprocess_input),
        ("caffe", keras.applications.vgg16.preprocess_input),
        ("torch", keras.applications.densenet.preprocess_input),
    ],
)
def test_ways_are_those_of_keras_applications(way, expected):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3)).astype("uint8")
    there, back = inputs.parse(way)
    np.testing.assert_allclose(
        there(pixels), expected(pixels.astype("float32")), rtol=1e-5, atol=1e-5
    )
    # The chain rule, by differences: the preprocessing is linear.
    weights = np.random.default_rng(1).normal(size=pixels.shape)
    step = np.zeros_like(pixels)
    step[0, 2, 3, 1] = 1
    change = (there(pixels // 2 + step) - there(pixels // 2)) * weights
    assert change.sum() == pytest.approx(back(pixels, weights)[0, 2, 3, 1], rel=1e-3)


def test_a_models_own_scaling_is_found_and_said(capsys, files, tmp_path):
    layers = keras.layers
    pixel_by_pixel = layers.BatchNormalization(1, center=False, scale=False, epsilon=0)
    pixel_by_pixel.build((None, 16, 16, 3))
    pixel_by_pixel.moving_mean.assign(np.linspace(90, 130, 16))
    for first, way in (
        (layers.Rescaling(1 / 255, name="scale"), "white:255"),
        (layers.Rescaling(1 / 127.5, offset=-1, name="scale"), "white:255"),
        (layers.Normalization(mean=[120.0] * 3, variance=[3000.0] * 3), "white:255"),
        (layers.Normalization(mean=[0.45] * 3, variance=[0.05] * 3), "white:1"),
        (tiny(layers.Rescaling(1 / 255)), "white:255"),
        (pixel_by_pixel, "white:255"),
    ):
        model = keras.Sequential([keras.Input((16, 16, 3)), first])
        found, said = inputs.found(model)
        assert found == way
        assert said.startswith(way)
    for first in (
        layers.Rescaling(2.0),
        layers.Normalization(mean=0.0, variance=1.0),
        layers.BatchNormalization(),
        layers.Conv2D(3, 3),
    ):
        with pytest.raises(ValueError, match="does not say what it takes"):
            inputs.found(keras.Sequential([keras.Input((16, 16, 3)), first]))
    tiny(layers.Rescaling(1 / 255, name="scale")).save(tmp_path / "net.keras")
    status, _, err = call(
        *(capsys, files[2], "--model", tmp_path / "net.keras", "-o", tmp_path / "o"),
    )
    assert status == 0
    assert "white:255, since 'scale' scales pixels" in err


def test_grey_models_and_h5_files(capsys, files, tmp_path):
    for suffix in ("keras", "h5"):
        tiny(channels=1).save(tmp_path / f"grey.{suffix}")
        status, _, err = call(
            *(capsys, files[2], "--model", tmp_path / f"grey.{suffix}"),
            *("--white", 1, "-o", tmp_path / suffix),
        )
        assert (status, err.count("\n")) == (0, 1)
        assert "change little with the class" in err
        assert np.load(tmp_path / f"{suffix}.npz")["map"].shape == (16, 16, 1)
    tiny(channels=4).save(tmp_path / "four.keras")
    tiny().save_weights(tmp_path / "net.weights.h5")
    code = tiny(keras.layers.Lambda(lambda x: x, name="code"))
    code.save(tmp_path / "code.h5")
    old = tiny(keras.layers.Activation("hard_sigmoid", name="old"))
    old.save(tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "a") as file:
        file.attrs["keras_version"] = "2.15.0"
    for name, message in (
        ("four.keras", "1 channel or 3, and tiny takes"),
        ("net.weights.h5", "holds weights and no model"),
        ("code.h5", "the layer 'code' is a Lambda"),
        ("old.h5", "the layer 'old' has the hard_sigmoid of Keras 2"),
    ):
        status, _, err = call(
            *(capsys, files[2], "--model", tmp_path / name, "--white", 1),
            *("-o", tmp_path / "out"),
        )
        assert status == 2
        assert message in err
        assert err.count("\n") == 1


def test_an_empty_map_says_why(capsys, files, tmp_path):
    layer = keras.layers.Conv2D(
        *(2, 1),
        activation="relu6",
        name="conv",
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(7),
    )
    model = keras.Sequential([keras.Input((16, 16, 3)), layer])
    model.save(tmp_path / "full.keras")
    which = ("--model", tmp_path / "full.keras", "--white", 1, "--layer", "conv")
    out = ("--rule", "backprop", "-o", tmp_path / "map")
    status, _, err = call(capsys, files[2], *which, *out)
    assert status == 0
    assert "at its rectifier's ceiling" in err


def test_an_empty_map_of_a_class_says_nothing_of_a_rectifier(capsys, files, tmp_path):
    """All weights speak against the class: a guided map is empty, its score is not."""
    minus = keras.initializers.Constant(-1)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(2, 1, activation="relu", kernel_initializer="ones"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid", kernel_initializer=minus),
        ]
    )
    model.save(tmp_path / "against.keras")
    which = ("--model", tmp_path / "against.keras", "--white", 1)
    status, _, err = call(capsys, files[2], *which, "-o", tmp_path / "map")
    assert status == 0
    assert "no pixel speaks for the class" in err
    assert "rectifier" not in err


def test_of_a_guided_map_of_a_class_it_is_told_that_it_may_not_know_the_class(
    capsys, files, tmp_path
):
    which = (files[2], "--model", files[1], "--white", 1, "-o", tmp_path / "map")
    for more, told in (
        ((), 1),
        (("--rule", "backprop"), 0),
        (("--layer", "conv"), 0),
    ):
        status, _, err = call(capsys, *which, *more)
        assert (status, err.count("change little with the class")) == (0, told)


def test_the_way_out_for_a_smooth_network_is_one_of_the_command(
    capsys, files, tmp_path
):
    model = tiny(keras.layers.Conv2D(2, 3, activation="gelu", name="smooth"))
    model.save(tmp_path / "smooth.keras")
    given = (files[2], "--model", tmp_path / "smooth.keras", "--white", 1)
    given = (*given, "-o", tmp_path / "map")
    status, _, err = call(capsys, *given)
    assert (status, err.count("\n")) == (2, 1)
    assert "on the command line `--no-strict`" in err
    status, _, err = call(capsys, *given, "--no-strict")
    assert status == 0
    assert "guided says nothing" in err
    assert "smooth (" in json.loads((tmp_path / "map.json").read_text())["audit"]


def test_a_head_is_named_and_several_inputs_are_for_python(capsys, files, tmp_path):
    base = tiny()
    heads = [keras.layers.Dense(2, name=name)(base.outputs[0]) for name in ("a", "b")]
    keras.Model(base.inputs, heads).save(tmp_path / "heads.keras")
    which = (files[2], "--model", tmp_path / "heads.keras", "--white", 1)
    out = ("--rule", "backprop", "-o", tmp_path / "map")
    found = {}
    for head in ("a", "b", "1"):
        assert call(capsys, *which, "--head", head, "--target", 1, *out)[0] == 0
        found[head] = np.load(tmp_path / "map.npz")["map_at_inputs"]
    np.testing.assert_array_equal(found["1"], found["b"])
    assert not np.array_equal(found["a"], found["b"])
    status, _, err = call(capsys, *which, *out)
    assert status == 2
    assert "`output` should be one of 'a', 'b', 0, 1" in err
    both = [keras.Input((16, 16, 3)), keras.Input((2,))]
    joined = keras.layers.Concatenate()([base(both[0]), both[1]])
    keras.Model(both, joined).save(tmp_path / "two.keras")
    two = (files[2], "--model", tmp_path / "two.keras", "--white", 1)
    status, _, err = call(capsys, *two, *out)
    assert (status, err.count("\n")) == (2, 1)
    assert "takes 2 inputs: explain it from Python" in err


WORDS = {
    "--rule": ["backprop", "guided", "lrp"],
    "--layer": ["conv", "tiny", "conv#0", "conv#1", "#", "", "\n"],
    "--channel": ["0", "3", "4", "-1", "1.5"],
    "--position": [("0", "0"), ("13", "13"), ("14", "0"), ("-1", "2"), ("a", "b")],
    "--target": ["0", "9", "-2"],
    "--head": ["0", "7", "conv"],
    "--white": ["1", "255", "0", "-1", "nan", "inf", "x"],
    "--preprocess": ["tf", "caffe", "white:2", "white:", "fast"],
    "--fit": ["crop", "pad", "stretch", "fill"],
    "--before-rectifier": [()],
    "--no-strict": [()],
    "--weights": ["gone.h5"],
    "--dataset": ["shapes", "gone"],
}


@pytest.mark.filterwarnings("ignore")
@seed(26)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_words_give_the_map_that_python_gives_or_a_line(
    capsys, files, tmp_path, data
):
    _, model, image = files
    chosen = data.draw(st.sets(st.sampled_from(sorted(WORDS)), max_size=4))
    words, drawn = [], {}
    for option in sorted(chosen):
        drawn[option] = data.draw(st.sampled_from(WORDS[option]))
        values = drawn[option]
        words += [option, *((values,) if isinstance(values, str) else values)]
    where = data.draw(st.sampled_from([image, model, tmp_path, "gone.png", "999"]))
    try:
        status, out, err = call(
            capsys, where, "--model", model, *words, "-o", tmp_path / "map"
        )
    except SystemExit:  # argparse's own answer
        assert "usage:" in capsys.readouterr().err
        return
    # TensorFlow of many traces in one process; the wait for image 999 in a new home.
    ours = ("allconv: ", "WARNING:tensorflow:", "Fetching CIFAR-10")
    assert [line for line in err.splitlines() if not line.startswith(ours)] == []
    assert "Traceback" not in err
    assert "--traceback" not in err  # of what was not foreseen
    if status == 2:
        waits = sum(line.startswith("Fetching CIFAR-10") for line in err.splitlines())
        assert (out, err.count("\n") - waits) == ("", 1)
        return
    assert status == 0
    arrays = np.load(tmp_path / "map.npz")
    own = keras.models.load_model(model)
    way = drawn.get("--preprocess", f"white:{drawn.get('--white')}")
    neuron = {
        "layer": drawn.get("--layer"),
        "channel": int(drawn["--channel"]) if "--channel" in drawn else None,
        "target": int(drawn["--target"]) if "--target" in drawn else None,
        "output": int(drawn["--head"]) if "--head" in drawn else None,
        "before_rectifier": "--before-rectifier" in drawn,
        "strict": "--no-strict" not in drawn,
    }
    if "--position" in drawn:
        neuron["position"] = tuple(map(int, drawn["--position"]))
    expected = explainer.explain(
        own,
        inputs.parse(way)[0](arrays["image"][None]),
        drawn.get("--rule", "guided"),
        **neuron,
    )
    np.testing.assert_allclose(arrays["map_at_inputs"], expected[0], rtol=1e-5)
