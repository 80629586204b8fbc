"""Receptive fields, derived from the layers of a model.

Along each axis, unit `i` of a map sees the input pixels

    start + i * stride, ..., start + i * stride + size - 1.

A window of `kernel` units, `dilation` apart, moving by `strides` after `before` rows of
padding turns the field of its input into that of its output:

    start  - before * stride
    size   + (kernel - 1) * dilation * stride
    stride * strides

Where branches meet, the field is the smallest box that holds those of all branches.
Rows of padding count as pixels, so that all fields of a layer have the same size;
`start` may be negative and a box may reach beyond the image. With dilation, or with a
stride above the kernel, a box also holds pixels that its unit does not see.
"""

from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np

from allconv.core.arguments import checked
from allconv.saliency import addresses, soundness

# Class names of layers and `keras.ops` operations that treat each position by itself
# at test time. Add the name of a custom class here to have it passed through.
POINTWISE = {
    *("Identity", "Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise"),
    *("AlphaDropout", "ActivityRegularization", "RandomFlip", "RandomRotation"),
    *("RandomTranslation", "RandomZoom", "RandomContrast", "RandomBrightness"),
    *("BatchNormalization", "Rescaling", "Normalization", "Dense", "Cast"),
    *("LocalResponseNormalization", "ChannelDeconvolution"),
    *("LayerScale", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU"),
    *("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Gelu", "Silu", "Softplus"),
    *("Sigmoid", "HardSigmoid", "HardSilu", "Tanh", "Absolute", "Negative", "Square"),
    *("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Average"),
    *("Maximum", "Minimum", "Power", "Sqrt", "Rsqrt", "Reciprocal", "Clip", "Sign"),
    *("Exp", "Expm1", "Log", "Log1p", "Erf"),
}
# Pointwise when their `axis` is the channels.
_ALONG_CHANNELS = {"Concatenate", "Softmax", "LayerNormalization", "UnitNormalization"}
# Every output sees the whole image.
_WHOLE = {
    *("GlobalAveragePooling2D", "GlobalMaxPooling2D", "Flatten", "Reshape"),
    *("GroupNormalization",),
}


class ReceptiveField(NamedTuple):
    """What the units of one layer see of the input, in pixels, as `(y, x)` pairs.

    `start` is the first pixel of unit (0, 0), `stride` the distance between
    neighbours (0: every unit sees the whole image).
    """

    start: tuple[int, int]
    size: tuple[int, int]
    stride: tuple[int, int]

    def boxes(self, y, x) -> np.ndarray:
        """Boxes of the units at rows `y` and columns `x`.

        Args:
            y: Integer array, any shape.
            x: Integer array, same shape.

        Returns:
            int32 array `(..., 4)`: `y0, x0, y1, x1` in pixels, end excluded.
        """
        corner = np.stack([y, x], axis=-1) * np.array(self.stride) + self.start
        return np.concatenate([corner, corner + self.size], axis=-1).astype(np.int32)


class Place(NamedTuple):
    """One call of one layer.

    `tensor` is its symbolic output, inside the nested models (outermost first) that
    `nesting` lists with the tensors they are called on. `field` is its receptive field,
    or the reason why it has none.
    """

    path: str
    tensor: keras.KerasTensor
    nesting: tuple
    field: ReceptiveField | str


@checked
def compute(model: keras.Model, layer: str) -> ReceptiveField:
    """Receptive field of the units of a layer, on the model's input.

    Args:
        model: Functional or Sequential `keras.Model` with one image input, channels
            last; branches and nested models are followed.
        layer: Name of the layer, with those of the models around it where need be
            (`"block/conv1"`), and the number of the call, from 0, where it is called
            more than once (`"conv1#1"`).

    Returns:
        A `ReceptiveField`.

    Raises:
        ValueError: If the layer is unknown, or a layer on the way has no rule.
    """
    field = locate(model, [layer])[0].field
    if isinstance(field, str):
        raise ValueError(f"No receptive field for layer {layer!r}: {field}")
    return field


def locate(model: keras.Model, layers: list[str]) -> list[Place]:
    """Find layers by name, in nested models too.

    Args:
        model: As for `receptive_field`.
        layers: Addresses as for `receptive_field`.

    Returns:
        One `Place` per name.

    Raises:
        ValueError: If a name is unknown, ambiguous, or the model has no graph.
    """
    soundness.check_channels_last(model)
    graph = _graph(model)
    pixel = ReceptiveField((0, 0), (1, 1), (1, 1))
    image = graph.inputs[0].shape[1:3]
    places = list(_walk(graph, {id(graph.inputs[0]): pixel}, image))
    return [_only(name, places) for name in layers]


def _only(address: str, places: list[Place]) -> Place:
    """The one place that an address names."""
    name, _ = addresses.parse(address)
    known = list(dict.fromkeys(place.path for place in places))
    fits = addresses.find(name, known)
    calls = [place for place in places if place.path in fits]
    if not calls:
        raise ValueError(f"No layer is called {name!r}. Layers: {', '.join(known)}")
    if len({id(call.tensor._keras_history.operation) for call in calls}) > 1:
        raise ValueError(
            f"{name!r} is the name of several layers. Use one of {', '.join(fits)}"
        )
    return addresses.pick(address, calls)


def _graph(model: keras.Model) -> keras.Model:
    """The model as a functional graph over one image input."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise ValueError(
            "Receptive fields need a Functional or a built Sequential model, whose "
            f"graph can be followed. Received: {type(model).__name__} {model.name!r}"
        )
    if len(inputs) > 1 or len(inputs[0].shape) != 4:
        raise ValueError(
            "Receptive fields need one input of shape (batch, height, width, "
            f"channels). Received: {[tensor.shape for tensor in inputs]}"
        )
    return keras.Model(inputs, model.outputs, name=model.name)


def _walk(graph, fields, image, prefix="", nesting=()) -> Iterator[Place]:
    """Yield the places of a graph in the order of computation; fill in `fields`.

    `fields` maps the id of each symbolic tensor to its receptive field; `image` is
    the input's height and width.
    """
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input:
                continue
            layer, path = node.operation, prefix + node.operation.name
            arriving = [fields[id(tensor)] for tensor in node.input_tensors]
            if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
                inner = keras.Model(layer.inputs, layer.outputs)
                known = dict(zip(map(id, inner.inputs), arriving, strict=True))
                call = (inner, node.input_tensors)
                yield from _walk(inner, known, image, f"{path}/", (*nesting, call))
                leaving = [known[id(tensor)] for tensor in inner.outputs]
            else:
                field = _propagate(
                    layer, node, _union(arriving, node, path), path, image
                )
                leaving = [field] * len(node.outputs)
            for tensor, field in zip(node.outputs, leaving, strict=True):
                fields[id(tensor)] = field
            yield Place(path, node.outputs[0], nesting, leaving[0])


def _union(fields: list, node, path: str) -> ReceptiveField | str:
    """The smallest field that holds those of all inputs of a node."""
    for field in fields:
        if isinstance(field, str) or 0 in field.stride:
            return field
    if len({field.stride for field in fields}) > 1:
        strides = " and ".join(str(field.stride) for field in fields)
        return f"at {path!r} branches of unequal strides {strides} meet."
    if len({tuple(tensor.shape[1:-1]) for tensor in node.input_tensors}) > 1:
        return f"at {path!r} maps of unequal sizes meet."
    starts = np.array([field.start for field in fields])
    ends = starts + [field.size for field in fields]
    start, end = starts.min(axis=0), ends.max(axis=0)
    return _field(start, end - start, fields[0].stride)


def _propagate(layer, node, field, path: str, image) -> ReceptiveField | str:
    """Field of a layer's output, from that of its input."""
    if isinstance(field, str):
        return field
    names = {cls.__name__ for cls in type(layer).__mro__}
    shape = node.input_tensors[0].shape
    refusal = f"{path!r} ({type(layer).__name__}) has no rule."
    if names & _ALONG_CHANNELS:
        return field if layer.axis in (-1, len(shape) - 1, [-1]) else refusal
    if names & POINTWISE:
        return field
    if names & _WHOLE:
        if None in image:
            return f"{path!r} sees the whole image; give the model a fixed input size."
        return ReceptiveField((0, 0), tuple(image), (0, 0))
    if "ZeroPadding2D" in names:
        return _window(field, (1, 1), (1, 1), [before for before, _ in layer.padding])
    if names & {"UpSampling2D", "Conv2DTranspose"}:
        return _enlarged(layer, names, field, path)
    if "Cropping2D" in names:
        return _window(field, (1, 1), (1, 1), [-before for before, _ in layer.cropping])
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    steps = getattr(layer, "strides", None)  # `keras.ops` keeps what it was given
    pairs = all(isinstance(p, tuple) and len(p) == 2 for p in (window, steps))
    if not pairs:
        return refusal
    dilation = np.array(getattr(layer, "dilation_rate", (1, 1)))
    extent = (np.array(window) - 1) * dilation + 1
    if layer.padding != "same":
        before = 0 if layer.padding == "valid" else layer.padding
        if not isinstance(before, int):
            return refusal
        return _window(field, extent, layer.strides, (before, before))
    if any(n is None and s > 1 for n, s in zip(shape[1:3], layer.strides, strict=True)):
        return f"{path!r} pads 'same' with a stride; give the model a fixed input size."
    before = [
        _same_padding(*axis) // 2
        for axis in zip(shape[1:3], extent, layer.strides, strict=True)
    ]
    return _window(field, extent, layer.strides, before)


def _enlarged(layer, names, field, path):
    """Field behind a layer that makes more units than it reads.

    Unit i reads the inputs from (i + cut - kernel + 1) / factor to (i + cut) / factor;
    of the fractions the boxes hold both ends, for all to have one size.
    """
    start, size, stride = map(np.array, field)
    up = "UpSampling2D" in names
    factor = np.array(layer.size if up else layer.strides)
    if np.any(stride % factor):
        return f"at {path!r} units lie closer together than pixels."
    step = stride // factor
    if up and layer.interpolation == "nearest":
        before, after = (factor - 1) * step, 0 * step
    elif up and layer.interpolation == "bilinear":  # between (i + 1/2) / factor - 1/2
        before = np.where(factor > 1, np.ceil(1.5 * stride - step), 0)
        after = np.where(factor > 1, np.ceil((stride + step) / 2), 0)
    elif not up and layer.output_padding is None and max(layer.dilation_rate) == 1:
        kernel = np.array(layer.kernel_size)
        cut = np.maximum(kernel - factor, 0) // 2 if layer.padding == "same" else 0
        before, after = (kernel - 1 - cut) * step, cut * step
    else:
        return f"{path!r} ({type(layer).__name__}) has no rule for its arguments."
    return _field(start - before, size + before + after, step)


def _same_padding(size: int, extent: int, stride: int) -> int:
    """Rows that TensorFlow's 'same' adds; the odd one comes after the image."""
    if stride == 1:
        return extent - 1
    return max((-(-size // stride) - 1) * stride + extent - size, 0)


def _window(field: ReceptiveField, extent, strides, before) -> ReceptiveField:
    """Field after a window of `extent` units that starts `before` units early."""
    start, size, stride = map(np.array, field)
    return _field(
        start - np.array(before) * stride,
        size + (np.array(extent) - 1) * stride,
        stride * strides,
    )


def _field(*triple) -> ReceptiveField:
    return ReceptiveField(*((int(y), int(x)) for y, x in triple))
