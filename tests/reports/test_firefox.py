"""The pages in Firefox: the same numbers, photographs, keys and addresses."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tests.reports import firefox as firefoxes
from tests.reports.test_microscope_engine import chain, compare, neurons_of, stacks

pytestmark = pytest.mark.skipif(not firefoxes.FIREFOX, reason=firefoxes.MISSING)
SETTLE = "await new Promise((go) => setTimeout(go, 30)); while (asking) " + (
    "await new Promise((go) => setTimeout(go, 10));"
)


@pytest.fixture(scope="module")
def firefox(microscope, tmp_path_factory):
    with firefoxes.Firefox(tmp_path_factory.mktemp("firefox") / "profile") as window:
        window.open(microscope.as_uri() + "#all_cnn_c/conv66/12/2,5/4")
        window.wait("answer && !asking")
        yield window


def test_its_numbers_are_pythons(firefox, classifiers):
    classifier = classifiers["all_cnn_c"]
    pixels = firefox.run("return [...pixels]")
    inputs = classifier.inputs(np.uint8(pixels).reshape(1, 32, 32, 3))
    compare(firefox, classifier.model, inputs, neurons_of(classifier.model, 4, seed=1))
    shown = firefox.run("return [entry.compiled, [...answer.probabilities]]")
    assert shown[0]
    np.testing.assert_allclose(shown[1], classifier.model(inputs)[0], atol=1e-6)


def test_switches_of_overlapping_pools_are_pythons(firefox):
    model = chain(*stacks()["overlapping pools"])
    inputs = np.random.default_rng(1).normal(size=(2, 13, 11, 3)).astype("float32")
    compare(firefox, model, inputs, neurons_of(model, 6, seed=0))


def test_addresses_back_keys_and_paint(firefox):
    assert "no layer conv66, this is conv6" in firefox.run(
        "return $('said').textContent"
    )
    first = "#all_cnn_c/conv6/12/2,5/4"
    assert firefox.run("return location.hash") == first
    firefox.click("#tabs button:nth-child(3)")
    firefox.run(SETTLE)
    assert firefox.run("return layerOf().name") == "conv3"
    firefox.run("history.back()")
    firefox.wait("layerOf().name === 'conv6' && !asking")
    firefox.type("#map", "\ue014")
    firefox.run(SETTLE)
    assert firefox.run("return answer.neuron.cell") == [2, 6]
    before = firefox.run("return [...answer.probabilities]")
    firefox.click("#tools label:has([value=erase])")
    firefox.click("#image")
    firefox.run(SETTLE)
    assert firefox.run("return [...answer.probabilities]") != before


def test_a_photo_is_shrunk_to_pillows_bytes(firefox):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 75, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    found = firefox.run(
        """const bytes = Uint8Array.from(atob(given[0]), (c) => c.charCodeAt(0));
        return [...await readPhoto(new Blob([bytes], { type: "image/png" }), 32)];""",
        base64.b64encode(file.getvalue()).decode(),
    )
    square = Image.fromarray(pixels[7:82])
    small = square.resize((32, 32), Image.Resampling.LANCZOS, reducing_gap=1)
    np.testing.assert_array_equal(np.reshape(found, (32, 32, 3)), np.asarray(small))
