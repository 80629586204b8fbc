"""The reverse pass of a deconvnet, step by step, and projections without an image.

A deconvnet runs a network backwards (Zeiler & Fergus 2014, section 2.1): one neuron is
kept, all others of its layer are set to zero, and the signal goes down through the
steps of the network in reverse.

    max-pooling   put the signal where the maximum was: the switch, noted on the way up
    rectifier     rectify the signal
    convolution   convolve with the transposed filters; biases play no part

With other masks at the rectifiers, the same pass gives backprop and guided backprop.
The steps are in `reverse_steps`. No arithmetic here is shared with `explainer`:
the two are written apart so that they can check each other.

Pooling windows may overlap: what they send to one cell is added. Of equal maxima the
first in reading order gets the signal, as in TensorFlow on a CPU. So a dead window,
whose maximum is not above zero although its unit speaks in the reverse pass, sends its
signal to its first cell; `dead_windows="drop"` drops it instead.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import keras
import numpy as np
from keras import layers

from allconv.core.annotations import LATER
from allconv.core.arguments import checked
from allconv.core.checks import check_choice
from allconv.saliency import addresses, reverse_steps, soundness
from allconv.saliency.neurons import Seeds, place
from allconv.saliency.rules import Pool

# Which masks a rule applies at a rectifier: (where it was active, where R > 0).
MASKS = {"backprop": (True, False), "deconvnet": (False, True), "guided": (True, True)}


@checked
def reverse(
    model: keras.Model,
    images: Annotated[np.ndarray, LATER],
    rule: str = "deconvnet",
    *,
    layer: str | None = None,
    channel: Annotated[int | None, LATER] = None,
    position: tuple[int, int] | str = "max",
    before_rectifier: bool = False,
    seed: Seeds = "one",
    pool: Pool = "switch",
    dead_windows: Literal["keep", "drop"] = "keep",
) -> np.ndarray:
    """Carry one neuron of each image down to the pixels.

    Args:
        model: A Sequential or functional model that is a chain of convolutions,
            rectifiers, pooling, padding, batch normalisation, dropout and dense layers.
        images: float32 array `(n, height, width, channels)`.
        rule: `"deconvnet"`, `"backprop"` or `"guided"`.
        layer: Name of the neuron's layer; None: the model's logits.
        channel: Its channel or unit; None: that of each image's strongest neuron.
        position: `(row, column)`; `"max"`: where the channel is strongest; `"all"`.
        before_rectifier: Whether to take the value before the layer's own rectifier.
        seed: The neuron's signal: `"one"`, or `"activation"`.
        pool: Where a pooling window sends its signal: `"switch"` to the maximum,
            `"centre"` to its middle cell, `"spread"` to all its cells in equal parts.
        dead_windows: `"keep"` or `"drop"` the signal of windows without a positive
            value.

    Returns:
        float32 array shaped as `images`.

    Raises:
        ValueError: If an argument is none of these, or the model is not such a chain.
    """
    check_choice("rule", rule, MASKS)
    chain = _up_to(model, layer, before_rectifier, MASKS[rule], pool, dead_windows)
    activations = _check_images(model, np.asarray(images))
    for step in chain:
        with np.errstate(over="ignore", invalid="ignore"):
            activations = step.up(activations)
        if not np.isfinite(activations).all():
            raise ValueError(
                f"{model.name} gives values that are not finite: its "
                f"{type(step).__name__} {chain.index(step)} steps from the images."
            )
    where = position if isinstance(position, str) else tuple(position)
    _check_neuron(activations.shape[1:], channel, where)
    signal = _one_hot(activations, channel, where)
    if seed == "activation":
        signal *= activations
    for step in reversed(chain):
        signal = step.down(signal)
    return signal


@checked
def project(
    model: keras.Model,
    layer: str,
    channel: Annotated[int | list[int] | None, LATER] = None,
) -> np.ndarray:
    """Project units of a network without max-pooling to pixels, with no image at all.

    Without pooling there are no switches, and nothing in a deconvnet depends on the
    image: a unit has one picture (Springenberg et al. 2015, on deconvolution).
    The unit is one whose receptive field lies inside the image.

    Args:
        model: A chain as for `reverse`, without max-pooling up to `layer`.
        layer: Name of a convolution, or of the rectifier after it.
        channel: A channel, or several; None: all.

    Returns:
        float32 array `(size, size, 3)` of the size of the receptive field; with
        several channels, `(n, size, size, 3)`.

    Raises:
        ValueError: If a step up to `layer` depends on the image or on its size, or
            there is no such channel.
    """
    chain = _up_to(model, layer, False, MASKS["deconvnet"], "switch", "keep")
    free = (
        reverse_steps.Convolution,
        reverse_steps.DepthwiseConvolution,
        reverse_steps.Rectifier,
        reverse_steps.AveragePool,
        reverse_steps.Scale,
        reverse_steps.ZeroPad,
    )
    for step in chain:
        if not isinstance(step, free):
            raise ValueError(
                f"{type(step).__name__} below the layer {layer!r} depends on the image "
                "or its size: use `reverse` with an image."
            )
    convolutions = (reverse_steps.Convolution, reverse_steps.DepthwiseConvolution)
    widths = [step.filters for step in chain if isinstance(step, convolutions)]
    if not widths:
        raise ValueError(f"There is no convolution up to the layer {layer!r}.")
    filters = widths[-1]
    channels = np.asarray(range(filters) if channel is None else channel)
    if not channels.size:
        raise ValueError("`channel` should be one at least. Received: none")
    for one in channels.ravel().tolist():
        _check_neuron((filters,), one, "max")
    signal = np.eye(filters, dtype=np.float32)[np.atleast_1d(channels), None, None]
    for step in reversed(chain):
        if not isinstance(
            step, reverse_steps.ZeroPad
        ):  # the unit is far from the border
            signal = step.down(signal)
    return signal[0] if channels.ndim == 0 else signal


def _up_to(model, layer, before_rectifier, *options) -> list:
    """The steps of a model up to a layer, or up to the softmax at its end."""
    if not model.built:
        raise ValueError(
            f"{model.name} has no weights yet: build it, or call it on images, first."
        )
    soundness.check_channels_last(model)
    soundness.check_weights(model)
    rows = list(_rows(model, *options))
    if len(model.outputs) > 1:
        raise ValueError(f"{model.name} has several outputs. Use `explainer`.")
    names = [path for path, _ in rows]
    if layer is None:
        if isinstance(rows[-1][1], reverse_steps.Softmax):
            rows.pop()
    else:
        fits = addresses.find(layer, names)
        if len(fits) != 1:
            raise ValueError(
                f"{model.name} has {len(fits)} layers {layer!r} with a step of "
                f"their own. Such layers: {', '.join(dict.fromkeys(names))}"
            )
        rows = rows[: len(names) - names[::-1].index(fits[0])]
    chain = [step for _, step in rows]
    if before_rectifier:
        if not isinstance(chain[-1], reverse_steps.Rectifier):
            raise ValueError(f"{place(layer)} does not end in a rectifier.")
        chain.pop()
    if any(isinstance(step, reverse_steps.Softmax) for step in chain):
        raise ValueError(f"A softmax lies below the layer {layer!r}.")
    return chain


def _rows(model, *options, above="") -> Iterator[tuple[str, object]]:
    """(path, step) for each step of each layer, from the images up."""
    if isinstance(model, keras.Sequential):
        operations = model.layers
    elif hasattr(model, "operations"):
        operations = model.operations
        if len(model._nodes) > len(operations):
            raise ValueError(f"{model.name} calls a layer twice. Use `explainer`.")
        if any(len(nodes) > 1 for nodes in model._nodes_by_depth.values()):
            raise ValueError(f"{model.name} has branches. Use `explainer`.")
    else:
        raise ValueError(
            f"`model` should be Sequential or functional. Received: {model.name}, a "
            f"{type(model).__name__}"
        )
    for layer in operations:
        if isinstance(layer, keras.Model):
            yield from _rows(layer, *options, above=f"{above}{layer.name}/")
            continue
        for step in _steps(layer, *options):
            yield above + layer.name, step


def _steps(layer, masks, pool, dead_windows) -> list:
    """The steps of one layer; what a derived class computes cannot be known."""
    if type(layer).__module__.split(".")[0] not in ("keras", "allconv"):
        raise ValueError(_no_step(layer))
    if getattr(layer, "quantization_mode", None) is not None:
        raise ValueError(
            f"The layer {layer.name!r} is quantised ({layer.quantization_mode}): its "
            "kernel holds no weights to multiply with. Use `explainer`."
        )
    match layer:
        case layers.InputLayer() | layers.Dropout() | layers.SpatialDropout2D():
            return []
        case layers.Conv2D():
            window = _window(layer.kernel_size, layer, layer.dilation_rate)
            kernel, bias = _weights(layer)
            step = reverse_steps.Convolution(window, kernel, bias, layer.groups)
            return [step, *_activation(layer, masks)]
        case layers.DepthwiseConv2D():
            window = _window(layer.kernel_size, layer, layer.dilation_rate)
            each = reverse_steps.DepthwiseConvolution(window, *_weights(layer))
            return [each, *_activation(layer, masks)]
        case layers.Dense():
            return [reverse_steps.Dense(*_weights(layer)), *_activation(layer, masks)]
        case layers.Activation():
            return _activation(layer, masks)
        case layers.LeakyReLU():
            return [reverse_steps.Rectifier(masks, layer.negative_slope)]
        case layers.ReLU(threshold=0, max_value=None):
            return [reverse_steps.Rectifier(masks, layer.negative_slope)]
        case layers.ReLU(threshold=0, negative_slope=0):
            return [reverse_steps.Rectifier(masks, ceiling=layer.max_value)]
        case layers.Softmax():
            return [reverse_steps.Softmax()]
        case layers.MaxPooling2D():
            window = _window(layer.pool_size, layer)
            return [reverse_steps.MaxPool(window, pool, dead_windows)]
        case layers.AveragePooling2D():
            return [reverse_steps.AveragePool(_window(layer.pool_size, layer))]
        case layers.GlobalAveragePooling2D():
            return [reverse_steps.GlobalAveragePool(layer.keepdims)]
        case layers.ZeroPadding2D():
            return [reverse_steps.ZeroPad(layer.padding)]
        case layers.Flatten():
            return [reverse_steps.Flatten()]
        case layers.BatchNormalization():
            return [_scale(layer)]
    raise ValueError(_no_step(layer))


def _no_step(layer) -> str:
    return (
        f"The explicit pass has no step for {layer.name!r}, a "
        f"{type(layer).__name__}. Use `explainer`."
    )


def _window(size, layer, dilation=(1, 1)) -> reverse_steps.Window:
    return reverse_steps.Window(size, layer.strides, dilation, layer.padding)


def _weights(layer) -> tuple[np.ndarray, np.ndarray | int]:
    """Kernel and bias, by name: an adapted layer has more weights."""
    bias = 0 if layer.bias is None else np.asarray(layer.bias, np.float32)
    return np.asarray(layer.kernel, np.float32), bias


def _activation(layer, masks) -> list:
    name = getattr(layer.activation, "__name__", str(layer.activation))
    variants: dict[str, list] = {
        "linear": [],
        "relu": [reverse_steps.Rectifier(masks)],
        "relu6": [reverse_steps.Rectifier(masks, ceiling=6)],
        "leaky_relu": [reverse_steps.Rectifier(masks, slope=0.2)],
        "softmax": [reverse_steps.Softmax()],
    }
    if name not in variants:
        raise ValueError(
            f"The explicit pass has no step for the activation {name} of "
            f"{layer.name!r}. Use `explainer`."
        )
    return variants[name]


def _scale(layer) -> reverse_steps.Scale:
    if layer.axis not in (-1, 3):
        raise ValueError(f"The layer {layer.name!r} does not normalise channels.")
    mean, variance = map(np.asarray, (layer.moving_mean, layer.moving_variance))
    scale = 1 / np.sqrt(variance + np.float32(layer.epsilon))
    if layer.scale:
        scale = scale * np.asarray(layer.gamma)
    shift = -mean * scale + (np.asarray(layer.beta) if layer.center else 0)
    return reverse_steps.Scale(scale.astype(np.float32), shift.astype(np.float32))


def _one_hot(activations, channel, position) -> np.ndarray:
    """1 at the chosen neurons of each image, 0 elsewhere."""
    signal = np.zeros_like(activations)
    for n, activation in enumerate(activations):
        best = activation if channel is None else activation[..., channel]
        index = np.unravel_index(np.argmax(best), best.shape)
        chosen = index[-1] if channel is None else channel
        if activation.ndim == 1:
            signal[n, chosen] = 1
        elif position == "all":
            signal[n, ..., chosen] = 1
        else:
            row, column = index[:2] if position == "max" else position
            signal[n, row, column, chosen] = 1
    return signal


def _check_images(model, images) -> np.ndarray:
    own = tuple(model.inputs[0].shape)
    fits = images.ndim == len(own) == 4 and all(
        n in (None, m) for n, m in zip(own[1:], images.shape[1:], strict=True)
    )
    if not fits or not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            f"`images` should be floating point, of shape {own}, preprocessed as for "
            f"the model. Received: {images.dtype}, {images.shape}"
        )
    if not np.isfinite(images).all():
        raise ValueError("`images` should be finite. Received: a NaN or an infinity")
    return images.astype(np.float32)


def _check_neuron(shape, channel, position) -> None:
    """Whether an output of that shape, without the batch, has such a neuron."""
    *sizes, channels = shape
    if channel is not None and not _is_index(channel, channels):
        raise ValueError(
            f"`channel` should be an integer from 0 to {channels - 1}. "
            f"Received: channel={channel!r}"
        )
    if isinstance(position, str):
        check_choice("position", position, ("max", "all"))
    elif len(sizes) != 2 or not (
        len(position) == 2
        and all(_is_index(n, m) for n, m in zip(position, sizes, strict=True))
    ):
        raise ValueError(
            f"`position` should be 'max', 'all' or the (row, column) of a map; here "
            f"the neurons are of shape {shape}. Received: position={position!r}"
        )


def _is_index(number, length) -> bool:
    array = np.asarray(number)
    whole = array.ndim == 0 and np.issubdtype(array.dtype, np.integer)
    return whole and 0 <= array < length
