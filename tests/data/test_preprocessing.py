"""GCN and ZCA against the formula, their properties, and the way back."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from allconv.data.preprocessing import GCNZCA, KINDS, ZCA, MeanStd, gcn

uint8_images = hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 4)] * 3, st.just(3)))


def slow_gcn(image, scale=55.0):
    """One image, float64, as Goodfellow's: centre, then norm `scale`."""
    x = image.astype(np.float64) - image.astype(np.float64).mean()
    norm = np.sqrt(sum(v**2 for v in x.ravel())) / scale
    return x if norm < 1e-8 else x / norm


@hypothesis.given(uint8_images)
def test_gcn_is_the_formula(images):
    for image, mine in zip(images, gcn(images), strict=True):
        np.testing.assert_allclose(mine, slow_gcn(image), atol=2e-3)


@hypothesis.given(uint8_images, st.integers(1, 3), st.integers(0, 50))
def test_gcn_does_not_see_brightness_or_contrast(images, factor, offset):
    changed = images.astype(np.float32) * factor + offset
    np.testing.assert_allclose(gcn(changed), gcn(images), atol=5e-3)


def test_gcn_of_one_colour_is_zero():
    assert not gcn(np.full((2, 32, 32, 3), 37, np.uint8)).any()
    assert not gcn(np.full((1, 32, 32, 3), 255, np.uint8)).any()


def correlated(n, seed=0, shape=(4, 4, 3)):
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    mixed = rng.normal(size=(n, size)) @ rng.normal(size=(size, size))
    return mixed.reshape(n, *shape).astype(np.float32)


def slow_zca_matrix(images, bias):
    """The inverse square root by its defining series of steps, in float64."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    covariance = sum(np.outer(x, x) for x in centred) / len(centred)
    values, vectors = np.linalg.eigh(covariance + bias * np.eye(len(covariance)))
    return vectors @ np.diag(values**-0.5) @ vectors.T


@hypothesis.settings(max_examples=10)
@hypothesis.given(st.integers(0, 1000), st.sampled_from([0.0, 0.1, 5.0]))
def test_zca_matrix_is_the_formula(seed, bias):
    images = correlated(200, seed)
    zca = ZCA(bias).fit(images)
    np.testing.assert_allclose(zca.matrix, slow_zca_matrix(images, bias), atol=1e-4)
    np.testing.assert_allclose(zca.matrix, zca.matrix.T, atol=1e-6)


@hypothesis.settings(max_examples=10)
@hypothesis.given(st.integers(0, 1000))
def test_whitened_covariance_is_the_identity_without_bias(seed):
    images = correlated(300, seed)
    flat = ZCA(bias=0.0).fit(images).transform(images).reshape(300, -1)
    np.testing.assert_allclose(flat.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(flat.T, bias=True), np.eye(48), atol=2e-2)


def test_whitened_covariance_with_bias_has_the_formulas_eigenvalues():
    images = correlated(300)
    values = np.linalg.eigvalsh(np.cov(images.reshape(300, -1).T, bias=True))
    flat = ZCA(bias=2.0).fit(images).transform(images).reshape(300, -1)
    after = np.linalg.eigvalsh(np.cov(flat.T, bias=True))
    np.testing.assert_allclose(after, np.sort(values / (values + 2)), atol=1e-3)


def test_inverse_undoes_transform():
    images = correlated(100)
    zca = ZCA().fit(images)
    np.testing.assert_allclose(zca.inverse(zca.transform(images)), images, atol=1e-3)


@pytest.mark.parametrize("n", [2, 7, 47])
@pytest.mark.parametrize("bias", [0.1, 5.0])
def test_the_matrix_of_few_images_is_the_formula(n, bias):
    images = correlated(n)
    assert n < images[0].size
    zca = ZCA(bias).fit(images)
    np.testing.assert_allclose(zca.matrix, slow_zca_matrix(images, bias), atol=1e-5)


def test_blocks_of_the_covariance_add_up():
    images = correlated(10_050)
    matrix = ZCA().fit(images).matrix
    np.testing.assert_allclose(matrix, slow_zca_matrix(images, 0.1), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_pullback_is_the_transposed_jacobian(kind):
    """Against central differences of `sum(maps * preprocess(pixels))` in float64."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 3, 3, 3)).astype(np.float32)
    preprocess = KINDS[kind]().fit(images)
    pixels, maps = images[:2], rng.normal(size=(2, 3, 3, 3)).astype(np.float32)

    def inner(x):
        if kind == "mean_std":
            return (maps * (x - preprocess.mean) / preprocess.std).sum()
        if kind == "mean_pixel":
            return (maps * (x - preprocess.mean)).sum()
        flat = np.stack([slow_gcn(i) for i in x]).reshape(2, -1)
        out = (flat - preprocess.zca.mean) @ preprocess.zca.matrix.astype(np.float64)
        return (maps.reshape(2, -1) * out).sum()

    numeric = np.zeros(pixels.shape)
    for index in np.ndindex(pixels.shape):
        step = np.zeros(pixels.shape)
        step[index] = 1e-3
        numeric[index] = (inner(pixels + step) - inner(pixels - step)) / 2e-3
    np.testing.assert_allclose(
        preprocess.pullback(pixels, maps), numeric, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("kind", KINDS)
def test_invert_takes_a_difference_of_inputs_to_that_of_the_pixels(kind):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 3, 3, 3)).astype(np.float32)
    preprocess = KINDS[kind]().fit(images)
    before = images[:2]
    after = before[:, ::-1, :, ::-1]  # as bright, and of the same contrast
    np.testing.assert_allclose(
        preprocess.invert(before, preprocess(after) - preprocess(before)),
        after - before,
        atol=0.01,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_constants_survive_a_file(kind):
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 3, 3)).astype(np.uint8)
    before = KINDS[kind]().fit(images)
    after = KINDS[kind].from_arrays(before.arrays())
    np.testing.assert_array_equal(before(images), after(images))


def test_mean_std_centres_and_scales_each_channel():
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3)).astype(np.uint8)
    out = MeanStd().fit(images)(images)
    np.testing.assert_allclose(out.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=(0, 1, 2)), 1, atol=1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match="Every channel of the training images should"):
        MeanStd().fit(np.full((2, 4, 4, 3), 7, np.uint8))
    with pytest.raises(ValueError, match="shape"):
        gcn(np.zeros((32, 32, 3)))
    for wrong in (np.zeros((32, 32, 3), np.uint8), np.zeros((0, 4, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="one at least"):
            MeanStd(np.zeros(3), np.ones(3))(wrong)
    with pytest.raises(ValueError, match="at least 2 images"):
        ZCA().fit(np.zeros((1, 2, 2, 3)))
    with pytest.raises(ValueError, match="has not been fitted"):
        ZCA().transform(np.zeros((1, 2, 2, 3)))
    with pytest.raises(ValueError, match="as many images as an image has values, 12"):
        ZCA(bias=0.0).fit(np.zeros((11, 2, 2, 3)))
    for unfitted in (MeanStd(), GCNZCA()):
        with pytest.raises(ValueError, match="has not been fitted"):
            unfitted.arrays()
    with pytest.raises(ValueError, match="fitted on images of 48 values"):
        ZCA().fit(correlated(50)).transform(np.zeros((1, 2, 2, 3)))


def test_real_cifar10_is_whitened_as_the_paper_does(cifar10):
    """GCN norm 55, and eigenvalues v / (v + 0.1) on a block of real images."""
    (x, _), _ = cifar10
    images = x[:400, 8:16, 8:16]
    prepared = GCNZCA().fit(images)
    contrast = gcn(images)
    norms = np.linalg.norm(contrast.reshape(400, -1), axis=1)
    np.testing.assert_allclose(norms, 55, rtol=1e-4)
    values = np.linalg.eigvalsh(np.cov(contrast.reshape(400, -1).T, bias=True))
    flat = prepared(images).reshape(400, -1)
    after = np.linalg.eigvalsh(np.cov(flat.T, bias=True))
    np.testing.assert_allclose(after, np.sort(values / (values + 0.1)), atol=1e-2)


def test_a_compact_matrix_is_rounded_to_the_nearest_unit():
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 3)).astype(np.uint8)
    fitted = GCNZCA().fit(images)
    again = GCNZCA.from_arrays(fitted.compact())
    assert np.abs(again.zca.matrix - fitted.zca.matrix).max() < 1.51e-4
