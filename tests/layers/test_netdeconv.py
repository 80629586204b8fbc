"""The layers against a slow, literal copy of their formulas in NumPy float64."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from allconv.layers.netdeconv import (
    ChannelDeconvolution,
    NetworkDeconvolution2D,
    NetworkDeconvolutionDense,
)
from allconv.layers.whitening_layer import Whitening
from tests.deconvolution import (
    CASES,
    batches,
    build,
    delinear,
    every_layer,
    images,
    near,
    slope,
    trained,
)


@pytest.mark.parametrize("case", CASES)
def test_convolution_follows_the_formula(case):
    layer, reference, x = build(case, "float32")
    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    for batch in (x, images(2, channels=x.shape[-1])):
        expected = reference(batch, kernel, bias, training=True)
        y = layer(tf.constant(batch, "float32"), training=True)
        assert tuple(y.shape) == layer.compute_output_shape(x.shape)
        near(y, expected, 1e-4)
    mean, deconv = reference.running()
    near(layer.running_mean, mean, 1e-5)
    near(layer.running_deconv, deconv, 1e-4)
    expected = reference(x, kernel, bias, training=False)
    near(layer(tf.constant(x, "float32"), training=False), expected, 1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("float32", 1e-4)])
@pytest.mark.parametrize("case", CASES)
def test_convolution_gradient(case, dtype, tolerance):
    layer, reference, x = build(case, dtype)
    rng = np.random.default_rng(3)
    values = [x, layer.kernel.numpy(), layer.bias.numpy()]
    values = [v.astype("float64") for v in values]
    weights = rng.normal(size=layer.compute_output_shape(x.shape))

    def loss(*values):
        y = reference(*values, training=True)
        return (y.reshape(weights.shape) * weights).sum()

    inputs = tf.constant(x, dtype)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = layer(inputs, training=True)
        total = tf.reduce_sum(y * tf.constant(weights, dtype))
    found = tape.gradient(total, [inputs, layer.kernel.value, layer.bias.value])
    zero = [np.zeros_like(v) for v in values]
    for position, gradient in enumerate(found):
        scale = np.linalg.norm(gradient)
        for _ in range(3):
            direction = rng.normal(size=values[position].shape)
            direction /= np.linalg.norm(direction)
            along = [*zero[:position], direction, *zero[position + 1 :]]
            expected = slope(loss, values, along)
            assert abs((gradient.numpy() * direction).sum() - expected) < (
                tolerance * scale
            )


@pytest.mark.parametrize("shape", [(40, 12), (5, 6, 12)])
@pytest.mark.parametrize(("block", "used"), [(512, 12), (4, 4), (8, 4), (5, 1)])
def test_dense_follows_the_formula(shape, block, used):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).cumsum(-1) + 1
    layer = NetworkDeconvolutionDense(7, block=block, bias_initializer="ones")
    layer.build(shape)
    kernel, bias = layer.kernel.numpy().astype(float), layer.bias.numpy()
    state = [np.zeros(used), np.eye(used)]
    for training in (True, True, False):
        expected = delinear(x, kernel, bias, used, state, training)
        near(layer(tf.constant(x, "float32"), training=training), expected, 1e-4)
    near(layer.running_mean, state[0], 1e-5)
    near(layer.running_deconv, state[1], 1e-5)


def test_dense_gradient():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(30, 8)).cumsum(1), rng.normal(size=(30, 5))
    layer = NetworkDeconvolutionDense(5, block=4, dtype="float64")
    layer.build(x.shape)
    kernel = layer.kernel.numpy()

    def loss(x, kernel):
        state = [np.zeros(4), np.eye(4)]
        return (delinear(x, kernel, np.zeros(5), 4, state, True) * weights).sum()

    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(layer(inputs, training=True) * weights)
    to_x, to_kernel = tape.gradient(total, [inputs, layer.kernel.value])
    for _ in range(3):
        dx, dk = rng.normal(size=x.shape), rng.normal(size=kernel.shape)
        expected = slope(loss, [x, kernel], [dx, dk])
        found = (to_x.numpy() * dx).sum() + (to_kernel.numpy() * dk).sum()
        assert found == pytest.approx(expected, rel=1e-6)


def test_round_trip(tmp_path):
    model = trained(every_layer(activation="tanh", kernel_regularizer="l2"))
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    x = batches()[0].astype("float32")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert [w.name for w in loaded.weights] == [w.name for w in model.weights]
    other = every_layer(activation="tanh")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(x), model(x))


@pytest.mark.parametrize(
    "layer",
    [
        NetworkDeconvolution2D(
            8,
            (3, 2),
            strides=(2, 1),
            padding=2,
            groups=2,
            use_bias=False,
            block=2,
            iterations=3,
            epsilon=0.1,
            momentum=0.2,
            sampling_stride=2,
            freeze_after=7,
            statistics_every=4,
            activation="relu",
            kernel_initializer="ones",
            bias_initializer="ones",
            kernel_regularizer=keras.regularizers.L2(0.1),
            bias_regularizer="l1",
            name="all",
        ),
        NetworkDeconvolution2D(4, 3, dilation_rate=2, padding="same"),
        NetworkDeconvolutionDense(3, block=2, iterations=1),
        ChannelDeconvolution(2, 3, 0.1, 0.2, 1),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_configuration_is_complete(layer):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    arguments = inspect.signature(type(layer)).parameters.keys() - {"kwargs"}
    if not isinstance(layer, ChannelDeconvolution):
        arguments |= inspect.signature(Whitening).parameters.keys() - {"kwargs"}
    assert arguments <= layer.get_config().keys()


def test_weights_have_the_names_of_the_paper():
    layer = NetworkDeconvolution2D(4, 3, block=2)
    layer.build((None, 8, 8, 6))
    shapes = {weight.name: tuple(weight.shape) for weight in layer.weights}
    assert shapes == {
        "kernel": (3, 3, 6, 4),
        "bias": (4,),
        "running_mean": (18,),
        "running_deconv": (18, 18),
    }
    assert [weight.name for weight in layer.trainable_weights] == ["kernel", "bias"]


def test_fit():
    keras.utils.set_random_seed(0)
    model = every_layer()
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=False)
    rng = np.random.default_rng(0)
    x, y = images(0, n=48, size=(8, 8), channels=3), rng.normal(size=(48, 6))
    losses = model.fit(x, y, batch_size=16, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_compiled_step_agrees():
    results = []
    for jit in (False, True):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((8, 8, 4)),
                NetworkDeconvolution2D(4, 3, padding=1, block=2, freeze_after=1),
                ChannelDeconvolution(3),
                keras.layers.Flatten(),
                NetworkDeconvolutionDense(2, block=32, iterations=2),
            ]
        )
        model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=jit)
        x = images(0, n=16, size=(8, 8)).astype("float32")
        model.fit(x, np.ones((16, 2)), batch_size=8, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for plain, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-3, atol=1e-4)


def test_eager_and_traced_steps_agree():
    layer, _, x = build("3 shares: columns", "float32")
    x = tf.constant(x, "float32")
    expected = layer(x, training=True)
    shape = tf.TensorSpec([None, None, None, 6])
    traced = tf.function(lambda x: layer(x, training=True), input_signature=[shape])
    near(traced(x), expected, 1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "`filters` must be a positive integer. Received: 0"),
        ({"kernel_size": 2.5}, "`kernel_size` must be"),
        ({"kernel_size": (3, 0)}, "`kernel_size` must be a positive integer"),
        ({"kernel_size": (3, 3, 3)}, "an integer or a pair"),
        ({"padding": "full"}, '"valid", "same" or a non-negative integer'),
        ({"padding": -1}, '"valid", "same" or a non-negative integer'),
        ({"strides": 2, "dilation_rate": 2}, "cannot be combined"),
        ({"filters": 5, "groups": 2}, "`filters` must be a multiple of `groups`"),
        ({"block": 0}, "`block` must be a positive integer"),
        ({"iterations": True}, "`iterations` must be a positive integer"),
        ({"momentum": 0}, r"`momentum` must be in \(0, 1\]"),
        ({"momentum": 1.5}, r"`momentum` must be in \(0, 1\]"),
        ({"epsilon": -1e-5}, "`epsilon` must not be negative"),
        ({"statistics_every": 0}, "`statistics_every` must be a positive integer"),
        ({"freeze_after": -3}, "`freeze_after` must be a positive integer"),
        ({"freeze_after": 0}, "`freeze_after` must be a positive integer"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        NetworkDeconvolution2D(**({"filters": 4, "kernel_size": 3} | options))


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (NetworkDeconvolution2D(4, 3, groups=2), (1, 8, 8, 3), "must divide the input"),
        (NetworkDeconvolution2D(4, 3), (1, 8, 8, None), "known last dimension"),
        (NetworkDeconvolution2D(4, 3), (1, 8, 3), "rank 4"),
        (NetworkDeconvolutionDense(4), (1, None), "known last dimension"),
        (ChannelDeconvolution(4), (1, 8, 3), "rank 2 or 4"),
        (ChannelDeconvolution(4), (1, 3), "at most the number of channels"),
    ],
)
def test_bad_shapes(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.build(shape)


def test_a_kernel_larger_than_the_image_is_named():
    with pytest.raises(ValueError, match="reads 5 pixels along an axis of 3"):
        NetworkDeconvolution2D(4, 5, padding=0)(keras.Input((3, 8, 2)))


def test_kernels_start_within_one_over_the_root_of_their_inputs():
    layer = NetworkDeconvolution2D(64, 3)
    layer.build((None, 8, 8, 16))
    assert 0.95 < np.abs(layer.kernel).max() * np.sqrt(9 * 16) <= 1


@pytest.mark.parametrize("strides", [1, 2])
def test_groups_one_by_one_are_the_grouped_convolution(strides):
    keras.utils.set_random_seed(0)
    layer = NetworkDeconvolution2D(8, 3, strides, padding="same", groups=4)
    x = keras.random.normal((2, 9, 9, 8))
    found = layer(x)
    kernel, bias = layer._whitened(*layer._statistics(lambda: layer.sample(x), False))
    whole = keras.ops.conv(x, kernel, strides, "same") + bias
    np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-5)
