"""Correlation and whitening against slow loops and closed forms."""

import io

import keras
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from allconv.data import shapes
from allconv.data.preprocessing import MeanStd
from allconv.figures import whitening
from allconv.layers.netdeconv import NetworkDeconvolution2D
from allconv.probes import correlation


@pytest.fixture(scope="module")
def images():
    drawn = shapes.draw(60)[0]
    return MeanStd().fit(drawn)(drawn)


def random_covariance(seed, n=6):
    rng = np.random.default_rng(seed)
    return correlation.covariance(rng.normal(size=(50, n)) @ rng.normal(size=(n, n)))


@given(st.integers(1, 5), st.integers(5, 9), st.integers(5, 9), st.integers(1, 3))
@settings(max_examples=15)
def test_patch_rows_are_tiles_in_the_order_of_a_kernel(size, height, width, channels):
    x = np.random.default_rng(size).normal(size=(2, height, width, channels))
    expected = [
        x[n, i : i + size, j : j + size].ravel()
        for n in range(2)
        for i in range(0, height - size + 1, size)
        for j in range(0, width - size + 1, size)
    ]
    np.testing.assert_allclose(
        correlation.patch_rows(x, size), np.array(expected), rtol=1e-6
    )


@given(st.integers(0, 100))
@settings(max_examples=10)
def test_whitened_rows_are_white(seed):
    matrix = random_covariance(seed)
    root = correlation.whitener(matrix, epsilon=0)
    np.testing.assert_allclose(root @ matrix @ root, np.eye(6), atol=1e-6)
    np.testing.assert_allclose(root, root.T, atol=1e-9 * np.abs(root).max())


def test_many_newton_schulz_steps_are_exact_and_few_are_not():
    matrix = random_covariance(0)
    exact = correlation.whitener(matrix, 1e-3)
    near = correlation.whitener(matrix, 1e-3, iterations=30)
    np.testing.assert_allclose(near, exact, rtol=1e-6)
    assert np.abs(correlation.whitener(matrix, 1e-3, 2) - exact).max() > 0.1


def test_covariance_and_correlation_are_numpy_s():
    rows = np.random.default_rng(0).normal(size=(40, 5)) @ np.triu(np.ones((5, 5)))
    matrix = correlation.covariance(rows)
    np.testing.assert_allclose(matrix, np.cov(rows.T, bias=True))
    off = np.abs(np.corrcoef(rows.T))[~np.eye(5, dtype=bool)]
    assert correlation.mean_correlation(matrix) == pytest.approx(off.mean())
    assert correlation.mean_correlation(np.eye(3)) == 0
    still = np.pad(matrix, (0, 1))  # a feature without variance, such as a dead map
    assert correlation.mean_correlation(still) == pytest.approx(off.mean())


def test_descent_is_the_closed_form():
    """Along eigenvector i the error shrinks by (1 - rate * eigenvalue i) a step."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 4))
    inputs -= inputs.mean(0)
    solution = rng.normal(size=4)
    values, vectors = np.linalg.eigh(correlation.covariance(inputs))
    losses = correlation.descend(inputs, inputs @ solution, 0.05, 7)
    start = vectors.T @ solution
    expected = [
        sum(values * (start * (1 - 0.05 * values) ** t) ** 2) / 2 for t in range(8)
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-9)


def test_centre_surround_is_a_loop_over_neighbours():
    rows = np.random.default_rng(0).normal(size=(4, 75))
    for row, value in zip(rows, correlation.centre_surround(rows), strict=True):
        tile = row.reshape(5, 5, 3).mean(-1)
        around = [tile[i, j] for i in (1, 2, 3) for j in (1, 2, 3) if (i, j) != (2, 2)]
        assert value == pytest.approx(tile[2, 2] - np.mean(around))
    for values in (3, 12, 74):  # 1 x 1 pixel, 2 x 2, none
        with pytest.raises(ValueError, match=f"odd width.* rows of {values} values"):
            correlation.centre_surround(np.ones((2, values)))


def test_whitened_regression_takes_one_step(images):
    losses = correlation.one_step(correlation.patch_rows(images, 5), steps=20)
    white = losses.pop("pixels, whitened")
    assert white[0] == 1
    assert white[1] < 1e-9
    for slow in losses.values():
        assert len(slow) == 21
        assert slow[-1] > 0.1
        assert (np.diff(slow) < 0).all()


def test_what_does_not_vary_is_refused():
    rows = np.random.default_rng(0).normal(size=(50, 27))
    rows[:, 5] = 1
    with pytest.raises(ValueError, match="Every pixel should vary"):
        correlation.one_step(rows, 3)
    with pytest.raises(ValueError, match=r"positive eigenvalues: take more rows"):
        correlation.one_step(np.random.default_rng(0).normal(size=(20, 27)), 3)
    for size in (0, 5):
        with pytest.raises(ValueError, match=f"`size` .*from 1.* size={size}"):
            correlation.patch_rows(np.zeros((2, 4, 6, 3)), size)
    with pytest.raises(ValueError, match=r"Two features .* vary. .* 1 that"):
        correlation.mean_correlation(np.diag([0.0, 1.0]))


def small_model():
    inputs = keras.Input((32, 32, 3))
    x = NetworkDeconvolution2D(4, 3, activation="relu", name="first")(inputs)
    outputs = NetworkDeconvolution2D(2, 3, groups=2, name="grouped")(x)
    return keras.Model(inputs, outputs)


def test_layer_rows_are_what_the_layer_takes_its_statistics_of(images):
    model = small_model()
    rows = correlation.layer_rows(model, "first", images)
    assert rows.shape == (60 * 10 * 10, 27)
    np.testing.assert_allclose(
        rows, correlation.patch_rows(images[:, :30, :30], 3), rtol=1e-6
    )
    layer = model.get_layer("first")
    layer.momentum = 1.0
    layer(images, training=True)
    matrix = correlation.covariance(rows)
    root = correlation.whitener(matrix, layer.epsilon, layer.iterations)
    np.testing.assert_allclose(layer.running_deconv, root, rtol=1e-3, atol=1e-4)


def test_layers_without_one_covariance_are_refused(images):
    model = small_model()
    for layer in (model.layers[0], model.get_layer("grouped")):
        with pytest.raises(ValueError, match=f"one group.*{layer.name}"):
            correlation.layer_rows(model, layer.name, images)


def test_figures_hold_what_they_were_given(images):
    losses = {"slow": np.array([1, 0.9, 0.8]), "fast": np.array([1, 0, 0])}
    figure = whitening.descents(losses, floor=1e-6)
    slow, fast = figure.axes[0].lines
    assert slow.get_ydata().tolist() == [1, 0.9, 0.8]
    assert fast.get_ydata().tolist() == [1, 1e-6, 1e-6]
    figure.savefig(io.BytesIO())

    matrices = {"a": np.array([[2, 1], [1, 4.0]]), "b": np.eye(3)}
    figure = whitening.covariances(matrices)
    drawn = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(drawn, np.array([[2, 1], [1, 4]]) / 3)
    assert figure.axes[0].get_title() == "a\nmean |correlation| 0.35"
    assert not figure.axes[2].axison
    figure.savefig(io.BytesIO())

    curves = {"batch": ([1, 2], [5, 10], [40, 60])}
    figure = whitening.against_time(curves)
    left, right = (axes.lines[0] for axes in figure.axes)
    assert left.get_xydata().tolist() == [[1, 40], [2, 60]]
    assert right.get_xydata().tolist() == [[5, 40], [10, 60]]
    figure.savefig(io.BytesIO())


def test_kernels_are_the_middle_rows_of_the_matrix():
    matrix = np.diag(np.arange(1, 28.0))
    matrix[14, 2] = matrix[2, 14] = -27  # of the blue middle, at the top left
    figure = whitening.deconvolution_kernels({"a": matrix, "b": np.eye(25)})
    drawn = [np.array(a.images[0].get_array()) for a in figure.axes[:4] if a.images]
    red, green, blue, grey = drawn
    for kernel, middle in ((red, 13), (green, 14), (blue, 15)):
        assert kernel[1, 1] == middle
    assert blue[0, 0] == -27
    assert np.count_nonzero(blue) == 2
    np.testing.assert_array_equal(grey, np.eye(25)[12].reshape(5, 5))
    assert figure.axes[0].images[0].get_clim() == (-27, 27)
    with pytest.raises(ValueError, match=r"of odd size, of 1 or 3 channels\. Rec"):
        whitening.deconvolution_kernels({"a": np.eye(12)})


def test_densities_are_those_of_normal_numbers():
    numbers = np.random.default_rng(0).normal(3, 7, 10**6)
    (line,) = whitening.densities({"normal": numbers}, limit=2).axes[0].lines
    x, density = line.get_data()
    expected = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(density, expected, rtol=0.1)
