"""The authors' formulas of network deconvolution, slowly, in NumPy float64.

Channels first, features in (channel, row, column) order; and nets to try them on.
"""

import math

import keras
import numpy as np

from allconv.layers.netdeconv import (
    ChannelDeconvolution,
    NetworkDeconvolution2D,
    NetworkDeconvolutionDense,
)


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


def slope(function, values, directions, h=1e-6):
    """Derivative of a scalar function along a direction, by central differences."""
    up = function(*[v + h * d for v, d in zip(values, directions, strict=True)])
    down = function(*[v - h * d for v, d in zip(values, directions, strict=True)])
    return (up - down) / (2 * h)


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
