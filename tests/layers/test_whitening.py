"""Covariance, inverse root and patches against closed forms."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from allconv.layers import whitening
from allconv.layers.netdeconv import NetworkDeconvolution2D
from tests.deconvolution import (
    images,
    near,
    unfold,
)


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


@pytest.mark.parametrize("features", [5, 300, 301])
def test_products_of_wide_rows_are_those_of_all_pairs(features):
    rows = np.random.default_rng(0).normal(size=(2, 7, features))
    expected = rows.transpose(0, 2, 1) @ rows
    np.testing.assert_allclose(whitening.products(tf.constant(rows)), expected)
