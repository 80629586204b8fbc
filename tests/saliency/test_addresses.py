"""Addresses of layers, taken apart and found."""

import pytest

from allconv.saliency import addresses

PATHS = ["conv", "block/conv", "block/deep/conv", "block/conv", "other/deep/conv"]


def test_parse():
    assert addresses.parse("block/conv1") == ("block/conv1", None)
    assert addresses.parse("conv1#12") == ("conv1", 12)
    for wrong in ("conv1#", "conv1#x", "conv1#-1", "conv1#1#2"):
        with pytest.raises(ValueError, match=f"'conv1#0'. Received: '{wrong}'"):
            addresses.parse(wrong)


@pytest.mark.parametrize(
    "name, found",
    [
        ("conv", ["conv"]),
        ("block/conv", ["block/conv"]),
        ("deep/conv", ["block/deep/conv", "other/deep/conv"]),
        ("nv", []),
        ("", []),
    ],
)
def test_find(name, found):
    assert addresses.find(name, PATHS) == found


def test_pick():
    assert addresses.pick("conv", ["only"]) == "only"
    assert addresses.pick("conv#1", ["first", "second"]) == "second"
    with pytest.raises(ValueError, match=r"'conv' is called 2 times. .*conv#0, conv#1"):
        addresses.pick("conv", ["first", "second"])
    with pytest.raises(ValueError, match=r"one of conv#0. Received: 'conv#1'"):
        addresses.pick("conv#1", ["only"])
