"""The way of relevance through a model: up with the values, down with the relevance.

The model is folded and flattened into calls of operations. `KINDS` says what is done at
each; what it does not name is refused, all of it in one message.
"""

import functools
import itertools
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from allconv.layers.folding import fold
from allconv.layers.grouped_conv import GroupedConv2D
from allconv.saliency.lrp_rules import Composite, contributions, stabilised

# What is done at an operation, by the name of its class, of Keras or of this project.
KINDS = {
    "conv": "Conv1D Conv2D Conv3D DepthwiseConv2D GroupedConv2D",
    "dense": "Dense",
    # One by one and of the sign of x: the relevance of f(x) is that of x. Response
    # normalisation is x times a factor that is about the same everywhere.
    "passes": "ReLU Relu Relu6 LeakyReLU LeakyRelu PReLU Dropout SpatialDropout2D "
    "GaussianNoise GaussianDropout ActivityRegularization Identity "
    "LocalResponseNormalization",
    # Every output is an input or 0: relevance goes to where the value came from.
    "routes": "Flatten Reshape Permute Transpose Squeeze ExpandDims ZeroPadding2D "
    "Cropping2D Concatenate MaxPooling2D GlobalMaxPooling2D MaxPool",
    # Affine, without a kernel: by `Epsilon`.
    "sums": "Add Average Subtract Mean BatchNormalization AveragePooling2D "
    "GlobalAveragePooling2D AveragePool Rescaling Normalization",
    "scales": "Multiply Divide TrueDivide",  # as sums, if the other factor is fixed
    "ends": "Softmax LogSoftmax Sigmoid",
    "inputs": "InputLayer",
}
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names.split()}
ACTIVATIONS = {
    **dict.fromkeys(("linear", "relu", "relu6", "leaky_relu"), "passes"),
    **dict.fromkeys(("softmax", "log_softmax", "sigmoid"), "ends"),
}

Down = Callable[[tf.Tensor], list[tf.Tensor]]


class Propagation:
    """The way up and the way down, through a folded copy of a model.

    Each operation gives its output and a function which takes the relevance of that
    output down to its inputs. A model is made of them, and gives the same two.
    """

    def __init__(self, model: keras.Model, composite: Composite):
        _check(model)
        self.model, self.composite = fold(model), composite
        self.fused = {}  # the activations of layers with weights, which lose them here
        for layer in self.model._flatten_layers():
            layer.dtype_policy = "float32"
            if type(layer) is keras.layers.Conv2D and layer.groups > 1:
                # Keras compiles every call of a grouped convolution anew on a CPU.
                op = functools.partial(GroupedConv2D.convolution_op, layer)
                layer.convolution_op = op
            if not isinstance(layer, keras.Model) and _kind(layer) in ("conv", "dense"):
                self.fused[id(layer)] = layer.activation
                layer.activation = keras.activations.linear

    def __call__(self, images: tf.Tensor, target: np.ndarray) -> tuple:
        """As `Relevance`; a `target` below zero stands for the predicted class."""
        self.absorbed: dict[str, np.ndarray] = {}
        self.ended: list[tf.Tensor] = []  # class scores: a softmax was left out
        self.pixels: list[tuple[tf.Tensor, list[tf.Tensor]]] = []  # and their range
        first = self.composite.first
        if first is not None:
            ends = [tf.zeros_like(images) + end for end in (first.low, first.high)]
            self.pixels.append((images, ends))
        scores, down = self._through(self.model, [images], "")
        target = np.where(target < 0, np.argmax(scores, axis=1), target)
        relevance = tf.one_hot(target, scores.shape[1]) * scores
        (maps,) = down(relevance)
        score = np.sum(relevance, axis=1)
        return maps.numpy(), target, score, self.absorbed

    def _through(self, model, inputs, above: str) -> tuple[tf.Tensor, Down]:
        values = {id(t): x for t, x in zip(model.inputs, inputs, strict=True)}
        steps = []
        for op, call, ids, output in _calls(model):
            found = [values[i] for i in ids]
            values[output], step = self._operation(op, call, found, above)
            steps.append((ids, output, step))

        def down(relevance):
            held = {id(model.outputs[0]): relevance}
            for ids, output, step in reversed(steps):
                if output in held:
                    for i, part in zip(ids, step(held.pop(output)), strict=True):
                        held[i] = held[i] + part if i in held else part
            return [held[id(t)] for t in model.inputs]

        return values[id(model.outputs[0])], down

    def _operation(self, op, call, inputs, above: str) -> tuple[tf.Tensor, Down]:
        """One operation; `call` is it as a function of its input tensors."""
        path = above + op.name
        if isinstance(op, keras.Model):
            return self._through(op, inputs, path + "/")
        kind = _kind(op)
        ended = any(x is end for x in inputs for end in self.ended)
        if ended and kind != "passes":
            raise ValueError(f"A softmax or sigmoid lies below the layer {path!r}.")
        if kind in ("passes", "ends"):
            y = inputs[0] if kind == "ends" else call(*inputs)
            self.ended += [y] if ended or kind == "ends" else []
            return y, lambda relevance: [relevance]
        if kind == "routes":
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                y = call(*inputs)
            self._follow(call, inputs, y)
            return y, lambda relevance: tape.gradient(y, inputs, relevance)
        if kind in ("conv", "dense"):
            y, down = self._weighted(op, kind, *inputs)
        else:
            y, down = self._summed(call, inputs)
        return y, lambda relevance: self._noted(path, relevance, down(relevance))

    def _summed(self, call, inputs) -> tuple[tf.Tensor, Down]:
        """An affine operation without a kernel, by `Epsilon`."""
        z, share = contributions(call, inputs)
        self._follow(call, inputs, z)
        epsilon = self.composite.epsilon
        return z, lambda relevance: share(relevance / stabilised(z, epsilon))

    def _weighted(self, layer, kind: str, x) -> tuple[tf.Tensor, Down]:
        """A layer with a kernel, by the rule that the composite has for it."""

        def f(x, kernel, bias):
            new = [kernel, tf.zeros(layer.weights[-1].shape) if bias is None else bias]
            held = list(zip(layer.weights, new, strict=False))  # it may have no bias
            with keras.StatelessScope(state_mapping=held):
                return layer(x)

        kernel, *bias = (tf.convert_to_tensor(w.value) for w in layer.weights)
        weights = kernel, (bias[0] if bias else None)
        first, ends = self.composite.first, self._range(x)
        rule: Callable = self.composite.conv if kind == "conv" else self.composite.dense
        if first is not None and ends is not None:
            rule = functools.partial(first, ends=ends)
        z, fused = layer(x), self.fused[id(layer)]
        if ACTIVATIONS[fused.__name__] == "ends":
            self.ended.append(z)
        else:
            z = fused(z)
        return z, lambda relevance: [rule(f, x, weights, relevance)]

    def _range(self, x) -> list[tf.Tensor] | None:
        """The lowest and highest values of a tensor, if it holds nothing but pixels."""
        return next((ends for pixels, ends in self.pixels if pixels is x), None)

    def _follow(self, call, inputs, y) -> None:
        """Note the range of what was moved or scaled, if those were pixels."""
        if len(inputs) == 1 and (ends := self._range(inputs[0])) is not None:
            low, high = map(call, ends)
            self.pixels.append((y, [tf.minimum(low, high), tf.maximum(low, high)]))

    def _noted(self, path, relevance, parts) -> list[tf.Tensor]:
        """Note what came to a layer and did not go on; a layer called twice adds up."""
        lost = _sum(relevance) - np.sum([_sum(part) for part in parts], axis=0)
        self.absorbed[path] = self.absorbed.get(path, 0) + lost
        return parts


def _sum(relevance: tf.Tensor) -> np.ndarray:
    """Over all but the batch, in float64: what is looked for is a small difference."""
    return np.asarray(relevance, np.float64).reshape(len(relevance), -1).sum(axis=1)


def _calls(model) -> Iterator[tuple]:
    """The operations of a model from the images up.

    Yields:
        The operation; it as a function of tensors; the ids of the symbolic tensors
        that it takes, each once; and that of its output.
    """
    if isinstance(model, keras.Sequential):
        before = id(model.inputs[0])
        for layer in model.layers:
            after = id(model.outputs[0] if layer is model.layers[-1] else layer)
            yield layer, layer, [before], after
            before = after
        return
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            ids = list(dict.fromkeys(map(id, node.input_tensors)))

            def call(*inputs, node=node, ids=ids):
                values = dict(zip(ids, inputs, strict=True))
                args, kwargs = node.arguments.fill_in(values)
                return node.operation(*args, **kwargs)

            yield node.operation, call, ids, id(node.outputs[0])


def _kind(op) -> str | None:
    """What is done at an operation; what a derived class computes cannot be known."""
    if type(op).__module__.split(".")[0] not in ("keras", "allconv"):
        return None
    if type(op).__name__ == "Activation":
        return ACTIVATIONS.get(op.activation.__name__)
    return KIND_OF.get(type(op).__name__)


def _check(model: keras.Model) -> None:
    """Refuse a model with an operation that has no rule, all of them named.

    Raises:
        ValueError: Saying which.
    """
    refused = list(dict.fromkeys(_refused(model)))
    if refused:
        more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
        raise ValueError(
            f"Relevance propagation has no rule for {', '.join(refused[:3])}{more}, in "
            f"{model.name}. Use `allconv.saliency.explainer`."
        )


def _refused(model, above: str = "") -> Iterator[str]:
    shown = isinstance(model, keras.Sequential) or hasattr(model, "operations")
    if not shown or len(model.inputs) != 1 or len(model.outputs) != 1:
        yield f"{above + model.name!r} ({type(model).__name__})"
        return
    if isinstance(model, keras.Sequential):
        operations = model.layers
    else:
        operations = model.operations
        nodes = itertools.chain.from_iterable(model._nodes_by_depth.values())
        for node in nodes:
            if node.is_input:
                continue
            op, arguments, signals = node.operation, node.arguments, node.input_tensors
            if arguments.kwargs.get("training"):
                yield f"{above + op.name!r}, which is told to train"
            fixed = len(signals) == 1 and arguments.args[0] is signals[0]
            if _kind(op) == "scales" and not fixed:
                yield f"{above + op.name!r} ({type(op).__name__} by a signal)"
    for op in operations:
        if isinstance(op, keras.Model):
            yield from _refused(op, f"{above}{op.name}/")
            continue
        kind, said = _kind(op), f"{above + op.name!r} ({type(op).__name__})"
        if kind in ("conv", "dense"):
            name = getattr(op.activation, "__name__", str(op.activation))
            if name not in ACTIVATIONS:
                yield f"the activation {name} of {said}"
            elif getattr(op, "quantization_mode", None) or len(op.weights) > 2:
                yield f"{said} with quantised or adapted weights"
        elif kind is None and not (hasattr(op, "plain") and hasattr(op, "folded")):
            yield said
