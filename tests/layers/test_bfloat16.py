"""Gradients of every kind of trained layer in bfloat16 against float32's.

TensorFlow 2.21 sums the gradient of a bias in bfloat16, where a sum of many positive
terms stalls, unless it is fused into that of a plain convolution's kernel. The layers
of ours that are not plain convolutions sum it in float32.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from allconv.layers.grouped_conv import DepthwiseConv2D, GroupedConv2D
from allconv.layers.netdeconv import NetworkDeconvolution2D, NetworkDeconvolutionDense
from allconv.networks import builders, registry

POLICY = "mixed_bfloat16"
LARGEST = 0.1  # error of a gradient, of its norm
SIZE = 32


def bfloat16(array):
    """The nearest numbers that bfloat16 has, in float32."""
    return tf.cast(tf.cast(array, tf.bfloat16), tf.float32).numpy()


def errors(layer: keras.layers.Layer, shape: tuple[int, ...]) -> dict[str, float]:
    """Distance of each weight's gradient in bfloat16 from float32's, of its norm.

    What comes from the layer above is positive, and its sum is a bias's gradient; for
    kernels it has both signs. (TensorFlow fuses only gradients that come from a layer.)

    Args:
        layer: Built; its configuration and weights are taken.
        shape: Of its input, batch and all.
    """
    rng = np.random.default_rng(0)
    x = bfloat16(rng.normal(size=shape))
    weights = [bfloat16(w) for w in layer.get_weights()]
    found = []
    for policy in ("float32", POLICY):
        one = type(layer).from_config(layer.get_config() | {"dtype": policy})
        one.build(shape)
        one.set_weights(weights)

        kind = keras.layers.Conv2D(4, 1) if len(shape) == 4 else keras.layers.Dense(4)
        above = type(kind).from_config(kind.get_config() | {"dtype": policy})
        above.build(one.compute_output_shape(shape))
        positive = np.linspace(0.1, 1, int(np.prod(above.kernel.shape)))
        above.kernel.assign(bfloat16(positive.reshape(above.kernel.shape)))

        @tf.function
        def gradients(x, least: int, one=one, above=above):
            with tf.GradientTape() as tape:
                y = above(one(tf.cast(x, one.compute_dtype), training=True))
                y = tf.cast(y, tf.float32)
                signs = tf.random.stateless_uniform(y.shape, (0, 1), least, 1)
                target = tf.reduce_sum(y * signs)
            values = {v.name: v.value for v in one.trainable_variables}
            return tape.gradient(target, values), target  # as in training, of both

        summed, _ = gradients(x, 0)
        signed, _ = gradients(x, -1)
        every = summed | {k: g for k, g in signed.items() if k == "kernel"}
        found.append({k: np.float64(g).ravel() for k, g in every.items()})
    plain, half = found
    return {
        name: np.linalg.norm(half[name] - a) / np.linalg.norm(a)
        for name, a in plain.items()
    }


def kinds() -> dict[str, tuple[keras.layers.Layer, tuple[int, ...]]]:
    """One trained layer of each kind in the networks that take images of 32 pixels."""
    out = {}
    for name in registry.NAMES:
        family = registry.family(name)
        if family.smallest_input(name) > SIZE:
            continue  # their layers are those of the networks for 32 pixels
        for norm in family.norms:
            model = builders.build(name, input_shape=(SIZE, SIZE, 3), norm=norm)
            for layer in model.layers:
                if not layer.trainable_variables:
                    continue
                settings = ("kernel_size", "strides", "dilation_rate", "groups")
                values = [getattr(layer, s, None) for s in settings]
                rank = len(layer.input.shape)
                words = [type(layer).__name__, *map(str, values), str(rank)]
                sizes = (8, 16, 16) if rank == 4 else (64,)
                shape = (*sizes, layer.input.shape[-1])
                out.setdefault(" ".join(words), (layer, shape))
    return out


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(8, 3),
        GroupedConv2D(32, 3, groups=4),
        DepthwiseConv2D(3),
        NetworkDeconvolution2D(8, 3, sampling_stride=1),
        NetworkDeconvolution2D(32, 3, groups=4),
        NetworkDeconvolution2D(32, 3, groups=32),
        NetworkDeconvolutionDense(8),
    ],
    ids=lambda layer: layer.name,
)
def test_a_layer_has_float32s_gradients(layer):
    shape = (8, 16, 16, 32)
    layer.build(shape)
    for name, error in errors(layer, shape).items():
        assert error <= LARGEST, name


@pytest.mark.slow
def test_every_layer_of_the_networks_has_float32s_gradients():
    wrong = {}
    for kind, (layer, shape) in kinds().items():
        for name, error in errors(layer, shape).items():
            if not error <= LARGEST:
                wrong[f"{kind}: {name}"] = round(float(error), 3)
    assert wrong == {}


def test_a_depthwise_layers_own_gradient_stalls():
    """What the other test would not see, were it blind."""
    layer = keras.layers.DepthwiseConv2D(3, padding="same")
    layer.build((8, 16, 16, 16))
    assert errors(layer, (8, 16, 16, 16))["bias"] > 0.3
