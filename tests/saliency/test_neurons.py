"""The address of a neuron: layer, channel, position, class."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from allconv.saliency import reverse_pass
from allconv.saliency.explainer import Explainer, explain
from allconv.saliency.neurons import paths
from allconv.saliency.rules import RULES
from tests.nets import chain, images, nested, with_weights_of

pytestmark = pytest.mark.usefixtures("same_weights")


def test_addresses(reference):
    model = with_weights_of(nested, reference)
    neuron = {"channel": 1, "position": (0, 1)}
    expected = explain(reference, images(), layer="conv1", **neuron)
    for address in ("conv1", "top/bottom/conv1"):
        maps = explain(model, images(), layer=address, **neuron)
        np.testing.assert_allclose(maps, expected, atol=1e-6)
    after = explain(reference, images(), layer="relu2", **neuron)
    names = [path for path, _ in paths(model) if "middle/re_lu" in path]
    maps = explain(model, images(), layer=names[0], **neuron)  # an op between layers
    np.testing.assert_allclose(maps, after, atol=1e-6)


def test_shared_layers_are_told_apart():
    shared = layers.Conv2D(3, 3, padding="same", activation="relu", name="shared")
    model = chain(shared)
    inputs = keras.Input((8, 8, 3))
    twice = keras.Model(inputs, shared(shared(inputs)), name="twice")
    neuron = {"channel": 0, "position": (4, 4)}
    once = explain(model, images(), **neuron)
    maps = explain(twice, images(), layer="shared#0", **neuron)
    np.testing.assert_array_equal(maps, once)
    second = explain(twice, images(), layer="shared#1", **neuron)
    np.testing.assert_array_equal(second, explain(twice, images(), **neuron))
    assert Explainer(twice).audit.rectifiers == ("shared (Relu)", "shared (Relu)")
    with pytest.raises(ValueError, match=r"2 times. Use one of shared#0, shared#1"):
        explain(twice, images(), layer="shared")
    with pytest.raises(ValueError, match="should be one of shared#0, shared#1"):
        explain(twice, images(), layer="shared#2")


def test_two_layers_of_one_name_are_told_apart():
    def block(name):
        conv = layers.Conv2D(3, 3, padding="same", activation="relu", name="conv")
        return keras.Sequential([keras.Input((8, 8, 3)), conv], name=name)

    model = chain(block("one"), block("two"))
    with pytest.raises(ValueError, match=r"2 layers named 'conv'. Use one of one/conv"):
        explain(model, images(), layer="conv")
    assert explain(model, images(), layer="two/conv").any()
    deep = chain(keras.Sequential([keras.Input((8, 8, 3)), block("one")], name="deep"))
    whole = explain(deep, images(), layer="deep/one/conv")
    np.testing.assert_array_equal(whole, explain(deep, images(), layer="one/conv"))
    with pytest.raises(ValueError, match=r"in 'conv#0'. Received: 'conv#x'"):
        explain(deep, images(), layer="conv#x")


def test_two_layers_of_one_path_are_not_taken_for_one():
    class Same(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = (layers.Conv2D(3, 3, name="conv") for _ in range(2))

        def call(self, x):
            return self.two(self.one(x))

    model = Same()
    model(images())
    with pytest.raises(ValueError, match=r"2 layers named 'conv'. Rename them"):
        explain(model, images(), layer="conv")


def test_before_the_rectifier(reference):
    """An inactive neuron: nothing after its rectifier, a map before it."""
    x = images(1)
    value = layers.Conv2D(4, 3, padding="same")
    value.build((None, 8, 8, 3))
    value.set_weights(reference.layers[0].get_weights())
    place = np.argwhere(value(x)[0].numpy() < -0.1)[0].tolist()
    neuron = {"layer": "conv1", "channel": place[2], "position": tuple(place[:2])}
    assert not explain(reference, x, **neuron).any()
    maps = explain(reference, x, before_rectifier=True, **neuron)
    expected = reverse_pass.reverse(
        reference, x, "guided", before_rectifier=True, **neuron
    )
    assert maps.any()
    np.testing.assert_allclose(maps, expected, atol=1e-6)
    with pytest.raises(ValueError, match="'conv2' does not end in a rectifier"):
        explain(reference, x, layer="conv2", before_rectifier=True)
    output = chain(reference.layers[0])
    np.testing.assert_allclose(
        explain(output, x, before_rectifier=True, channel=1),
        explain(reference, x, layer="conv1", before_rectifier=True, channel=1),
        atol=1e-6,
    )


@pytest.mark.parametrize("rule", reverse_pass.MASKS)
def test_before_the_rectifier_of_one_layer_and_not_of_the_one_below(rule):
    """The cap's two steps are one rectifier; that of the convolution is another."""
    convolution = layers.Conv2D(4, 3, activation="relu")
    model = chain(convolution, layers.ReLU(max_value=1.0, name="cap"))
    neuron = {"layer": "cap", "channel": 1, "before_rectifier": True, "position": "all"}
    maps = explain(model, images(), rule, **neuron)
    expected = reverse_pass.reverse(model, images(), rule, **neuron)
    assert maps.any()
    np.testing.assert_allclose(maps, expected, atol=1e-6)


def test_locate_says_which_neurons_were_explained(reference):
    x = images(3)
    maps = keras.Model(reference.inputs[0], reference.layers[0].output)(x).numpy()
    explainer = Explainer(reference, layer="conv1", batch_size=2)
    index, activation = explainer.locate(x)
    strongest = [np.unravel_index(m.argmax(), m.shape) for m in maps]
    np.testing.assert_array_equal(index, strongest)
    np.testing.assert_allclose(activation, maps.max((1, 2, 3)), rtol=1e-6)
    index, activation = explainer.locate(
        x, channel=2, position=[(0, 0), (7, 7), (2, 5)]
    )
    np.testing.assert_array_equal(index, [(0, 0, 2), (7, 7, 2), (2, 5, 2)])
    np.testing.assert_allclose(
        activation, [maps[0, 0, 0, 2], maps[1, 7, 7, 2], maps[2, 2, 5, 2]], atol=1e-6
    )
    _, activation = explainer.locate(x, channel=2, position="all")
    np.testing.assert_allclose(activation, maps[..., 2].sum((1, 2)), rtol=1e-5)
    index, _ = Explainer(reference).locate(x, target=[2, 0, 1])
    np.testing.assert_array_equal(index, [[2], [0], [1]])


def test_channels_and_positions(reference):
    explainer = Explainer(reference, "backprop", layer="conv1")
    assert explainer.neurons == (8, 8, 4)
    x = images(3)
    maps = keras.Model(reference.inputs[0], reference.layers[0].output)(x).numpy()
    each = explainer(x, channel=[0, 3, 1], position=[(0, 0), (7, 7), (2, 5)])
    for i, (channel, position) in enumerate([(0, (0, 0)), (3, (7, 7)), (1, (2, 5))]):
        alone = explainer(x[i : i + 1], channel=channel, position=position)
        np.testing.assert_array_equal(each[i], alone[0])
    for i, activation in enumerate(maps):  # None and "max": the strongest
        row, column, channel = np.unravel_index(activation.argmax(), activation.shape)
        strongest = explainer(x[i : i + 1], channel=channel, position=(row, column))
        np.testing.assert_array_equal(explainer(x)[i], strongest[0])
    everywhere = explainer(x, channel=2, position="all")
    total = sum(explainer(x, channel=2, position=p) for p in np.ndindex(8, 8))
    np.testing.assert_allclose(everywhere, total, atol=1e-4)
    predicted = reference(x).numpy().argmax(1)
    np.testing.assert_array_equal(
        explain(reference, x), explain(reference, x, target=predicted)
    )


def test_seed_is_one_or_the_activation(reference):
    neuron = {"layer": "conv1", "channel": 1, "position": "max"}
    maps = keras.Model(reference.inputs[0], reference.layers[0].output)(
        images()
    ).numpy()
    for rule in RULES:
        one = explain(reference, images(), rule, **neuron)
        activation = explain(reference, images(), rule, seed="activation", **neuron)
        peak = maps[..., 1].max((1, 2))[:, None, None, None]
        np.testing.assert_allclose(activation, one * peak, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "head",
    [
        layers.Activation("linear"),
        layers.Activation("softmax"),
        layers.Activation("log_softmax"),
        layers.Activation("sigmoid"),
        layers.Softmax(dtype="float64"),
        layers.Lambda(tf.nn.softmax),
        layers.Reshape((1, 3)),
    ],
    ids=["linear", "softmax", "log_softmax", "sigmoid", "float64", "tf", "reshaped"],
)
def test_a_class_is_its_logit(head, reference):
    logits = keras.Sequential(reference.layers[:-1])
    dense = layers.Dense(3)
    tail = [layers.Softmax(), layers.Flatten()] if head.name[:7] == "reshape" else []
    model = keras.Sequential([logits, dense, head, *tail])
    model.build((None, 8, 8, 3))
    dense.set_weights(reference.layers[-1].get_weights())
    maps = explain(model, images(), target=2)
    np.testing.assert_allclose(
        maps, reverse_pass.reverse(reference, images(), "guided", channel=2), atol=1e-5
    )


def test_channels_first_and_what_is_no_name_are_refused():
    inputs = keras.Input((3, 8, 8))
    first = layers.Conv2D(5, 3, data_format="channels_first", name="first")(inputs)
    model = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(first)))
    with pytest.raises(ValueError, match=r"channels first \(the layer 'first'\)"):
        Explainer(model, "guided", layer="first")
    with pytest.raises(ValueError, match=r"`layer` should be a text .*=2"):
        Explainer(chain(layers.ReLU()), "guided", layer=2)


def test_softmax_over_another_axis_is_refused():
    model = chain(layers.Conv2D(2, 3, activation="relu"), layers.Softmax(axis=1))
    with pytest.raises(ValueError, match="another axis than the last"):
        explain(model, images())
