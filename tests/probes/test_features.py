import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from keras import layers

from allconv.probes import features
from allconv.probes.occlusion import occlude


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(3, 9, 7, 2)).astype("float32")


def test_reader(images):
    inputs = keras.Input((9, 7, 2))
    maps = layers.Conv2D(3, 3, name="maps")(inputs)
    maps = layers.Dropout(0.5)(maps)
    scores = layers.Dense(4)(layers.Flatten(name="flat")(maps))
    model = keras.Model(inputs, scores)
    read = features.reader(model, ["flat", "maps"], lambda x: 2 * x)
    read = tf.function(read, autograph=False)
    (flat, found), output = read(tf.constant(images))
    expected = model.get_layer("maps")(2 * images)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(flat, np.reshape(found, (3, -1)))
    np.testing.assert_allclose(output, model(2 * images), atol=1e-6)
    probabilities_of = tf.function(features.probabilities_of, autograph=False)
    probabilities = probabilities_of(output, True)
    np.testing.assert_allclose(np.sum(probabilities, axis=1), 1, rtol=1e-5)
    unchanged = tf.function(lambda x: features.probabilities_of(x, False))
    np.testing.assert_array_equal(unchanged(probabilities), probabilities)


def test_reader_in_half_precision(images):
    inputs = keras.Input((9, 7, 2))
    policy = keras.DTypePolicy("mixed_float16")
    maps = layers.Conv2D(3, 3, name="maps", dtype=policy)(inputs)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(dtype=policy)(maps))
    (found,), output = features.reader(model, ["maps"])(tf.constant(images))
    assert found.dtype == output.dtype == tf.float32


def test_layers_of_nested_and_subclassed_models(images):
    inner = keras.Sequential(
        [keras.Input((9, 7, 2)), layers.Conv2D(3, 3, name="conv")], name="inner"
    )

    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = inner
            self.flat = layers.Flatten(name="flat")

        def call(self, x):
            return self.flat(self.inner(x))

    inputs = keras.Input((9, 7, 2))
    nested = keras.Model(inputs, layers.Flatten()(inner(2 * inputs)))
    for model, factor in ((Outer(), 1), (nested, 2)):
        read = tf.function(features.reader(model, ["inner/conv"]), autograph=False)
        (found,), _ = read(tf.constant(images))
        np.testing.assert_allclose(found, inner(factor * images), atol=1e-5)


def test_logits_taken_for_probabilities(images):
    model = keras.Sequential(
        [keras.Input((9, 7, 2)), layers.Flatten(), layers.Dense(3)]
    )
    with pytest.raises(ValueError, match="from_logits=True"):
        occlude(model, images, 3, 1, 0)
    rounded = np.full((2, 100), 1 / 100) * [[1.006], [0.994]]  # a softmax in bfloat16
    assert features.classes_of(None, rounded).shape == (2,)
    with pytest.raises(ValueError, match=r"a list of names. Received: 'conv'"):
        features.reader(model, "conv")
    broken = keras.Sequential([model, layers.Rescaling(np.inf)])
    with pytest.raises(ValueError, match="values that are not finite, first in"):
        occlude(broken, images, 3, 1, 0, from_logits=True)
    sure = keras.Sequential([model, layers.Softmax()])
    with pytest.raises(ValueError, match=r"softmax.*Received: from_logits=True"):
        occlude(sure, images, 3, 1, 0, from_logits=True)
    maps = keras.Sequential([keras.Input((9, 7, 2)), layers.Conv2D(3, 1)])
    with pytest.raises(
        ValueError, match=r"^The model should give class scores \(batch, classes\)\..*$"
    ):
        occlude(maps, images, 3, 1, 0)
    two = keras.Model(maps.inputs[0], [maps.outputs[0], maps.outputs[0]])
    with pytest.raises(ValueError, match=r"^The model should have one output.*list$"):
        occlude(two, images, 3, 1, 0, layer=two.layers[-1].name)


@given(st.integers(1, 40), st.integers(1, 50))
@settings(deadline=None, max_examples=30)
def test_batches(count, size):
    parts = list(features.batches(count, np.zeros((1, 4, 4, 1)), size))
    assert len({len(part) for part in parts}) == 1
    assert len(parts[0]) <= size
    assert len(parts) == -(-count // size)
    assert sum(map(len, parts)) - count < len(parts)
    np.testing.assert_array_equal(np.concatenate(parts)[:count], np.arange(count))
