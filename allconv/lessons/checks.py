"""Check a reader's answer to an exercise."""

from collections.abc import Sequence
from typing import Any

import numpy as np

NOT_ANSWERED = "Not answered yet: put your answer in the place of the three dots."


def check(
    answer: Any,
    expected: Any,
    hint: str = "",
    *,
    of: Sequence | None = None,
    tolerance: float = 1e-5,
) -> None:
    """Say whether an answer is right.

    Args:
        answer: The reader's: a number, a text, a tuple, an array, or, with `of`, a
            function. `...` is no answer yet.
        expected: The right answer, or what the function should return.
        hint: A sentence that helps where the answer is wrong.
        of: The arguments to call a function with. None: `answer` is the answer itself.
        tolerance: How far numbers may be off, as a share of the largest of them.

    Raises:
        AssertionError: If the answer is wrong; says what was received, and the hint.
    """
    if answer is ...:
        print(NOT_ANSWERED)
        return
    if of is not None:
        answer = answer(*of)
    given = np.asarray(answer)
    right = np.asarray(expected)
    assert given.shape == right.shape, (
        f"Not yet. The shape should be {right.shape}. Received: {given.shape}. {hint}"
    )
    if right.dtype.kind in "biufc" and given.dtype.kind in "biufc":
        size = np.abs(right).max(initial=0)
        same = np.allclose(given, right, rtol=0, atol=tolerance * (size or 1))
    else:
        same = bool(np.all(given == right))
    assert same, f"Not yet. {hint} Received: {answer}"
    print("Right.")
