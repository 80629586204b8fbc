"""The paper's comparison figures: what is drawn is what the facts beside it say."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib import image as png

from allconv.data import datasets, preprocessing, shapes
from allconv.figures.maps import signed_limit
from allconv.networks import builders, weights
from allconv.networks.classifier import Classifier
from experiments import pictures

IMAGES, LABELS = shapes.draw(40)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The whole script on two networks of random weights and forty images."""
    folder = tmp_path_factory.mktemp("pictures")
    keras.utils.set_random_seed(0)
    preprocessor = preprocessing.MeanStd().fit(IMAGES)
    files = []
    for name in pictures.NETWORKS:
        model = builders.build(name, kernel_initializer="he_normal")
        files.append(folder / f"{name}.h5")
        weights.save(files[-1], model, name, preprocessor, "shapes", _meta())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", lambda *_: (None, (IMAGES, LABELS)))
        arguments = ["--weights", *map(str, files), "--output", str(folder)]
        assert pictures.main(arguments) == 0
    return folder, json.loads((folder / "pictures.json").read_text())


def _meta():
    return {"input_shape": [32, 32, 3], "preset": "none", "seed": 0, "error": 90.0}


def _maps(classifier, layer):
    """All activations of a layer, the plain way."""
    model = classifier.model
    part = keras.Model(model.input, model.get_layer(layer).output)
    return part(classifier.preprocessor(IMAGES)).numpy()


def test_every_picture_is_small_and_has_its_facts(drawn):
    folder, facts = drawn
    assert {path.name for path in folder.glob("*.png")} == set(facts)
    assert len(facts) == len(pictures.NETWORKS) + len(pictures.HIDDEN)
    for name, fact in facts.items():
        assert (folder / name).stat().st_size < 400_000
        assert png.imread(folder / name)[..., :3].std() > 0.05
        source = folder / fact["weights"]["file"]
        assert fact["weights"]["sha256"] == weights.sha256(source)
        assert fact["weights"]["error"] == 90.0


def test_all_classes_that_fire_are_shown_at_their_strongest(drawn):
    folder, facts = drawn
    for network, layer in pictures.NETWORKS.items():
        fact = facts[f"rules_{network}.png"]
        maps = _maps(Classifier.load(folder / f"{network}.h5"), layer)
        assert fact["channel"] == np.flatnonzero(maps.max(axis=(0, 1, 2))).tolist()
        for i, c in enumerate(fact["channel"]):
            n, place = fact["image"][i], tuple(fact["position"][i])
            assert maps[(n, *place, c)] == pytest.approx(maps[..., c].max(), rel=1e-5)
            assert fact["activation"][i] == pytest.approx(maps[..., c].max(), rel=6e-3)


def test_limits_are_those_of_the_gradient_at_the_pixels(drawn):
    """Backprop is the plain gradient, through the preprocessing too."""
    folder, facts = drawn
    for network, layer in pictures.NETWORKS.items():
        fact = facts[f"rules_{network}.png"]
        classifier = Classifier.load(folder / f"{network}.h5")
        part = keras.Model(
            classifier.model.input, classifier.model.get_layer(layer).output
        )
        mean, std = classifier.preprocessor.mean, classifier.preprocessor.std
        pixels = tf.constant(IMAGES[fact["image"]], tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            maps = part((pixels - mean) / std)
            places = [
                [n, *place, channel]
                for n, (place, channel) in enumerate(
                    zip(fact["position"], fact["channel"], strict=True)
                )
            ]
            total = tf.reduce_sum(tf.gather_nd(maps, places))
        expected = [signed_limit(m) for m in tape.gradient(total, pixels).numpy()]
        np.testing.assert_allclose(fact["limits"]["backprop"], expected, rtol=6e-3)


def test_routes_are_compared_only_where_there_is_pooling(drawn):
    _, facts = drawn
    assert list(facts["rules_all_cnn_c.png"]["limits"]) == list(pictures.RULES)
    titles = list(facts["rules_model_c.png"]["limits"])
    assert len(titles) == 1 + 2 * len(pictures.ROUTES)
    limits = facts["rules_model_c.png"]["limits"]
    assert len({tuple(limits[title]) for title in titles}) == len(titles)


def test_patches_are_of_units_that_fire_at_their_strongest_places(drawn):
    folder, facts = drawn
    classifier = Classifier.load(folder / "all_cnn_c.h5")
    for layer, n in pictures.HIDDEN.items():
        fact = facts[f"patches_{layer}.png"]
        maps = _maps(classifier, layer)
        assert len(fact["channel"]) == n == len(fact["limits"])
        for i, c in enumerate(fact["channel"]):
            peaks = np.sort(maps[..., c].max(axis=(1, 2)))[::-1][:9]
            assert peaks[-1] > 0
            assert fact["activation"][i] == pytest.approx(list(peaks), rel=6e-3)
            assert len(set(fact["image"][i])) == 9


@pytest.mark.parametrize(
    "units, n, expected",
    [([3, 4, 5, 6], 2, [3, 5]), ([0, 7, 9], 3, [0, 7, 9]), (range(10), 3, [0, 3, 6])],
)
def test_units_are_taken_at_equal_distances(units, n, expected):
    assert pictures.spaced(np.array(units), n).tolist() == expected


def test_too_few_units_are_refused():
    with pytest.raises(ValueError, match=r"5 units were asked for\. Received: 2"):
        pictures.spaced(np.arange(2), 5)


def test_a_network_without_weights_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weights, "RELEASED", tmp_path)
    assert pictures.main(["--output", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "model_c is left out: No weights of model_c for cifar10" in out
    assert not list(tmp_path.iterdir())
