"""What in an image drives a neuron: backprop, deconvnet and guided backprop.

For any Keras model, without changing it or copying a weight. The model is traced once
into a graph in which rectifiers and max-pooling have the gradients of `rules`,
and the neuron is differentiated with respect to the images. The rules and the pictures
are those of Springenberg et al. (2015), in their section on deconvolution.

    maps = guided_backprop(model, images)                      # of the predicted class
    maps = deconvnet(model, images, layer="conv6", channel=3)  # of one hidden unit

    explainer = Explainer(model, "guided", layer="conv6")  # traced once,
    maps = explainer(images, channel=3, position=(4, 4))   # called many times
    print(explainer.audit)                                 # 6 of 6 rectifiers guided
"""

import contextlib
import math

import keras
import numpy as np
import tensorflow as tf

from allconv.core.arguments import Whole, checked
from allconv.core.checks import nearest
from allconv.saliency import rectifier_search
from allconv.saliency.audit import Audit, inspect
from allconv.saliency.inputs import Given, Inputs
from allconv.saliency.neurons import (
    HEADS,
    Channels,
    Positions,
    Seeds,
    below_rectifier,
    channels_of,
    final,
    inlined_functions,
    layer_output,
    logits,
    observed,
    one_hot,
    one_output,
    owners,
    place,
    positions_of,
)
from allconv.saliency.rules import RULES, Rule, overrides
from allconv.saliency.soundness import (
    batch_size as fixed_batch,
    check_channels_last,
    check_outputs,
    check_weights,
)

SCALES = (2.0**14, 2.0**7, 1.0)  # of signals in half precision: powers of two are exact


@checked
def explain(
    model: keras.Model,
    images: Given,
    rule: str | Rule = "guided",
    *,
    of: str | int | None = None,
    layer: str | None = None,
    output: str | int | None = None,
    channel: Channels = None,
    position: Positions = "max",
    target: Channels = None,
    before_rectifier: bool = False,
    seed: Seeds = "one",
    strict: bool = True,
    batch_size: Whole = 64,
) -> np.ndarray:
    """Explain one neuron per image. To explain many, trace an `Explainer` once.

    Args:
        model: A built Keras model.
        images: Array `(n, height, width, channels)`, floating point, preprocessed as
            the model expects; signals `(n, steps, channels)` and volumes likewise. Of a
            model with several inputs all of them, `n` rows each: a dict by name, or a
            list in the model's order.
        rule: `"backprop"`, `"deconvnet"`, `"guided"`, or a `rules.Rule`.
        of: Of several inputs, name or number of the images' one: the map is of it, and
            the others are held as given.
        layer: The layer whose output holds the neuron: its name, with the names of the
            models around it where need be (`"block/conv1"`), and the number of the
            call, from 0, where it is called more than once (`"conv1#2"`). None: the
            model's output; where that is a softmax or a sigmoid, its input.
        output: Of a model with several outputs, without `layer`: its name or number.
        channel: Index of the neuron's channel or unit, one for all or one per image.
            None: the channel of each image's strongest neuron.
        position: `(row, column)` of the neuron, one for all or one per image;
            `"max"`: the channel's maximum; `"all"`: the sum over all positions.
        target: Without `layer`: the class, as for `channel`; None: the predicted one.
            A single output is a sigmoid, or its logit: class 1 is the output itself,
            which None stands for, class 0 the logit with the other sign.
        before_rectifier: Whether to take the value before the layer's own rectifier.
        seed: `"one"`: the neuron counts 1. `"activation"`: it counts its activation, as
            in Zeiler & Fergus (2014).
        strict: Whether to refuse nonlinearities without a rule. False: the plain
            gradient passes through them, and the audit lists them. Backprop, being
            the plain gradient, takes them all.
        batch_size: Number of images explained at a time.

    Returns:
        float32 array shaped as the images, signed, every colour channel kept.

    Raises:
        ValueError: If an argument is none of the above, or the model cannot be
            explained under the rule.
    """
    pixels, _ = Inputs(model, of).split(images)
    explainer = Explainer(
        model,
        rule,
        of=of,
        layer=layer,
        output=output,
        before_rectifier=before_rectifier,
        seed=seed,
        strict=strict,
        batch_size=batch_size,
        image_shape=pixels.shape[1:],
    )
    return explainer(images, channel=channel, position=position, target=target)


def backprop(model: keras.Model, images: Given, **neuron) -> np.ndarray:
    """The gradient (Simonyan et al. 2014); arguments as for `explain`."""
    return explain(model, images, "backprop", **neuron)


def deconvnet(model: keras.Model, images: Given, **neuron) -> np.ndarray:
    """The deconvnet (Zeiler & Fergus 2014); arguments as for `explain`."""
    return explain(model, images, "deconvnet", **neuron)


def guided_backprop(model: keras.Model, images: Given, **neuron) -> np.ndarray:
    """Guided backprop (Springenberg et al. 2015); arguments as for `explain`."""
    return explain(model, images, "guided", **neuron)


class Explainer:
    """One rule and one layer of a model, traced once.

    Channels, positions and classes are given with the images, in any number, without
    a new trace. Weights are read where they are: the maps follow later training.

    Args:
        model, rule, of, layer, output, before_rectifier, seed, strict, batch_size: As
            for `explain`.
        image_shape: `(height, width, channels)`. None: the model's input shape.

    Attributes:
        audit: The rectifiers that were found and what became of them; print it.
        neurons: Shape of the layer's output without the batch, e.g. `(8, 8, 192)`.
    """

    @checked
    def __init__(
        self,
        model: keras.Model,
        rule: str | Rule = "guided",
        *,
        of: str | int | None = None,
        layer: str | None = None,
        output: str | int | None = None,
        before_rectifier: bool = False,
        seed: Seeds = "one",
        strict: bool = True,
        batch_size: Whole = 64,
        image_shape: tuple[int, ...] | None = None,
    ):
        if not isinstance(rule, Rule) and rule not in [*RULES]:
            raise ValueError(
                f"`rule` should be one of {', '.join(RULES)} or a Rule. "
                f"Received: rule={rule!r}{nearest(rule, RULES)}"
            )
        if layer is not None and output is not None:
            raise ValueError(
                "`output` is for a class of one of several outputs, `layer` for a "
                "neuron inside: give one of the two. "
                f"Received: layer={layer!r}, output={output!r}"
            )
        self.model = model
        self.rule = rule if isinstance(rule, Rule) else RULES[rule]
        self.layer = layer
        self.output = output
        self.before_rectifier = before_rectifier
        self.seed = seed
        self.strict = strict
        self.batch_size = batch_size
        self._inputs = Inputs(model, of)
        self.image_shape = self._inputs.image_shape(image_shape)
        self.audit: Audit
        self.neurons: tuple[int, ...]
        self._sound = False  # until all layers have been looked at
        scopes = (layer.compute_dtype for layer in model._flatten_layers())
        # Half precision loses what is below 6e-8 on the way down, in deep networks all.
        self._scales = SCALES if "float16" in scopes else (1.0,)
        check_weights(model)
        n = fixed_batch(model)
        self._traced = tf.function(
            self._trace,
            input_signature=[
                tf.TensorSpec((n, *self.image_shape), tf.float32, "images"),
                tf.TensorSpec((n,), tf.int32, "channel"),
                tf.TensorSpec((n,), tf.int32, "position"),
                tf.TensorSpec((), tf.float32, "scale"),
                *self._inputs.held,
            ],
            autograph=False,
        ).get_concrete_function()

    def __call__(
        self,
        images: Given,
        *,
        channel: Channels = None,
        position: Positions = "max",
        target: Channels = None,
    ) -> np.ndarray:
        """Explain one neuron per image; arguments and result as for `explain`."""
        return self.explained(
            images, channel=channel, position=position, target=target
        )[0]

    def locate(self, images: Given, **neuron) -> tuple[np.ndarray, np.ndarray]:
        """Which neurons the same arguments explain, and what they say.

        Returns:
            The index of each image's neuron in the layer's output, `(n, axes)`, of
            several the first; and its activation, float32 `(n,)`, of several the sum.
            A rectified neuron with activation 0 is silent: its map is empty under
            rules that know what was active.
        """
        return self.explained(images, **neuron)[1:]

    def explained(
        self,
        images: Given,
        *,
        channel: Channels = None,
        position: Positions = "max",
        target: Channels = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Both in one pass: the maps, and what `locate` says of their neurons."""
        images, held = self._inputs.split(images)
        if images.shape[1:] != self.image_shape:
            raise ValueError(
                f"`images` should be of shape (n, {str(self.image_shape)[1:]}. "
                f"Received: {images.shape}"
            )
        if target is not None and (self.layer is not None or channel is not None):
            raise ValueError(
                "`target` is a class of the model's output and stands alone; in a "
                f"layer, use `channel`. Received: target={target!r}, "
                f"channel={channel!r}, layer={self.layer!r}"
            )
        if self._single and target is None:
            channels_of("channel", channel, len(images), 1)
            target, channel = 1, None
        name, channel = ("channel", channel) if target is None else ("target", target)
        channel = channels_of(name, channel, len(images), self.neurons[-1])
        position = positions_of(position, len(images), self.neurons[:-1])
        maps = np.empty(images.shape, np.float32)
        index = np.empty(len(images), int)
        activation = np.empty(len(images), np.float32)
        fixed = fixed_batch(self.model)
        size = fixed or self.batch_size
        for start in range(0, len(images), size):
            batch = slice(start, start + size)
            given = [x[batch] for x in (images, channel, position, *held)]
            count = len(given[0])
            if fixed and count < fixed:  # the last image again and again
                given = [np.take(a, range(fixed), 0, mode="clip") for a in given]
            if not self._sound:
                self._check_finite(given, fixed or 1)
                self._sound = True
            for scale in self._scales:
                parts = (*given[:3], np.float32(scale), *given[3:])
                found = self._traced(*map(tf.constant, parts))
                found = [part[:count].numpy() for part in found]
                if all(np.isfinite(found[i]).all() for i in (0, 2)):
                    break
            else:
                self._check_finite(given, count)
                raise ValueError(
                    f"Maps of {self.model.name} are not finite, though its layers' "
                    "outputs are: its gradients are too large."
                )
            maps[batch], index[batch], activation[batch] = found
        places = np.stack(np.unravel_index(index, self.neurons), axis=-1)
        return maps, places, activation

    def _check_finite(self, given, count) -> None:
        images, _, _, *held = (tf.constant(x[:count]) for x in given)
        check_outputs(self.model, self._inputs.join(images, held))

    def _trace(self, images, channel, position, scale, *held):
        more: frozenset[str] = frozenset()
        while True:
            calls, output = self._call(images, held, overrides(self.rule, more))
            rectifier_search.find(images, calls)
            found = rectifier_search.types(images.graph)
            if not overrides(self.rule) or found <= more:
                break
            more |= found  # once more: their gradients have to be in place before
        made_by = owners(calls)
        if self.layer is None:
            neurons = logits(one_output(self.model, output, self.output))
        else:
            neurons = layer_output(self.model, self.layer, calls)
        part = rectifier_search.of(neurons.op)
        if overrides(self.rule) and part is not None and part.passes:
            raise ValueError(
                f"{place(self.layer)} is a part of a rectifier of several operations, "
                "inside of which no rule applies. Use the rule 'backprop'."
            )
        if self.before_rectifier:
            neurons = below_rectifier(neurons, self.layer, made_by)
        if self.layer is not None or len(neurons.shape) > 2:
            check_channels_last(self.model)
        if len(neurons.shape) < 2 or None in neurons.shape[1:]:
            raise ValueError(
                "Neurons are in an output (n, ..., channels) of known size. "
                f"{place(self.layer)} has shape {neurons.shape}"
            )
        self._single = self.layer is None and neurons.shape[-1] == 1
        if self._single:  # against the class, and for it
            neurons = tf.concat([-neurons, neurons], axis=-1)
        self.neurons = tuple(neurons.shape[1:])
        self.audit = inspect(images, neurons, self.rule, made_by)
        if not self.audit.rectifiers and not self.audit.untouched:
            self._check_rectified(images, output, made_by)
        self._check_untouched(neurons)

        mask = one_hot(neurons, channel, position)
        seeds = mask * neurons if self.seed == "activation" else mask
        seeds *= tf.cast(scale, seeds.dtype)
        (maps,) = tf.gradients(neurons, images, grad_ys=seeds)
        if maps is None:
            raise ValueError(f"{place(self.layer)} does not depend on the images.")
        n, count = tf.shape(images)[0], math.prod(self.neurons)
        chosen = tf.reshape(mask, (n, count))
        spoken = tf.cast(chosen * tf.reshape(neurons, (n, count)), tf.float32)
        activation = tf.reduce_sum(spoken, axis=1)
        return maps / scale, tf.argmax(chosen, axis=1), activation

    def _call(self, images, held, gradients):
        try:
            return self._call_with(images, held, gradients, inlined_functions())
        except (tf.errors.OperatorNotAllowedInGraphError, TypeError):
            # A function with loops over tensors runs as TensorFlow made it. No rule
            # reaches into it; the audit lists it.
            return self._call_with(images, held, gradients, contextlib.nullcontext())

    def _call_with(self, images, held, gradients, functions):
        with (
            observed(self.model) as calls,
            functions,
            keras.StatelessScope(),  # nothing the call computes stays in the model
            images.graph.gradient_override_map(gradients),
        ):
            output = self.model(self._inputs.join(images, held), training=False)
        return calls, output

    def _check_untouched(self, neurons) -> None:
        if not overrides(self.rule) or not self.strict or not self.audit.untouched:
            return  # plain gradients say something of everything
        names = self.audit.untouched
        if self.layer is not None and final(neurons).type in HEADS:
            raise ValueError(
                f"{place(self.layer)} ends in {names[-1]}. For a class of the model "
                "leave `layer` out and use `target`, of several outputs `output`: the "
                "neuron is then what goes into it."
            )
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise ValueError(
            "Use the rule 'backprop', or `strict=False` (on the command line "
            "`--no-strict`) for the plain gradient, where "
            f"{self.rule.name} says nothing of {', '.join(names[:3])}{more}."
        )

    def _check_rectified(self, images, output, made_by) -> None:
        if not overrides(self.rule) or not self.strict or self.rule.pool != "switch":
            return
        whole = inspect(images, tf.nest.flatten(output)[0], self.rule, made_by)
        if not whole.rectifiers:
            raise ValueError(
                f"{self.model.name} has no rectifier, so that the rule "
                f"{self.rule.name} would be plain backprop. Use the rule 'backprop'."
            )
