"""What all builders share: the grammar of `keras.applications`, and its refusals."""

from collections.abc import Callable
from pathlib import Path

import keras

from allconv.core import backend  # noqa: F401
from allconv.core.runtime import unseeded
from allconv.data import datasets
from allconv.networks.weights import load_into


def named_builder(
    build: Callable[..., keras.Model], key: str, title: str, doc: str
) -> Callable[..., keras.Model]:
    """A public builder such as `AllCNNC`: `build` with the network's name filled in.

    Args:
        build: `build` of `models`, `zfnet` or `classics`.
        key: The network's name.
        title: The builder's own name.
        doc: Its docstring.
    """

    def builder(
        include_top: bool = True,
        weights: str | Path | None = None,
        input_shape: tuple[int | None, int | None, int] | None = None,
        pooling: str | None = None,
        classes: int | None = None,
        classifier_activation: str | None = "softmax",
        name: str = key,
        **kwargs,
    ) -> keras.Model:
        return build(
            key,
            include_top=include_top,
            weights=weights,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            model_name=name,
            **kwargs,
        )

    builder.__name__ = builder.__qualname__ = title
    builder.__doc__ = doc
    return builder


def count_classes(classes: int | None, weights: str | Path | None, usual: int) -> int:
    """`classes`; if None, those of the data set that `weights` names; else `usual`."""
    if classes is not None:
        return classes
    known = datasets.CLASS_NAMES.get(weights)
    return usual if known is None else len(known)


def check_common(
    input_shape: tuple, include_top: bool, pooling: str | None, classes: int, dropout
) -> None:
    """Refuse what no network can be built with.

    Raises:
        ValueError: Naming the argument, what it should be and what it is.
    """
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "The networks have their channels last. Received: "
            f"keras.config.image_data_format()={keras.config.image_data_format()!r}"
        )
    if len(input_shape) != 3:
        raise ValueError(
            "`input_shape` should be (height, width, channels). "
            f"Received: input_shape={input_shape}"
        )
    if pooling not in (None, "avg", "max"):
        raise ValueError(
            f"`pooling` should be None, 'avg' or 'max'. Received: pooling={pooling!r}"
        )
    if include_top and pooling:
        raise ValueError(
            "`pooling` is for `include_top=False`, where a map would come out. "
            f"Received: pooling={pooling!r}"
        )
    if not isinstance(classes, int) or classes < 1:
        raise ValueError(
            f"`classes` should be a positive integer. Received: classes={classes!r}"
        )
    if not 0 <= dropout <= 1:
        raise ValueError(
            f"`dropout` should be a factor from 0 to 1. Received: dropout={dropout!r}"
        )


def own_initializer(
    initializer: str | keras.initializers.Initializer,
) -> str | keras.initializers.Initializer:
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


def finish(
    model: keras.Model, architecture: str, weights: str | Path | None
) -> keras.Model:
    """The model with the weights that were asked for, if any."""
    if weights is not None:
        load_into(model, architecture, weights)
    return model
