"""One frame for all networks: the grammar of `keras.applications`, and its refusals.

A family's module gives two functions, `hidden` and `top`, which make layers out of the
rows of a table. All else is here.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeAlias

from allconv.core import backend  # noqa: F401, before Keras

# isort: split
import keras
import numpy as np

from allconv.core.annotations import LATER
from allconv.core.arguments import Fraction, Whole, checked
from allconv.core.runtime import unseeded
from allconv.data import datasets
from allconv.networks import registry
from allconv.networks.weights import load_into

Initializer: TypeAlias = str | keras.initializers.Initializer | None
Shape: TypeAlias = tuple[int | None, int | None, int]

ARGUMENTS = """\
Args:
    include_top: Whether to end in class scores. False ends at the last map.
    weights: None (random), `"cifar10"` or `"cifar100"` (released with this project), or
        the path of a weight file.
    input_shape: `(height, width, channels)`; None: the network's own, 3 channels.
        Height and width may be None where the network has no dense layer on a map.
    pooling: With `include_top=False`: None (a map), `"avg"` or `"max"` (a vector).
    classes: Number of classes; None: those of the data set that `weights` names, else
        those of the paper.
    classifier_activation: `"softmax"`, or None for the logits.
    name: Name of the Keras model.
    dropout: Factor from 0 to 1 on every dropout rate of the paper.
    kernel_initializer: Keras initialiser of all kernels; None: the network's own.
        Biases start at 0.
    norm: `"none"`; `"batch"`: batch normalisation behind every convolution but a last
        one that makes scores; or `"deconv"`: every convolution is a
        `netdeconv.NetworkDeconvolution2D`. `folding.fold` makes either plain again.
    norm_options: Arguments for the layers of that norm, e.g. `{"iterations": 7}`, over
        those of the network; see `registry.NORM_OPTIONS`.

Returns:
    An uncompiled functional `keras.Model`.

Raises:
    ValueError: If an argument is not one of the above, or the input is too small.
"""


@dataclass(frozen=True)
class Options:
    """What `hidden` and `top` of a family make layers by, checked and complete.

    Attributes:
        network: The row of the table.
        classes, classifier_activation, dropout, kernel_initializer, norm,
            norm_options: As for `build`.
    """

    network: str
    classes: int
    classifier_activation: str | None
    dropout: float
    kernel_initializer: Initializer
    norm: str
    norm_options: Mapping[str, Any]


@checked
def build(
    name: str,
    *,
    include_top: bool = True,
    weights: str | Path | None = None,
    input_shape: Annotated[Shape | None, LATER] = None,
    pooling: str | None = None,
    classes: Whole | None = None,
    classifier_activation: str | None = "softmax",
    model_name: str | None = None,
    dropout: Fraction = 1.0,
    kernel_initializer: Initializer = None,
    norm: str | None = None,
    norm_options: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Build a network of any family.

    Args:
        name: One of `registry.NAMES`, e.g. `"all_cnn_c"`.
        model_name: Name of the Keras model; None: `name`.
        norm: As for `ARGUMENTS`; None: the family's usual one.
        include_top, weights, input_shape, pooling, classes, classifier_activation,
            dropout, kernel_initializer, norm_options: See `ARGUMENTS`, or any builder.

    Returns:
        An uncompiled functional `keras.Model`.

    Raises:
        ValueError: If an argument is not what it should be, or the input is too small.
    """
    family = registry.family(name)
    size = family.input_size(name)
    shape = (size, size, 3) if input_shape is None else input_shape
    options = Options(
        name,
        _count_classes(classes, weights, family.classes(name)),
        classifier_activation,
        dropout,
        kernel_initializer,
        family.norm if norm is None else norm,
        {} if norm_options is None else norm_options,
    )
    _check(options, shape, include_top, pooling)

    layers = family.layers or importlib.import_module(
        f"allconv.networks.{family.module}"
    )
    inputs = keras.Input(tuple(shape), name="images")
    x = layers.hidden(inputs, options)
    if include_top:
        x = layers.top(x, options)
    elif pooling:
        x = pool_map(x, pooling)
    model = keras.Model(inputs, x, name=model_name or name)
    if weights is not None:
        load_into(model, name, weights)
    return model


class Builder(Protocol):
    """A public builder such as `AllCNNC`; for its arguments see `ARGUMENTS`."""

    __name__: str

    def __call__(
        self,
        include_top: bool = True,
        weights: str | Path | None = None,
        input_shape: Shape | None = None,
        pooling: str | None = None,
        classes: int | None = None,
        classifier_activation: str | None = "softmax",
        name: str = ...,
        dropout: float = 1.0,
        kernel_initializer: Initializer = None,
        norm: str = ...,
        norm_options: Mapping[str, Any] | None = None,
    ) -> keras.Model: ...


def builder(network: str, title: str, what: str) -> Builder:
    """A public builder such as `AllCNNC`: `build` of one network.

    Args:
        network: One of `registry.NAMES`.
        title: The builder's own name.
        what: What it builds, for its docstring.
    """

    def build_network(
        include_top: bool = True,
        weights: str | Path | None = None,
        input_shape: Shape | None = None,
        pooling: str | None = None,
        classes: int | None = None,
        classifier_activation: str | None = "softmax",
        name: str = network,
        dropout: float = 1.0,
        kernel_initializer: Initializer = None,
        norm: str = registry.family(network).norm,
        norm_options: Mapping[str, Any] | None = None,
    ) -> keras.Model:
        return build(
            network,
            include_top=include_top,
            weights=weights,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            model_name=name,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            norm=norm,
            norm_options=norm_options,
        )

    build_network.__name__ = build_network.__qualname__ = title
    build_network.__doc__ = f"Build {what}.\n\n{ARGUMENTS}"
    return build_network


def own_initializer(initializer: Initializer) -> Initializer:
    """An initialiser for one layer alone: layers that share one draw the same numbers.

    Its seed, if it has one, is drawn anew, from `keras.utils.set_random_seed`.
    """
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    return type(initializer).from_config(unseeded(initializer.get_config()))


def pool_map(x: keras.KerasTensor, pooling: str) -> keras.KerasTensor:
    """A map `(n, height, width, channels)` as a vector, by `"avg"` or `"max"`."""
    layer = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
    }[pooling]
    return layer(name="global_pool")(x)


def _count_classes(classes: int | None, weights: str | Path | None, usual: int) -> int:
    """`classes`; if None, those of the data set that `weights` names; else `usual`."""
    if classes is not None:
        return classes
    known = datasets.CLASS_NAMES.get(str(weights))
    return usual if known is None else len(known)


def _check(
    options: Options, input_shape: Shape, include_top: bool, pooling: str | None
) -> None:
    """Refuse what the network cannot be built with.

    Raises:
        ValueError: Naming the argument, what it should be and what it is.
    """
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "`keras.config.image_data_format()` should be 'channels_last': the "
            "networks have their channels last. "
            f"Received: {keras.config.image_data_format()!r}"
        )
    if (
        not isinstance(input_shape, tuple | list)
        or len(input_shape) != 3
        or not all(n is None or isinstance(n, int | np.integer) for n in input_shape)
        or not input_shape[2]
        or input_shape[2] < 1
    ):
        raise ValueError(
            "`input_shape` should be (height, width, channels). "
            f"Received: input_shape={input_shape}"
        )
    family = registry.family(options.network)
    if None in input_shape and not family.sizes_change:
        raise ValueError(
            "`input_shape` should be (height, width, channels), all known, for "
            f"{options.network}. Received: input_shape={input_shape}"
        )
    smallest = family.smallest_input(options.network)
    if any(n is not None and n < smallest for n in input_shape[:2]):
        raise ValueError(
            f"`input_shape` should be at least {smallest} x {smallest} pixels for "
            f"{options.network}. Received: input_shape={input_shape}"
        )
    if pooling not in (None, "avg", "max"):
        raise ValueError(
            f"`pooling` should be None, 'avg' or 'max'. Received: pooling={pooling!r}"
        )
    if include_top and pooling:
        raise ValueError(
            "`pooling` should be None, unless `include_top=False` leaves a map. "
            f"Received: pooling={pooling!r}"
        )
    registry.check_norm(options.network, options.norm, options.norm_options)
