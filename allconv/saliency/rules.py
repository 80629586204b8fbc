"""Backprop, deconvnet and guided backprop as gradients of single operations.

On its way down, a signal R meets a rectifier f(x). The three rules differ in nothing
but what they let through (Springenberg et al. 2015, on deconvolution):

    backprop    R * f'(x)              the forward mask: where the unit was active
    deconvnet   R * [R > 0]            the gradient mask: what speaks for the neuron
    guided      R * f'(x) * [R > 0]    both

f'(x) is the slope of the rectifier at hand, so the same three lines define the rules
for variants: [0 < x < 6] for ReLU6, 1 or `negative_slope` for a leaky rectifier. The
gradient mask is the sign of R for all of them.

TensorFlow lets a graph replace the gradient of every operation of a type. A rectifier
is thus found wherever it is written: as a fused activation, as a layer, as
`keras.ops.relu` between layers, or in a subclassed model's `call`.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from allconv.core.arguments import Checked
from allconv.saliency import rectifier_search

Pool = Literal["switch", "centre", "spread"]


@dataclass(frozen=True)
class Rule(Checked):
    """How a signal passes rectifiers and max-pooling on its way down.

    Args:
        forward: Whether the forward mask applies: times the slope f'(x).
        gradient: Whether the gradient mask applies: times [R > 0].
        pool: What a max-pooling window does with its signal: `"switch"` gives it to
            the maximum, `"centre"` to the window's centre (the upper left of the
            middle cells of an even window), `"spread"` to all its cells in equal parts.
            Of equal maxima the first gets it; in global max-pooling, which TensorFlow
            computes otherwise, they share it.
    """

    forward: bool
    gradient: bool
    pool: Pool = "switch"

    @property
    def name(self) -> str:
        """Its name in the literature; `"unmasked"` with neither mask."""
        masks = {(r.forward, r.gradient): name for name, r in RULES.items()}
        return masks.get((self.forward, self.gradient), "unmasked")


RULES = {
    "backprop": Rule(forward=True, gradient=False),
    "deconvnet": Rule(forward=False, gradient=True),
    "guided": Rule(forward=True, gradient=True),
}

# Both are plain gradients; a graph that keeps them needs no replacement.
_OWN_MASKS, _OWN_ROUTE = (True, False), "switch"


def overrides(rule: Rule, more: Iterable[str] = ()) -> dict[str, str]:
    """The gradients of a rule.

    Args:
        rule: The rule.
        more: The types of operations that rectifiers of several operations consist
            of; see `rectifier_search.types`.

    Returns:
        A dict from operation type to the name of its gradient, for
        `graph.gradient_override_map`; `rectifier_search.find` tells the gradients what
        they are at. Empty for backprop, which is the gradient.
    """
    rectify, unpool = _registered(rule)
    types = (*rectifier_search.SINGLE, *sorted(more))
    names = dict.fromkeys(types, rectify) if rectify else {}
    return names | ({"MaxPool": unpool} if unpool else {})


@functools.cache
def _registered(rule: Rule) -> tuple[str | None, str | None]:
    """The names of a rule's gradients of rectifiers and pools; None: TensorFlow's."""
    names: list[str | None] = [None, None]
    kind = f"{rule.forward:d}{rule.gradient:d}/{rule.pool}"
    if (rule.forward, rule.gradient) != _OWN_MASKS:
        names[0] = f"allconv/rectifier/{kind}"

        @tf.RegisterGradient(names[0])
        def rectify(op, signal):
            unit = rectifier_search.of(op)
            if unit is None:
                return rectifier_search.plain(op, signal)
            if not unit.passes:
                if rule.gradient:
                    signal = unit.sign * tf.nn.relu(unit.sign * signal)
                if not rule.forward:
                    signal *= 1 if unit.scale is None else unit.scale()
                elif unit.slope is None:
                    return rectifier_search.plain(op, signal)
                else:
                    signal *= unit.slope()
            signal = tf.cast(signal, op.inputs[unit.index].dtype)
            return [signal if i == unit.index else None for i in range(len(op.inputs))]

    if rule.pool != _OWN_ROUTE:
        names[1] = f"allconv/pool/{kind}"

        @tf.RegisterGradient(names[1])
        def unpool(op, signal):
            return _ROUTES[rule.pool](op, signal)

    return names[0], names[1]


def _spread(op: tf.Operation, signal: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.AvgPoolGrad(
        orig_input_shape=tf.shape(op.inputs[0]), grad=signal, **_window(op)
    )


def _centre(op: tf.Operation, signal: tf.Tensor) -> tf.Tensor:
    """A transposed convolution with a kernel that is the identity at its centre.

    Not a depthwise one, which TensorFlow's own kernels refuse for unequal strides.
    """
    window = _window(op)
    rows, columns = window["ksize"][1:3]
    channels = signal.shape[-1]
    at_centre = tf.scatter_nd(
        [[(rows - 1) // 2, (columns - 1) // 2]],
        tf.eye(channels, dtype=signal.dtype)[None],
        (rows, columns, channels, channels),
    )
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(op.inputs[0]),
        filter=at_centre,
        out_backprop=signal,
        strides=window["strides"],
        padding=window["padding"],
        data_format=window["data_format"],
    )


_ROUTES = {"centre": _centre, "spread": _spread}


def _window(op: tf.Operation) -> dict:
    return {
        "ksize": op.get_attr("ksize"),
        "strides": op.get_attr("strides"),
        "padding": op.get_attr("padding").decode(),
        "data_format": op.get_attr("data_format").decode(),
    }
