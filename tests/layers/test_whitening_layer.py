"""When statistics are estimated, in which precision, and over replicas."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from allconv.layers.netdeconv import ChannelDeconvolution, NetworkDeconvolution2D
from tests.deconvolution import (
    build,
    images,
    near,
)


def estimating_steps(layer, steps, channels=2):
    """Steps at which the running statistics move."""
    moved, step = [], tf.function(lambda x: layer(x, training=True))
    layer.build((None, None, None, channels))
    for i in range(steps):
        before = layer.running_mean.numpy()
        step(tf.constant(images(i, channels=channels), "float32"))
        if (layer.running_mean.numpy() != before).any():
            moved.append(i)
    return moved


def test_freezing_wraps_as_the_authors_counter_does():
    layer = NetworkDeconvolution2D(2, 1, freeze_after=2)
    # Their counter counts modulo 20 and is compared before it is raised.
    expected = [i for i in range(45) if i % 20 <= 2]
    assert estimating_steps(layer, 45) == expected


def test_statistics_every_third_step():
    layer = NetworkDeconvolution2D(2, 1, statistics_every=3)
    assert estimating_steps(layer, 8) == [0, 3, 6]


def test_freezing_and_sparse_statistics_together():
    layer = NetworkDeconvolution2D(2, 1, statistics_every=2, freeze_after=3)
    assert estimating_steps(layer, 34) == [0, 2, 30, 32]


def test_frozen_layer_trains_on_running_statistics():
    layer = NetworkDeconvolution2D(3, 3, freeze_after=1, padding=1)
    x = tf.constant(images(0), "float32")
    for _ in range(2):
        difference = layer(x, training=True) - layer(x, training=False)
        assert np.max(np.abs(difference)) > 0.1
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    with tf.GradientTape() as plain:
        plain.watch(x)
        expected = layer(x, training=False)
    np.testing.assert_array_equal(y, expected)
    near(tape.gradient(y, x), plain.gradient(expected, x), 1e-6)


def test_between_estimates_the_latest_one_is_used_as_a_constant():
    layer = NetworkDeconvolution2D(3, 3, statistics_every=2)
    first, second = (tf.constant(images(i), "float32") for i in (0, 1))
    layer(first, training=True)
    with tf.GradientTape() as tape:
        tape.watch(second)
        y = layer(second, training=True)
    kernel, bias = layer._whitened(layer.latest_mean, layer.latest_deconv)
    with tf.GradientTape() as plain:
        plain.watch(second)
        expected = tf.nn.conv2d(second, kernel, 1, "VALID") + bias
    near(y, expected, 1e-6)
    near(tape.gradient(y, second), plain.gradient(expected, second), 1e-6)


def test_layer_that_is_not_trainable_runs_in_inference():
    layer = NetworkDeconvolution2D(3, 3, trainable=False)
    x = tf.constant(images(0), "float32")
    np.testing.assert_array_equal(layer(x, training=True), layer(x))
    assert not layer.running_mean.numpy().any()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float16"])
def test_statistics_are_float32_in_lower_precision(policy):
    exact, _, x = build("2 shares: checkerboard", "float32")
    layer, _, _ = build("2 shares: checkerboard", policy)
    x = tf.cast(tf.constant(x, "float32"), layer.compute_dtype)
    y = layer(x, training=True)
    assert y.dtype == layer.compute_dtype
    assert layer.running_deconv.dtype == layer.running_mean.dtype == "float32"
    exact(tf.cast(x, "float32"), training=True)
    near(layer.running_deconv, exact.running_deconv.numpy(), 1e-5)
    near(tf.cast(y, "float32"), exact(tf.cast(x, "float32"), training=True), 0.03)


@pytest.mark.parametrize("options", [{}, {"freeze_after": 5}])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_batch_of_no_numbers_is_told_and_leaves_the_averages(options, wrong):
    x = images(0).astype("float32")
    broken = x.copy()
    broken[0, 4, 4, 0] = wrong
    for layer in (NetworkDeconvolution2D(3, 3, **options), ChannelDeconvolution(3)):
        layer(x)
        for _ in range(2):  # before the first numbers, and after
            before = [w.numpy() for w in layer.non_trainable_weights if w.ndim]
            assert not np.isfinite(layer(broken, training=True)).all()
            after = [w.numpy() for w in layer.non_trainable_weights if w.ndim]
            for old, new in zip(before, after, strict=True):
                np.testing.assert_array_equal(old, new)
            layer(x, training=True)
        assert np.isfinite(layer(x)).all()


REPLICAS = """
import keras, numpy as np, tensorflow as tf
from allconv.layers.channel_deconvolution import ChannelDeconvolution
from allconv.layers.netdeconv import NetworkDeconvolution2D
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = keras.Sequential([
        keras.Input((8, 8, 3)),
        NetworkDeconvolution2D(4, 3, freeze_after=9, statistics_every=2, padding=1),
        NetworkDeconvolution2D(4, 3, padding=1),
        ChannelDeconvolution(4),
        keras.layers.GlobalAveragePooling2D(),
    ])
    model.compile("sgd", "mse", jit_compile=False)
x = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype("float32")
model.fit(x, np.ones((32, 4)), batch_size=16, shuffle=False, verbose=0)
halves = [x[:8], x[8:16], x[16:24], x[24:]]
expected = np.mean([h[:, ::3, ::3].mean((0, 1, 2)) for h in halves[:2]], 0) / 10
for weight in model.weights:
    a, b = [v.numpy() for v in weight.value.values]
    np.testing.assert_array_equal(a, b, err_msg=weight.path)
first = model.layers[0]
assert int(first.steps.value.values[0]) == 2
centre = np.reshape(first.running_mean.value.values[0], (3, 3, 3))
np.testing.assert_allclose(centre[1, 1], expected, atol=1e-6)

def step(batch):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((8, 8, 3)),
        NetworkDeconvolution2D(4, 3, synchronized=True, freeze_after=9, padding=1),
        NetworkDeconvolution2D(4, 3, synchronized=True, padding=1),
        NetworkDeconvolution2D(4, 1, synchronized=True),  # of 9 rows it takes one,
        ChannelDeconvolution(3, synchronized=True),  # and so does this
        keras.layers.GlobalAveragePooling2D(),
    ])
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(batch, np.arange(64).reshape(16, 4) % 5, batch_size=16, verbose=0)
    values = [w.value for w in model.weights]
    return [getattr(v, 'values', [v])[0].numpy() for v in values]

alone = step(x[:16])
with strategy.scope():
    together = step(x[:16])
for one, both in zip(alone, together):
    np.testing.assert_allclose(one, both, rtol=1e-4, atol=1e-5)
"""


def test_replicas_agree_on_the_mean():
    run = subprocess.run(
        [sys.executable, "-c", REPLICAS], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
