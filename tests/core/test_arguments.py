"""Which values an annotation takes, and in which words others are refused."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import pytest
from typing_extensions import NotRequired, TypedDict

from allconv.core.annotations import LATER, Span, refuse
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


def test_an_item_a_field_and_what_a_text_is_like_are_named():
    with pytest.raises(ValueError, match=r"`size\[1\]` should be an integer\. .*='x'"):
        called([1.0], size=[1, "x"])
    with pytest.raises(ValueError, match="`size` should be a list, each an integer"):
        called([1.0], size=3)

    class Row(TypedDict):
        epoch: int
        loss: NotRequired[float]

    refuse([{"epoch": 1, "more": None}], list[Row], "rows")
    with pytest.raises(ValueError, match=r"`rows\[0\].loss` should be a finite number"):
        refuse([{"epoch": 1, "loss": np.inf}], list[Row], "rows")
    with pytest.raises(ValueError, match="`epoch` is missing"):
        refuse({}, Row)
    with pytest.raises(ValueError, match=r"one of keep, drop.*; the nearest is keep"):
        refuse("keeep", Literal["keep", "drop"], "dead")


def test_what_a_function_knows_better_is_left_to_it():
    @checked
    def shown(images: Annotated[np.ndarray, LATER], count: Whole) -> None: ...

    shown("no images", 1)
    with pytest.raises(ValueError, match="`count`"):
        shown("no images", 0)


def test_axes_are_named():
    @checked
    def drawn(images: Images) -> None: ...

    drawn(np.zeros((1, 2, 2, 3)))
    with pytest.raises(ValueError, match=r"of shape \(n, height, width, channels\)"):
        drawn(np.zeros((2, 2, 3)))
