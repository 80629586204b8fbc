"""The table of other libraries: its right maps are right, and it tells wrong ones."""

import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from experiments import peers

FUNCTIONS = {
    "capped": (tf.nn.relu6, lambda x: (x > 0) & (x < 6)),
    "leaky": (
        lambda x: tf.nn.leaky_relu(x, 0.2),
        lambda x: tf.where(x > 0, 1.0, 0.2),
    ),
}
FUNCTIONS["sloped"] = FUNCTIONS["leaky"]
RELU = (tf.nn.relu, lambda x: x > 0)


def by_tape(kind, guided):
    """The kernels in plain operations, the rectifiers swapped, an eager tape."""
    function, slope = FUNCTIONS.get(kind, RELU)

    @tf.custom_gradient
    def rectify(x):
        def down(signal):
            return (tf.nn.relu(signal) if guided else signal) * tf.cast(
                slope(x), x.dtype
            )

        return function(x), down

    k1, b1, k2, b2, k3, b3 = (w.astype("float32") for w in peers.weights())
    x = tf.constant(peers.image().astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = rectify(tf.nn.conv2d(x, k1, 1, "VALID") + b1)
        y = rectify(tf.nn.conv2d(y, k2, 1, "VALID") + b2)
        score = (tf.reduce_mean(y, (1, 2)) @ k3 + b3)[:, peers.TARGET]
    return tape.gradient(score, x)


@pytest.mark.parametrize("kind", peers.KINDS)
@pytest.mark.parametrize("guided", [True, False])
def test_maps_from_matrices_are_those_of_a_tape(kind, guided):
    expected = peers.expected(kind, guided)
    np.testing.assert_allclose(by_tape(kind, guided), expected, rtol=1e-4, atol=1e-5)


def test_the_rules_differ_in_every_network_and_so_do_the_networks():
    maps = {k: peers.expected(k, guided=True) for k in ("layer", "capped", "leaky")}
    for kind, found in maps.items():
        assert np.mean(found != 0) > 0.5  # else a map of zeros would be right
        plain = peers.expected(kind, guided=False)
        assert np.abs(plain - found).max() > 0.1 * np.abs(found).max()
    for kind in ("capped", "leaky"):
        assert np.abs(maps[kind] - maps["layer"]).max() > 0.1 * np.abs(maps[kind]).max()


def test_what_a_library_does_is_told(monkeypatch):
    model = peers.keras_model("layer")
    score = lambda: model(peers.image().astype("float32"))  # noqa: E731
    right, plain = (peers.expected("layer", guided) for guided in (True, False))
    sums = iter([right, 2 * right])

    def refuses():
        raise TypeError("no")

    for explain, scores, said in (
        (lambda: right, score, "right"),
        (lambda: plain, score, "**the plain gradient**"),
        (lambda: right + 1, score, "**neither** (r = 1.00)"),
        (lambda: right, lambda: score() + 1, "right, changes the scores"),
        (lambda: next(sums), score, "right; 2 times that when called again"),
        (refuses, score, "refused (TypeError)"),
    ):
        library = ("Keras", "", lambda kind, found=(explain, scores): found)
        monkeypatch.setitem(peers.LIBRARIES, "other", library)
        assert peers.verdict("other", "layer") == said
    assert isinstance(model.layers[2], layers.ReLU)


@pytest.mark.parametrize("kind", peers.KINDS)
def test_ours_is_right(kind):
    assert peers.verdict("allconv", kind) == "right"


def test_the_table_names_what_was_not_run():
    made = peers.table({"allconv": {"version": "", "fused": "right"}})
    assert "| allconv | right | not run |" in made
    assert "| zennit | not run |" in made
