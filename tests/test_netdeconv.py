"""The layers against a slow, literal copy of their formulas in NumPy float64."""

import inspect
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from allconv import whitening
from allconv.netdeconv import (
    ChannelDeconvolution,
    NetworkDeconvolution2D,
    NetworkDeconvolutionDense,
    fold,
)
from allconv.whitened import Whitening

# --- The authors' formulas: channels first, features in (channel, row, column) order.


def unfold(x, kernel, dilation, stride):
    """im2col of `(n, c, h, w)`, one patch and one value at a time."""
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    patches = []
    for n in range(x.shape[0]):
        for top in range(0, x.shape[2] - extent[0] + 1, stride[0]):
            for left in range(0, x.shape[3] - extent[1] + 1, stride[1]):
                patch = []
                for c in range(x.shape[1]):
                    for i in range(kernel[0]):
                        for j in range(kernel[1]):
                            row, column = top + i * dilation[0], left + j * dilation[1]
                            patch.append(x[n, c, row, column])
                patches.append(patch)
    return np.array(patches)


def newton_schulz(a, iterations):
    """The coupled iteration."""
    norm = np.sqrt((a**2).sum())
    y, z, identity = a / norm, np.eye(len(a)), np.eye(len(a))
    for _ in range(iterations):
        t = 0.5 * (3 * identity - z @ y)
        y, z = y @ t, t @ z
    return z / np.sqrt(norm)


def statistics(rows, epsilon, iterations):
    mean = rows.mean(0)
    centred = rows - mean
    covariance = centred.T @ centred / len(rows) + epsilon * np.eye(rows.shape[1])
    return mean, newton_schulz(covariance, iterations)


def margins(size, kernel, stride, dilation, padding):
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = (math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1
        total = max(total - size, 0)
        return total // 2, total - total // 2
    return padding, padding


class FastDeconv:
    """The convolution; keeps `mean` and `deconv` in the authors' order."""

    def __init__(self, channels, filters, kernel, **options):
        self.kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        self.channels, self.filters = channels, filters
        self.stride, self.padding, self.dilation = (1, 1), "valid", (1, 1)
        self.groups, self.block, self.sampling = 1, 64, 3
        self.epsilon, self.iterations, self.momentum = 1e-5, 5, 0.1
        vars(self).update(options)
        if self.block > channels:
            self.block = channels
        elif channels % self.block:
            self.block = math.gcd(self.block, channels)
        if self.groups > 1:
            self.block = channels // self.groups
        self.features = self.kernel[0] * self.kernel[1] * self.block
        self.stacks = 1 if self.groups == 1 else self.groups
        self.mean = [np.zeros(self.features)] * self.stacks
        self.deconv = [np.eye(self.features)] * self.stacks

    def __call__(self, x, kernel, bias, training):
        """`x` is NHWC, `kernel` HWIO."""
        x, w = x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1)
        geometry = zip(
            x.shape[2:], self.kernel, self.stride, self.dilation, strict=True
        )
        pads = [margins(*axis, self.padding) for axis in geometry]
        padded = np.pad(x, [(0, 0), (0, 0), *pads])
        sampled = [s * self.sampling for s in self.stride]
        if self.kernel == (1, 1):
            rows = x.transpose(0, 2, 3, 1).reshape(-1, self.channels)
            rows = rows[:: sampled[0] * sampled[1]]
        else:
            rows = unfold(padded, self.kernel, self.dilation, sampled)
        shares = self.channels // self.block
        if self.groups == 1:
            rows = rows.reshape(-1, self.features, shares).transpose(0, 2, 1)
            stacks = [rows.reshape(-1, self.features)]
        else:
            stacks = np.split(rows, self.groups, axis=1)
        mean, deconv = self.mean, self.deconv
        if training:
            pairs = [statistics(s, self.epsilon, self.iterations) for s in stacks]
            mean, deconv = zip(*pairs, strict=True)
            m = self.momentum
            olds = zip(self.mean, mean, strict=True)
            self.mean = [(1 - m) * old + m * new for old, new in olds]
            olds = zip(self.deconv, deconv, strict=True)
            self.deconv = [(1 - m) * old + m * new for old, new in olds]
        if self.groups == 1:
            w = w.reshape(-1, self.features, shares).transpose(0, 2, 1)
            w = w.reshape(-1, self.features) @ deconv[0]
            b = bias - (w @ mean[0]).reshape(self.filters, -1).sum(1)
            w = w.reshape(-1, shares, self.features).transpose(0, 2, 1)
        else:
            parts = np.split(w.reshape(self.filters, -1), self.groups)
            parts = [part @ d for part, d in zip(parts, deconv, strict=True)]
            offsets = [part @ m for part, m in zip(parts, mean, strict=True)]
            w, b = np.concatenate(parts), bias - np.concatenate(offsets)
        w = w.reshape(self.filters, -1)
        patches = unfold(padded, self.kernel, self.dilation, self.stride)
        inputs, outputs = patches.shape[1] // self.groups, self.filters // self.groups
        y = [
            patches[:, g * inputs : (g + 1) * inputs]
            @ w[g * outputs : (g + 1) * outputs].T
            for g in range(self.groups)
        ]
        return np.concatenate(y, 1) + b

    def running(self):
        """Mean and matrix in the layer's order of features."""
        area = self.kernel[0] * self.kernel[1]
        shares = 1 if self.groups > 1 else self.channels // self.block
        slots = area // math.gcd(area, shares)
        order = np.arange(self.features).reshape(-1, slots).T.ravel()
        mean = np.stack([m[order] for m in self.mean])
        deconv = np.stack([d[order][:, order] for d in self.deconv])
        return (mean, deconv) if self.groups > 1 else (mean[0], deconv[0])


CASES = {
    "plain": (4, 5, 3, {"padding": 1}),
    "valid": (4, 5, 3, {}),
    "2 shares: checkerboard": (6, 5, 3, {"padding": 1, "block": 3}),
    "3 shares: columns": (6, 4, 3, {"padding": "same", "block": 2}),
    "4 shares": (8, 4, 3, {"padding": 1, "block": 2}),
    "6 shares": (6, 4, 3, {"padding": 1, "block": 1}),
    "gcd block": (6, 4, 3, {"padding": 1, "block": 4}),
    "stride, integer padding": (4, 4, 3, {"padding": 1, "stride": (2, 2), "block": 2}),
    "stride, same": (4, 4, 3, {"padding": "same", "stride": (2, 2)}),
    "two strides": (3, 4, 3, {"padding": "same", "stride": (2, 1), "sampling": 2}),
    "dilation": (4, 4, 3, {"padding": 2, "dilation": (2, 2), "block": 2}),
    "dilation, dense": (2, 4, 3, {"padding": 1, "dilation": (2, 3), "sampling": 1}),
    "overlap": (3, 4, 5, {"padding": 2}),
    "every position": (3, 4, 3, {"padding": 1, "sampling": 1}),
    "even kernel": (4, 3, 2, {"padding": "same", "block": 2}),
    "oblong kernel": (4, 3, (3, 2), {"padding": "same", "block": 2}),
    "wide padding": (3, 4, 3, {"padding": 3}),
    "1x1": (6, 4, 1, {}),
    "1x1, shares": (6, 4, 1, {"block": 3}),
    "1x1, stride and padding": (4, 4, 1, {"stride": (2, 2), "padding": 1}),
    "groups": (6, 4, 3, {"padding": 1, "groups": 2}),
    "depthwise": (4, 8, 3, {"padding": 1, "groups": 4, "stride": (2, 2)}),
    "grouped 1x1": (6, 4, 1, {"groups": 2}),
    "15 iterations": (3, 4, 3, {"padding": 1, "iterations": 15, "sampling": 1}),
    "options": (4, 4, 3, {"iterations": 2, "epsilon": 0.1, "momentum": 0.5}),
}


def images(seed, n=3, size=(9, 8), channels=4):
    """Correlated positive maps with a mean, as after a rectifier."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, size[0] + 2, size[1] + 2, channels)).cumsum(3)
    x = sum(x[:, i : i + size[0], i : i + size[1]] for i in range(3))
    return np.maximum(x / 2 + 0.5, 0)


def build(case, dtype, **more):
    """A layer with random weights, its reference, and an input."""
    channels, filters, kernel, options = CASES[case]
    reference = FastDeconv(channels, filters, kernel, **options)
    names = {
        "stride": "strides",
        "dilation": "dilation_rate",
        "sampling": "sampling_stride",
    }
    options = {names.get(name, name): value for name, value in options.items()}
    layer = NetworkDeconvolution2D(filters, kernel, dtype=dtype, **options, **more)
    x = images(0, channels=channels)
    layer.build(x.shape)
    rng = np.random.default_rng(1)
    layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    layer.bias.assign(rng.normal(size=filters))
    return layer, reference, x


def near(actual, expected, tolerance):
    """Equal relative to the largest value."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    expected = expected.reshape(actual.shape)
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=tolerance * np.abs(expected).max()
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


def slope(function, values, directions, h=1e-6):
    """Derivative of a scalar function along a direction, by central differences."""
    up = function(*[v + h * d for v, d in zip(values, directions, strict=True)])
    down = function(*[v - h * d for v, d in zip(values, directions, strict=True)])
    return (up - down) / (2 * h)


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


# --- Dense and channel layers.


def delinear(x, kernel, bias, block, state, training, momentum=0.1):
    """`state` is `[mean, deconv]`, and is updated."""
    mean, deconv = state
    if training:
        mean, deconv = statistics(x.reshape(-1, block), 1e-5, 5)
        state[:] = [
            (1 - momentum) * old + momentum * new
            for old, new in zip(state, (mean, deconv), strict=True)
        ]
    w = kernel.T.reshape(-1, block) @ deconv
    b = bias - (w @ mean).reshape(kernel.shape[1], -1).sum(1)
    return x @ w.reshape(kernel.T.shape).T + b


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


def channel_deconv(x, block, state, training, stride=3, epsilon=1e-2, momentum=0.1):
    """`x` is NCHW; `state` is empty before the first batch, and is updated."""
    n, channels, height, width = x.shape
    whole = channels // block * block
    x1 = x[:, :whole].transpose(1, 0, 2, 3).reshape(block, -1)
    rest = x[:, whole:].reshape(n, -1)
    samples, rest_samples = x1, rest
    if height >= stride and width >= stride:
        samples, rest_samples = x1[:, :: stride**2], rest[:, :: stride**2]
    if training:
        second = samples @ samples.T / samples.shape[1]  # not centred
        deconv = newton_schulz(second + epsilon * np.eye(block), 5)
        new = [samples.mean(1), deconv]
        if whole < channels:
            new += [rest_samples.mean(), rest_samples.var(ddof=1)]
        old = state or new
        state[:] = [
            (1 - momentum) * a + momentum * b for a, b in zip(old, new, strict=True)
        ]
    now = new if training else state
    y = (now[1] @ (x1 - now[0][:, None])).reshape(whole, n, height, width)
    y = y.transpose(1, 0, 2, 3)
    if whole < channels:
        scaled = (x[:, whole:] - now[2]) / np.sqrt(now[3] + epsilon)
        y = np.concatenate([y, scaled], 1)
    return y


@pytest.mark.parametrize("size", [(6, 7), (2, 7), (1, 1), None])
@pytest.mark.parametrize(("channels", "block"), [(4, 4), (6, 3), (7, 3), (5, 2)])
def test_channels_follow_the_formula(size, channels, block):
    layer, state = ChannelDeconvolution(block), []
    for seed, training in ((0, True), (1, True), (2, False)):
        x = images(seed, n=12, size=size or (1, 1), channels=channels)
        expected = channel_deconv(x.transpose(0, 3, 1, 2), block, state, training)
        expected = expected.transpose(0, 2, 3, 1)
        x = x if size else x[:, 0, 0]
        y = layer(tf.constant(x, "float32"), training=training)
        assert y.shape == x.shape
        near(y, expected, 1e-4)
    near(layer.running_mean, state[0], 1e-5)
    near(layer.running_deconv, state[1], 1e-5)
    if channels % block:
        assert layer.rest_mean.numpy() == pytest.approx(state[2], rel=1e-5)
        assert layer.rest_variance.numpy() == pytest.approx(state[3], rel=1e-5)


def test_channel_gradient():
    rng = np.random.default_rng(0)
    x, weights = images(1, n=4, size=(6, 6), channels=5), rng.normal(size=(4, 6, 6, 5))
    layer = ChannelDeconvolution(2, dtype="float64")

    def loss(x):
        y = channel_deconv(x.transpose(0, 3, 1, 2), 2, [], True)
        return (y.transpose(0, 2, 3, 1) * weights).sum()

    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(layer(inputs, training=True) * weights)
    gradient = tape.gradient(total, inputs).numpy()
    for _ in range(3):
        direction = rng.normal(size=x.shape)
        expected = slope(loss, [x], [direction])
        assert (gradient * direction).sum() == pytest.approx(expected, rel=1e-5)


# --- When statistics are estimated.


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


# --- Keras.


def every_layer(**options):
    """A functional net with all layers, a nested model, sharing and a skip."""
    sparse = {"statistics_every": 2, "freeze_after": 20, **options}
    inputs = keras.Input((None, None, 3))
    relu = keras.layers.ReLU()
    x = NetworkDeconvolution2D(8, 3, padding=1, iterations=10, name="first")(inputs)
    x = relu(keras.layers.BatchNormalization()(x))
    stem = keras.Sequential(
        [
            keras.Input((None, None, 8)),
            NetworkDeconvolution2D(
                8, 3, strides=2, padding=1, block=4, activation="relu"
            ),
            keras.layers.Dropout(0.3),
            NetworkDeconvolution2D(16, 3, padding="same", groups=8, **sparse),
        ]
    )
    y = relu(stem(x))
    y = relu(NetworkDeconvolution2D(16, 2, padding=1, groups=2, use_bias=False)(y))
    shared = NetworkDeconvolution2D(16, 1, name="shared")
    y = keras.layers.Add()([shared(y), shared(relu(y))])
    y = keras.layers.GlobalAveragePooling2D()(ChannelDeconvolution(4)(y))
    y = ChannelDeconvolution(5)(keras.ops.tanh(y))
    y = NetworkDeconvolutionDense(6, block=8, **options)(y)
    return keras.Model(inputs, y)


def batches(count=1, size=12):
    return [images(i, n=16, size=(size, size), channels=3) for i in range(count)]


def trained(model):
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=False)
    for x in batches(3):
        model.train_on_batch(
            x.astype("float32"), np.ones((16, *model.output_shape[1:]))
        )
    return model


def test_fold_gives_plain_layers_and_the_same_outputs():
    model = trained(every_layer())
    folded = fold(model)
    layers = folded._flatten_layers()
    assert not any(type(layer).__module__.startswith("allconv") for layer in layers)
    assert folded.get_layer("shared").__class__ is keras.layers.Conv2D
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds.count("Conv2D") == 5
    assert kinds.count("DepthwiseConv2D") == 1
    assert kinds.count("ZeroPadding2D") == 2
    for size in (12, 9):
        x = batches(1, size)[0].astype("float32")
        near(folded(x), model(x), 1e-5)
    before = model.get_weights()
    folded.set_weights([0 * weight for weight in folded.get_weights()])
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_fold_sequential():
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            keras.layers.Dropout(0.2),
            NetworkDeconvolution2D(6, 3, strides=2, padding=1, activation="relu"),
            keras.layers.Flatten(),
            NetworkDeconvolutionDense(4, activation="softmax"),
        ]
    )
    trained(model)
    x = batches()[0].astype("float32")
    near(fold(model)(x), model(x), 1e-5)
    assert [type(layer).__name__ for layer in fold(model).layers] == [
        "Dropout",
        "ZeroPadding2D",
        "Conv2D",
        "Flatten",
        "Dense",
    ]


def test_fold_refuses_what_it_cannot_take_apart():
    class Closed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = NetworkDeconvolutionDense(2)

        def call(self, x):
            return self.inner(x)

    closed = Closed()
    closed(np.ones((2, 3), "float32"))
    with pytest.raises(ValueError, match="Only Sequential and functional"):
        fold(closed)
    with pytest.raises(ValueError, match="Only a built model"):
        fold(keras.Sequential([NetworkDeconvolutionDense(2)]))
    inputs = keras.Input((5, 3))
    wrapped = keras.layers.TimeDistributed(NetworkDeconvolutionDense(2, name="deep"))
    with pytest.raises(ValueError, match="which wraps deep"):
        fold(keras.Model(inputs, wrapped(inputs)))


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


REPLICAS = """
import keras, numpy as np, tensorflow as tf
from allconv.netdeconv import ChannelDeconvolution, NetworkDeconvolution2D
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
"""


def test_replicas_agree_on_the_mean():
    run = subprocess.run(
        [sys.executable, "-c", REPLICAS], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


# --- Bad input.


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


# --- The mathematics.


def covariance(seed, n, condition):
    """A symmetric matrix with eigenvalues between 1 and `condition`."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(n, n)))[0]
    return basis * np.geomspace(1, condition, n) @ basis.T


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.floats(1, 100))
def test_newton_schulz_converges_to_the_inverse_root(seed, n, condition):
    a = covariance(seed, n, condition)
    values, vectors = np.linalg.eigh(a)
    root = whitening.inverse_root(tf.constant(a), 25).numpy()
    np.testing.assert_allclose(root, vectors / np.sqrt(values) @ vectors.T, atol=1e-9)
    np.testing.assert_allclose(root @ a @ root, np.eye(n), atol=1e-8)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 8))
def test_newton_schulz_and_its_gradient_are_those_of_the_coupled_iteration(
    seed, n, iterations
):
    rng = np.random.default_rng(seed)
    a, upstream = covariance(seed, n, 50), rng.normal(size=(n, n))
    inputs = tf.constant(a)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        root = whitening.inverse_root(inputs, iterations)
    np.testing.assert_allclose(root, newton_schulz(a, iterations), atol=1e-10)
    direction = rng.normal(size=(n, n))
    direction += direction.T
    expected = slope(
        lambda a: (newton_schulz(a, iterations) * upstream).sum(), [a], [direction]
    )
    gradient = tape.gradient(root, inputs, upstream).numpy()
    np.testing.assert_allclose(gradient, gradient.T, atol=1e-10)
    assert (gradient * direction).sum() == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_newton_schulz_of_a_stack():
    stack = np.stack([covariance(i, 5, 10.0**i) for i in range(3)])
    roots = whitening.inverse_root(tf.constant(stack), 5)
    for root, a in zip(roots, stack, strict=True):
        np.testing.assert_allclose(root, newton_schulz(a, 5), atol=1e-12)


def test_second_derivatives_are_refused():
    layer = NetworkDeconvolutionDense(2)
    x = tf.constant(np.random.default_rng(0).normal(size=(9, 3)), "float32")
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(layer(x, training=True) ** 2)
        first = inner.gradient(y, x)
    with pytest.raises(NotImplementedError, match="cannot be differentiated again"):
        outer.gradient(first, x)


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 5)),
    st.integers(1, 4),
    st.integers(1, 8),
)
def test_interleave_deals_out_the_authors_numbers(kernel, block, groups):
    area, channels = math.prod(kernel), block * groups
    j = np.arange(channels * area).reshape(channels, *kernel).transpose(1, 2, 0)
    x = np.stack([[j, j + 1000], [j + 2000, j + 3000]])[:, :, :, None]
    dealt = whitening.interleave(tf.constant(x), groups).numpy()
    assert dealt.shape == (4, groups, area * block)
    row = dealt[0]
    assert (row % groups == np.arange(groups)[:, None]).all()
    assert (row // groups == row[:1] // groups).all()
    back = whitening.deinterleave(dealt, kernel).numpy()
    np.testing.assert_array_equal(back, x.reshape(back.shape))


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(*[st.integers(1, 4)] * 2),
    st.tuples(*[st.integers(1, 5)] * 2),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[st.integers(0, 4)] * 2),
)
def test_patches_are_those_of_im2col(kernel, strides, dilation, more):
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [e + m for e, m in zip(extent, more, strict=True)]
    x = np.arange(2 * math.prod(size) * 3.0).reshape(2, *size, 3)
    expected = unfold(x.transpose(0, 3, 1, 2), kernel, dilation, strides)
    found = whitening.patches(tf.constant(x), kernel, strides, dilation).numpy()
    found = found.transpose(0, 1, 3, 5, 2, 4).reshape(expected.shape)
    np.testing.assert_array_equal(found, expected)


def test_whitened_patches_have_unit_covariance():
    layer = NetworkDeconvolution2D(
        18, 3, iterations=30, sampling_stride=1, kernel_initializer="zeros", momentum=1
    )
    x = images(0, n=8, channels=2)
    layer.build(x.shape)
    layer.kernel.assign(np.eye(18).reshape(3, 3, 2, 18))
    y = layer(tf.constant(x, "float32"), training=True).numpy().reshape(-1, 18)
    before = whitening.patches(tf.constant(x), (3, 3), (1, 1))
    before = whitening.interleave(before, 1).numpy()[:, 0]
    assert np.abs(np.corrcoef(before.T) - np.eye(18)).max() > 0.5
    np.testing.assert_allclose(np.cov(y.T, ddof=0), np.eye(18), atol=5e-3)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-4)


def test_moments_hold_with_a_large_mean():
    x = np.random.default_rng(0).normal(size=(5000, 6)).cumsum(1) + 50
    mean, found = whitening.moments(tf.constant(x, "float32"))
    near(mean, x.mean(0), 1e-5)
    near(found, np.cov(x.T, ddof=0), 1e-5)
