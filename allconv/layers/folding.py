"""Trained models with whitening and batch normalisation folded into plain layers."""

from collections.abc import Iterator

import keras
import numpy as np

from allconv.core.arguments import checked
from allconv.layers import batch_norm
from allconv.layers.grouped_conv import DepthwiseConv2D, GroupedConv2D

# These very classes: one derived from them may do something else with its weights.
CONVOLUTIONS = (
    *(keras.layers.Conv2D, keras.layers.DepthwiseConv2D),
    *(GroupedConv2D, DepthwiseConv2D),
)
NORMS = (keras.layers.BatchNormalization, batch_norm.BatchNormalization)

# Of each layer, by its id: its copies, and the weights of the last where they change.
Copies = dict[int, tuple[list[keras.Layer], list[np.ndarray] | None]]
Norms = dict[int, keras.Layer]  # by the id of the convolution that takes it in


@checked
def fold(model: keras.Model) -> keras.Model:
    """Replaces normalising layers by the plain layers they are in inference.

    Any layer with a method `plain()` is replaced by the layers which that returns, of
    which the last takes the weights of its method `folded()`. Batch normalisation that
    alone follows a convolution without activation becomes part of it.

    Args:
        model: a built `Sequential` or functional model, nested to any depth.

    Returns:
        A new model with copies of all weights and the same outputs in inference. Layers
        of `netdeconv` have become `Conv2D`, `DepthwiseConv2D` or `Dense` layers
        of the same name, after a `ZeroPadding2D` where `"same"` cannot express their
        padding. Convolutions that took in batch normalisation have a bias.

    Raises:
        ValueError: if the model is not built, or hides such a layer inside a layer or
            model that cannot be taken apart.
        Exception: what Keras raises of layers that it cannot rebuild from their
            configuration, such as a `Lambda` of a function without a name.
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
    copies: Copies = {}
    folded = _copy_model(model, copies, _norms(model))
    for layers, weights in copies.values():
        if weights is not None:
            layers[-1].set_weights(weights)
        if hasattr(layers[-1], "finalize_state"):  # what `Normalization` derives
            layers[-1].finalize_state()
    hidden = [layer.name for layer in folded._flatten_layers() if _foldable(layer)]
    if hidden:
        raise ValueError(
            "Layers inside other layers cannot be folded. Received: "
            f"{model.name!r}, which wraps {', '.join(hidden)}"
        )
    return folded


def _open(model: keras.Model) -> bool:
    """Whether a model shows its graph."""
    return isinstance(model, keras.Sequential) or hasattr(model, "operations")


def _foldable(layer: keras.Operation) -> bool:
    return hasattr(layer, "plain") and hasattr(layer, "folded")


def _parts(model: keras.Model) -> Iterator[keras.Model]:
    """A model and the models inside it that show their graphs, each once."""
    layers = model._flatten_layers()
    yield from (x for x in layers if isinstance(x, keras.Model) and _open(x))


def _copy_model(model: keras.Model, copies: Copies, norms: Norms) -> keras.Model:
    """Copies a model; `copies` maps ids of layers to their copies and weights."""
    taken_in = {id(norm) for norm in norms.values()}
    if isinstance(model, keras.Sequential):
        layers = [
            copy
            for layer in model.layers
            if id(layer) not in taken_in
            for copy in _copy(layer, copies, norms)
        ]
        shape, dtype = model.inputs[0].shape, model.inputs[0].dtype
        start = keras.Input(batch_shape=shape, dtype=dtype)
        return keras.Sequential([start, *layers], name=model.name)

    before = {}

    def copy(layer):
        if id(layer) in taken_in:
            return keras.layers.Identity(name=layer.name)
        *first, last = _copy(layer, copies, norms)
        before[id(last)] = first
        return last

    def call(layer, *args, **kwargs):
        if id(layer) not in before:
            return args[0]
        for first in before[id(layer)]:
            args = (first(args[0]), *args[1:])
        return layer(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=copy, call_function=call)


def _norms(model: keras.Model) -> Norms:
    """The batch normalisation that can be taken in by a convolution, by its id.

    Neither of the two may have another use, in the model or in one inside it.
    """
    pairs: list[tuple[keras.Operation, keras.Operation]] = []
    called: list[keras.Operation] = []
    read: list[keras.Operation] = []
    told: set[int] = set()
    for part in _parts(model):
        if isinstance(part, keras.Sequential):
            pairs += zip(part.layers, part.layers[1:], strict=False)
            called += part.layers
            read += part.layers  # by the next layer, or as the output
            continue
        nodes = [n for depth in part._nodes_by_depth.values() for n in depth]
        called += [node.operation for node in nodes]
        read += [output._keras_history.operation for output in part.outputs]
        for node in nodes:
            above = [parent.operation for parent in node.parent_nodes]
            read += above
            pairs += [(operation, node.operation) for operation in above]
            if "training" in node.arguments.kwargs and hasattr(
                node.operation, "_flatten_layers"
            ):  # a layer, or a model and all inside it, told to train or not to
                told |= {id(layer) for layer in node.operation._flatten_layers()}
    return {
        id(conv): norm
        for conv, norm in pairs
        if type(norm) in NORMS
        and type(conv) in CONVOLUTIONS
        and id(norm) not in told
        and conv.activation is keras.activations.linear
        and norm.axis in (-1, 3)
        and conv.data_format == "channels_last"
        and sum(conv is other for other in called) == 1
        and sum(conv is other for other in read) == 1
        and sum(norm is other for other in called) == 1
    }


def _copy(
    layer: keras.Operation, copies: Copies, norms: Norms
) -> list[keras.Operation]:
    """The layers that replace one: usually a single copy."""
    if id(layer) in copies:
        return copies[id(layer)][0]
    if isinstance(layer, keras.Model) and _open(layer):
        new, weights = [_copy_model(layer, copies, norms)], None
    elif _foldable(layer):
        new, weights = layer.plain(), layer.folded()
    elif id(layer) in norms:
        new = [layer.from_config(layer.get_config() | {"use_bias": True})]
        weights = _scaled(layer, norms[id(layer)])
    else:
        new = [layer.from_config(layer.get_config())]
        weights = layer.get_weights() if isinstance(layer, keras.Layer) else None
    copies[id(layer)] = new, weights
    return new


def _scaled(conv: keras.Layer, norm: keras.Layer) -> list[np.ndarray]:
    """Kernel and bias of a convolution together with the normalisation behind it."""
    arrays = {v.name: np.asarray(v.value, np.float64) for v in norm.variables}
    scale = arrays.get("gamma", 1) / np.sqrt(arrays["moving_variance"] + norm.epsilon)
    shift = arrays.get("beta", 0) - arrays["moving_mean"] * scale
    kernel, *bias = (w.astype(np.float64) for w in conv.get_weights())
    across = scale
    if isinstance(conv, keras.layers.DepthwiseConv2D):
        across = scale.reshape(kernel.shape[2:])
    return [kernel * across, shift + (bias[0] * scale if bias else 0)]
