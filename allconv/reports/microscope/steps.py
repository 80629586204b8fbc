"""A Keras network as data: the steps that the page's engine takes, and their weights.

The engine (`engine.js`) knows convolution, max-, average and global average pooling,
rectifiers with a slope, local response normalisation, dense layers and a softmax at the
end, in a chain. Dropout and padding are no steps: the one does nothing at test time,
the other becomes that of the convolution that it precedes.
"""

from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from allconv.layers.zfnet_norms import LocalResponseNormalization

_NOTHING = (layers.Dropout, layers.SpatialDropout2D, layers.Identity)
_NO_PADS = (0, 0, 0, 0)  # top, left, bottom, right


def describe(model: keras.Model) -> tuple[dict, np.ndarray]:
    """What `Engine` of `engine.js` takes.

    Args:
        model: A functional or Sequential model: a chain of the layers above, of one
            image input of known size, channels last.

    Returns:
        The network as JSON can hold it, `{input, steps, layers, softmax}`, where
        `layers` names what a person looks at and the step that it ends in; and the
        weights, float32, in the order of the steps.

    Raises:
        ValueError: If the engine has no such step, or the model is no chain.
    """
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs or ()]
    if len(shapes) != 1 or len(shapes[0]) != 3 or None in shapes[0]:
        raise ValueError(
            "The page runs networks of one image of known size, (height, width, "
            f"channels). Received: {model.name} of inputs {shapes}"
        )
    steps: list[dict] = []
    named: list[dict] = []
    weights, pads = [], _NO_PADS
    calls = _chain(model)
    softmax = _is_softmax(calls[-1].layer)
    for call in calls:
        layer = call.layer
        if isinstance(layer, layers.ZeroPadding2D):
            (top, bottom), (left, right) = layer.padding
            pads = (top, left, bottom, right)
            continue
        new = [] if softmax and call is calls[-1] else _steps(call, pads)
        if softmax and call is calls[-1] and isinstance(layer, layers.Dense):
            new = _steps(call, pads, activation="linear")
        steps += [step | {"layer": layer.name} for step in new]
        pads = _NO_PADS
        if any(step["op"] == "conv" for step in new):
            weights += [layer.kernel] + [layer.bias] * layer.use_bias
        if not new or new[0]["op"] == "flatten":
            continue
        if new[0]["op"] == "relu" and named and named[-1]["step"] == len(steps) - 2:
            named[-1]["step"] += 1  # a rectifier of its own ends the layer before it
        else:
            named.append({"name": layer.name, "step": len(steps) - 1})
    network = {"input": shapes[0], "steps": steps, "layers": named, "softmax": softmax}
    values = [np.asarray(w, np.float32).ravel() for w in weights]
    return network, np.concatenate([*values, np.zeros(0, np.float32)])


class _Call(NamedTuple):
    layer: keras.Layer
    input: tuple[int, ...]
    output: tuple[int, ...]


def _chain(model: keras.Model) -> list[_Call]:
    """The layers in order, with the shapes of what they take and give.

    Raises:
        ValueError: If the model branches, or calls a layer twice.
    """
    calls: list[_Call] = []
    tensor = model.outputs[0]
    while tensor is not model.inputs[0]:
        layer, index, _ = tensor._keras_history
        arriving = layer._inbound_nodes[index].input_tensors
        if len(arriving) != 1 or layer in [call.layer for call in calls]:
            raise ValueError(
                f"The page runs chains of layers, each called once. In {model.name}, "
                f"{layer.name!r} takes several inputs or is called again."
            )
        calls.append(_Call(layer, arriving[0].shape[1:], tensor.shape[1:]))
        tensor = arriving[0]
    return calls[::-1]


def _steps(call: _Call, pads: tuple, activation: str | None = None) -> list[dict]:
    """The steps of one layer; `pads` are those of the padding before it."""
    layer = call.layer
    first = getattr(layer, "data_format", None) == "channels_first"
    padded = pads != _NO_PADS
    if first or (padded and getattr(layer, "padding", "") != "valid"):
        raise _refusal(layer)
    if type(layer) is layers.Conv2D and layer.groups == max(layer.dilation_rate) == 1:
        window = _window(call, layer.kernel_size) | ({"pads": pads} if padded else {})
        step = {"op": "conv", "filters": layer.filters, "bias": layer.use_bias}
        return [step | window, *_activation(layer, activation)]
    if padded:
        raise _refusal(layer)
    match layer:
        case layers.Dense() if len(call.input) == 1:
            step = {"op": "conv", "filters": layer.units, "bias": layer.use_bias}
            step |= {"kernel": (1, 1), "strides": (1, 1), "pads": _NO_PADS}
            return [step, *_activation(layer, activation)]
        case layers.MaxPooling2D():
            return [{"op": "max_pool"} | _window(call, layer.pool_size)]
        case layers.AveragePooling2D():
            return [{"op": "average_pool"} | _window(call, layer.pool_size)]
        case layers.GlobalAveragePooling2D():
            return [{"op": "global_average"}]
        case layers.Flatten():
            return [{"op": "flatten"}]
        case LocalResponseNormalization():
            numbers = {"bias": layer.bias, "alpha": layer.alpha, "beta": layer.beta}
            return [{"op": "response_norm", "radius": layer.depth_radius} | numbers]
        case layers.ReLU() if layer.max_value is None and not layer.threshold:
            return [{"op": "relu", "slope": float(layer.negative_slope)}]
        case layers.LeakyReLU():
            return [{"op": "relu", "slope": float(layer.negative_slope)}]
        case layers.Activation():
            return _activation(layer, None)
        case _ if isinstance(layer, _NOTHING):
            return []
    raise _refusal(layer)


def _window(call: _Call, kernel: tuple[int, int]) -> dict:
    """Kernel, strides and padding as TensorFlow's 'same' has it: the odd row last."""
    before, after = [], []
    axes = zip(call.input[:2], kernel, call.layer.strides, strict=True)
    for length, extent, stride in axes:
        total = 0
        if call.layer.padding == "same":
            total = max((-(-length // stride) - 1) * stride + extent - length, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    pads = (*before, *after)
    return {"kernel": kernel, "strides": call.layer.strides, "pads": pads}


def _activation(layer: keras.Layer, name: str | None) -> list[dict]:
    name = name or getattr(layer.activation, "__name__", str(layer.activation))
    if name == "linear":
        return []
    if name != "relu":
        raise ValueError(
            f"The page has no step for the activation {name} of {layer.name!r}."
        )
    return [{"op": "relu", "slope": 0.0}]


def _is_softmax(layer: keras.Layer) -> bool:
    """Whether a last layer is a softmax, or ends in one."""
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    kinds = (layers.Activation, layers.Dense)
    return isinstance(layer, layers.Softmax) or (
        name == "softmax" and isinstance(layer, kinds)
    )


def _refusal(layer: keras.Layer) -> ValueError:
    return ValueError(
        f"The page has no step for {layer.name!r}, a {type(layer).__name__}."
    )
