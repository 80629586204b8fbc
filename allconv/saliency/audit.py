"""What a rule met in a traced graph: rectifiers, pooling, and whatever has no rule.

Every operation between the images and a neuron is sorted: a rectifier, max-pooling, a
linear map, or none of these. The lists are of what is known to be linear, so that an
operation nobody thought of is reported and not passed over in silence.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from allconv.saliency import rectifier_search
from allconv.saliency.elementwise import CONSTANTS
from allconv.saliency.rules import Rule, overrides

# Operations through which a signal passes unchanged in kind: linear in the one input
# that depends on the image, whatever the others hold.
_LINEAR = frozenset(
    "AddN AddV2 Add Sub Neg BiasAdd Identity Cast Snapshot EnsureShape PreventGradient "
    "Reshape Squeeze ExpandDims Transpose ConcatV2 Split SplitV Pack Unpack Slice "
    "StridedSlice Gather GatherV2 GatherNd Tile BroadcastTo ReverseV2 Roll "
    "Pad PadV2 MirrorPad Mean Sum AvgPool AvgPool3D DepthToSpace SpaceToDepth "
    "BatchToSpaceND SpaceToBatchND ResizeBilinear ResizeBicubic ResizeNearestNeighbor "
    "ImageProjectiveTransformV3 Cumsum MatrixBandPart TensorListFromTensor "
    "TensorListStack TensorListGetItem TensorListSetItem TensorListReserve".split()
)
# Linear as long as only one of their inputs depends on the image.
_PRODUCTS = frozenset(
    "Mul MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum Conv2D Conv3D "
    "DepthwiseConv2dNative Conv2DBackpropInput Conv3DBackpropInputV2 RealDiv "
    "FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3".split()
)
_POOLS = frozenset({"MaxPool", "MaxPool3D", "Max"})
# Local response normalisation: part of ZFNet, differentiated as it is, and listed.
_NORMALISATIONS = frozenset({"LRN"})

_DID = {
    "backprop": "backpropagated",
    "deconvnet": "deconvolved",
    "guided": "guided",
    "unmasked": "unmasked",
}


@dataclass(frozen=True)
class Audit:
    """What a signal meets between a neuron and the images, in a traced graph.

    Args:
        rule: The rule the graph was traced under.
        rectifiers: The rectifiers found, from the images up.
        treated: Those of them that follow the rule.
        pools: Max-pooling.
        normalisations: Local response normalisation, differentiated as it is.
        untouched: Other nonlinear operations; the plain gradient passes through them.
    """

    rule: Rule
    rectifiers: tuple[str, ...] = ()
    treated: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    normalisations: tuple[str, ...] = ()
    untouched: tuple[str, ...] = ()

    def __str__(self) -> str:
        lists = {
            "rectifiers": self.rectifiers,
            f"max-pooling ({self.rule.pool})": self.pools,
            "local response normalisation": self.normalisations,
            "untouched nonlinearities": self.untouched,
        }
        counts = f"{len(self.treated)} of {len(self.rectifiers)} rectifiers"
        lines = [
            f"{what}: {', '.join(found) or 'none'}" for what, found in lists.items()
        ]
        return "\n".join([f"{counts} {_DID[self.rule.name]}", *lines])


def inspect(
    images: tf.Tensor,
    neuron: tf.Tensor,
    rule: Rule,
    owner: Callable[[tf.Operation], str],
) -> Audit:
    """List what a signal meets on its way from a neuron down to the images.

    Args:
        images: The first input of a traced graph, or a tensor further up, from which
            on is looked.
        neuron: A tensor of the same graph.
        rule: The rule the graph was traced under.
        owner: From an operation to the name of the layer that made it.
    """
    carrying = {images.ref()}
    for op in images.graph.get_operations():  # in the order of their making
        if op.type not in CONSTANTS and any(x.ref() in carrying for x in op.inputs):
            carrying.update(y.ref() for y in op.outputs)
    made = {op: i for i, op in enumerate(images.graph.get_operations())}
    met = _met(neuron, images, carrying)
    # What a tf.custom_gradient computed is passed by on the way down.
    followed = _met(neuron, images, carrying, made)

    known = rectifier_search.of_graph(images.graph)
    expected = overrides(rule, rectifier_search.types(images.graph))
    found: dict[str, list] = {}
    for op in images.graph.get_operations():
        if op in met:
            signals = [i for i, x in enumerate(op.inputs) if x.ref() in carrying]
            kind = _kind(op, signals, rule, known, expected)
            if kind == "pool" and _is_maximum(op, carrying):
                kind = "untouched"
            found.setdefault(kind, []).append(op)

    def names(ops: list[tf.Operation]) -> tuple[str, ...]:
        return tuple(f"{owner(op)} ({op.type})" for op in ops)

    # The steps of one unit, such as relu then clip in ReLU(max_value=3), count once.
    units: list[list[tf.Operation]] = []
    for op in found.get("rectifier", []):
        below = op.inputs[known[op.name].index].op
        while below.type in ("Cast", "Identity"):
            below = below.inputs[0].op
        if units and below is units[-1][-1] and owner(op) == owner(below):
            units[-1].append(op)
        else:
            units.append([op])
    treated = [
        unit[0]
        for unit in units
        if all(
            op in followed and _gradient_name(op) == expected.get(op.type)
            for op in unit
        )
    ]
    return Audit(
        rule,
        rectifiers=names([unit[0] for unit in units]),
        treated=names(treated),
        pools=names(found.get("pool", [])),
        normalisations=names(found.get("normalisation", [])),
        untouched=names(found.get("untouched", [])),
    )


def _met(
    neuron: tf.Tensor, images: tf.Tensor, carrying: set, made: dict | None = None
) -> set[tf.Operation]:
    """The operations between a neuron and the images.

    With the numbers in which operations were `made`, those that a signal meets.
    """
    met, todo = set(), [neuron]
    while todo:
        op = todo.pop().op
        if op not in met and op is not images.op:
            met.add(op)
            past = _passed_by(op, made) if made else set()
            flowing = (
                x for x in op.inputs if x.ref() in carrying and x.ref() not in past
            )
            todo.extend(x for x in flowing if rectifier_search.flows(x))
    return met


def _passed_by(op: tf.Operation, made: dict) -> set:
    """The results of a function with a gradient of its own, which goes past them.

    TensorFlow hands it on as an IdentityN of its results and of what it took.
    """
    if op.type != "IdentityN" or _gradient_name(op) is None:
        return set()
    taken = {x.ref() for x in op.inputs}
    first = min(made[x.op] for x in op.inputs)
    results = set()
    for result in op.inputs:
        seen, todo = set(), [result.op]
        while todo:
            below = todo.pop()
            if below not in seen and made[below] >= first:
                seen.add(below)
                todo.extend(x.op for x in below.inputs)
                if any(x.ref() in taken for x in below.inputs):
                    results.add(result.ref())
                    break
    return results


def _kind(
    op: tf.Operation,
    signals: list[int],
    rule: Rule,
    known: dict[str, rectifier_search.Rectifier],
    expected: dict[str, str],
) -> str:
    """`signals` are the inputs of `op` that depend on the images."""
    if _gradient_name(op) not in (None, expected.get(op.type)):
        return "untouched"  # tf.custom_gradient: rules inside it would be bypassed
    if op.name in known:
        return "step" if known[op.name].passes else "rectifier"
    if not all(rectifier_search.flows(op.inputs[i]) for i in signals):
        return "untouched"  # such as cast(x > 0): a mask, which has no slope
    if op.type == "MaxPool" or (op.type in _POOLS and rule.pool == "switch"):
        return "pool"
    if op.type in _NORMALISATIONS:
        return "normalisation"
    if op.type in _LINEAR:
        return "linear"
    if op.type == "RealDiv":
        return "linear" if signals == [0] else "untouched"
    if op.type.startswith("FusedBatchNorm") and op.get_attr("is_training"):
        return "untouched"
    return "linear" if op.type in _PRODUCTS and len(signals) == 1 else "untouched"


def _is_maximum(op: tf.Operation, carrying: set) -> bool:
    """Whether a maximum is of a stack: max(stack([x, 0])) is a rectifier, no pooling.

    So is that of a concatenation, of which a part does not depend on the images.
    """
    below = op.inputs[0].op
    while below.type in ("Cast", "Identity"):
        below = below.inputs[0].op
    if op.type != "Max" or below.type not in ("Pack", "ConcatV2"):
        return False
    stacked = below.type == "Pack"
    parts = below.inputs if stacked else below.inputs[:-1]
    if not stacked and all(x.ref() in carrying for x in parts):
        return False
    axis = below.get_attr("axis") if stacked else tf.get_static_value(below.inputs[-1])
    rank, over = op.inputs[0].shape.rank, tf.get_static_value(op.inputs[1])
    if None in (axis, rank) or over is None:
        return True
    return axis % rank in np.ravel(over) % rank


def _gradient_name(op: tf.Operation) -> str | None:
    try:
        return op.get_attr("_gradient_op_type").decode()
    except ValueError:
        return None
