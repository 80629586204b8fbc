"""Ways in which guided backprop goes wrong without a word.

Each test does it the usual way, shows that the map is another one (or none), and that
ours is that of the explicit reverse pass. The traps are those of published libraries
and much copied snippets.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from allconv.saliency import reverse_pass
from allconv.saliency.explainer import explain
from allconv.saliency.neurons import paths


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    keras.utils.set_random_seed(7)


@tf.custom_gradient
def guided_relu(x):
    """The snippet's gradient, for any floating type."""
    y = tf.nn.relu(x)

    def down(signal):
        speaks = tf.cast(signal > 0, signal.dtype)
        return signal * speaks * tf.cast(y > 0, signal.dtype)

    return y, down


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")


def conv(filters=4, activation="relu", **options):
    return layers.Conv2D(filters, 3, activation=activation, **options)


def chain(*rows):
    return keras.Sequential([keras.Input((8, 8, 3)), *rows])


def gradient(model, x, unit=0):
    """The plain gradient of one unit, or of one channel's sum."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = tf.reduce_sum(model(x, training=False)[..., unit])
    return tape.gradient(score, x).numpy()


def swapped(model, x, those=lambda layer: True, unit=0):
    """Guided backprop by swapping `layer.activation`, one level deep."""
    before = {}
    for layer in model.layers:
        if hasattr(layer, "activation") and those(layer):
            before[layer] = layer.activation
            layer.activation = guided_relu
    try:
        return gradient(model, x, unit)
    finally:
        for layer, activation in before.items():
            layer.activation = activation


def is_relu(layer):
    return layer.activation is keras.activations.relu


def assert_guided(model, x, flat=None, unit=0):
    """Our map is the explicit pass's through `flat`, the same steps as one chain."""
    flat = flat or model
    where = "all" if len(flat.output_shape) == 4 else "max"
    ours = explain(model, x, "guided", channel=unit, position=where)
    expected = reverse_pass.reverse(flat, x, "guided", channel=unit, position=where)
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    return ours


def differ(naive, ours):
    return np.abs(naive - ours).max() > 0.01 * np.abs(ours).max() > 0


def test_the_snippet_is_right_where_nothing_is_in_its_way(images):
    model = chain(conv(), conv(), layers.Flatten(), layers.Dense(2))
    naive = swapped(model, images, lambda layer: "conv" in layer.name)
    np.testing.assert_allclose(naive, assert_guided(model, images), atol=1e-5)


def test_rectifiers_of_nested_models(images):
    inner = keras.Sequential([keras.Input((8, 8, 3)), conv(), conv()])
    model = chain(inner, conv(), layers.Flatten(), layers.Dense(2))
    naive = swapped(model, images, lambda layer: "conv" in layer.name)
    assert differ(naive, assert_guided(model, images))


@pytest.mark.parametrize(
    "relu",
    [keras.ops.relu, keras.activations.relu, tf.nn.relu],
    ids=["ops", "activations", "tf"],
)
def test_rectifiers_that_are_not_layers(relu, images):
    first, second, dense = conv(activation=None), conv(activation=None), layers.Dense(2)

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.dense = first, second, dense

        def call(self, x):
            return self.dense(layers.Flatten()(relu(self.second(relu(self.first(x))))))

    flat = chain(first, layers.ReLU(), second, layers.ReLU(), layers.Flatten(), dense)
    models = [Subclassed()]
    models[0](images)
    if relu is not tf.nn.relu:  # an operation between the layers of a functional model
        x = keras.Input((8, 8, 3))
        models.append(
            keras.Model(x, dense(layers.Flatten()(relu(second(relu(first(x)))))))
        )
    for model in models:
        naive = swapped(model, images, is_relu)  # finds nothing to swap
        np.testing.assert_array_equal(naive, gradient(model, images))
        assert differ(naive, assert_guided(model, images, flat))


@pytest.mark.parametrize("relu", ["tf.nn.relu", "layers.ReLU", "lambda"])
def test_rectifiers_known_by_identity(relu, images):
    rows = {
        "tf.nn.relu": [conv(activation=tf.nn.relu)],
        "layers.ReLU": [conv(activation=None), layers.ReLU()],
        "lambda": [conv(activation=lambda x: keras.ops.relu(x))],
    }[relu]
    top = [layers.Flatten(), layers.Dense(2)]
    flat = chain(conv(activation=None), layers.ReLU(), *top)
    model = chain(*rows, *top)
    flat.set_weights(model.get_weights())
    naive = swapped(model, images, is_relu)
    assert differ(naive, assert_guided(model, images, flat))


def test_the_first_layer_of_a_sequential_model(images):
    model = chain(conv(), conv(), layers.Flatten(), layers.Dense(2))
    behind_input = model.layers[1:]  # a Sequential model does not list its InputLayer
    naive = swapped(
        model, images, lambda layer: layer in behind_input and "conv" in layer.name
    )
    assert differ(naive, assert_guided(model, images))


@pytest.mark.parametrize("variant", ["relu6", "leaky"])
def test_variants_of_the_rectifier(variant, images):
    """A gate of x > 0 lets saturated ReLU6 units through, and no slope below zero."""
    make, right = {
        "relu6": (
            lambda: layers.ReLU(6),
            lambda x: tf.cast((x > 0) & (x < 6), x.dtype),
        ),
        "leaky": (lambda: layers.LeakyReLU(0.3), lambda x: tf.where(x > 0, 1.0, 0.3)),
    }[variant]
    layer = make()

    def with_gate(slope):
        @tf.custom_gradient
        def unit(x):
            return layer(x), lambda signal: tf.nn.relu(signal) * slope(x)

        return unit

    convs = [conv(activation=None), conv(activation=None)]
    top = [layers.Flatten(), layers.Dense(2)]
    model = chain(convs[0], layer, convs[1], make(), *top)
    x = 10 * images

    def by_hand(unit):
        with tf.GradientTape() as tape:
            pixels = tf.constant(x)
            tape.watch(pixels)
            y = unit(convs[1](unit(convs[0](pixels))))
            score = tf.reduce_sum(top[1](top[0](y))[:, 0])
        return tape.gradient(score, pixels).numpy()

    ours = assert_guided(model, x)
    np.testing.assert_allclose(ours, by_hand(with_gate(right)), atol=1e-5)
    assert differ(by_hand(with_gate(lambda x: tf.cast(x > 0, x.dtype))), ours)


def test_mixed_precision(images):
    @tf.custom_gradient
    def guided_in_float32(x):
        y = tf.nn.relu(x)
        gate = tf.cast(x > 0, "float32")  # whatever the policy
        return y, lambda signal: tf.cast(signal > 0, "float32") * gate * signal

    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = chain(conv(), conv(), layers.Flatten(), layers.Dense(2))
    finally:
        keras.config.set_dtype_policy("float32")
    naive = chain(conv(activation=guided_in_float32), layers.Flatten())
    naive.layers[0].dtype_policy = "mixed_float16"
    with pytest.raises((tf.errors.InvalidArgumentError, TypeError, ValueError)):
        gradient(naive, images)

    exact = chain(conv(), conv(), layers.Flatten(), layers.Dense(2))
    exact.set_weights(model.get_weights())
    ours = explain(model, images, "guided", target=0)
    expected = reverse_pass.reverse(exact, images, "guided", channel=0)
    assert ours.dtype == np.float32
    assert np.corrcoef(ours.ravel(), expected.ravel())[0, 1] > 0.999


def test_rectifiers_of_the_classifier(images):
    """Only the convolutions' rectifiers swapped; those of dense layers stay plain."""
    dense = [layers.Dense(16, activation="relu"), layers.Dense(16, activation="relu")]
    model = chain(conv(), conv(), layers.Flatten(), *dense, layers.Dense(2))
    naive = swapped(model, images, lambda layer: isinstance(layer, layers.Conv2D))
    assert differ(naive, assert_guided(model, images))


def test_a_gate_at_one_layer_is_not_guided_backprop(images):
    model = chain(conv(), conv(), conv(), layers.Flatten(), layers.Dense(2))
    last = model.layers[2]
    naive = swapped(model, images, lambda layer: layer is last)
    assert differ(naive, assert_guided(model, images))
    other = explain(model, images, "guided", target=1)
    assert differ(explain(model, images, "guided", target=0), other)


def test_functions_traced_before_the_swap(images):
    """A swap after tracing changes nothing; a swap before tracing is never undone."""
    model = chain(conv(), conv(), layers.Flatten(), layers.Dense(2))
    convs = model.layers[:2]
    plain = gradient(model, images)
    traced = tf.function(lambda x: model(x, training=False))
    compiled = lambda x, training: traced(x)  # noqa: E731  called as a model is
    gradient(compiled, images)
    for layer in convs:
        layer.activation = guided_relu
    after_the_swap = gradient(compiled, images)
    traced_swapped = tf.function(lambda x: model(x, training=False))
    gradient(lambda x, training: traced_swapped(x), images)
    for layer in convs:
        layer.activation = keras.activations.relu
    still_swapped = gradient(lambda x, training: traced_swapped(x), images)

    np.testing.assert_allclose(after_the_swap, plain, atol=1e-6)
    assert differ(still_swapped, plain)
    model.predict(images, verbose=0)
    ours = assert_guided(model, images)
    assert differ(after_the_swap, ours)
    model.predict(images, verbose=0)
    np.testing.assert_array_equal(gradient(model, images), plain)


def test_layers_inside_nested_models(images):
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), conv(name="low"), conv(name="high")], name="inner"
    )
    model = chain(inner, layers.Flatten(), layers.Dense(2))
    ours = explain(model, images, layer="high", channel=2)
    expected = reverse_pass.reverse(model, images, "guided", layer="high", channel=2)
    assert ours.any()
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["fused", "Softmax", "Activation", "tf in call"])
def test_a_saturated_softmax(kind, images):
    head = {
        "fused": [layers.Dense(2, activation="softmax")],
        "Softmax": [layers.Dense(2), layers.Softmax()],
        "Activation": [layers.Dense(2), layers.Activation("softmax")],
        "tf in call": [layers.Dense(2)],
    }[kind]
    body = chain(conv(), layers.Flatten(), *head)
    flat = chain(conv(), layers.Flatten(), layers.Dense(2))
    body.layers[2].kernel.assign(200 * body.layers[2].kernel)
    flat.set_weights(body.get_weights())

    class Ending(keras.Model):
        def __init__(self):
            super().__init__()
            self.body = body

        def call(self, x):
            return tf.nn.softmax(self.body(x))

    model = body
    if kind == "tf in call":
        model = Ending()
        model(images)
    unit = int(model(images)[0].numpy().argmax())
    naive = gradient(model, images[:1], unit)
    assert np.abs(naive).max() < 1e-6
    ours = explain(model, images[:1], "backprop", target=unit)
    np.testing.assert_allclose(ours, gradient(flat, images[:1], unit), rtol=1e-4)
    np.testing.assert_allclose(
        explain(model, images[:1], target=unit),
        reverse_pass.reverse(flat, images[:1], "guided", channel=unit),
        rtol=1e-4,
        atol=1e-3,
    )


@pytest.mark.parametrize("failure", ["model", "nonlinearity", "layer", "rectifier"])
def test_a_model_is_the_same_after_an_exception(failure, images):
    fails = False

    class Failing(layers.Layer):
        def call(self, x):
            if fails:
                raise RuntimeError("out of luck")
            return x

    inner = keras.Sequential([keras.Input((8, 8, 3)), conv(), Failing()])
    rows = [layers.ELU()] if failure == "nonlinearity" else []
    model = chain(inner, *rows, layers.Flatten(), layers.Dense(2, name="top"))
    model.compile("adam", "mse", jit_compile=False)

    def state():
        everything = [("", model), *paths(model)]
        return (
            [w.tobytes() for w in model.get_weights()],
            [{k: id(v) for k, v in vars(layer).items()} for _, layer in everything],
            model.to_json(),
            model.predict(images, verbose=0).tobytes(),
            tf.config.functions_run_eagerly(),
        )

    state()  # the first prediction traces
    before = state()
    arguments, error, message = {
        "model": ({}, RuntimeError, "out of luck"),
        "nonlinearity": ({}, ValueError, "Elu"),
        "layer": ({"layer": "nowhere"}, ValueError, "nowhere"),
        "rectifier": ({"layer": "top", "before_rectifier": True}, ValueError, "top"),
    }[failure]
    fails = failure == "model"
    with pytest.raises(error, match=message):
        explain(model, images, **arguments)
    fails = False
    assert state() == before
    explain(model, images, strict=False)
    assert state() == before
