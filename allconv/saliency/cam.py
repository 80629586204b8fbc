"""Where a class is seen: class activation maps, Grad-CAM and guided Grad-CAM.

In an all-convolutional network the scores of a class before the global average are its
map, and their mean is the score: nothing is approximated. With a dense layer after the
average, they are the features weighted by the class (Zhou et al. 2016, section 2).

    class_activation_map(model, images)         # (n, 8, 8); the mean is the score
    grad_cam(model, images, "conv6")            # any model, any layer with maps
    guided_grad_cam(model, images, "conv6")     # that, times guided backprop

Grad-CAM weighs the features of any layer by the mean gradient of the score (Selvaraju
et al. 2017, section 3). At the layer before the average it is the class activation map,
over the number of positions, its negative values cut off.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.layers import GlobalAveragePooling2D

from allconv.core.arguments import Maps, checked
from allconv.saliency import rectifier_search
from allconv.saliency.audit import inspect
from allconv.saliency.explainer import guided_backprop
from allconv.saliency.inputs import Given, Inputs
from allconv.saliency.neurons import (
    Call,
    channels_of,
    inlined_functions,
    layer_output,
    logits,
    observed,
    one_hot,
    one_output,
    owners,
    place,
)
from allconv.saliency.rules import RULES
from allconv.saliency.soundness import check_channels_last, check_finite


@checked
def class_activation_map(
    model: keras.Model,
    images: Given,
    *,
    of: str | int | None = None,
    output: str | int | None = None,
    layer: str | None = None,
    target: int | Sequence[int] | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """Show how much each position adds to a class score.

    Args:
        model: A Keras model that averages its maps and ends in class scores, or in a
            softmax or sigmoid of them.
        images, of, output: As for `saliency.explain`: with several inputs all of them,
            and which one holds the images; one of several outputs.
        layer: Address of the layer whose maps are averaged, as for `saliency.explain`.
            None: what the last `GlobalAveragePooling2D` averages.
        target: The class, one for all or one per image; None: the predicted one. Of a
            single output, as for `saliency.explain`, class 1 is the output itself.
        batch_size: Images at a time.

    Returns:
        float32 array `(n, rows, columns)`, signed. Its mean is the score before the
        softmax, less the bias of a layer after the average.

    Raises:
        ValueError: If an argument is none of these, or there is more than an average
            and linear layers above the layer: the map would not add up to the score.
    """
    features, gradient = _read(
        model, images, of, output, layer, target, batch_size, linear=True
    )
    weight = gradient.mean((1, 2), keepdims=True)
    if not np.allclose(gradient, weight, rtol=1e-3, atol=1e-6 * np.abs(weight).max()):
        raise ValueError(
            f"{model.name} does not average {place(layer)}: positions count "
            "differently. Use `grad_cam`."
        )
    positions = features.shape[1] * features.shape[2]
    return positions * (weight * features).sum(-1)


@checked
def grad_cam(
    model: keras.Model,
    images: Given,
    layer: str,
    *,
    of: str | int | None = None,
    output: str | int | None = None,
    target: int | Sequence[int] | None = None,
    rectify: bool = True,
    batch_size: int = 64,
) -> np.ndarray:
    """Weigh the maps of a layer by what they do to a class score on average.

    Args:
        model: A Keras model that ends in class scores, or in a softmax or sigmoid of
            them: the score is what goes into that.
        images, of, output, target, batch_size: As for `class_activation_map`.
        layer: Address of a layer with maps.
        rectify: Whether to keep positive values only, as published.

    Returns:
        float32 array `(n, rows, columns)`, of the layer's size; see `enlarge`.

    Raises:
        ValueError: If an argument is none of these.
    """
    features, gradient = _read(model, images, of, output, layer, target, batch_size)
    maps = (gradient.mean((1, 2), keepdims=True) * features).sum(-1)
    return np.maximum(maps, 0) if rectify else maps


@checked
def guided_grad_cam(
    model: keras.Model,
    images: Given,
    layer: str,
    *,
    of: str | int | None = None,
    output: str | int | None = None,
    target: int | Sequence[int] | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """Multiply guided backprop by Grad-CAM (Selvaraju et al. 2017, section 3.2).

    Arguments as for `grad_cam`.

    Returns:
        float32 array shaped as `images`. It has the class from Grad-CAM alone.
    """
    how: dict[str, Any] = {"of": of, "output": output, "target": target}
    how["batch_size"] = batch_size
    maps = grad_cam(model, images, layer, **how)
    guided = guided_backprop(model, images, **how)
    return guided * enlarge(maps, guided.shape[1:3])[..., None]


@checked
def enlarge(maps: Maps, size: tuple[int, int]) -> np.ndarray:
    """Bring maps `(n, rows, columns)` to `size`, between cell centres in proportion.

    Cells are laid over the image edge to edge, which is where they look if the network
    pads as it strides. Without padding, what they look at lies nearer to the middle.
    """
    return tf.image.resize(maps[..., None], size, "bilinear")[..., 0].numpy()


def _read(
    model, images, of, output, layer, target, batch_size, linear=False
) -> tuple[np.ndarray, np.ndarray]:
    """Features of the layer, and the gradient of each image's class score there.

    With `linear`, whatever is not linear between the two is refused.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            "`batch_size` should be a positive integer. "
            f"Received: batch_size={batch_size!r}"
        )
    inputs = Inputs(model, of)
    images, held = inputs.split(images)
    shape = inputs.image_shape(images.shape[1:])
    if not len(images):
        raise ValueError(f"There is no image. Received: shape={images.shape}")
    check_channels_last(model)
    check_finite(model, inputs.join(*_first(images, held)))

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, *shape), tf.float32),
            tf.TensorSpec((None,), tf.int32),
            *inputs.held,
        ],
        autograph=False,
    )
    def read(images, target, *held):
        with observed(model) as calls, inlined_functions(), keras.StatelessScope():
            outputs = model(inputs.join(images, held), training=False)
            scores = logits(one_output(model, outputs, output))
        if len(scores.shape) != 2:
            raise ValueError(
                "The model should give class scores (n, classes). "
                f"Received: output of shape {scores.shape}"
            )
        if layer is None:
            features = _averaged(model, calls)
        else:
            features = layer_output(model, layer, calls)
        if len(features.shape) != 4:
            raise ValueError(
                f"{place(layer)} has no maps (n, rows, columns, channels). Received: "
                f"output of shape {features.shape}"
            )
        if linear:
            _check_linear(model, features, scores, calls)
        classes.append(scores.shape[-1])
        if scores.shape[-1] == 1:  # against the class, and for it
            scores = tf.concat([-scores, scores], axis=-1)
        chosen = one_hot(scores, target, tf.fill(tf.shape(target), 0))
        gradient = tf.gradients(scores, features, grad_ys=chosen)[0]
        if gradient is None:
            raise ValueError(f"{model.name}'s scores do not depend on {place(layer)}.")
        return tf.cast(features, tf.float32), tf.cast(gradient, tf.float32)

    classes: list[int] = []
    traced = read.get_concrete_function()
    if classes[0] == 1 and target is None:
        target = 1
    target = channels_of("target", target, len(images), max(2, classes[0]))
    starts = range(0, len(images), batch_size)
    parts = [
        traced(*(tf.constant(x[i : i + batch_size]) for x in (images, target, *held)))
        for i in starts
    ]
    features, gradient = (np.concatenate(part) for part in zip(*parts, strict=True))
    if not (np.isfinite(features).all() and np.isfinite(gradient).all()):
        raise ValueError(
            f"{model.name} gives values that are not finite at {place(layer)}, though "
            "its weights and the images are finite."
        )
    return features, gradient


def _check_linear(model, features, scores, calls: list[Call]) -> None:
    """Refuse a rectifier or the like above the average: the map would not add up."""
    rectifier_search.find(features)
    above = inspect(features, scores, RULES["backprop"], owners(calls))
    lists = (above.rectifiers, above.pools, above.normalisations, above.untouched)
    met = [name for names in lists for name in names]
    if met:
        raise ValueError(
            f"{met[0]} stands between the average and the scores of {model.name}: the "
            "map would not add up to the score. Use `grad_cam`."
        )


def _first(images: np.ndarray, held: list[np.ndarray]) -> tuple[tf.Tensor, list]:
    return tf.constant(images[:1]), [tf.constant(part[:1]) for part in held]


def _averaged(model, calls: list[Call]) -> tf.Tensor:
    """What the last global average of a traced model takes in."""
    averages = [c for c in calls if isinstance(c.layer, GlobalAveragePooling2D)]
    if not averages:
        raise ValueError(
            f"{model.name} has no GlobalAveragePooling2D: give `layer`, the layer "
            "whose maps it averages."
        )
    tensor: Any = averages[-1].output
    while tensor.op.type != "Mean":
        tensor = tensor.op.inputs[0]
    return tensor.op.inputs[0]
