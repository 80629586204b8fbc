"""Which values an annotation takes, and in which words others are refused."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import pytest

from allconv.core.annotations import Span
from allconv.core.arguments import Images, Whole, checked


@checked
def called(
    images: np.ndarray,
    size: Sequence[int] = (1, 2),
    fill: Annotated[float, Span(finite=False)] = 0,
    count: Whole = 1,
) -> str:
    return "called"


class ReadWhenAsked:
    """Looks like an array, and must not be read through."""

    shape, dtype = (10**9, 32, 32, 3), np.float32

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, some):
        raise AssertionError("read before it was asked for")


def test_an_array_stands_for_a_list_of_numbers():
    assert called([1.0], size=np.array([3, 4])) == "called"


def test_a_number_that_may_be_none_takes_nan():
    assert called([1.0], fill=np.nan) == "called"
    with pytest.raises(ValueError, match=r"`count` .* Received: count=nan"):
        called([1.0], count=np.nan)


def test_what_is_read_when_asked_for_is_not_read_through(tmp_path):
    assert called(ReadWhenAsked()) == "called"
    file = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (2,))
    file[:] = np.nan  # of an array in memory it would be refused
    assert called(file) == "called"


@pytest.mark.parametrize("images", ["text", None, [np.inf], [[1], [1, 2]], [1j], {}])
def test_what_is_no_array_of_finite_numbers_is_named(images):
    with pytest.raises(ValueError, match="`images` should be an array of finite real"):
        called(images)


def test_axes_are_named():
    @checked
    def drawn(images: Images) -> None: ...

    drawn(np.zeros((1, 2, 2, 3)))
    with pytest.raises(ValueError, match=r"of shape \(n, height, width, channels\)"):
        drawn(np.zeros((2, 2, 3)))
