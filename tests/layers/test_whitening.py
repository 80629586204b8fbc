"""Covariance, inverse root and patches against closed forms."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from allconv.layers import whitening
from allconv.layers.netdeconv import NetworkDeconvolution2D, NetworkDeconvolutionDense
from tests.deconvolution import (
    images,
    near,
    newton_schulz,
    slope,
    unfold,
)


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
