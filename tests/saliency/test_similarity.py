"""Similarities of maps against their formulas, written out slowly."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from allconv.saliency import similarity


def slow_ranks(values):
    """The mean of the places a value takes in the sorted list."""
    ordered = sorted(values)
    return [
        np.mean([i for i, other in enumerate(ordered) if other == value])
        for value in values
    ]


@settings(max_examples=40)
@given(
    hnp.arrays(np.int8, (2, 3, 2, 2), elements=st.integers(-3, 3)),
)
def test_rank_correlation_with_ties_against_its_definition(pair):
    got = similarity.rank_correlation(pair[:1], pair[1:])
    x, y = (np.array(slow_ranks(maps.ravel())) for maps in pair)
    if x.std() == 0 or y.std() == 0:
        assert np.isnan(got[0])
    else:
        expected = np.mean((x - x.mean()) * (y - y.mean())) / (x.std() * y.std())
        assert got[0] == pytest.approx(expected, abs=1e-12)


def test_rank_correlation_is_of_ranks_and_signed():
    a = np.random.default_rng(0).normal(size=(2, 5, 5, 3))
    np.testing.assert_allclose(similarity.rank_correlation(a, np.exp(a)), 1)
    np.testing.assert_allclose(similarity.rank_correlation(a, -a), -1)
    np.testing.assert_allclose(similarity.compare(a, -a)["absolute rank"], 1)
    np.testing.assert_allclose(similarity.compare(a, -a)["ssim"], 1, rtol=1e-6)


def slow_ssim(x, y):
    """Wang et al. (2004), eq. 13: Gaussian window of 11 pixels, sigma 1.5."""
    side = np.exp(-0.5 * (np.arange(11) - 5.0) ** 2 / 1.5**2)
    window = np.outer(side, side) / side.sum() ** 2
    values = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            p, q = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * p * p).sum() - mp**2, (window * q * q).sum() - mq**2
            cov = (window * p * q).sum() - mp * mq
            c1, c2 = 0.01**2, 0.03**2
            values.append(
                (2 * mp * mq + c1)
                * (2 * cov + c2)
                / ((mp**2 + mq**2 + c1) * (vp + vq + c2))
            )
    return np.mean(values)


def test_ssim_against_its_formula():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2, 14, 13, 3))
    grey = [np.abs(maps).sum(-1) for maps in (a, b)]
    for i, got in enumerate(similarity.ssim(a, b)):
        x, y = (maps[i] / maps[i].max() for maps in grey)
        assert got == pytest.approx(slow_ssim(x, y), abs=1e-4)


def test_small_and_empty_maps():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2, 6, 6, 1))
    np.testing.assert_allclose(similarity.ssim(a, a), 1, rtol=1e-6)
    scores = similarity.compare(a, np.zeros_like(a))
    assert all(np.isnan(score).all() for score in scores.values())


def test_edge_maps_of_a_step():
    """A step of height 2 has a Sobel response of 4 x 2 on both sides, along x only."""
    images = np.zeros((1, 6, 6, 1), np.float32)
    images[:, :, 3:] = 2
    edges = similarity.edge_maps(images)
    assert edges.dtype == np.float32
    expected = np.broadcast_to([0, 0, 8, 8, 0, 0], (6, 6))
    np.testing.assert_allclose(edges[0, ..., 0], expected)
    turned = similarity.edge_maps(np.swapaxes(images, 1, 2))
    np.testing.assert_allclose(turned[0, ..., 0], expected.T)


def test_class_similarity_is_the_mean_over_pairs_of_classes():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(3, 2, 6, 6, 3))
    got = similarity.class_similarity(maps)
    for name in ("rank", "absolute rank", "ssim"):
        pairs = [
            similarity.compare(maps[i], maps[j])[name]
            for i, j in [(0, 1), (0, 2), (1, 2)]
        ]
        np.testing.assert_allclose(got[name], np.mean(pairs, axis=0))
    dead = np.concatenate([maps, np.zeros_like(maps[:1])])  # a class cut off
    dead[:, 1] = 0
    for name, score in similarity.class_similarity(dead).items():
        assert score[0] == pytest.approx(got[name][0])
        assert np.isnan(score[1])
    alike = similarity.class_similarity(np.stack([maps[0]] * 4))
    for score in alike.values():
        np.testing.assert_allclose(score, 1, rtol=1e-6)


@pytest.mark.parametrize("measure", [similarity.rank_correlation, similarity.ssim])
def test_maps_that_do_not_pair_up_are_refused(measure):
    maps = np.random.default_rng(0).normal(size=(2, 4, 4, 3))
    broken = maps.copy()
    broken[0, 1, 2, 0] = np.nan
    with pytest.raises(ValueError, match="`b` should be an array of finite real"):
        measure(maps, broken)
    for other in (maps[:1], maps.reshape(2, 48)):
        with pytest.raises(ValueError, match="`a` and `b` should be maps of one shape"):
            measure(maps, other)


def test_one_class_alone_is_refused():
    with pytest.raises(ValueError, match=r"at least two classes. .* \(1, 2, 3, 3, 1\)"):
        similarity.class_similarity(np.ones((1, 2, 3, 3, 1)))
