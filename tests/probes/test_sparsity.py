"""Sparsity against slow loops and known distributions."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from allconv.probes import sparsity

ROWS = arrays("float64", (7, 4), elements=st.integers(-9, 9).map(float))


@settings(max_examples=50)
@given(ROWS)
def test_measures_are_those_of_slow_loops(rows):
    kurtoses, measures = [], []
    for column in rows.T:
        centred = [value - sum(column) / 7 for value in column]
        second, fourth = (sum(c**k for c in centred) / 7 for k in (2, 4))
        if len(set(column)) > 1:
            kurtoses.append(fourth / second**2 - 3)
    for row in rows:
        norm = sum(value**2 for value in row) ** 0.5
        if norm:
            measures.append((2 - sum(map(abs, row)) / norm) / (2 - 1))
    for measure, values in ((sparsity.kurtosis, kurtoses), (sparsity.hoyer, measures)):
        if values:
            assert measure(rows) == pytest.approx(np.mean(values))
            assert measure(rows * -3) == pytest.approx(np.mean(values))
        else:
            with pytest.raises(ValueError, match="Received"):
                measure(rows)


def test_known_distributions():
    rng = np.random.default_rng(0)
    normal, laplace = rng.normal(size=(10**5, 3)), rng.laplace(size=(10**5, 3))
    assert sparsity.kurtosis(normal) == pytest.approx(0, abs=0.1)
    assert sparsity.kurtosis(laplace) == pytest.approx(3, abs=0.3)
    wide = rng.normal(size=(300, 1000))  # |x|_1 / |x|_2 tends to sqrt(2 n / pi)
    assert sparsity.hoyer(wide) == pytest.approx(1 - (2 / np.pi) ** 0.5, abs=0.01)
    assert sparsity.hoyer(np.eye(5)) == 1
    assert sparsity.hoyer(np.ones((2, 5))) == pytest.approx(0)
