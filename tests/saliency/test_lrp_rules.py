"""Each rule of relevance by its formula, written out slowly."""

import keras
import numpy as np
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from keras import layers

from allconv.saliency.lrp import propagate
from allconv.saliency.lrp_rules import (
    COMPOSITES,
    AlphaBeta,
    Box,
    Epsilon,
    Gamma,
)


def slowly(rule, x, kernel, bias, relevance, ends=None):
    """Every rule by its formula, contribution by contribution, in float64."""
    result = np.zeros(len(x))
    for j, r in enumerate(relevance):
        z = x * kernel[:, j]
        if isinstance(rule, Box):
            low, high = ends
            z = (
                z
                - low * np.maximum(kernel[:, j], 0)
                - high * np.minimum(kernel[:, j], 0)
            )
            result += z / z.sum() * r
            continue
        p, n = np.maximum(z, 0), np.minimum(z, 0)
        total_p, total_n = p.sum() + max(bias[j], 0), n.sum() + min(bias[j], 0)
        if isinstance(rule, Epsilon):
            result += z / (total_p + total_n) * r
        elif isinstance(rule, AlphaBeta):
            if total_n == 0:
                result += p / total_p * r
            elif total_p == 0:
                result += n / total_n * r
            else:
                result += (rule.alpha * p / total_p - rule.beta * n / total_n) * r
        else:
            up = 1 + rule.gamma * (total_p + total_n > 0)
            down = 1 + rule.gamma * (total_p + total_n < 0)
            result += (up * p + down * n) / (up * total_p + down * total_n) * r
    return result


@given(
    st.integers(0, 2**16),
    st.sampled_from([Epsilon(), AlphaBeta(1, 0), AlphaBeta(2, 1), Gamma(), Box(-3, 3)]),
    st.booleans(),
)
@settings(max_examples=40)
def test_each_rule_is_its_formula(seed, rule, with_bias):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, 4)
    kernel = rng.choice([-2, -1, -0.5, 0.5, 1, 2], (4, 3)) * rng.uniform(0.5, 1, (4, 3))
    bias = rng.normal(size=3) * with_bias
    relevance = rng.normal(size=3)

    def f(x, kernel, bias):
        return x @ kernel + (0 if bias is None else bias)

    tensor = lambda a: tf.constant(a, tf.float32)  # noqa: E731
    arguments = (
        f,
        tensor(x[None]),
        (tensor(kernel), tensor(bias)),
        tensor(relevance[None]),
    )
    ends = [np.full(4, -3.0), np.full(4, 3.0)]
    if isinstance(rule, Box):
        arguments += ([tensor(end[None]) for end in ends],)
    theirs = slowly(rule, x, kernel, bias, relevance, ends)
    np.testing.assert_allclose(
        rule(*arguments)[0], theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max()
    )


def test_contributions_of_one_sign_share_out_the_relevance_once():
    """As published, alpha would give two times the score here."""
    model = keras.Sequential(
        [keras.Input((2, 2, 1)), layers.Conv2D(1, 2, use_bias=False), layers.Flatten()]
    )
    model.set_weights([np.ones((2, 2, 1, 1))])
    for sign in (1, -1):
        image = sign * np.arange(1, 5, dtype="float32").reshape(1, 2, 2, 1)
        for composite in COMPOSITES:
            np.testing.assert_allclose(
                propagate(model, image, composite).maps, image, 1e-5
            )
