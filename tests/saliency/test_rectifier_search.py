"""Rectifiers of one operation or several follow the rules; clamps do not."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from allconv.saliency.explainer import Explainer, explain
from tests.nets import images

ALPHA = np.float32([[[0.3, 0.05, -0.2, 0.4]]])


def prelu():
    return layers.PReLU(keras.initializers.Constant(ALPHA[0, 0]), shared_axes=[1, 2])


def leaky(below, threshold=0.0):
    return lambda x: np.where(x > threshold, 1, below)


# Each unit with its slope, written by hand.
UNITS = {
    "prelu": (prelu, lambda x: np.where(x > 0, 1, ALPHA)),
    "threshold": (lambda: layers.ReLU(threshold=0.4), leaky(0, 0.4)),
    "all three": (
        lambda: layers.ReLU(max_value=1.0, negative_slope=0.2, threshold=0.3),
        lambda x: np.where(x > 1, 0, np.where(x > 0.3, 1, np.where(x < 0.3, 0.2, 0))),
    ),
    "leaky, capped": (
        lambda: layers.ReLU(max_value=0.5, negative_slope=0.2),
        lambda x: np.where(x > 0.5, 0, np.where(x > 0, 1, 0.2)),
    ),
    "times a cast": (
        lambda: layers.Lambda(lambda x: x * tf.cast(x > 0.1, x.dtype)),
        leaky(0, 0.1),
    ),
    "cast times": (
        lambda: layers.Lambda(lambda x: ops.cast(x >= 0.1, "float32") * x),
        leaky(0, 0.1),
    ),
    "maximum of multiples": (
        lambda: layers.Lambda(lambda x: tf.maximum(x, 0.2 * x)),
        leaky(0.2),
    ),
    "where of multiples": (
        lambda: layers.Lambda(lambda x: tf.where(x > 0, x, x * 0.1)),
        leaky(0.1),
    ),
    "two parts": (
        lambda: layers.Lambda(lambda x: tf.maximum(x, 0.0) + 0.3 * tf.minimum(x, 0.0)),
        leaky(0.3),
    ),
    "two rectifiers": (
        lambda: layers.Lambda(lambda x: tf.nn.relu(x) - tf.nn.relu(-x) * 0.3),
        leaky(0.3),
    ),
    "clip": (
        lambda: layers.Lambda(lambda x: tf.clip_by_value(x, 0.0, 0.7)),
        lambda x: (x > 0) & (x < 0.7),
    ),
}
CLAMPS = {
    "hard_sigmoid": lambda: layers.Activation("hard_sigmoid"),
    "hard_swish": lambda: layers.Activation("hard_swish"),
    "hard_tanh": lambda: layers.Activation("hard_tanh"),
    "keras 2's": lambda: layers.Lambda(
        lambda x: tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0)
    ),
    "unit norm": lambda: layers.UnitNormalization(),
    "celu": lambda: layers.Activation("celu"),
    "two sides": lambda: layers.Lambda(lambda x: tf.nn.relu(x) + tf.nn.relu(-x)),
    "no bend": lambda: layers.Lambda(lambda x: tf.nn.relu(x) - tf.nn.relu(-x)),
    "hard_swish of large numbers": lambda: layers.Lambda(
        lambda x: 1e4 * x * tf.clip_by_value(1e4 * x + 3e4, 0.0, 6e4) / 6e8
    ),
    "bounds": lambda: layers.Lambda(
        lambda x: tf.clip_by_value(tf.sigmoid(x), 0.2, 0.8)
    ),
}


def net(unit):
    keras.utils.set_random_seed(3)
    below = layers.Conv2D(4, 3)
    above = layers.Conv2D(2, 3, name="top")
    return keras.Sequential([keras.Input((8, 8, 3)), below, unit, above]), below, above


def by_hand(below, above, slopes, x, rule):
    """The chain rule, with the rule's masks at the one unit; of the map's sum."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        middle = below(x)
    signal = np.zeros(middle.shape, np.float32)
    for i, j in np.ndindex(4, 4):  # the transposed convolution of ones
        signal[:, i : i + 3, j : j + 3] += above.kernel.numpy()[..., 1]
    if rule != "backprop":
        signal = np.maximum(signal, 0)
    if rule != "deconvnet":
        signal = signal * slopes(middle.numpy())
    return tape.gradient(middle, x, tf.constant(signal, tf.float32)).numpy()


@pytest.mark.parametrize("rule", ["backprop", "deconvnet", "guided"])
@pytest.mark.parametrize("name", UNITS)
def test_units_of_several_operations_follow_the_rule(name, rule):
    make, slopes = UNITS[name]
    model, below, above = net(make())
    x = images(size=8)
    explainer = Explainer(model, rule, layer="top")
    maps = explainer(x, channel=1, position="all")
    np.testing.assert_allclose(
        maps, by_hand(below, above, slopes, x, rule), rtol=1e-4, atol=1e-5
    )
    assert len(explainer.audit.rectifiers) == 1
    assert explainer.audit.treated == explainer.audit.rectifiers
    assert not explainer.audit.untouched


# Further ways to write one: the function, and its slope.
WRITTEN = {
    "shares": (lambda x: 0.1 * x + 0.9 * tf.nn.relu(x), leaky(0.1)),
    "negated": (lambda x: -tf.minimum(-x, 0.0), leaky(0)),
    "shifted": (
        lambda x: tf.nn.relu(x) - tf.nn.relu(x - 0.5),
        lambda x: (x > 0) & (x < 0.5),
    ),
    "negated ceiling": (
        lambda x: -tf.maximum(-tf.nn.relu(x), -0.4),
        lambda x: (x > 0) & (x < 0.4),
    ),
    "tenth": (lambda x: tf.maximum(x, x / 10), leaky(0.1)),
    "less": (lambda x: x * tf.cast(tf.less(0.0, x), x.dtype), leaky(0)),
    "not": (
        lambda x: tf.where(tf.logical_not(x > 0), tf.zeros_like(x), x),
        leaky(0),
    ),
    "absolute": (lambda x: (x + tf.abs(x)) / 2, leaky(0)),
    # Bounds where no other number is tried, or none at all.
    "to infinity": (lambda x: tf.clip_by_value(x, 0.0, np.inf), leaky(0)),
    "to 1e9": (lambda x: tf.clip_by_value(x, 0.0, 1e9), leaky(0)),
    "to 1e-4": (
        lambda x: tf.clip_by_value(x, 0.0, 1e-4),
        lambda x: (x > 0) & (x < 1e-4),
    ),
    "from 4000": (lambda x: tf.maximum(1e4 * x, 4e3) / 1e4, leaky(0, 0.4)),
    "tiny": (
        lambda x: 1e8 * tf.where(x > 0, x * 1e-8, x * 1e-9),
        leaky(0.1),
    ),
    "infinite far away": (
        lambda x: tf.where(x > 0, x, 0 * tf.exp(x)),
        leaky(0),
    ),
    "huge": (lambda x: (1e8 * x + tf.abs(1e8 * x)) / 2e8, leaky(0)),
}


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_a_rectifier_is_known_by_its_values_however_it_is_written(rule):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 3))
    below = layers.Conv2D(4, 3)
    x = below(inputs)
    parts = [layers.Lambda(function)(x) for function, _ in WRITTEN.values()]
    above = layers.Conv2D(2, 3, name="top")
    model = keras.Model(inputs, above(layers.Concatenate()(parts)))
    kernels = np.split(above.kernel.numpy(), len(parts), axis=2)
    x = images(size=8)
    explainer = Explainer(model, rule, layer="top")
    assert len(explainer.audit.rectifiers) >= len(parts)
    maps = explainer(x, channel=1, position="all")
    expected = np.zeros_like(maps)
    for (_, slopes), kernel in zip(WRITTEN.values(), kernels, strict=True):
        one = layers.Conv2D(2, 3)
        one.build((None, 6, 6, 4))
        one.kernel.assign(kernel)
        expected += by_hand(below, one, slopes, x, rule)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_a_layer_that_rectifies_is_one_whatever_is_added_to_it(rule):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 3))
    below, above = layers.Conv2D(4, 3), layers.Conv2D(2, 3, name="top")
    x = below(inputs)
    summed = [x, layers.ReLU(name="first")(x), layers.LeakyReLU(0.2, name="second")(x)]
    model = keras.Model(inputs, above(layers.Add()(summed)))
    explainer = Explainer(model, rule, layer="top")
    assert explainer.audit.treated == ("first (Relu)", "second (LeakyRelu)")
    x = images(size=8)
    expected = by_hand(below, above, leaky(1.0), x, "backprop") + sum(
        by_hand(below, above, leaky(slope), x, rule) for slope in (0.0, 0.2)
    )
    found = explainer(x, channel=1, position="all")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


class Sloped(layers.Layer):
    """One slope above 0 and one below, both learnt."""

    def build(self, shape):
        self.slopes = self.add_weight(shape=(2,), initializer="ones")

    def call(self, x):
        return self.slopes[0] * tf.nn.relu(x) - self.slopes[1] * tf.nn.relu(-x)


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_learnt_slopes_are_those_of_the_day_not_those_that_were_traced(rule):
    model, below, above = net(unit := Sloped())
    unit.slopes.assign([2.0, 0.5])
    explainer = Explainer(model, rule, layer="top")
    unit.slopes.assign([3.0, 0.25])
    x = images(size=8)
    found = explainer(x, channel=1, position="all")
    expected = 3 * by_hand(below, above, leaky(0.25 / 3), x, rule)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CLAMPS)
def test_clamps_in_smooth_functions_are_no_rectifiers(name):
    model, _, _ = net(CLAMPS[name]())
    x = images(size=8)
    with pytest.raises(ValueError, match="says nothing of"):
        explain(model, x, "guided", layer="top", channel=1)
    loose = Explainer(model, "guided", layer="top", strict=False)
    assert loose.audit.rectifiers == ()
    plain = explain(model, x, "backprop", layer="top", channel=1)
    np.testing.assert_allclose(loose(x, channel=1), plain, rtol=1e-4, atol=1e-6)


def test_a_value_before_a_unit_of_several_operations():
    model, below, _ = net(prelu())
    x = images(size=8)
    unit = model.layers[1].name
    found = Explainer(model, "guided", layer=unit, before_rectifier=True)
    _, said = found.locate(x, channel=2, position=(1, 1))
    np.testing.assert_allclose(said, below(x)[:, 1, 1, 2], rtol=1e-5)
