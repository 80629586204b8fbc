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
from dataclasses import dataclass

import tensorflow as tf

from allconv.core.checks import check_choice

POOL_ROUTES = ("switch", "centre", "spread")


@dataclass(frozen=True)
class Rule:
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
    pool: str = "switch"

    def __post_init__(self):
        check_choice("pool", self.pool, POOL_ROUTES)

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

# Operations that read nothing but the shape of a tensor.
CONSTANTS = frozenset({"Shape", "ZerosLike", "OnesLike", "Size", "Rank"})


def carries(tensor: tf.Tensor) -> bool:
    """Whether a tensor of a traced graph depends on the images, its first input."""
    images, seen, todo = tensor.graph.inputs[0], set(), [tensor]
    while todo:
        tensor = todo.pop()
        if tensor is images:
            return True
        if tensor.op not in seen and tensor.op.type not in CONSTANTS:
            seen.add(tensor.op)
            todo.extend(x for x in tensor.op.inputs if x.dtype.is_floating)
    return False


def signal_input(op: tf.Operation) -> int | None:
    """Which input of a rectifier holds its signal; None: `op` is not a rectifier."""
    if op.type in ("Relu6", "LeakyRelu"):
        return 0
    if op.type == "Relu":
        return None if _is_lower_half(op) else 0
    if op.type in ("Maximum", "Minimum"):  # of a signal and a constant
        signals = [i for i in (0, 1) if carries(op.inputs[i])]
        if len(signals) != 1:
            return None
        halved = op.type == "Minimum" and _feeds_upper_half(op.inputs[signals[0]])
        return None if halved else signals[0]
    if op.type == "SelectV2":  # x if x > threshold else a constant
        test = op.inputs[0].op
        branch = {"Greater": 1, "GreaterEqual": 1, "Less": 2, "LessEqual": 2}
        i = branch.get(test.type, 0)
        if i and test.inputs[0] is op.inputs[i] and not carries(op.inputs[3 - i]):
            return i
    return None


def _is_lower_half(op: tf.Operation) -> bool:
    """Whether a Relu is the -x of a two-part unit such as PReLU: f(x) - a * f(-x).

    [R > 0] would have the wrong sign there. The halves of a concatenated ReLU, on the
    other hand, are two rectifiers like any other.
    """
    source = op.inputs[0].op
    if source.type == "AddV2":  # threshold - x
        source = source.inputs[0].op
    if source.type != "Neg":
        return False
    joined = [c.type for c in op.outputs[0].consumers()]
    return "ConcatV2" not in joined and _feeds_upper_half(source.inputs[0])


def _feeds_upper_half(tensor: tf.Tensor) -> bool:
    """Whether a tensor is also rectified: the f(x) of f(x) + a * min(x, 0), say.

    Under a rule that does not know what was active both halves would send R down.
    """
    upper = ("Relu", "Relu6", "SelectV2", "Greater", "Maximum")
    return any(consumer.type in upper for consumer in tensor.consumers())


def _times_slope(op: tf.Operation, signal: tf.Tensor) -> list[tf.Tensor | None]:
    """R * f'(x): TensorFlow's own gradient of a rectifier."""
    if op.type == "Relu":
        return [tf.raw_ops.ReluGrad(gradients=signal, features=op.outputs[0])]
    if op.type == "Relu6":
        return [tf.raw_ops.Relu6Grad(gradients=signal, features=op.outputs[0])]
    if op.type == "LeakyRelu":
        return [
            tf.raw_ops.LeakyReluGrad(
                gradients=signal, features=op.inputs[0], alpha=op.get_attr("alpha")
            )
        ]
    repeat = {"Maximum": tf.maximum, "Minimum": tf.minimum, "SelectV2": tf.where}
    inputs = list(op.inputs)
    with tf.GradientTape() as tape:
        tape.watch([x for x in inputs if x.dtype.is_floating])
        output = repeat[op.type](*inputs)
    floating = iter(
        tape.gradient(output, [x for x in inputs if x.dtype.is_floating], signal)
    )
    return [next(floating) if x.dtype.is_floating else None for x in inputs]


@functools.cache
def overrides(rule: Rule) -> dict[str, str]:
    """Register the gradients of a rule.

    Args:
        rule: The rule.

    Returns:
        A dict from operation type to the name of its gradient, for
        `graph.gradient_override_map`. Empty for backprop, which is the gradient.
    """
    names: dict[str, str] = {}
    if (rule.forward, rule.gradient) != _OWN_MASKS:
        name = f"allconv/rectifier/{rule.forward:d}{rule.gradient:d}/{rule.pool}"

        @tf.RegisterGradient(name)
        def rectify(op, signal):
            index = signal_input(op)
            if index is None:
                return _times_slope(op, signal)
            if rule.gradient:
                signal = tf.nn.relu(signal)
            if rule.forward:
                return _times_slope(op, signal)
            return [signal if i == index else None for i in range(len(op.inputs))]

        types = ("Relu", "Relu6", "LeakyRelu", "Maximum", "Minimum", "SelectV2")
        names |= dict.fromkeys(types, name)
    if rule.pool != _OWN_ROUTE:
        name = f"allconv/pool/{rule.forward:d}{rule.gradient:d}/{rule.pool}"

        @tf.RegisterGradient(name)
        def unpool(op, signal):
            return _ROUTES[rule.pool](op, signal)

        names["MaxPool"] = name
    return names


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
