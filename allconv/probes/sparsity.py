"""How sparse numbers are: few of them large, most near 0.

Whitened patches of natural images are sparser than the patches (Ye et al., ICLR 2020):
a pixel that its surround predicts becomes nearly 0. Two measures of it, neither of
which depends on scale.
"""

import numpy as np

from allconv.core.arguments import Matrix, checked


@checked
def kurtosis(rows: Matrix) -> float:
    """Excess kurtosis of each column, their mean: 0 of normal numbers, 3 of Laplace's.

    Args:
        rows: `(n, features)`; columns that are constant are left out.

    Raises:
        ValueError: If every column is constant.
    """
    centred = np.asarray(rows, "float64") - np.mean(rows, axis=0, dtype="float64")
    squares = np.mean(centred**2, axis=0)
    varying = squares > 0
    if not varying.any():
        raise ValueError("A column of `rows` at least should vary. Received: none does")
    fourth = np.mean(centred[:, varying] ** 4, axis=0)
    return float(np.mean(fourth / squares[varying] ** 2) - 3)


@checked
def hoyer(rows: Matrix) -> float:
    """Hoyer's sparseness of each row, their mean: 1 with one number that is not 0.

    It is `(sqrt(n) - |x|_1 / |x|_2) / (sqrt(n) - 1)` of `n` numbers: 0 where all have
    the same magnitude, 0.2 on average of many normal ones (Hoyer, 2004).

    Args:
        rows: `(n, features)`, two features at least; rows of zeros are left out.

    Raises:
        ValueError: If there is but one feature, or nothing but zeros.
    """
    rows = np.asarray(rows, "float64")
    norms = np.linalg.norm(rows, axis=1)
    if rows.shape[1] < 2 or not norms.any():
        raise ValueError(
            "`rows` should have two columns or more, and a number that is not 0. "
            f"Received: shape {rows.shape}, {np.count_nonzero(norms)} rows not 0"
        )
    root = np.sqrt(rows.shape[1])
    ratios = np.abs(rows[norms > 0]).sum(axis=1) / norms[norms > 0]
    return float(np.mean((root - ratios) / (root - 1)))
