"""Each kind of block against the authors' layers, written out in plain Keras.

The networks are tiny ones of the same blocks; weights go over by the layers' names.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from allconv.layers import folding
from allconv.layers.netdeconv import NetworkDeconvolution2D
from allconv.networks import classics, classics_rows
from allconv.networks.classics_rows import (
    Appended,
    Cell,
    Conv,
    DualPath,
    Grouped,
    Network,
    PreActivated,
    Scaled,
    Transition,
)


class Plain:
    """Plain layers; `norm` is "batch", or "none" for convolutions with a bias."""

    def __init__(self, norm):
        self.norm = norm

    def conv(self, x, name, filters, size=1, stride=1, groups=1, bias=False):
        bias = bias or self.norm == "none"
        x = layers.ZeroPadding2D(size // 2)(x)
        options = {"strides": stride, "use_bias": bias, "name": name}
        if groups == x.shape[-1]:
            multiple = filters // groups
            return layers.DepthwiseConv2D(size, depth_multiplier=multiple, **options)(x)
        return layers.Conv2D(filters, size, groups=groups, **options)(x)

    def bn(self, x, name):
        if self.norm == "none":
            return x
        name = f"{name}_norm"
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)

    def conv_bn(self, x, name, *sizes, **more):
        return self.bn(self.conv(x, name, *sizes, **more), name)

    def squeeze(self, x, name, few):
        w = layers.AveragePooling2D(x.shape[1])(x)
        w = layers.ReLU()(self.conv(w, f"{name}_squeeze", few, bias=True))
        w = self.conv(w, f"{name}_excite", x.shape[-1], bias=True)
        return x * keras.ops.sigmoid(w)

    def pre_activated(self, x, name, filters, stride, few=None):
        out = layers.ReLU()(self.bn(x, f"{name}_conv1"))
        short = x
        if stride != 1 or x.shape[-1] != filters:
            short = self.conv(out, f"{name}_shortcut", filters, 1, stride)
        out = self.conv(out, f"{name}_conv1", filters, 3, stride)
        out = layers.ReLU()(self.bn(out, f"{name}_conv2"))
        out = self.conv(out, f"{name}_conv2", filters, 3)
        return (self.squeeze(out, name, few) if few else out) + short


def preact(x, plain):
    x = plain.conv(x, "conv1", 8, 3)
    x = plain.pre_activated(x, "block1", 8, 1)
    return plain.pre_activated(x, "block2", 12, 2)


def senet(x, plain):
    x = layers.ReLU()(plain.conv_bn(x, "conv1", 8, 3))
    x = plain.pre_activated(x, "block1", 8, 1, few=2)
    return plain.pre_activated(x, "block2", 12, 2, few=3)


def densenet(x, plain):
    x = plain.conv(x, "conv1", 8, 3)
    for block in (1, 2, 3):
        if block == 3:
            x = layers.ReLU()(plain.bn(x, "transition1_conv"))
            x = plain.conv(x, "transition1_conv", 8)
            x = layers.AveragePooling2D(2)(x)
        out = layers.ReLU()(plain.bn(x, f"block{block}_conv1"))
        out = plain.conv(out, f"block{block}_conv1", 16)
        out = layers.ReLU()(plain.bn(out, f"block{block}_conv2"))
        out = plain.conv(out, f"block{block}_conv2", 4, 3)
        x = keras.ops.concatenate([out, x], -1)
    return layers.ReLU()(plain.bn(x, "final"))


def resnext(x, plain):
    x = layers.ReLU()(plain.conv_bn(x, "conv1", 8))
    for block, width, stride in ((1, 8, 1), (2, 8, 1), (3, 12, 2)):
        name, short = f"block{block}", x
        out = layers.ReLU()(plain.conv_bn(x, f"{name}_conv1", width))
        out = plain.conv_bn(out, f"{name}_conv2", width, 3, stride, groups=4)
        out = plain.conv_bn(layers.ReLU()(out), f"{name}_conv3", 2 * width)
        if block != 2:
            short = plain.conv_bn(x, f"{name}_shortcut", 2 * width, 1, stride)
        x = layers.ReLU()(out + short)
    return x


def dpn(x, plain):
    x = layers.ReLU()(plain.conv_bn(x, "conv1", 8, 3))
    for block, d, stride in ((1, 12, 1), (2, 12, 1), (3, 16, 2)):
        name = f"block{block}"
        out = layers.ReLU()(plain.conv_bn(x, f"{name}_conv1", 8))
        out = plain.conv_bn(out, f"{name}_conv2", 8, 3, stride, groups=4)
        out = plain.conv_bn(layers.ReLU()(out), f"{name}_conv3", d + 4)
        if block != 2:
            x = plain.conv_bn(x, f"{name}_shortcut", d + 4, 1, stride)
        parts = [x[..., :d] + out[..., :d], x[..., d:], out[..., d:]]
        x = layers.ReLU()(keras.ops.concatenate(parts, -1))
    return x


def pnasnet(x, plain):
    x = layers.ReLU()(plain.conv_bn(x, "conv1", 6, 3))
    for name, filters, stride in (("block1", 6, 1), ("block2", 12, 2)):
        y1 = plain.conv_bn(x, f"{name}_depthwise", filters, 7, stride, groups=6)
        edge = [(0, 0), (1, 1), (1, 1), (0, 0)]
        y2 = keras.ops.pad(x, edge, constant_values=-1e9)
        y2 = layers.MaxPooling2D(3, stride)(y2)
        if stride == 2:
            y2 = plain.conv_bn(y2, f"{name}_conv", filters)
        x = layers.ReLU()(y1 + y2)
    return x


def efficientnet(x, plain):
    x = layers.ReLU()(plain.conv_bn(x, "conv1", 8, 3))
    for block, expansion, filters, stride in (
        (1, 1, 8, 2),
        (2, 2, 12, 1),
        (3, 2, 12, 1),
    ):
        name, wide = f"block{block}", expansion * x.shape[-1]
        out = layers.ReLU()(plain.conv_bn(x, f"{name}_expand", wide))
        out = plain.conv_bn(out, f"{name}_depthwise", wide, 3, stride, groups=wide)
        out = plain.conv_bn(layers.ReLU()(out), f"{name}_project", filters)
        short = x if stride == 1 else out
        if stride == 1 and x.shape[-1] != filters:
            short = plain.conv_bn(x, f"{name}_shortcut", filters)
        x = plain.squeeze(out, name, filters // 4) + short
    return x


# By the network whose blocks they are: the rows, and the same in plain Keras.
TINY = {
    "preact18_cifar": (
        (Conv(8, bare=True), PreActivated(0, 8, 1), PreActivated(0, 12, 2)),
        preact,
    ),
    "senet18_cifar": ((Conv(8), PreActivated(4, 8, 1), PreActivated(4, 12, 2)), senet),
    "densenet121_cifar": (
        (Conv(8, bare=True), Appended(4), Appended(4), Transition(), Appended(4)),
        densenet,
    ),
    "resnext29_cifar": (
        (Conv(8, kernel=1), *(Grouped(4, 8, 1),) * 2, Grouped(4, 12, 2)),
        resnext,
    ),
    "dpn92_cifar": (
        (
            Conv(8),
            DualPath(4, 8, 12, 4, 1, True),
            DualPath(4, 8, 12, 4, 1, False),
            DualPath(4, 8, 16, 4, 2, True),
        ),
        dpn,
    ),
    "pnasnet_a_cifar": ((Conv(6), Cell(6, 1), Cell(12, 2)), pnasnet),
    "efficientnet_cifar": (
        (Conv(8), Scaled(4, 1, 8, 2), Scaled(4, 2, 12, 1), Scaled(4, 2, 12, 1)),
        efficientnet,
    ),
}


@pytest.fixture(params=TINY)
def name(request, monkeypatch):
    rows, _ = TINY[request.param]
    rectified = classics_rows.get(request.param).rectified
    tiny = Network(rows, "", "", block=8, dense_block=8, rectified=rectified)
    monkeypatch.setitem(classics_rows.NETWORKS, request.param, tiny)
    return request.param


def build(name, norm):
    keras.utils.set_random_seed(0)
    return classics.build(
        name,
        norm=norm,
        input_shape=(12, 12, 3),
        kernel_initializer="he_normal",
        classifier_activation=None,
    )


def images():
    x = np.random.default_rng(0).normal(size=(4, 12, 12, 3)).cumsum(1) / 2
    return x.astype("float32")


def reference(name, norm, model):
    """The same network in plain layers, with the weights of `model`."""
    inputs = keras.Input((12, 12, 3))
    x = TINY[name][1](inputs, Plain(norm))
    x = layers.Dense(10, name="predictions")(layers.GlobalAveragePooling2D()(x))
    plain = keras.Model(inputs, x)
    weighted = {layer.name: layer for layer in model.layers if layer.weights}
    assert weighted.keys() == {layer.name for layer in plain.layers if layer.weights}
    for layer in plain.layers:
        if layer.weights:
            layer.set_weights(weighted[layer.name].get_weights())
    return plain


def draw_weights(model):
    """Biases, scales and averages that do something."""
    rng = np.random.default_rng(1)
    for variable in model.variables:
        if variable.name in ("bias", "beta", "moving_mean", "running_mean"):
            variable.assign(0.3 * rng.normal(size=variable.shape))
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        if variable.name == "running_deconv":
            size = variable.shape[-1]
            noise = rng.normal(size=variable.shape) / size
            variable.assign(np.eye(size) + 0.3 * noise)


def same(mine, theirs):
    scale = float(np.abs(theirs).max())
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_network_is_the_layer_list_of_the_authors(name, norm):
    model = build(name, norm)
    draw_weights(model)
    plain, x = reference(name, norm, model), images()
    for training in (False, True):
        same(model(x, training=training), plain(x, training=training))


def test_a_whitened_network_is_that_list_once_it_is_folded(name):
    model = build(name, "deconv")
    draw_weights(model)
    whitened = [x for x in model.layers if hasattr(x, "running_deconv")]
    convolutions = [x for x in model.layers if isinstance(x, layers.Conv2D)]
    if name == "efficientnet_cifar":
        assert [x.name for x in whitened] == ["conv1", "predictions"]
    else:
        assert not convolutions
    plain = reference(name, "none", folding.fold(model))
    same(model(images(), training=False), plain(images()))


def test_a_whitened_network_learns_in_every_layer(name, tmp_path):
    model = build(name, "deconv")
    optimizer, labels = keras.optimizers.SGD(0.01), np.arange(4)

    def loss():
        scores = model(images(), training=True)
        losses = keras.ops.sparse_categorical_crossentropy(labels, scores, True)
        return tf.reduce_mean(losses)

    with tf.GradientTape() as tape:
        before = loss()
    gradients = tape.gradient(before, model.trainable_variables)
    assert all(np.isfinite(g).all() and np.any(g) for g in gradients)
    optimizer.apply(gradients, model.trainable_variables)
    assert float(loss()) < float(before)
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(model(images()), loaded(images()))


def test_grouped_convolutions_of_resnext_take_three_steps():
    rows = classics_rows.get("resnext29_cifar").rows
    assert {r.groups for r in rows if isinstance(r, Grouped)} == {32}
    model = classics.build("resnext29_cifar", norm="deconv", include_top=False)
    steps = {
        (x.groups, x.iterations)
        for x in model.layers
        if isinstance(x, NetworkDeconvolution2D)
    }
    assert steps == {(1, 10), (1, 5), (32, 3)}
