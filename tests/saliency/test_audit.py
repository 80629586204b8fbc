"""What the audit of a traced model finds, names and refuses."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from allconv.saliency import explainer
from allconv.saliency.explainer import Explainer, explain
from allconv.saliency.rules import Rule
from tests.nets import chain, images

pytestmark = pytest.mark.usefixtures("same_weights")


REFUSED = {
    "Elu": layers.ELU(),
    "Selu": layers.Activation("selu"),
    "Softplus": layers.Activation("softplus"),
    "Sigmoid": layers.Activation("sigmoid"),
    "Tanh": layers.Activation("tanh"),
    "Erfc": layers.Activation("gelu"),
    "IdentityN": layers.Activation("silu"),
    "Relu": layers.Lambda(lambda x: tf.nn.relu(x) + tf.exp(tf.nn.relu(-x))),
    "Maximum": layers.Lambda(lambda x: tf.maximum(x, x * x)),
    "Minimum": layers.Activation("celu"),
    "Max": layers.Lambda(lambda x: tf.reduce_max(tf.stack([x, tf.zeros_like(x)]), 0)),
    "Cast": layers.Lambda(lambda x: x * x * tf.cast(x > 0.5, x.dtype)),
    "Mul": layers.Lambda(lambda x: x * tf.nn.relu(x)),
    "Rsqrt": layers.LayerNormalization(),
    "StopGradient": layers.Lambda(lambda x: x + tf.stop_gradient(x)),
}


@pytest.mark.parametrize("op", REFUSED)
def test_other_nonlinearities_are_refused_by_name_or_listed(op):
    REFUSED[op].name = "odd"
    positive = {"kernel_initializer": keras.initializers.RandomUniform(0.1, 1)}
    conv = layers.Conv2D(2, 1, activation="relu", **positive)
    model = chain(conv, REFUSED[op], layers.Dense(2, **positive))
    for rule in ("guided", "deconvnet"):
        with pytest.raises(ValueError, match=rf"{rule} says nothing of .*odd \({op}\)"):
            explain(model, images(), rule)
    loose = Explainer(model, "guided", strict=False)
    assert f"odd ({op})" in loose.audit.untouched
    assert f"odd ({op})" in str(loose.audit)
    assert loose(images()).any()
    x = tf.constant(images())
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = model(x)[:, 1, 1, 0]
    maps = explainer.backprop(model, images(), channel=0, position=(1, 1))
    np.testing.assert_allclose(maps, tape.gradient(score, x), atol=1e-5)


def test_a_smooth_network_is_refused_with_the_remedy_three_layers_and_a_count():
    """As ConvNeXt and EfficientNet are, and a net that attends by Einsum."""
    inputs = x = keras.Input((8, 8, 4))
    for _ in range(3):
        y = layers.LayerNormalization()(layers.DepthwiseConv2D(3, padding="same")(x))
        y = layers.EinsumDense("bhwc,cd->bhwd", (8, 8, 8), activation="gelu")(y)
        x = layers.Add()([x, layers.Dense(4, activation="silu")(y)])
    x = layers.MultiHeadAttention(1, 2)(x, x)
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(ValueError, match="guided says nothing of") as refusal:
        Explainer(model, "guided")
    message = str(refusal.value)
    assert message.startswith("Use the rule 'backprop', or `strict=False`")
    names, more = re.search(r"nothing of (.*) and (\d+) more\.$", message).groups()
    assert names.count(", ") == 2
    assert len(message) < 300
    loose = Explainer(model, "guided", strict=False)
    assert int(more) == len(loose.audit.untouched) - 3
    assert not loose.audit.rectifiers
    x = images(channels=4)
    plain = explain(model, x, "backprop", target=1)
    np.testing.assert_allclose(loose(x, target=1), plain, rtol=1e-4, atol=1e-6)
    assert plain.any()


def test_a_rule_inside_a_custom_gradient_is_not_claimed():
    @tf.custom_gradient
    def straight_through(x):
        return tf.nn.relu(x), lambda upstream: upstream

    model = chain(layers.Conv2D(2, 1), layers.Lambda(straight_through, name="odd"))
    with pytest.raises(ValueError, match=r"odd \(IdentityN\)"):
        explain(model, images())


def test_a_rule_does_not_reach_what_is_computed_once_more():
    """The gradient of a block with `recompute_grad` is that of a second computation."""
    block = tf.recompute_grad(lambda x: tf.nn.relu(tf.nn.relu(x) - 0.1))
    model = chain(
        layers.Conv2D(2, 1, activation="relu"), layers.Lambda(block, name="odd")
    )
    with pytest.raises(ValueError, match=r"odd \(IdentityN\)"):
        explain(model, images())
    audit = Explainer(model, strict=False).audit
    assert (len(audit.treated), len(audit.rectifiers)) == (1, 3)


def test_a_neuron_inside_of_a_rectifier_is_refused():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 3)(inputs)
    half = ops.relu(x)
    model = keras.Model(inputs, layers.Conv2D(2, 1)(0.1 * x + 0.9 * half))
    assert len(Explainer(model).audit.rectifiers) == 1
    name = half._keras_history.operation.name
    with pytest.raises(ValueError, match=f"'{name}' is a part of a rectifier"):
        Explainer(model, layer=name)


def test_what_lies_above_the_neuron_does_not_matter():
    model = chain(
        layers.Conv2D(2, 1, activation="relu", name="low"),
        layers.Activation("gelu"),
        layers.Dense(2, activation="sigmoid"),
    )
    assert explain(model, images(), layer="low").any()


def test_concatenated_relu_is_two_rectifiers():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 3)(inputs)
    x = layers.Concatenate()([layers.ReLU()(x), layers.ReLU()(-x)])
    audit = Explainer(keras.Model(inputs, layers.Conv2D(2, 1)(x))).audit
    assert len(audit.treated) == len(audit.rectifiers) == 2


def test_a_maximum_over_a_constant_part_is_no_pooling():
    """Of a concatenation; over its other axes the part is a channel like any other."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    both = layers.Lambda(lambda x: tf.concat([x, tf.ones_like(x[..., :1])], -1))(x)
    pooled = keras.Model(inputs, layers.GlobalMaxPooling2D()(both))
    audit = Explainer(pooled, "guided").audit
    assert (len(audit.rectifiers), len(audit.pools), audit.untouched) == (1, 1, ())
    largest = layers.Lambda(lambda x: tf.reduce_max(x, -1, keepdims=True), name="odd")
    flat = keras.Model(inputs, layers.Flatten()(largest(both)))
    with pytest.raises(ValueError, match=r"nothing of odd \(Max\)"):
        Explainer(flat, "guided")


def test_audit_prints_what_was_found():
    model = chain(
        layers.Conv2D(2, 3, activation="relu", name="conv1"),
        layers.MaxPooling2D(2, name="pool1"),
        layers.ReLU(max_value=3, name="capped"),
        layers.Lambda(tf.nn.lrn, name="lrn"),
        layers.Activation("tanh", name="squash"),
    )
    audit = Explainer(model, Rule(True, True, "spread"), strict=False).audit
    assert str(audit).splitlines() == [
        "2 of 2 rectifiers guided",
        "rectifiers: conv1 (Relu), capped (Relu)",
        "max-pooling (spread): pool1 (MaxPool)",
        "local response normalisation: lrn (LRN)",
        "untouched nonlinearities: squash (Tanh)",
    ]


def test_pooling_without_a_route_is_refused():
    model = chain(layers.Conv2D(2, 3, activation="relu"), layers.GlobalMaxPooling2D())
    assert explain(model, images()).any()
    with pytest.raises(ValueError, match=r"global_max_pooling2d\w* \(Max\)"):
        explain(model, images(), Rule(True, True, "centre"))
    with pytest.raises(ValueError, match=r"global_max_pooling2d\w* \(Max\)"):
        explain(model, images(), Rule(True, False, "centre"))


def test_model_without_a_rectifier():
    model = chain(layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2))
    with pytest.raises(ValueError, match="has no rectifier"):
        explain(model, images(), "guided")
    assert explainer.backprop(model, images()).any()
    pooled = chain(layers.Conv2D(2, 3), layers.MaxPooling2D())
    assert explain(pooled, images(), Rule(True, True, "spread")).any()
    first = chain(layers.Conv2D(2, 3, name="first"), layers.ReLU())
    assert explain(first, images(), layer="first").any()  # none below, but one above
