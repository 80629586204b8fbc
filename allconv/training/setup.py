"""A preset's network with its loss, optimiser and decay: all that `fit` needs of it."""

from typing import Any

import keras

from allconv.networks import all_cnn_rows, builders
from allconv.presets.preset import Preset
from allconv.training.inputs import Batches
from allconv.training.loss_scale import LossScale
from allconv.training.muon import Muon
from allconv.training.schedules import schedule


def compiled(preset: Preset, inputs: Batches) -> keras.Model:
    """The preset's network, with logits for outputs, ready for `fit`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(preset.precision)
    try:
        model = builders.build(
            preset.architecture,
            input_shape=(None, None, 3) if preset.windows else inputs.input_shape,
            classes=inputs.classes,
            classifier_activation=None,
            dropout=preset.dropout,
            kernel_initializer=preset.initializer,
            norm=preset.norm,
            norm_options=preset.norm_options,
        )
    finally:
        keras.config.set_dtype_policy(before)
    if preset.score_bias:
        rows = all_cnn_rows.get(preset.architecture).rows
        count = sum(isinstance(row, all_cnn_rows.Conv) for row in rows)
        scores = model.get_layer(f"conv{count}")
        scores.kernel.assign(keras.ops.zeros_like(scores.kernel))
        scores.bias.assign(keras.ops.full_like(scores.bias, preset.score_bias))
    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    turning = []
    if preset.muon:  # what a normalisation follows: convolutions that make no scores
        turning = [v.path for v in kernels[:-1] if len(v.shape) == 4]
    for variable in model.trainable_variables:
        decays = variable.name in ("kernel", "bias") and variable.path not in turning
        if preset.weight_decay and decays:
            # Caffe adds decay * w to the gradient: the gradient of decay / 2 * w ** 2.
            variable.regularizer = keras.regularizers.L2(preset.weight_decay / 2)
    # Keras takes a momentum of 0.0, but none of 0.
    momentum = float(preset.momentum)
    descent = (schedule(preset, inputs.steps), momentum, preset.nesterov)
    averages: dict[str, Any] = {}
    if preset.averaging:
        averages = {"use_ema": True, "ema_momentum": float(preset.averaging)}
    if preset.muon:
        optimizer = Muon(*descent, turning, preset.muon, **averages)
    else:
        optimizer = keras.optimizers.SGD(*descent, **averages)
    if preset.precision == "mixed_float16":
        optimizer = LossScale(optimizer)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=preset.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=preset.jit_compile,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def average(model: keras.Model, preset: Preset) -> None:
    """Put the averages of its weights in their place, where the recipe has them.

    Keras does it at the end of `fit`; of weights that are averages it changes nothing.
    """
    if preset.averaging:
        model.optimizer.finalize_variable_values(model.trainable_variables)
