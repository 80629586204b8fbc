"""Whitening of channels alone, against its formula."""

import numpy as np
import pytest
import tensorflow as tf

from allconv.layers.netdeconv import ChannelDeconvolution
from tests.deconvolution import (
    channel_deconv,
    images,
    near,
    slope,
)


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


def test_a_single_value_has_no_variance_and_leaves_the_state_finite():
    """One row with one left-over channel: the last batch of many an epoch."""
    layer = ChannelDeconvolution(4)
    assert np.isfinite(layer(tf.ones((1, 5)), training=True)).all()
    assert all(np.isfinite(weight).all() for weight in layer.get_weights())
