"""The rectifiers of a traced graph, of one operation or of several that are one unit.

    relu(x), relu6(x), leaky_relu(x)                          one operation
    max(x, c), min(x, c), x if x > c else c                   one operation
    clip(x, 0, c)                                             a floor and a ceiling
    max(x, a x), x if x > c else a x                          leaky, by hand
    x * cast(x > c)                                           with a threshold
    relu(x) - a relu(-x), max(x, 0) + a min(x, 0)             PReLU, and leaky likewise

What only looks like one is left to its plain gradient: a clamp inside a smooth
function, such as the relu6(x + 3) of hard_sigmoid, clip(x, -1, 1), or a guard such as
max(x, 1e-7) under a root.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from allconv.core import backend  # noqa: F401

# Operations that read nothing but the shape of a tensor.
CONSTANTS = frozenset({"Shape", "ZerosLike", "OnesLike", "Size", "Rank"})
STEPS = frozenset({"Relu", "Relu6", "Maximum", "Minimum"})
SINGLE = (*sorted(STEPS), "LeakyRelu", "SelectV2")
JOINS = ("AddV2", "Sub", "Mul")
_ALIKE = frozenset({"Identity", "Cast"})
_ABOVE = {"Greater": 1, "GreaterEqual": 1, "Less": 2, "LessEqual": 2}
_KEY = "allconv/rectifiers"


@dataclass(frozen=True)
class Rectifier:
    """What an operation does in a rectifier.

    Args:
        index: The input that holds its signal.
        slope: From nothing to f'(x); None: TensorFlow's own gradient of the operation.
        passes: Whether it stands below the operation that joins its unit, which has
            seen to the signal already.
        source: x, where that is not the input.
    """

    index: int
    slope: Callable[[], tf.Tensor] | None = field(default=None, compare=False)
    passes: bool = False
    source: tf.Tensor | None = field(default=None, compare=False)


def find(images: tf.Tensor) -> dict[str, Rectifier]:
    """The rectifiers of a graph by the names of their operations; kept with the graph.

    To be called when the model is traced and nothing is differentiated yet.
    """
    graph = images.graph
    units = _Search(images).units
    graph.clear_collection(_KEY)
    graph.add_to_collection(_KEY, units)
    return units


def of_graph(graph: tf.Graph) -> dict[str, Rectifier]:
    """What `find` found."""
    return graph.get_collection(_KEY)[0]


def of(op: tf.Operation) -> Rectifier | None:
    """What an operation does in a rectifier, as found before; None: nothing."""
    return of_graph(op.graph).get(op.name)


def uncapped(tensor: tf.Tensor) -> tf.Tensor:
    """The output of a rectifier without its ceiling; any other tensor as it is.

    Units at their ceiling are tied, and their plain gradients are 0.
    """
    steps, below = [], tensor
    op = _solid(tensor).op
    while (unit := of(op)) and op.type in STEPS:
        steps.append(op)
        below = op.inputs[unit.index]
        op = _solid(op.inputs[unit.index]).op
    if not any(step.type in ("Relu6", "Minimum") for step in steps):
        return tensor
    floors = [step for step in steps if step.type != "Minimum"]
    return tf.cast(tf.nn.relu(below) if floors else below, tensor.dtype)


def flows(tensor: tf.Tensor) -> bool:
    """Whether a signal may flow through a tensor: a list, in recurrent layers, too."""
    return tensor.dtype.is_floating or tensor.dtype == tf.variant


def joined(units: dict[str, Rectifier], graph: tf.Graph) -> bool:
    """Whether there is a unit that an operation of `JOINS` makes."""
    return any(graph.get_operation_by_name(name).type in JOINS for name in units)


class _Search:
    def __init__(self, images: tf.Tensor):
        self.carrying = {images.ref()}
        self.units: dict[str, Rectifier] = {}
        ops = []
        for op in images.graph.get_operations():  # in the order of their making
            if op.type in CONSTANTS or not any(self.carries(x) for x in op.inputs):
                continue
            ops.append(op)
            self.carrying.update(y.ref() for y in op.outputs if flows(y))
        for op in ops:
            index = self.single(op)
            if index is not None:
                self.units[op.name] = index
        for op in ops:
            self.clamp(op)
        for op in ops:
            if op.type in JOINS:
                self.join(op)
        for op in ops:
            self.halves(op)

    def carries(self, tensor: tf.Tensor) -> bool:
        return tensor.ref() in self.carrying

    def single(self, op: tf.Operation) -> Rectifier | None:
        if op.type in ("Relu", "Relu6", "LeakyRelu"):
            return Rectifier(0)
        if op.type in ("Maximum", "Minimum"):
            signals = [i for i in (0, 1) if self.carries(op.inputs[i])]
            if len(signals) == 1:
                return Rectifier(signals[0])
            for i in (0, 1):
                factor = self.multiple(op.inputs[1 - i], op.inputs[i])
                if op.type == "Maximum" and factor is not None and _below_1(factor):
                    return Rectifier(i, functools.partial(_leaky, op, i, factor))
        if op.type == "SelectV2":
            test = op.inputs[0].op
            i = _ABOVE.get(test.type, 0)
            if not i or test.inputs[0] is not op.inputs[i]:
                return None
            if not self.carries(op.inputs[3 - i]):
                return Rectifier(i)
            factor = self.multiple(op.inputs[3 - i], op.inputs[i])
            if factor is not None and _below_1(factor):
                return Rectifier(i, functools.partial(_leaky, op, i, factor))
        return None

    def multiple(self, tensor: tf.Tensor, of: tf.Tensor) -> tf.Tensor | None:
        """a, if a tensor is a x, and a does not depend on the images."""
        op = tensor.op
        if op.type != "Mul":
            return None
        for i in (0, 1):
            if op.inputs[i] is of and not self.carries(op.inputs[1 - i]):
                return op.inputs[1 - i]
        return None

    def clamp(self, op: tf.Operation) -> None:
        """Take out the steps of a clamp that is no rectifier."""
        if op.name not in self.units or op.type not in STEPS:
            return
        if any(c.type in STEPS and c.name in self.units for c in _readers(op)):
            return  # the last step speaks for all
        steps = list(self.chain(op))
        floors = [_floor(step) for step in steps if step.type != "Minimum"]
        capped = any(step.type in ("Minimum", "Relu6") for step in steps)
        known = [floor for floor in floors if floor is not None]
        bounded = capped and floors
        smooth = bounded and (any(known) or _is_shifted(self.source(steps[-1])))
        if smooth or (len(steps) == 1 and _guards(op, self.source(op))):
            for step in steps:
                del self.units[step.name]

    def chain(self, op: tf.Operation) -> Iterator[tf.Operation]:
        """The steps of a clamp, from the last down."""
        while op.name in self.units and op.type in STEPS:
            yield op
            op = _solid(self.source(op)).op

    def source(self, op: tf.Operation) -> tf.Tensor:
        return op.inputs[self.units[op.name].index]

    def join(self, op: tf.Operation) -> None:
        if op.type == "Mul":
            for i in (0, 1):
                test = _solid(op.inputs[1 - i]).op
                if test.type in ("Greater", "GreaterEqual") and (
                    _solid(test.inputs[0]) is _solid(op.inputs[i])
                ):
                    gate = functools.partial(tf.identity, op.inputs[1 - i])
                    self.units[op.name] = Rectifier(i, gate)
                    for step in (op.inputs[1 - i].op, test):
                        self.units[step.name] = Rectifier(0, passes=True)
            return
        for i in (0, 1) if op.type == "AddV2" else (0,):
            upper = list(self.chain(_solid(op.inputs[i]).op))
            below = _solid(self.source(upper[-1]) if upper else op.inputs[i]).op
            if below.type == "SelectV2" and below.name in self.units:
                upper.append(below)  # x if x > c else 0
            if not upper or any(_forks(step) for step in upper):
                continue
            x = self.source(upper[-1])
            lower = self.lower(op.inputs[1 - i], x)
            if lower is None:
                continue
            half, slope = lower
            sign = -1 if op.type == "Sub" else 1

            def slopes(upper=upper, slope=slope, sign=sign) -> tf.Tensor:
                signal = tf.ones_like(upper[0].outputs[0])
                for step in upper:
                    signal = plain(step, signal)[self.units[step.name].index]
                return signal + sign * slope()

            self.units[half.name] = Rectifier(0, passes=True)
            for step in upper:
                index = self.units[step.name].index
                self.units[step.name] = Rectifier(index, passes=True)
            self.units[op.name] = Rectifier(i, slopes, source=x)
            return

    def lower(self, tensor: tf.Tensor, x: tf.Tensor):
        """The lower half of a two-part unit of x, and the slope of a multiple of it."""
        factors = []
        while True:
            op = tensor.op
            if op.type == "Mul":
                signals = [i for i in (0, 1) if self.carries(op.inputs[i])]
                if len(signals) != 1:
                    return None
                factors.append(op.inputs[1 - signals[0]])
                tensor = op.inputs[signals[0]]
            elif op.type == "Neg":
                factors.append(tf.constant(-1, tensor.dtype))
                tensor = op.inputs[0]
            elif op.type in _ALIKE:
                tensor = op.inputs[0]
            else:
                break
        if op.type == "Relu" and _negated(op) is x:
            inner = -1.0
        elif op.type == "Minimum" and any(
            a is x and _value(b) == 0 for a, b in (op.inputs, list(op.inputs)[::-1])
        ):
            inner = 1.0
        else:
            return None

        def slope() -> tf.Tensor:
            half = op.outputs[0]
            result = tf.cast(half != 0, half.dtype) * inner
            for factor in factors:
                result *= tf.cast(factor, half.dtype)
            return result

        return op, slope

    def halves(self, op: tf.Operation) -> None:
        """Take out both halves of a function in two parts that is no rectifier.

        [R > 0] would have the wrong sign in the lower one. The halves of a concatenated
        ReLU, on the other hand, are two rectifiers like any other.
        """
        unit = self.units.get(op.name)
        if unit is None or unit.passes:
            return
        x = _negated(op) if op.type == "Relu" else None
        if op.type == "Minimum":
            x = op.inputs[unit.index]
        if x is None or any(c.type == "ConcatV2" for c in _readers(op)):
            return
        partners = [
            c
            for c in x.consumers()
            if c is not op
            and c.name in self.units
            and c.type in ("Relu", "Relu6", "SelectV2", "Maximum")
        ]
        if partners:
            for half in (op, *partners):
                del self.units[half.name]


def plain(op: tf.Operation, signal: tf.Tensor) -> list[tf.Tensor | None]:
    """TensorFlow's own gradient of an operation of `SINGLE` or `JOINS`."""
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
    repeat |= {"AddV2": tf.add, "Sub": tf.subtract, "Mul": tf.multiply}
    inputs = list(op.inputs)
    with tf.GradientTape() as tape:
        tape.watch([x for x in inputs if x.dtype.is_floating])
        output = repeat[op.type](*inputs)
    floating = iter(
        tape.gradient(output, [x for x in inputs if x.dtype.is_floating], signal)
    )
    return [next(floating) if x.dtype.is_floating else None for x in inputs]


def _leaky(op: tf.Operation, index: int, factor: tf.Tensor) -> tf.Tensor:
    output, x = op.outputs[0], op.inputs[index]
    return tf.where(output == x, tf.ones_like(x), tf.broadcast_to(factor, tf.shape(x)))


def _value(tensor: tf.Tensor) -> np.ndarray | None:
    return tf.get_static_value(tensor)


def _below_1(factor: tf.Tensor) -> bool:
    """Whether a slope is one of a leaky rectifier, as far as that is known."""
    value = _value(factor)
    return value is None or bool(np.all((value >= 0) & (value < 1)))


def _solid(tensor: tf.Tensor) -> tf.Tensor:
    while tensor.op.type in _ALIKE:
        tensor = tensor.op.inputs[0]
    return tensor


def _readers(op: tf.Operation) -> list[tf.Operation]:
    """Who reads an operation's output, casts apart."""
    found: list[tf.Operation] = []
    for reader in op.outputs[0].consumers():
        found += _readers(reader) if reader.type in _ALIKE else [reader]
    return found


def _forks(op: tf.Operation) -> bool:
    return len(_readers(op)) > 1


def _floor(op: tf.Operation) -> float | None:
    """The floor that a step sets; None: one that only running the graph would tell."""
    if op.type in ("Relu", "Relu6"):
        return 0.0
    values = [_value(x) for x in op.inputs]
    value = next((v for v in values if v is not None), None)
    return None if value is None else float(np.max(np.abs(value)))


def _is_shifted(tensor: tf.Tensor) -> bool:
    """Whether a tensor is x + c, with c a number: relu6(x + 3) is no rectifier."""
    op = _solid(tensor).op
    if op.type not in ("AddV2", "Sub"):
        return False
    values = [_value(x) for x in op.inputs]
    return any(v is not None and v.size == 1 and np.any(v) for v in values)


def _guards(op: tf.Operation, source: tf.Tensor) -> bool:
    """Whether max(x, c) keeps what follows defined: a root, a logarithm, a quotient.

    Or whether max or min keeps one of these in its bounds.
    """
    smooth = ("Sqrt", "Rsqrt", "Log", "Reciprocal", "Exp", "Sigmoid", "Softmax")
    if op.type in ("Maximum", "Minimum") and _solid(source).op.type in smooth:
        return True
    if op.type != "Maximum" or not _floor(op):
        return False
    quotients = ("RealDiv", "Div", "DivNoNan")
    return any(
        reader.type in smooth[:4]
        or (reader.type in quotients and _solid(reader.inputs[1]).op.name == op.name)
        for reader in _readers(op)
    )


def _negated(op: tf.Operation) -> tf.Tensor | None:
    """x, of a rectifier of -x or c - x."""
    source = op.inputs[0].op
    if source.type == "Sub":  # threshold - x
        return source.inputs[1] if _value(source.inputs[0]) is not None else None
    if source.type == "AddV2":  # threshold + -x
        source = source.inputs[0].op
    return source.inputs[0] if source.type == "Neg" else None
