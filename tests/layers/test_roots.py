"""Both ways to the damped inverse root, against closed forms and slow ones."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from allconv.layers import roots
from allconv.layers.netdeconv import NetworkDeconvolutionDense
from tests.deconvolution import newton_schulz, slope

WAYS = pytest.mark.parametrize("root_of", [roots.by_products, roots.by_eigenvectors])


def covariance(seed, n, condition):
    """A symmetric matrix with eigenvalues between 1 and `condition`."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(n, n)))[0]
    return basis * np.geomspace(1, condition, n) @ basis.T


@WAYS
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.floats(1, 100))
def test_newton_schulz_converges_to_the_inverse_root(root_of, seed, n, condition):
    a = covariance(seed, n, condition)
    values, vectors = np.linalg.eigh(a)
    root = root_of(tf.constant(a), 25).numpy()
    np.testing.assert_allclose(root, vectors / np.sqrt(values) @ vectors.T, atol=1e-9)
    np.testing.assert_allclose(root @ a @ root, np.eye(n), atol=1e-8)


@WAYS
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 8))
def test_newton_schulz_and_its_gradient_are_those_of_the_coupled_iteration(
    root_of, seed, n, iterations
):
    rng = np.random.default_rng(seed)
    a, upstream = covariance(seed, n, 50), rng.normal(size=(n, n))
    inputs = tf.constant(a)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        root = root_of(inputs, iterations)
    np.testing.assert_allclose(root, newton_schulz(a, iterations), atol=1e-10)
    direction = rng.normal(size=(n, n))
    direction += direction.T
    expected = slope(
        lambda a: (newton_schulz(a, iterations) * upstream).sum(), [a], [direction]
    )
    gradient = tape.gradient(root, inputs, upstream).numpy()
    np.testing.assert_allclose(gradient, gradient.T, atol=1e-10)
    assert (gradient * direction).sum() == pytest.approx(expected, rel=1e-5, abs=1e-7)


@WAYS
def test_newton_schulz_of_a_stack(root_of):
    stack = np.stack([covariance(i, 5, 10.0**i) for i in range(3)])
    roots = root_of(tf.constant(stack), 5)
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


def value_and_gradient(root_of, a, upstream, iterations):
    a = tf.constant(a)
    with tf.GradientTape() as tape:
        tape.watch(a)
        root = root_of(a, iterations)
    return root.numpy(), tape.gradient(root, a, upstream).numpy()


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1), st.integers(1, 15))
def test_equal_eigenvalues_have_the_gradient_of_finite_differences(seed, iterations):
    """As a constant input has, or a white one: TensorFlow's own is wrong there."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    for values in ([1e-5] * 6, [2.0] * 6, [1e-5] * 3 + [1.0] * 2 + [3.0]):
        a, upstream = basis * values @ basis.T, rng.normal(size=(6, 6))
        _, gradient = value_and_gradient(
            roots.by_eigenvectors, (a + a.T) / 2, upstream, iterations
        )
        direction = rng.normal(size=(6, 6)) * max(values)
        direction += direction.T
        expected = slope(
            lambda a, up=upstream: (newton_schulz(a, iterations) * up).sum(),
            [a],
            [direction],
            h=1e-7,
        )
        found = (gradient * direction).sum()
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6 * abs(found) + 1e-8)


@pytest.mark.parametrize("features, iterations", [(27, 15), (288, 3), (288, 5)])
def test_both_ways_are_one_function_in_float32(features, iterations):
    """Of covariances as layers have them: of few rows, with a ridge; the first of many.

    The many steps of the first tell apart what float32 does not.
    """
    rng = np.random.default_rng(0)
    n = 4 * features if iterations == 15 else features // 3
    rows = rng.normal(size=(n, features)).cumsum(1)
    a = rows.T @ rows / len(rows) + 1e-5 * np.eye(features)
    upstream = rng.normal(size=a.shape)
    exact = value_and_gradient(roots.by_products, a, upstream, iterations)
    for root_of in (roots.by_eigenvectors, roots.by_products):
        found = value_and_gradient(
            root_of, a.astype("float32"), upstream.astype("float32"), iterations
        )
        for mine, true in zip(found, exact, strict=True):
            np.testing.assert_allclose(mine, true, atol=1e-4 * np.abs(true).max())


@WAYS
def test_a_batch_of_no_numbers_gives_none_and_ends_nothing(root_of):
    stack = np.stack([np.eye(3), np.full((3, 3), np.nan), 2 * np.eye(3)])
    stack[1, 0, 0] = np.inf
    found, gradient = value_and_gradient(root_of, stack, np.ones_like(stack), 5)
    for array in (found, gradient):
        assert np.isfinite(array[[0, 2]]).all()
        assert np.isnan(array[1]).all()


def test_only_large_matrices_are_taken_apart_and_on_no_gpu(monkeypatch):
    called = []
    for way in ("by_products", "by_eigenvectors"):
        monkeypatch.setattr(roots, way, lambda a, n, way=way: called.append(way))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    small, large = tf.eye(64), tf.eye(128)
    for matrix, iterations in ((large, 2), (small, 5), (large, 5)):
        roots.inverse_root(matrix, iterations)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    roots.inverse_root(large, 5)
    assert called == [*["by_products"] * 2, "by_eigenvectors", "by_products"]
