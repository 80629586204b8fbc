import keras
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from keras import layers

from allconv.probes.filters import filter_statistics, silent


def test_dead_and_dominant_filters():
    kernel = np.ones((3, 3, 2, 5))
    kernel *= [1, 2, 2, 0.19, 10]  # median 2: below 0.2 is dead
    stats = filter_statistics(kernel, 1)
    np.testing.assert_allclose(stats.rms, [1, 2, 2, 0.19, 10])
    assert stats.dead.tolist() == [False, False, False, True, False]
    assert stats.dominance == pytest.approx(5)


def test_a_wave_is_aliased_by_a_stride_longer_than_half_its_length():
    x = np.arange(32)
    waves = [np.cos(2 * np.pi * x / length) for length in (16, 8, 3)]
    kernel = np.stack([np.outer(np.ones(32), w) for w in waves], axis=-1)[:, :, None]
    aliased = {s: filter_statistics(kernel, s).aliased.tolist() for s in (1, 2, 6, 12)}
    assert aliased == {
        1: [False, False, False],
        2: [False, False, True],
        6: [False, True, True],
        12: [True, True, True],
    }


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_white_noise_is_aliased_by_the_share_of_frequencies(stride):
    """A single pixel has a flat spectrum; the grid counts the bins beyond."""
    kernel = np.zeros((7, 7, 1, 1))
    kernel[3, 2] = 1
    share = filter_statistics(kernel, stride, points=64).aliased_power[0]
    inside = 64 if stride == 1 else 2 * (64 // (2 * stride)) + 1
    assert share == pytest.approx(1 - (inside / 64) ** 2)
    assert share == pytest.approx(1 - 1 / stride**2, abs=0.05)


@given(st.integers(0, 999), st.integers(1, 5), st.floats(0.01, 100))
@settings(deadline=None, max_examples=25)
def test_aliased_power_against_a_sum_of_waves(seed, stride, factor):
    kernel = np.random.default_rng(seed).normal(size=(3, 2, 2, 1))
    points, beyond, total = 8, 0.0, 0.0
    for u in range(-4, 4):
        for v in range(-4, 4):
            for channel in range(2):
                amplitude = sum(
                    kernel[y, x, channel, 0]
                    * np.exp(-2j * np.pi * (u * y + v * x) / points)
                    for y in range(3)
                    for x in range(2)
                )
                power = abs(amplitude) ** 2
                total += power
                beyond += power * (max(abs(u), abs(v)) / points > 1 / (2 * stride))
    found = filter_statistics(factor * kernel, stride, points=points)
    np.testing.assert_allclose(found.aliased_power, beyond / total, atol=1e-9)


def test_a_filter_of_zeros():
    stats = filter_statistics(np.zeros((3, 3, 1, 2)), 2)
    np.testing.assert_array_equal(stats.aliased_power, 0)
    assert stats.dead.all()
    assert stats.dominance == float("inf")
    mixed = np.ones((3, 3, 1, 3)) * [0, 1, 1]
    assert filter_statistics(mixed, 2).dead.tolist() == [True, False, False]


def test_silent_maps():
    inputs = keras.Input((4, 4, 1))
    conv = layers.Conv2D(3, 1, activation="relu", name="conv")
    model = keras.Model(inputs, layers.Flatten(name="flat")(conv(inputs)))
    conv.set_weights([np.array([[[[1.0, -1.0, 0.0]]]]), np.array([0.0, 0.0, -1.0])])
    images = np.zeros((5, 4, 4, 1))
    assert silent(model, images, "conv").tolist() == [True, True, True]
    images[4, 2, 2] = 1
    assert silent(model, images, "conv", batch_size=2).tolist() == [False, True, True]
    with pytest.raises(ValueError, match="has no map"):
        silent(model, images, "flat")


def test_bad_filters():
    with pytest.raises(ValueError, match="height, width, channels, filters"):
        filter_statistics(np.zeros((3, 3, 2)), 1)
    with pytest.raises(ValueError, match=r"`kernel` should be .* none of them 0"):
        filter_statistics(np.zeros((0, 3, 3, 4)), 1)
    with pytest.raises(ValueError, match="`kernel` should be an array of finite"):
        filter_statistics(np.full((3, 3, 1, 2), np.nan), 1)
    conv = keras.layers.Conv2D(2, 3, name="conv")
    model = keras.Sequential([keras.Input((5, 5, 1)), conv])
    conv.kernel.assign(np.full((3, 3, 1, 2), np.nan))
    with pytest.raises(ValueError, match="The maps of 'conv' are not finite"):
        silent(model, np.ones((2, 5, 5, 1)), "conv")
    with pytest.raises(ValueError, match="`stride` should be an integer from 1"):
        filter_statistics(np.zeros((3, 3, 1, 2)), 0)


def test_images_are_preprocessed():
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.ReLU(name="r")])
    images = -np.ones((2, 4, 4, 1))
    assert silent(model, images, "r").all()
    assert not silent(model, images, "r", preprocess=np.abs).any()
