"""Trained models with their whitening folded into plain layers."""

import keras


def fold(model: keras.Model) -> keras.Model:
    """Replaces whitening layers by the plain layers they are in inference.

    Any layer with a method `plain()` is replaced by the layers which that returns, of
    which the last takes the weights of its method `folded()`.

    Args:
        model: a built `Sequential` or functional model, nested to any depth.

    Returns:
        A new model with copies of all weights and the same outputs in inference. Layers
        of `allconv.netdeconv` have become `Conv2D`, `DepthwiseConv2D` or `Dense` layers
        of the same name, after a `ZeroPadding2D` where `"same"` cannot express their
        padding.

    Raises:
        ValueError: if the model is not built, or hides such a layer inside a layer or
            model that cannot be taken apart.
    """
    if not model.built:
        raise ValueError(
            f"Only a built model can be folded. Received: {model.name!r}, which has no "
            "weights yet. Call it on data, or give it an input shape."
        )
    if not _open(model):
        raise ValueError(
            "Only Sequential and functional models can be folded. "
            f"Received: {model.name!r} of type {type(model).__name__}"
        )
    copies = {}
    folded = _copy_model(model, copies)
    for layers, weights in copies.values():
        if weights is not None:
            layers[-1].set_weights(weights)
    hidden = [layer.name for layer in folded._flatten_layers() if _foldable(layer)]
    if hidden:
        raise ValueError(
            "Layers inside other layers cannot be folded. Received: "
            f"{model.name!r}, which wraps {', '.join(hidden)}"
        )
    return folded


def _open(model):
    """Whether a model shows its graph."""
    return isinstance(model, keras.Sequential) or hasattr(model, "operations")


def _foldable(layer):
    return hasattr(layer, "plain")


def _copy_model(model, copies):
    """Copies a model; `copies` maps ids of layers to their copies and weights."""
    if isinstance(model, keras.Sequential):
        layers = [copy for layer in model.layers for copy in _copy(layer, copies)]
        shape, dtype = model.inputs[0].shape, model.inputs[0].dtype
        start = keras.Input(batch_shape=shape, dtype=dtype)
        return keras.Sequential([start, *layers], name=model.name)

    before = {}

    def copy(layer):
        *first, last = _copy(layer, copies)
        before[id(last)] = first
        return last

    def call(layer, *args, **kwargs):
        for first in before[id(layer)]:
            args = (first(args[0]), *args[1:])
        return layer(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=copy, call_function=call)


def _copy(layer, copies):
    """The layers that replace one: usually a single copy."""
    if id(layer) in copies:
        return copies[id(layer)][0]
    if isinstance(layer, keras.Model) and _open(layer):
        new, weights = [_copy_model(layer, copies)], None
    elif _foldable(layer):
        new, weights = layer.plain(), layer.folded()
    else:
        new = [layer.from_config(layer.get_config())]
        weights = layer.get_weights() if isinstance(layer, keras.Layer) else None
    copies[id(layer)] = new, weights
    return new
