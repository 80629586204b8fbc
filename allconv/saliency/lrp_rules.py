"""The rules of layer-wise relevance propagation, each for one layer with weights.

A rule is called with the layer as an affine function `f(x, kernel, bias)`, its inputs
`x`, its weights and the relevance of its outputs; it returns that of the inputs. The
rules are those of zennit 0.5.1, with one difference, in `AlphaBeta`. Its epsilon is
1e-6 unless told, which takes relevance from units of small values.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from allconv.core.arguments import Checked, NotNegative, Positive

EPSILON = 1e-9  # keeps sums off zero and takes next to no relevance of its own
Affine = Callable[..., tf.Tensor]  # of x, a kernel and a bias or None
Weights = tuple[tf.Tensor, tf.Tensor | None]


def stabilised(z: tf.Tensor, epsilon: float) -> tf.Tensor:
    """`z`, moved away from zero by `epsilon`; zero itself counts as positive."""
    return z + tf.where(z < 0, -epsilon, epsilon)


def contributions(
    total: Callable[..., tf.Tensor], inputs: Sequence[tf.Tensor]
) -> tuple[tf.Tensor, Callable[[tf.Tensor], list[tf.Tensor]]]:
    """A sum of contributions, and how to share out a relevance among its inputs.

    Args:
        total: Affine function of the inputs.
        inputs: Tensors.

    Returns:
        `z = total(*inputs)`, and a function of R / z which returns, for each input,
        the input times what comes down to it.
    """
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        z = total(*inputs)

    def share(signal: tf.Tensor) -> list[tf.Tensor]:
        gradients = tape.gradient(z, inputs, signal, unconnected_gradients="zero")
        return [x * gradient for x, gradient in zip(inputs, gradients, strict=True)]

    return z, share


@dataclass(frozen=True)
class Epsilon(Checked):
    """All contributions, over their sum: R_i = sum_j x_i w_ij R_j / (z_j +- epsilon).

    With a small epsilon, this in every layer of a network of rectifiers is the image
    times the gradient, with biases too (Ancona et al. 2018).
    """

    epsilon: Positive = EPSILON

    def __call__(self, f: Affine, x: tf.Tensor, weights: Weights, relevance):
        z, share = contributions(lambda x: f(x, *weights), [x])
        return share(relevance / stabilised(z, self.epsilon))[0]


@dataclass(frozen=True)
class AlphaBeta(Checked):
    """`alpha` of the relevance by positive contributions, `-beta` by negative ones.

    A unit that has contributions of one sign only shares out its relevance once among
    those. The rule as published would give `alpha` times the relevance, or lose it.

    Args:
        alpha, beta: Not negative, `alpha - beta = 1`.
        epsilon: What keeps the sums away from zero.
    """

    alpha: NotNegative = 2.0
    beta: NotNegative = 1.0
    epsilon: Positive = EPSILON

    def __post_init__(self):
        super().__post_init__()
        if self.beta < 0 or not math.isclose(self.alpha - self.beta, 1):
            raise ValueError(
                "`beta` should not be negative and `alpha` should be 1 more. "
                f"Received: alpha={self.alpha}, beta={self.beta}"
            )

    def __call__(self, f: Affine, x: tf.Tensor, weights: Weights, relevance):
        (above, bias_above), (below, bias_below) = _signs(weights)
        x = [tf.maximum(x, 0), tf.minimum(x, 0)]

        def positive(up, down):
            return f(up, above, bias_above) + f(down, below, None)

        def negative(up, down):
            return f(up, below, bias_below) + f(down, above, None)

        p, share_p = contributions(positive, x)
        n, share_n = contributions(negative, x)
        alpha = tf.where(n < 0, float(self.alpha), 1.0)
        beta = tf.where(p > 0, -float(self.beta), 1.0)
        shares = share_p(alpha * relevance / stabilised(p, self.epsilon))
        shares += share_n(beta * relevance / stabilised(n, self.epsilon))
        return tf.add_n(shares)


@dataclass(frozen=True)
class Gamma(Checked):
    """As `Epsilon`, with weights that agree in sign with the unit 1 + `gamma` times.

    Montavon et al. (2019), section 10.2; for inputs of both signs as in zennit.
    """

    gamma: NotNegative = 0.25
    epsilon: Positive = EPSILON

    def __call__(self, f: Affine, x: tf.Tensor, weights: Weights, relevance):
        (above, bias_above), (below, bias_below) = _signs(weights)
        kernel, bias = weights
        favour = [kernel + self.gamma * above, kernel + self.gamma * below]
        z, inputs = f(x, *weights), [tf.maximum(x, 0), tf.minimum(x, 0)]
        shares = []
        for sign, (one, other), own in (
            (z > 0, favour, bias_above),
            (z < 0, favour[::-1], bias_below),
        ):
            tilted = bias if own is None else bias + self.gamma * own

            def total(up, down, one=one, other=other, tilted=tilted):
                return f(up, one, tilted) + f(down, other, None)

            total_z, share = contributions(total, inputs)
            signal = relevance / stabilised(total_z, self.epsilon)
            shares += share(tf.where(sign, signal, 0))
        return tf.add_n(shares)


@dataclass(frozen=True)
class Box(Checked):
    """For pixels between `low` and `high`: z^B of Montavon et al. (2017), section 4.

    Args:
        low, high: The range of the network's inputs, numbers or one per channel.
        epsilon: What keeps the sums away from zero.
    """

    low: float | tuple[float, ...]
    high: float | tuple[float, ...]
    epsilon: Positive = EPSILON

    def __call__(self, f: Affine, x: tf.Tensor, weights: Weights, relevance, ends):
        above, below = _signs((weights[0], None))
        kernels = weights[0], above[0], below[0]

        def total(*inputs):  # a bias would cancel out
            pairs = zip(inputs, kernels, strict=True)
            own, low, high = (f(x, kernel, None) for x, kernel in pairs)
            return own - low - high

        z, share = contributions(total, [x, *ends])
        return tf.add_n(share(relevance / stabilised(z, self.epsilon)))


Rule = Epsilon | AlphaBeta | Gamma


def _signs(weights: Weights) -> tuple[Weights, Weights]:
    """The positive parts of a kernel and a bias, and their negative parts."""

    def part(clip):
        return tuple(None if w is None else clip(w, 0) for w in weights)

    return part(tf.maximum), part(tf.minimum)


LRP_0 = Epsilon()


@dataclass(frozen=True)
class Composite(Checked):
    """Which rule is for which layer.

    Args:
        conv: Rule of convolutions.
        dense: Rule of dense layers.
        first: Rule of the layers with weights that see the image itself; None: theirs.
        epsilon: For sums, means and normalisation, which all go by `Epsilon`.
    """

    conv: Rule = LRP_0
    dense: Rule = LRP_0
    first: Box | None = None
    epsilon: Positive = EPSILON


def epsilon_gamma_box(low: float, high: float) -> Composite:
    """`Gamma` for convolutions, `Epsilon` for dense layers, `Box` for the first."""
    return Composite(conv=Gamma(), first=Box(low, high))


COMPOSITES = {
    "epsilon": Composite(),
    "epsilon_plus": Composite(conv=AlphaBeta(1, 0)),
    "epsilon_alpha2_beta1": Composite(conv=AlphaBeta(2, 1)),
}
