"""Parts of a traced graph that compute a function of one signal, number by number.

Such a part is looked at by running it: on numbers, to see which function it is, and
as a part of the graph, for its slope.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from allconv.core import backend  # noqa: F401

# Operations that read nothing but the shape of a tensor.
CONSTANTS = frozenset({"Shape", "ZerosLike", "OnesLike", "Size", "Rank"})
# What bends a straight line, or cuts it.
KINKS = frozenset(
    "Relu Relu6 LeakyRelu Maximum Minimum SelectV2 Select Abs Sign Greater "
    "GreaterEqual Less LessEqual".split()
)
ALIKE = frozenset({"Identity", "Cast"})
STRAIGHT = frozenset("Cast Identity Neg AddV2 Add Sub Mul RealDiv".split())
_OTHERS = frozenset(
    "AddN LogicalNot LogicalAnd LogicalOr Equal NotEqual Square Sqrt Rsqrt Reciprocal "
    "Pow Exp Expm1 Log Log1p Sigmoid Tanh Softplus Softsign Elu Selu Erf".split()
)
ELEMENTWISE = KINKS | STRAIGHT | _OTHERS
# The numbers that a function is tried on, close enough for its kinks to lie apart.
POINTS = np.geomspace(1.1e-3, 1.1e3, 60)
POINTS = np.concatenate([-POINTS[::-1], POINTS])
STEP = 1e-5  # of a number to the next, where a slope is taken

Given = Callable[[tf.Tensor], tf.Tensor | None]


class Region:
    """What lies between a signal and a function of it.

    Args:
        entry: The signal.
        exit: The operation whose output the function is.
        depends: Whether a tensor depends on the images.

    Attributes:
        ops: All operations between them, the exit too.
    """

    def __init__(
        self,
        entry: tf.Tensor,
        exit: tf.Operation,
        depends: Callable[[tf.Tensor], bool],
    ):
        self.entry, self.exit = entry, exit
        found, todo = {}, [exit]
        while todo:
            op = todo.pop()
            if op.name not in found:
                found[op.name] = op
                below = (x for x in op.inputs if x is not entry and depends(x))
                todo.extend(x.op for x in below)
        self.ops = list(found.values())
        self._names = found.keys()

    def __contains__(self, op: tf.Operation) -> bool:
        return op.name in self._names

    def path(self) -> list[tuple[tf.Operation, int]]:
        """The way from the exit down to the entry: operations, each with an input.

        Through numbers alone: a comparison passes no signal. Empty if there is none.
        """
        dead = set()

        def down(op: tf.Operation) -> list[tuple[tf.Operation, int]]:
            for i, tensor in enumerate(op.inputs):
                if tensor is self.entry:
                    return [(op, i)]
                below = tensor.op
                if below not in self or below in dead or not tensor.dtype.is_floating:
                    continue
                if rest := down(below):
                    return [(op, i), *rest]
            dead.add(op)
            return []

        return down(self.exit)

    def slope(self, at: float | None = None) -> tf.Tensor:
        """The slope of the function, or `at` a number, as a part of the graph."""
        with tf.GradientTape() as tape:
            x = tf.identity(self.entry)
            if at is not None:
                x = tf.fill(tf.shape(x), tf.cast(at, x.dtype))
            tape.watch(x)
            y = run(
                self.exit.outputs[0],
                {self.entry.ref(): x},
                lambda tensor: None if tensor.op in self else tensor,
            )
        return tf.cast(tape.gradient(y, x, unconnected_gradients="zero"), y.dtype)

    def reach(self) -> float:
        """How large the numbers are at which a function of straight lines bends.

        Where all its bounds are large, or small; else 1.
        """
        factors = (op.inputs for op in self.ops if op.type in ("Mul", "RealDiv"))
        curved = any(all(x is self.entry or x.op in self for x in f) for f in factors)
        if curved or any(op.type not in KINKS | STRAIGHT for op in self.ops):
            return 1.0
        inputs = [x for op in self.ops if op.type in KINKS for x in op.inputs]
        values = [tf.get_static_value(x) for x in inputs if x.op not in self]
        known = [np.ravel(v) for v in values if v is not None and v.dtype.kind == "f"]
        bounds = abs(np.concatenate([[0.0], *known]))
        bounds = bounds[np.isfinite(bounds) & (bounds > 0)]
        if len(bounds) and (bounds.min() > 100 or bounds.max() < 0.01):
            return float(np.median(bounds))
        return 1.0


class Values:
    """What tensors of a graph hold that depend on no image: constants and weights.

    Args:
        graph: A traced graph.
        depends: Whether a tensor depends on the images.
    """

    def __init__(self, graph: tf.Graph, depends: Callable[[tf.Tensor], bool]):
        captures = getattr(graph, "captures", ())
        self._captured = {inner.ref(): outer for outer, inner in captures}
        self._depends = depends

    def __call__(self, tensor: tf.Tensor) -> tf.Tensor | None:
        """A value, of a map's at one place of it; None where it is to be computed.

        Raises:
            ValueError: If it is not known while the graph is made.
        """
        op = tensor.op
        value = tf.get_static_value(tensor)
        if value is None and op.type == "ReadVariableOp":
            handle = self._captured.get(op.inputs[0].ref())
            if handle is not None:
                value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tensor.dtype)
        if value is None:
            known = not self._depends(tensor) or op.type in ELEMENTWISE
            if known and len(op.inputs):
                return None
            raise ValueError(f"{tensor.name} is not known yet.")
        array = np.asarray(value)
        array = array[tuple(slice(1) for _ in array.shape[:-1])]
        return tf.constant(array.astype("f8") if tensor.dtype.is_floating else array)

    def curves(
        self, entry: tf.Tensor, outputs: list[tf.Tensor], scale: float = 1.0
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Functions of a signal at `POINTS`.

        Args:
            entry: The signal.
            outputs: The functions.
            scale: What is 1 for them: of signals, and of values.

        Returns:
            Their values, `(points, k)`, with `k` the channels of what makes up the
            first one; and their slopes, alike.
        """
        points = scale * np.concatenate([POINTS, POINTS * (1 + STEP)])
        points = points.reshape(-1, *[1] * (entry.shape.rank - 1))
        with tf.init_scope(), tf.device("CPU"):
            memo = {entry.ref(): tf.constant(points)}
            found = [run(tensor, memo, self, wide=True).numpy() for tensor in outputs]
        rows = [
            np.broadcast_to(values, found[0].shape).reshape(2, len(POINTS), -1) / scale
            for values in found
        ]
        slopes = [(b - a) / (STEP * POINTS[:, None]) for a, b in rows]
        return [values for values, _ in rows], slopes


def shape_of(value: np.ndarray, slope: np.ndarray) -> tuple[str, int]:
    """What a function of `POINTS` is, its values and slopes given: `(points, k)`.

    Returns:
        "rectifier"; "concave", a rectifier with the other sign; or "". And the index of
        a point where it is active.
    """
    nothing = "", 0
    if not (np.isfinite(value).all() and np.isfinite(slope).all() and slope.any()):
        return nothing
    value, slope = value / abs(slope).max(), slope / abs(slope).max()
    offset = value - slope * POINTS[:, None]
    bends = abs(np.diff(slope, axis=0)) > 1e-6
    bends |= abs(np.diff(offset, axis=0)) > 1e-6 * (1 + abs(offset[1:]))
    count = bends.sum(0)
    first = bends.argmax(0)
    gap = POINTS[first], POINTS[first + 1]
    low, high = slope[0], slope[-1]
    if count.max() == 1:
        at = len(POINTS) - 1 if abs(high.mean()) > abs(low.mean()) else 0
        steep, flat = slope[at], slope[-1 - at]
        if abs(steep.mean()) < 1e-6 or np.ptp(steep) > 1e-6 * abs(steep.mean()):
            return nothing
        ratio = flat / steep.mean()
        if ratio.min() <= -1 or ratio.mean() >= 1:
            return nothing
        meeting = (offset[0] - offset[-1]) / np.where(high == low, 1, high - low)
        meets = (gap[0] <= meeting) & (meeting <= gap[1])
        if not (meets | (count == 0) | (abs(offset[at]) < 1e-6)).all():
            return nothing
        # Not far from the bend: what a condition leaves out may be infinite far away.
        last = len(POINTS) - 1
        near = min(int(first.max()) + 3, last) if at else max(int(first.min()) - 2, 0)
        return ("rectifier" if high.mean() > low.mean() else "concave"), near
    if (count != 2).any():
        return nothing
    at = int(first[0]) + 1
    steep = slope[at]
    if steep.mean() < 0:
        kind, at = shape_of(value[::-1], -slope[::-1])
        return kind, len(POINTS) - 1 - at
    # The line below may be one of a leaky rectifier, and ends where it is 0.
    floor = np.where(abs(low) > 1e-6, -offset[0] / np.where(low, low, 1), gap[0])
    if (
        (first != first[0]).any()
        or np.ptp(steep) > 1e-6 * steep.mean()
        or (abs(high) > 1e-6).any()
        or (abs(low) >= steep).any()
        or (abs(offset[at]) > 1e-6).any()
        or (abs(offset[0][abs(low) <= 1e-6]) > 1e-6).any()
        or not ((gap[0] <= floor) & (floor <= gap[1])).all()
    ):
        return nothing
    return "rectifier", at


def run(tensor: tf.Tensor, memo: dict, given: Given, wide: bool = False) -> tf.Tensor:
    """Repeat the operations that lead to a tensor.

    Args:
        tensor: Of a graph.
        memo: From references of tensors to what they are now; is added to.
        given: What another tensor is; None: it is computed.
        wide: Whether in float64.
    """
    if tensor.ref() not in memo:
        value, op = given(tensor), tensor.op
        if value is None:
            inputs = [run(one, memo, given, wide) for one in op.inputs]
            found = tf.nest.flatten(repeat(op, inputs, wide))
            memo.update(zip((y.ref() for y in op.outputs), found, strict=True))
        else:
            memo[tensor.ref()] = value
    return memo[tensor.ref()]


def repeat(op: tf.Operation, inputs: list, wide: bool = False):
    """The same operation of other inputs; `wide`: in float64."""
    inputs, takes, inferred = list(inputs), {}, set()
    for argument in op.op_def.input_arg:
        inferred |= {argument.type_attr, argument.number_attr}
        if argument.number_attr:  # a list
            count = op.get_attr(argument.number_attr)
            takes[argument.name], inputs = inputs[:count], inputs[count:]
        else:
            takes[argument.name] = inputs.pop(0)
    for attribute in op.op_def.attr:
        if attribute.name not in inferred:
            value = op.get_attr(attribute.name)
            widen = wide and isinstance(value, tf.DType) and value.is_floating
            takes[attribute.name] = tf.float64 if widen else value
    return getattr(tf.raw_ops, op.type)(**takes)


def same_shapes(op: tf.Operation, inputs: list[tf.Tensor]) -> bool:
    """Whether an operation works number by number on inputs of one shape."""
    shape = op.outputs[0].shape
    if shape.rank is None:
        return False
    return all(x.shape.rank and x.shape.as_list() == shape.as_list() for x in inputs)


def solid(tensor: tf.Tensor) -> tf.Tensor:
    while tensor.op.type in ALIKE:
        tensor = tensor.op.inputs[0]
    return tensor


def readers(op: tf.Operation) -> list[tf.Operation]:
    """Who reads an operation's output, casts apart."""
    found: list[tf.Operation] = []
    for reader in op.outputs[0].consumers():
        found += readers(reader) if reader.type in ALIKE else [reader]
    return found


def boundless(op: tf.Operation) -> bool:
    """Whether the bound of max or min is infinity."""
    values = [tf.get_static_value(x) for x in op.inputs]
    infinite = any(v is not None and np.isinf(v).all() for v in values)
    return op.type in ("Maximum", "Minimum") and infinite


def guards(op: tf.Operation, source: tf.Tensor) -> bool:
    """Whether max(x, c) keeps what follows defined: a root, a logarithm, a quotient.

    Or whether max or min keeps one of these in its bounds.
    """
    smooth = ("Sqrt", "Rsqrt", "Log", "Reciprocal", "Exp", "Sigmoid", "Softmax")
    if op.type in ("Maximum", "Minimum") and solid(source).op.type in smooth:
        return True
    values = [tf.get_static_value(x) for x in op.inputs]
    if op.type != "Maximum" or not any(v is not None and np.any(v) for v in values):
        return False
    quotients = ("RealDiv", "Div", "DivNoNan")
    return any(
        reader.type in smooth[:4]
        or (reader.type in quotients and solid(reader.inputs[1]).op is op)
        for reader in readers(op)
    )
