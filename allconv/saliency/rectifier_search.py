"""The rectifiers of a traced graph, of one operation or of several that are one unit.

    relu(x), leaky_relu(x), max(x, c), min(x, c)              one operation
    relu6(x), clip(x, 0, c), relu(x) - relu(x - c)            a floor and a ceiling
    max(x, a x), x if x > c else a x, relu(x) - a relu(-x)    leaky, PReLU
    x cast(x > c), (x + |x|) / 2, -min(-x, 0)

They are not known by how they are written. Where operations make a function of one
signal, the function is tried on numbers: a rectifier consists of straight lines, bends
upwards at one place, and is less steep on one side than on the other. It may have a
ceiling if what it lets through goes through 0, or have nothing but a ceiling.

A layer of Keras that bends what it gets is one by itself: x + ReLU()(x) holds a
rectifier, of slopes 0 and 1, and no other of slopes 1 and 2.

What only looks like one is left to its plain gradient: a clamp inside a smooth
function, such as the relu6(x + 3) of hard_sigmoid, clip(x, -1, 1), |x|, or a guard such
as max(x, 1e-7) under a root.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from allconv.saliency.elementwise import (
    ALIKE,
    CONSTANTS,
    ELEMENTWISE,
    KINKS,
    STRAIGHT,
    Region,
    Values,
    boundless,
    guards,
    readers,
    repeat,
    same_shapes,
    shape_of,
    solid,
)

if TYPE_CHECKING:
    from allconv.saliency.neurons import Call

STEPS = frozenset({"Relu", "Relu6", "Maximum", "Minimum"})
SINGLE = ("LeakyRelu", "Maximum", "Minimum", "Relu", "Relu6")
_TURNS = ALIKE | {"Neg"}
_KEY = "allconv/rectifiers"
# Gradients that need no second pass.
_OWN: dict[str, Callable] = {
    "Relu": lambda op, signal: tf.raw_ops.ReluGrad(
        gradients=signal, features=op.outputs[0]
    ),
    "Relu6": lambda op, signal: tf.raw_ops.Relu6Grad(
        gradients=signal, features=op.outputs[0]
    ),
    "LeakyRelu": lambda op, signal: tf.raw_ops.LeakyReluGrad(
        gradients=signal, features=op.inputs[0], alpha=op.get_attr("alpha")
    ),
}


@dataclass(frozen=True)
class Rectifier:
    """What an operation does in a rectifier.

    Args:
        index: The input that holds its signal.
        slope: From nothing to f'(x); None: TensorFlow's own gradient of the operation.
        passes: Whether it stands below the operation that ends its unit, which has
            seen to the signal already.
        source: x, where that is not the input.
        sign: -1 if the unit that it is a part of gets it with the other sign.
        scale: From nothing to the slope where it is active; None: it is 1.
    """

    index: int
    slope: Callable[[], tf.Tensor] | None = field(default=None, compare=False)
    passes: bool = False
    source: tf.Tensor | None = field(default=None, compare=False)
    sign: int = 1
    scale: Callable[[], tf.Tensor] | None = field(default=None, compare=False)


def find(images: tf.Tensor, calls: Sequence["Call"] = ()) -> dict[str, Rectifier]:
    """The rectifiers of a graph by the names of their operations; kept with the graph.

    To be called when the model is traced and nothing is differentiated yet; `calls` are
    those of its layers.
    """
    graph = images.graph
    units = _Search(images, _ends(graph, calls)).units
    graph.clear_collection(_KEY)
    graph.add_to_collection(_KEY, units)
    return units


def of_graph(graph: tf.Graph) -> dict[str, Rectifier]:
    """What `find` found."""
    return graph.get_collection(_KEY)[0]


def of(op: tf.Operation) -> Rectifier | None:
    """What an operation does in a rectifier, as found before; None: nothing."""
    return of_graph(op.graph).get(op.name)


def types(graph: tf.Graph) -> frozenset[str]:
    """The types of operations that rectifiers of several operations consist of."""
    found = {graph.get_operation_by_name(name).type for name in of_graph(graph)}
    return frozenset(found - set(SINGLE))


def uncapped(tensor: tf.Tensor) -> tf.Tensor:
    """The output of a rectifier without its ceiling; any other tensor as it is.

    Units at their ceiling are tied, and their plain gradients are 0.
    """
    steps, below = [], tensor
    op = solid(tensor).op
    while (unit := of(op)) and op.type in STEPS:
        steps.append(op)
        below = op.inputs[unit.index]
        op = solid(op.inputs[unit.index]).op
    if not any(step.type in ("Relu6", "Minimum") for step in steps):
        return tensor
    floors = [step for step in steps if step.type != "Minimum"]
    return tf.cast(tf.nn.relu(below) if floors else below, tensor.dtype)


def flows(tensor: tf.Tensor) -> bool:
    """Whether a signal may flow through a tensor: a list, in recurrent layers, too."""
    return tensor.dtype.is_floating or tensor.dtype == tf.variant


def plain(op: tf.Operation, signal: tf.Tensor) -> list[tf.Tensor | None]:
    """TensorFlow's own gradient of an operation of one output."""
    if op.type in _OWN:
        return [_OWN[op.type](op, signal)]
    inputs = [tf.identity(x) for x in op.inputs]
    floating = [x for x in inputs if x.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(floating)
        output = repeat(op, inputs)
    found = iter(tape.gradient(output, floating, signal))
    return [next(found) if x.dtype.is_floating else None for x in inputs]


class _Search:
    """The search itself.

    Attributes:
        units: What was found.
    """

    def __init__(self, images: tf.Tensor, ends: set):
        self.units: dict[str, Rectifier] = {}
        self.ends = ends
        self.depending = {images.ref()}
        # Of a tensor that is a function of one other, number by number, that other: the
        # nearest one that all ways from the images to it lead through.
        self.parents: dict = {}
        kinks, joins = [], []
        for op in images.graph.get_operations():  # in the order of their making
            if op.type in CONSTANTS:
                continue
            inputs = self.signals(op)
            if not inputs:
                continue
            self.depending.update(y.ref() for y in op.outputs)
            if op.type not in ELEMENTWISE or not same_shapes(op, inputs):
                continue
            parent = self.common(inputs)
            if parent is None:
                continue
            self.parents[op.outputs[0].ref()] = parent
            if len(inputs) > 1:
                joins.append(op)
            elif op.type in KINKS and flows(inputs[0]):
                kinks.append(op)
        self.values = Values(images.graph, self.depends)
        self.regions = {one.exit.name: one for one in self.parts(kinks, joins)}
        self.left: set[str] = set()  # to their plain gradients
        for region in self.regions.values():
            self.judge(region)
        for name in self.left:
            self.units.pop(name, None)

    def depends(self, tensor: tf.Tensor) -> bool:
        return tensor.ref() in self.depending

    def signals(self, op: tf.Operation) -> list[tf.Tensor]:
        """The inputs that depend on the images, each once."""
        return list({x.ref(): x for x in op.inputs if self.depends(x)}.values())

    def above(self, tensor: tf.Tensor) -> Iterator[tf.Tensor]:
        """A tensor, and those that it is a function of, up to where a layer ends."""
        found: tf.Tensor | None = tensor
        while found is not None:
            yield found
            ends = found.ref() in self.ends
            found = None if ends else self.parents.get(found.ref())

    def common(self, tensors: list[tf.Tensor]) -> tf.Tensor | None:
        """The nearest tensor that all are functions of."""
        first, *others = ([x.ref() for x in self.above(t)] for t in tensors)
        return next((x.deref() for x in first if all(x in o for o in others)), None)

    def parts(self, kinks: list, joins: list) -> Iterator[Region]:
        """Where functions with kinks begin and end, of which none holds another."""
        covered: set[str] = set()
        for op in reversed(joins):
            if op.name in covered:
                continue
            region = Region(self.parents[op.outputs[0].ref()], op, self.depends)
            if any(one.type in KINKS for one in region.ops):
                covered.update(one.name for one in region.ops)
                yield region
        for op in kinks:
            if op.name in covered:
                continue
            region = Region(self.signals(op)[0], op, self.depends)
            if boundless(op):
                self.units[op.name] = Rectifier(_index(region), passes=True)
            else:
                yield region

    def judge(self, region: Region) -> None:
        """Add a function to the units if it is a rectifier."""
        op, before = region.exit, self.before(region)
        alone = len(region.ops) == 1
        turned = before is not None and solid(region.entry).op is not before.exit
        beginning = self.beginning(region.entry)
        if alone and (
            op.type == "Relu"
            or (op.type == "Relu6" and beginning is region.entry)
            or (op.type == "LeakyRelu" and 0 <= op.get_attr("alpha") < 1)
        ):
            self.add(region)  # no need to try it
            return
        if alone and guards(op, region.entry):
            self.leave(region, self.after(region))
            return
        if _forks(region):
            self.leave(region)
            return
        outputs = [op.outputs[0], region.entry]
        kind, slopes, active = self.tried(beginning, outputs)
        if not kind:
            self.leave(region)
        elif kind == "rectifier" and not turned:
            self.add(region, 1, active[1])
        elif not self.add_chain(region, active[1]):
            others = [one for one in self.regions.values() if one is not region]
            halves = any(one.entry is region.entry for one in others)
            if before or self.after(region) or halves or slopes[0] < 0:
                # A clamp that is no rectifier is none in any of its steps.
                self.leave(region, before, self.after(region))
            else:  # a ceiling alone
                self.add(region, 1, active[1])

    def add_chain(self, region: Region, active: float) -> bool:
        """Add what is a rectifier with what stands before or after it, if it is one.

        Such as the ceiling of a clamp, or what is negated before and after.
        """
        before: list[Region] = []
        first = region
        while found := self.before(first):
            before.insert(0, first := found)
        after = [one for one in [self.after(region)] if one]
        for chain in ([*before, region], [*before, region, *after], [region, *after]):
            exits = [one.exit.outputs[0] for one in chain]
            beginning = self.beginning(chain[0].entry)
            for output in self.onward(exits[-1]):
                kind, slopes, _ = self.tried(beginning, [output, *exits])
                if kind != "rectifier":
                    continue
                signs = [int(np.sign(slopes[0] / slope)) for slope in slopes[1:]]
                where = chain.index(region)
                if any(sign != 1 for sign in signs[:where]):
                    continue
                self.add(region, signs[where], active)
                return True
        return False

    def tried(self, beginning: tf.Tensor, outputs: list[tf.Tensor]):
        """What function an output is of a beginning; see `elementwise.shape_of`.

        Returns:
            Its kind; and where it is active, the slopes and values of all outputs.
        """
        scale = Region(beginning, outputs[0].op, self.depends).reach()
        try:
            values, slopes = self.values.curves(beginning, outputs, scale)
        except Exception:  # whatever cannot be run by itself is nothing known
            return "", [], []
        kind, at = shape_of(values[0], slopes[0])
        active = [scale * value[at].mean() for value in values]
        return kind, [slope[at].mean() for slope in slopes], active

    def beginning(self, tensor: tf.Tensor) -> tf.Tensor:
        """What a tensor is a multiple of, a number added."""
        while tensor.ref() in self.parents and self.is_straight(tensor.op):
            tensor = self.parents[tensor.ref()]
        return tensor

    def onward(self, tensor: tf.Tensor) -> Iterator[tf.Tensor]:
        """A tensor, and what is a multiple of it, a number added."""
        yield tensor
        reading = tensor.consumers()
        while len(reading) == 1 and self.is_straight(reading[0]):
            (tensor,) = reading[0].outputs
            yield tensor
            reading = tensor.consumers()

    def is_straight(self, op: tf.Operation) -> bool:
        numbers = [x for x in op.inputs if not self.depends(x)]
        values = [tf.get_static_value(x) for x in numbers]
        known = all(value is not None and np.size(value) == 1 for value in values)
        return op.type in STRAIGHT and len(numbers) == len(op.inputs) - 1 and known

    def before(self, region: Region) -> Region | None:
        """The function whose value, or its negative, goes into one."""
        tensor = region.entry
        while tensor.op.type in _TURNS:
            tensor = tensor.op.inputs[0]
        return self.regions.get(tensor.op.name)

    def after(self, region: Region) -> Region | None:
        """The function that a value alone goes into."""
        found = readers(region.exit)
        return self.regions.get(found[0].name) if len(found) == 1 else None

    def leave(self, *regions: Region | None) -> None:
        for region in filter(None, regions):
            self.left.update(op.name for op in region.ops)

    def add(self, region: Region, sign: int = 1, active: float = 1.0) -> None:
        """Add a function; it is `active` where its signal is that."""
        if len(region.ops) == 1:
            self.units[region.exit.name] = Rectifier(_index(region), sign=sign)
            return
        path = region.path()
        if not path:
            self.leave(region)
            return
        for op in region.ops:
            self.units[op.name] = Rectifier(0, passes=True)
        for op, index in path:
            self.units[op.name] = Rectifier(index, passes=True)
        self.units[region.exit.name] = Rectifier(
            path[0][1],
            region.slope,
            source=region.entry,
            sign=sign,
            scale=lambda: region.slope(active),
        )


def _ends(graph: tf.Graph, calls: Sequence["Call"]) -> set:
    """What layers with a kink hand on."""
    made = graph.get_operations()
    return {
        tensor.ref()
        for call in calls
        if isinstance(call.layer, keras.Layer)
        and any(op.type in KINKS for op in made[call.first : call.last])
        for tensor in tf.nest.flatten(call.output)
        if tf.is_tensor(tensor) and tensor.dtype.is_floating
    }


def _index(region: Region) -> int:
    return [x is region.entry for x in region.exit.inputs].index(True)


def _forks(region: Region) -> bool:
    """Whether what is inside of a function is read outside of it."""
    reading = (
        reader
        for op in region.ops
        if op is not region.exit
        for reader in op.outputs[0].consumers()
    )
    return any(r not in region and r.type not in CONSTANTS for r in reading)
