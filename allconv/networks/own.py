"""A network of your own, by name, beside the papers'."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from allconv.core import backend  # noqa: F401, before Keras

# isort: split
import keras
from keras import layers

from allconv.networks import registry
from allconv.networks.builders import Options

Maker: TypeAlias = Callable[[keras.KerasTensor, Options], keras.KerasTensor]


@dataclass(frozen=True)
class Functions:
    """The two functions that make a network's layers; see `register`."""

    hidden: Maker
    top: Maker


def register(
    name: str,
    hidden: Maker,
    top: Maker | None = None,
    *,
    input_size: int = 32,
    smallest_input: int = 1,
    classes: int = 10,
    norms: tuple[str, ...] = ("none",),
    sizes_change: bool = True,
    muon: bool = False,
) -> None:
    """Make a network of your own one that presets, records and commands know.

    It holds in this process; a command is told of it by `--import`, which names the
    module that calls this. Registered again, it replaces the one before.

    Args:
        name: Letters, digits and underscores, e.g. `"my_net"`.
        hidden: From a Keras tensor of images and `builders.Options` to the last map.
            Each layer is named, so that weights find it again.
        top: From that map and the options to `(n, options.classes)`, by
            `options.classifier_activation` (None: logits). None: the mean of the map
            over all places and a dense layer.
        input_size: Width in pixels that it is made for.
        smallest_input: The least width in pixels that it takes.
        classes: Its usual number of classes.
        norms: What `options.norm` may be, the first being the usual.
        sizes_change: Whether the same weights take images of several sizes.
        muon: Whether the optimiser `muon.Muon` may turn its kernels, all but the last.

    Raises:
        ValueError: If there is such a network, or an argument is not as above.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"`name` should be a word, as `my_net`. Received: {name!r}")
    others = tuple(f for f in registry.FAMILIES if not (f.layers and name in f.names))
    if any(name in family.names for family in others):
        raise ValueError(f"There is a network {name!r}: choose another `name`.")
    if not callable(hidden) or not (top is None or callable(top)):
        raise ValueError("`hidden` and `top` should be functions of `(x, options)`.")
    if not norms or set(norms) - set(registry.NORMS):
        raise ValueError(
            f"`norms` should be some of none, batch, deconv. Received: {norms!r}"
        )
    family = registry.Family(
        module="own",
        names=(name,),
        norms=tuple(norms),
        norm=norms[0],
        input_size=lambda _: input_size,
        smallest_input=lambda _: smallest_input,
        classes=lambda _: classes,
        sizes_change=sizes_change,
        muon=muon,
        layers=Functions(hidden, top or _mean_and_dense),
    )
    registry.FAMILIES = (*others, family)
    registry.NAMES = tuple(n for family in registry.FAMILIES for n in family.names)


def _mean_and_dense(x: keras.KerasTensor, options: Options) -> keras.KerasTensor:
    """The usual top of a network of your own."""
    x = layers.GlobalAveragePooling2D(name="global_pool")(x)
    return layers.Dense(
        options.classes,
        activation=options.classifier_activation,
        dtype="float32",
        name="predictions",
    )(x)
