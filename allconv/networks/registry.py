"""Every network of the project by name, and what its family can bear.

Needs no TensorFlow: the layers are imported when a network is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from allconv.core.arguments import checked
from allconv.core.checks import nearest
from allconv.networks import all_cnn_rows, classics_rows, zfnet_rows

if TYPE_CHECKING:
    import keras

NORMS = ("none", "batch", "deconv")


class Layers(Protocol):
    """What makes layers of rows: a family's module, or two functions of your own."""

    @property
    def hidden(self) -> Callable[[keras.KerasTensor, Any], keras.KerasTensor]: ...

    @property
    def top(self) -> Callable[[keras.KerasTensor, Any], keras.KerasTensor]: ...


@dataclass(frozen=True)
class Family:
    """Networks that one module builds, and what they can bear.

    Attributes:
        module: Of `allconv.networks`; it has the layers.
        names: The networks, in the order of their table.
        norms: What `norm` may be.
        norm: The usual one.
        input_size: Width in pixels that a network is made for, by its name.
        smallest_input: The least width in pixels that it takes, by its name.
        classes: Its usual number of classes, by its name.
        sizes_change: Whether the same weights take images of several sizes, so that
            the size may change while they are trained.
        muon: Whether `muon.Muon` may turn its kernels, where `norm` is `"batch"`.
        score_bias: Whether its class scores are rectified, and so may start at a bias
            that keeps them on.
        channel_block: Whether `norm_options` may have it.
        layers: What has `hidden` and `top`, in place of `module`: of a network of your
            own, see `own.register`.
    """

    module: str
    names: tuple[str, ...]
    norms: tuple[str, ...]
    norm: str
    input_size: Callable[[str], int]
    smallest_input: Callable[[str], int]
    classes: Callable[[str], int]
    sizes_change: bool = True
    muon: bool = False
    score_bias: bool = False
    channel_block: bool = False
    layers: Layers | None = None


ALL_CNN = Family(
    module="all_cnn",
    names=all_cnn_rows.NAMES,
    norms=NORMS,
    norm="none",
    input_size=lambda name: all_cnn_rows.get(name).input_size,
    smallest_input=all_cnn_rows.smallest_input,
    classes=lambda name: all_cnn_rows.get(name).classes,
    muon=True,
    score_bias=True,
)
ZFNET = Family(
    module="zfnet",
    names=zfnet_rows.NAMES,
    norms=("none", "batch"),  # beside local response normalisation
    norm="none",
    input_size=lambda name: zfnet_rows.get(name).input_size,
    smallest_input=zfnet_rows.smallest_input,
    classes=lambda name: zfnet_rows.get(name).classes,
    sizes_change=False,  # dense layers read the last map, position by position
    muon=True,
)
CLASSICS = Family(
    module="classics",
    names=classics_rows.NAMES,
    norms=NORMS,
    norm="batch",
    input_size=lambda name: 32,
    smallest_input=classics_rows.smallest_input,
    classes=lambda name: 10,
    channel_block=True,
)
_VGG = ("vgg11",)  # dense layers on the whole map
IMAGENET = Family(
    module="classics",
    names=tuple(n for n in classics_rows.IMAGENET_NAMES if n not in _VGG),
    norms=NORMS,
    norm="batch",
    input_size=lambda name: 224,
    smallest_input=classics_rows.smallest_input,
    classes=lambda name: 1000,
    channel_block=True,
)
IMAGENET_DENSE = replace(IMAGENET, names=_VGG, sizes_change=False)
FAMILIES: tuple[Family, ...] = (ALL_CNN, ZFNET, CLASSICS, IMAGENET, IMAGENET_DENSE)
NAMES: tuple[str, ...] = tuple(name for family in FAMILIES for name in family.names)

# What `norm_options` may hold, with its type and bounds: arguments of
# `batch_norm.BatchNormalization` (whose kernel raises a smaller epsilon to this one
# without a word) and of `netdeconv.NetworkDeconvolution2D`. `channel_block` is not of a
# convolution: with it the last map goes through a `netdeconv.ChannelDeconvolution` of
# that block, and the dense layer is a plain one.
NORM_OPTIONS: dict[str, dict[str, tuple[type, float, float]]] = {
    "none": {},
    "batch": {
        "momentum": (float, 0, 1),
        "epsilon": (float, 1e-5, 1),
        "fused": (bool, 0, 1),
        "synchronized": (bool, 0, 1),
    },
    "deconv": {
        "block": (int, 1, 10**6),
        "sampling_stride": (int, 1, 1000),
        "iterations": (int, 1, 100),
        "epsilon": (float, 0, 1),
        "momentum": (float, 1e-6, 1),
        "freeze_after": (int, 1, 10**6),
        "statistics_every": (int, 1, 10**6),
        "synchronized": (bool, 0, 1),
        "channel_block": (int, 1, 10**6),
    },
}


@checked
def family(name: str) -> Family:
    """The family of a network.

    Raises:
        ValueError: If there is no such network.
    """
    for one in FAMILIES:
        if name in one.names:
            return one
    raise ValueError(
        "`name` should be a network that `python -m allconv list` shows, or one that "
        "is registered, by a module of --import. "
        f"Received: name={name!r}{nearest(name, NAMES)}"
    )


def check_norm(name: str, norm: str, options: Mapping[str, object]) -> None:
    """Refuse a norm that a network does not have, or options that the norm has not.

    Raises:
        ValueError: Naming the argument, what it should be and what it is.
    """
    one = family(name)
    check_norm_options(name, norm, options, one.norms, one.channel_block)


def check_norm_options(
    name: str,
    norm: str,
    options: Mapping[str, object],
    norms: tuple[str, ...] = NORMS,
    channel_block: bool = False,
) -> None:
    """As `check_norm`, of a network that is in no family.

    Args:
        name: What to call it.
        norm: Of `norms`.
        options: Of that norm.
        norms: Those that it may have.
        channel_block: Whether the options may hold that.

    Raises:
        ValueError: As `check_norm`.
    """
    if norm not in norms:
        raise ValueError(
            f"`norm` should be one of {', '.join(norms)} for {name}. "
            f"Received: norm={norm!r}"
        )
    if not isinstance(options, Mapping):
        raise ValueError(
            f"`norm_options` should be a dict. Received: norm_options={options!r}"
        )
    allowed = dict(NORM_OPTIONS[norm])
    if not channel_block:
        allowed.pop("channel_block", None)
    for key, value in options.items():
        if key not in allowed:
            raise ValueError(
                f"`norm_options` should be of {', '.join(allowed) or 'nothing'} with "
                f"norm={norm!r}. Received: norm_options={dict(options)!r}"
            )
        kind, low, high = allowed[key]
        kinds = (int, float) if kind is float else (kind,)
        if key == "freeze_after" and value is None:
            continue
        if type(value) not in kinds or not low <= value <= high:  # type: ignore[operator]
            words = {int: "an integer", float: "a number", bool: "true or false"}[kind]
            bounds = "" if kind is bool else f" from {low:g} to {high:g}"
            raise ValueError(
                f"`norm_options` should have {words}{bounds} for {key!r}. "
                f"Received: norm_options={dict(options)!r}"
            )
