"""Which neuron: the output of a layer by its address, and one channel and position."""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import keras
import numpy as np
import tensorflow as tf

from allconv.core.annotations import LATER
from allconv.core.checks import nearest
from allconv.saliency import addresses, rectifier_search

# Of the neurons that are explained, one for all images or one for each.
Channels = Annotated[int | Sequence[int] | np.ndarray | None, LATER]
Positions = Annotated[
    str | tuple[int, int] | Sequence[tuple[int, int]] | np.ndarray, LATER
]
Seeds = Literal["one", "activation"]  # what a neuron counts
HEADS = ("Softmax", "LogSoftmax", "Sigmoid")  # of scores, which go into them
_STRONGEST, _EVERYWHERE = -1, -2  # codes for channels and positions in the graph


@dataclass(frozen=True)
class Call:
    """A call of a layer while the model was traced: its operations and its output."""

    layer: keras.Operation
    path: str
    first: int
    last: int
    output: Any  # a tensor, or tensors in a list or a dict


@contextmanager
def observed(model: keras.Model) -> Iterator[list[Call]]:
    """Record the calls of all layers. `layer.call` is shadowed, then laid bare again.

    A layer's output cannot be had by cutting the model: inner layers of nested models
    and of subclassed models have none of their own.
    """
    graph = tf.compat.v1.get_default_graph()
    calls: list[Call] = []
    shadowed = []

    def observe(path, layer):
        call = layer.call

        @functools.wraps(call)
        def observer(*args, **kwargs):
            first = len(graph.get_operations())
            output = call(*args, **kwargs)
            last = len(graph.get_operations())
            calls.append(Call(layer, path, first, last, output))
            return output

        shadowed.append((layer, vars(layer).get("call")))
        vars(layer)["call"] = observer

    try:
        seen = set()
        for path, layer in paths(model):
            if id(layer) not in seen:
                seen.add(id(layer))
                observe(path, layer)
        yield calls
    finally:
        for layer, own in shadowed:
            del vars(layer)["call"]
            if own is not None:
                vars(layer)["call"] = own


@contextmanager
def inlined_functions() -> Iterator[None]:
    """Lay the operations of inner `tf.function`s open, where the rules can see them."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def paths(layer: keras.Layer, above: str = "") -> Iterator[tuple[str, keras.Layer]]:
    """The layers within a layer, and the operations between them, with their paths."""
    inner = list(layer._flatten_layers(include_self=False, recursive=False))
    inner += [op for op in getattr(layer, "operations", []) if op not in inner]
    for part in inner:
        yield above + part.name, part
        if isinstance(part, keras.Layer):
            yield from paths(part, f"{above}{part.name}/")


def owners(calls: list[Call]) -> Callable[[tf.Operation], str]:
    """From an operation to the path of the innermost layer that made it."""
    places: dict[str, int] = {}

    def owner(op: tf.Operation) -> str:
        if op.name not in places:
            places.update((o.name, i) for i, o in enumerate(op.graph.get_operations()))
        index = places[op.name]
        around = [call for call in calls if call.first <= index < call.last]
        return min(around, key=lambda c: c.last - c.first).path if around else op.name

    return owner


def layer_output(model: keras.Model, address: str, calls: list[Call]) -> tf.Tensor:
    """The output of a layer by its address, such as `"conv1"` or `"block/conv1#2"`."""
    name, _ = addresses.parse(address)
    every = list(paths(model))
    known = list(dict.fromkeys(path for path, _ in every))
    fits = addresses.find(name, known)
    layers = {id(layer): layer for path, layer in every if path in fits}
    if not layers:
        raise ValueError(
            f"{model.name} has no layer {name!r}. Its layers: {', '.join(known)}"
            f"{nearest(name, known)}"
        )
    if len(layers) > 1:
        way_out = f"Use one of {', '.join(fits)}" if len(fits) > 1 else "Rename them."
        raise ValueError(
            f"{model.name} has {len(layers)} layers named {name!r}. {way_out}"
        )
    (layer,) = layers.values()
    outputs = [call.output for call in calls if call.layer is layer]
    if not outputs:
        raise ValueError(f"The layer {name!r} is not called by {model.name}.")
    output = addresses.pick(address, outputs)
    if not tf.is_tensor(output) or not output.dtype.is_floating:
        raise ValueError(f"The output of the layer {name!r} is not one float tensor.")
    return output


def final(output: tf.Tensor) -> tf.Operation:
    """The operation that made a model's output, casts and changes of shape apart."""
    op = output.op
    while op.type in ("Identity", "Cast", "Reshape", "Squeeze", "Transpose"):
        op = op.inputs[0].op
    return op


def one_output(model: keras.Model, outputs: object, which: str | int | None):
    """One of a model's outputs, by its name or its number.

    Raises:
        ValueError: If there is none such, or there are several and none is named.
    """
    if tf.is_tensor(outputs) and which is None:
        return outputs
    names = [*outputs] if isinstance(outputs, dict) else []
    names = names or list(getattr(model, "output_names", []))
    parts = [outputs[n] for n in names] if isinstance(outputs, dict) else outputs
    parts = tf.nest.flatten(parts)
    named = dict(zip(names, parts, strict=False)) | dict(enumerate(parts))
    if isinstance(which, bool) or which not in [*named]:
        raise ValueError(
            f"`output` should be one of {', '.join(map(repr, named))}, or `layer` be "
            f"given, since {model.name} has {len(parts)} outputs. "
            f"Received: output={which!r}"
        )
    return named[which]


def logits(output: tf.Tensor) -> tf.Tensor:
    """The input of the softmax or sigmoid at a model's end; else the output itself."""
    end = final(output)
    if end.type not in HEADS:
        return output
    # What stands behind it, such as Flatten, numbers the neurons: it is kept.
    tensor, behind = output, []
    while tensor.op is not end:
        behind.append(tensor.op)
        tensor = tensor.op.inputs[0]
    if any(op.type == "Transpose" for op in behind):
        raise ValueError(
            "The model ends in a softmax over another axis than the last: choose the "
            "neuron by `layer`."
        )
    below = end.inputs[0]
    if any(op.type in ("Reshape", "Squeeze") for op in behind):
        below = tf.ensure_shape(tf.reshape(below, tf.shape(output)), output.shape)
    return below


def below_rectifier(
    neurons: tf.Tensor, layer: str | None, owner: Callable[[tf.Operation], str]
) -> tf.Tensor:
    """The input of the rectifier that a layer ends in; `owner` as for `audit.inspect`.

    The rectifiers of the graph are those that `rectifier_search.find` found.
    """
    tensor = neurons
    while tensor.op.type in ("Identity", "Cast"):
        tensor = tensor.op.inputs[0]
    if rectifier_search.of(tensor.op) is None:
        raise ValueError(
            f"{place(layer)} does not end in a rectifier: its output is what "
            "`before_rectifier` asks for, leave that out."
        )
    own = owner(tensor.op)  # whose steps, such as relu then clip, are one rectifier
    while (unit := rectifier_search.of(tensor.op)) and owner(tensor.op) == own:
        tensor = tensor.op.inputs[unit.index] if unit.source is None else unit.source
    return tensor


def place(layer: str | None) -> str:
    """How messages call the place that a `layer` argument names."""
    return "The model's output" if layer is None else f"The layer {layer!r}"


def channels_of(name: str, channel: Channels, n: int, channels: int) -> np.ndarray:
    """One channel per image; `_STRONGEST` stands for None."""
    if channel is None:
        return np.full(n, _STRONGEST, np.int32)
    array = np.asarray(channel)
    if (
        not np.issubdtype(array.dtype, np.integer)
        or array.shape not in ((), (n,))
        or (array < 0).any()
        or (array >= channels).any()
    ):
        raise ValueError(
            f"`{name}` should be an integer from 0 to {channels - 1}, one for all or "
            f"one for each of {n} images. Received: {name}={channel!r}"
        )
    return np.broadcast_to(array, n).astype(np.int32)


def positions_of(position: Positions, n: int, sizes: tuple[int, ...]) -> np.ndarray:
    """One position per image, counted in reading order, or the code of its name."""
    codes = {"max": _STRONGEST, "all": _EVERYWHERE}
    if isinstance(position, str) and position in codes:
        return np.full(n, codes[position], np.int32)
    if not sizes:
        raise ValueError(
            "The neurons are not in a map, they have no (row, column). "
            f"Received: position={position!r}"
        )
    axes = len(sizes)
    one = {1: "(step,)", 2: "(row, column)"}.get(axes, f"{axes} integers")
    array = np.asarray(position)
    if (
        not np.issubdtype(array.dtype, np.integer)
        or array.shape not in ((axes,), (n, axes))
        or (array < 0).any()
        or (array >= sizes).any()
    ):
        raise ValueError(
            f"`position` should be 'max', 'all' or {one} in a map {sizes}, one "
            f"for all or one for each of {n} images. Received: position={position!r}"
        )
    flat = np.ravel_multi_index(tuple(np.moveaxis(array, -1, 0)), sizes)
    return np.broadcast_to(flat, n).astype(np.int32)


def one_hot(neurons: tf.Tensor, channel: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """1 at each image's neuron, or at all positions of its channel, and 0 elsewhere."""
    channels = neurons.shape[-1]
    flat = tf.reshape(neurons, (tf.shape(neurons)[0], -1, channels))
    strongest = tf.argmax(tf.reduce_max(flat, 1), 1, tf.int32)
    channel = tf.where(channel == _STRONGEST, strongest, channel)
    of = tf.one_hot(channel, channels, dtype=flat.dtype)[:, None, :]
    peak = tf.argmax(tf.reduce_sum(flat * of, 2), 1, tf.int32)
    position = tf.where(position == _STRONGEST, peak, position)[:, None]
    places = tf.range(tf.shape(flat)[1])
    at = (position == places) | (position == _EVERYWHERE)
    return tf.reshape(tf.cast(at, flat.dtype)[:, :, None] * of, tf.shape(neurons))
