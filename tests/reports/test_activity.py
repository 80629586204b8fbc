"""Counts are a histogram's, whatever the batches; selectivity is its formula."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from allconv.reports.activity import BINS, Activity


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9))
def test_counts_are_a_histogram_whatever_the_batches(seed, images, batch):
    draw = np.random.default_rng(seed)
    scale = 10.0 ** draw.uniform(-8, 8, 6)
    peaks = (draw.normal(size=(images, 6)) * scale).astype(np.float32)
    peaks[:, 5] = -1  # a dead unit
    activity = Activity(6, 0)
    for start in range(0, images, batch):
        activity.add(peaks[start : start + batch])
    for unit, values in enumerate(peaks.T.astype(float)):
        above = values[values > 0]
        assert activity.silent[unit] == len(values) - len(above)
        if not len(above):
            assert activity.end[unit] == 0
            assert not activity.counts[unit].any()
            continue
        end = activity.end[unit]
        assert np.log2(end) % 1 == 0
        assert end / 2 < above.max() <= end
        expected = np.histogram(above, BINS, (0, end))[0]
        np.testing.assert_array_equal(activity.counts[unit], expected)


def test_selectivity_is_its_formula():
    draw = np.random.default_rng(0)
    peaks, labels = draw.normal(1, 1, (60, 8)), draw.integers(0, 4, 60)
    peaks[:, 7] = np.where(labels == 2, 3.0, -1)  # answers to one class alone
    peaks[:, 6] = -1
    activity = Activity(8, 5)  # a class without an image says nothing
    activity.add(peaks[:23], labels[:23])
    activity.add(peaks[23:], labels[23:])
    found, positive = activity.selectivity(), np.maximum(peaks, 0)
    for unit in range(6):
        means = [positive[labels == c, unit].mean() for c in range(4)]
        best = int(np.argmax(means))
        others = positive[labels != best, unit].mean()
        expected = max(means[best] - others, 0) / (means[best] + others)
        assert found[unit] == pytest.approx(expected)
    assert (found[6], found[7]) == (0, 1)


def test_without_classes_there_is_no_selectivity():
    activity = Activity(2, 0)
    activity.add(np.ones((3, 2)))
    assert np.isnan(activity.selectivity()).all()
