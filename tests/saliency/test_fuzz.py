"""Any network, any arguments: the map of a tape with the rectifiers swapped, or a line.

Networks are drawn of all ways to write a rectifier; the oracle is the same network with
`tf.custom_gradient` in their place, differentiated by an eager tape.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, seed, settings, strategies as st
from keras import layers, ops

from allconv.saliency.explainer import explain
from tests.nets import images

SIZE = 6
MASKS = {"backprop": (1, 0), "deconvnet": (0, 1), "guided": (1, 1)}
# name -> (f, slope)
UNITS = {
    "relu": (tf.nn.relu, lambda x: x > 0),
    "relu6": (tf.nn.relu6, lambda x: (x > 0) & (x < 6)),
    "leaky": (lambda x: tf.nn.leaky_relu(x, 0.25), lambda x: np.where(x > 0, 1, 0.25)),
    "prelu": (lambda x: tf.where(x > 0, x, x / 2), lambda x: np.where(x > 0, 1, 0.5)),
}
WRITTEN = {
    "relu": [
        layers.ReLU,
        lambda: layers.Activation("relu"),
        lambda: ops.relu,
        lambda: layers.Lambda(tf.nn.relu),
        lambda: lambda x: ops.maximum(x, 0.0),
    ],
    "relu6": [lambda: layers.ReLU(max_value=6.0), lambda: ops.relu6],
    "leaky": [
        lambda: layers.LeakyReLU(negative_slope=0.25),
        lambda: layers.ReLU(negative_slope=0.25),
        lambda: lambda x: ops.maximum(x, 0.25 * x),
    ],
    "prelu": [lambda: layers.PReLU("ones", shared_axes=[1, 2])],
}


def swapped(kind, rule):
    """The rectifier with a rule for its gradient, written down once more."""
    function, slope = UNITS[kind]
    forward, gradient = MASKS[rule]

    @tf.custom_gradient
    def unit(x):
        def down(signal):
            if gradient:
                signal = tf.nn.relu(signal)
            return signal * tf.cast(slope(x), x.dtype) if forward else signal

        return function(x), down

    return unit


class Unit(layers.Layer):
    def __init__(self, kind, rule):
        super().__init__()
        self.function = swapped(kind, rule)

    def call(self, x):
        return self.function(x)


@st.composite
def plans(draw):
    """What both networks are built of: rows of (kind, way to write it, what around)."""
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(sorted(WRITTEN)))
        way = draw(st.integers(0, len(WRITTEN[kind]) - 1))
        around = draw(
            st.sampled_from(["plain", "nested", "residual", "pool", "norm", "shared"])
        )
        rows.append((kind, way, around))
    head = draw(st.sampled_from(["softmax", "sigmoid", "logits", "one", "map"]))
    return rows, head


def build(plan, rule=None):
    """The network as people write it; with a rule, that of the oracle, of logits."""
    rows, head = plan

    def unit(kind, way):
        return Unit(kind, rule) if rule else WRITTEN[kind][way]()

    inputs = x = keras.Input((SIZE, SIZE, 2))
    for i, (kind, way, around) in enumerate(rows):
        conv = layers.Conv2D(3, 3, padding="same", name=f"conv{i}")
        rectify = unit(kind, way)
        if around == "nested":
            inner = keras.Input(x.shape[1:])
            x = keras.Model(inner, rectify(conv(inner)), name=f"inner{i}")(x)
        elif around == "residual":
            x = rectify(conv(x))
            more = layers.Conv2D(3, 1, name=f"more{i}")(x)
            x = unit(kind, way)(layers.Add()([x, more]))
        elif around == "shared":
            x = rectify(conv(x))
            again = layers.Conv2D(3, 3, padding="same", name=f"again{i}")
            x = unit("relu", 2)(again(unit("relu", 2)(again(x))))
        else:
            x = conv(x)
            if around == "norm":
                x = layers.BatchNormalization(name=f"norm{i}")(x)
            x = rectify(x)
            if around == "pool":
                x = layers.MaxPooling2D(2, 1, padding="same")(x)
    if head == "map":
        x = layers.Conv2D(3, 1, name="scores")(x)
    else:
        x = layers.Dense(1 if head == "one" else 3, name="scores")(layers.Flatten()(x))
        if not rule and head in ("softmax", "sigmoid"):
            x = layers.Activation(head)(x)
    return keras.Model(inputs, x)


def weighted(model, number):
    """Weights by the names of their layers, large enough to meet a ceiling of 6."""
    for layer in model._flatten_layers():
        if isinstance(layer, layers.Conv2D | layers.Dense | layers.BatchNormalization):
            own = np.frombuffer(layer.name.encode(), np.uint8).sum()
            rng = np.random.default_rng([number, own])
            drawn = [rng.normal(0, 0.7, w.shape) for w in layer.get_weights()]
            if isinstance(layer, layers.BatchNormalization):
                drawn = [np.abs(a) + 0.2 for a in drawn]
            layer.set_weights(drawn)
        elif isinstance(layer, layers.PReLU):
            layer.set_weights([np.full(w.shape, 0.5) for w in layer.get_weights()])
    return model


def tape(plan, number, rule, x, channel, position):
    model, x = weighted(build(plan, rule), number), tf.constant(x)
    with tf.GradientTape() as recorded:
        recorded.watch(x)
        scores = model(x)
        if plan[1] == "map":
            flat = scores[..., channel]
            if position == "all":
                score = tf.reduce_sum(flat)
            elif position == "max":
                score = tf.reduce_sum(tf.reduce_max(flat, (1, 2)))
            else:
                score = tf.reduce_sum(flat[:, position[0], position[1]])
        elif plan[1] == "one":
            score = tf.reduce_sum(scores) * (1 if channel else -1)
        else:
            score = tf.reduce_sum(scores[:, channel])
    return recorded.gradient(score, x).numpy()


@seed(26)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_network_is_explained_as_by_a_tape_or_refused_in_a_line(data):
    plan = data.draw(plans())
    rule = data.draw(st.sampled_from(sorted(MASKS)))
    number = data.draw(st.integers(0, 2**16))
    channel = data.draw(st.integers(-1, 3))
    position = data.draw(
        st.sampled_from(
            ["max", "all", (0, 0), (SIZE - 1, 2), (SIZE, 0), (1,), "centre"]
        )
    )
    model, x = weighted(build(plan), number), 2 * images(2, SIZE, 2, seed=number)
    many = plan[1] == "map"
    how = {"channel" if many else "target": channel}
    if many:
        how["position"] = position
    classes = 2 if plan[1] == "one" else 3
    places = ["max", "all", (0, 0), (SIZE - 1, 2)]
    if 0 <= channel < classes and (not many or position in places):
        expected = tape(plan, number, rule, x, channel, position)
        found = explain(model, x, rule, **how)
        close = 1e-4 * max(1e-6, np.abs(expected).max())
        np.testing.assert_allclose(found, expected, atol=close)
    else:
        with pytest.raises(ValueError, match="should be") as refusal:
            explain(model, x, rule, **how)
        assert "\n" not in str(refusal.value)
