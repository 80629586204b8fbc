"""What is asked of a model before anything is read from it: that its numbers are finite
and that its channels come last.

Finite scores prove nothing. TensorFlow's max-pooling on a CPU passes over NaN and a
rectifier makes it 0, so that weights and every layer's output are looked at.
"""

import keras
import numpy as np
import tensorflow as tf

from allconv.saliency.neurons import inlined_functions, observed, paths


def check_channels_last(model: keras.Model) -> None:
    """Refuse a model with channels first, in whichever of its layers.

    One layer does not show it: a rectifier knows no axes.

    Raises:
        ValueError: Naming the layer.
    """
    for path, layer in paths(model):
        axis = getattr(layer, "axis", None) if is_normalisation(layer) else None
        if getattr(layer, "data_format", None) == "channels_first" or axis == 1:
            raise ValueError(
                f"{model.name} has its channels first (the layer {path!r}). Build it "
                "with channels last; `set_weights` carries the kernels over, which are "
                "the same in both up to the first Flatten."
            )


def is_normalisation(layer: keras.Operation) -> bool:
    """Whether a layer normalises maps along an axis that may be that of channels."""
    kinds = (keras.layers.BatchNormalization, keras.layers.GroupNormalization)
    spec = getattr(layer, "input_spec", None)
    return isinstance(layer, kinds) and getattr(spec, "ndim", None) == 4


def check_weights(model: keras.Model) -> None:
    """Refuse a model with a weight that is not finite.

    Raises:
        ValueError: Naming the first such weight and its layer.
    """
    seen: set[int] = set()
    for path, layer in paths(model):
        if isinstance(layer, keras.Model) or not isinstance(layer, keras.Layer):
            continue
        for weight in layer.weights:
            if id(weight) not in seen and not _finite(weight):
                raise ValueError(
                    f"{model.name} has a weight that is not finite: {weight.name!r} of "
                    f"the layer {path!r}. Did its training diverge?"
                )
            seen.add(id(weight))
    for weight in model.weights:  # of the model itself, outside of its layers
        if id(weight) not in seen and not _finite(weight):
            raise ValueError(
                f"{model.name} has a weight that is not finite: {weight.path!r}."
            )


def check_finite(model: keras.Model, inputs: object) -> None:
    """Refuse a model with a weight, or a layer's output, that is not finite.

    Args:
        model: A built model.
        inputs: What it takes: some images, finite.

    Raises:
        ValueError: Naming the first weight or layer.
    """
    check_weights(model)
    check_outputs(model, inputs)


def check_outputs(model: keras.Model, inputs: object) -> None:
    """Refuse a model with a layer's output that is not finite, as `check_finite`."""
    with inlined_functions(), observed(model) as calls:
        model(inputs, training=False)
    for call in calls:  # a nested model's after those of its layers
        for output in tf.nest.flatten(call.output):
            if tf.is_tensor(output) and not _finite(output):
                check_weights(model)
                raise ValueError(
                    f"{model.name} gives values that are not finite, first in the "
                    f"layer {call.path!r}, though its weights and inputs are finite."
                )


def _finite(values) -> bool:
    values = tf.convert_to_tensor(values)
    if not values.dtype.is_floating:
        return True
    if values.dtype.size < 4:
        values = tf.cast(values, tf.float32)
    total = tf.reduce_sum(values)  # finite only if all are, and quick
    return bool(np.isfinite(total) or tf.reduce_all(tf.math.is_finite(values)))


def batch_size(model: keras.Model) -> int | None:
    """The number of images that a model takes at a time, where it is fixed."""
    inputs = getattr(model, "inputs", None)
    return inputs[0].shape[0] if inputs else None
