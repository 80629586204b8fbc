"""What network deconvolution costs: seconds of a training step, against the norms.

Claim: the whitening of Ye et al. (ICLR 2020), for which a re-run of their code paid 3.4
to 4.6 times the training time of a batch-normalised net on a V100, can be had for at
most 1.3 times in All-CNN-C and 1.6 in VGG-16 at batch 128, and 1.3 at batch 512. It is
missed by a tenth, and in VGG-16 by a fifth at batch 128. Processor seconds against
those of the fused batch normalisation, medians of 3 turns (2 of batch 512), two cores
of an AMD EPYC with AVX-512 that did other work as well, which is why no wall times are
given:

    All-CNN-C, batch 128   1.42   (2.21 as published, 1.50 with roots by products)
    VGG-16, batch 128      1.96   (3.08 as published, 2.21 with roots by products)
    All-CNN-C, batch 512   1.33
    VGG-16, batch 512      1.42

A step of VGG-16 at batch 128 has 241 GFLOP of convolutions and 251 of whitening:
covariances 72, roots 128 if they are multiplied out, products of kernels with them 51.
All of these run at the rate of matrix products, so only fewer operations help. What
does not depend on the maps, roots and kernels, weighs less in larger batches.

In bfloat16 a covariance is useless: rounded to 8 bits it has eigenvalues below zero (of
4,000 correlated rows of 288 values, drawn at random, to -0.05 where the least is
0.001). Of activations in bfloat16, summed in float32, it moves the root by 2e-5, and
that is what the layers do under `mixed_bfloat16`. The product of kernel and root would
bear it: the outputs move by 0.7 %, and by 0.5 % by the rounding of the kernel that
comes in any case. There a step of VGG-16 takes 3.5 in place
of 4.8 processor seconds, with batch normalisation 1.5 in place of 2.5 (without matrix
units for bfloat16, which would speed up the convolutions alone).

    python -m experiments.benchmarks.netdeconv  # 8 minutes on two idle cores
    python -m experiments.benchmarks.netdeconv --short --batch 128 512  # 10 minutes
    python -m experiments.benchmarks.netdeconv --net vgg16_cifar --turns 3

Variants are timed in turn, one step each, and again; ratios are taken within a turn, so
that other work on the machine hurts all alike. `wall` is what one waits; `cpu` sums
over threads, and hardly changes when the machine does other work.

`deconv, as published` is this project's layer with the authors' way of computing put
back: patches gathered one kernel position at a time, and automatic differentiation
through the coupled Newton-Schulz iteration. `+` rows add one way of saving to it. Rows
marked `*` are other functions than the paper's.
"""

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from allconv.layers import roots
from allconv.layers.netdeconv import NetworkDeconvolution2D
from allconv.layers.whitening_layer import Whitening
from allconv.networks import builders
from allconv.results import tables
from experiments.benchmarks.training import NORMS

NETS = ("all_cnn_c", "vgg16_cifar")


def patches_gathered(x, kernel_size, strides, dilation=(1, 1)):
    """One strided slice for each kernel position."""
    extent = [(k - 1) * d for k, d in zip(kernel_size, dilation, strict=True)]
    last = [n - e for n, e in zip(x.shape[1:3], extent, strict=True)]
    slices = [
        x[:, i : i + last[0] : strides[0], j : j + last[1] : strides[1]]
        for i in range(0, extent[0] + 1, dilation[0])
        for j in range(0, extent[1] + 1, dilation[1])
    ]
    x = tf.stack(slices, axis=3)
    x = tf.reshape(x, (*x.shape[:3], *kernel_size, x.shape[-1]))
    return tf.transpose(x, (0, 1, 3, 2, 4, 5))


def moments_differentiated(x):
    """Mean and covariance, with the gradient that TensorFlow finds."""
    mean = tf.reduce_mean(x, -2)
    x -= mean[..., None, :]
    return mean, tf.matmul(x, x, transpose_a=True) / x.shape[-2]


def root_coupled(a, iterations=5):
    """The authors' iteration, with the gradient that TensorFlow finds."""
    norm = tf.norm(a, axis=(-2, -1), keepdims=True)
    identity = tf.eye(a.shape[-1])
    y, z = a / norm, identity
    for _ in range(iterations):
        t = 0.5 * (3.0 * identity - z @ y)
        y, z = y @ t, t @ z
    return z / tf.sqrt(norm)


PATCHES = {"patches": patches_gathered}
MOMENTS = {"moments": moments_differentiated}
ROOT = {"inverse_root": root_coupled}
PRODUCTS = {"inverse_root": roots.by_products}
# name: (one of `NORMS`, functions put in the place of the layers' own, norm_options)
VARIANTS: dict[str, tuple[str, dict, dict]] = {
    "none": ("none", {}, {}),
    "batch (Keras)": ("batch (Keras)", {}, {}),
    "batch (fused)": ("batch (fused)", {}, {}),
    "deconv, as published": ("deconv", PATCHES | MOMENTS | ROOT, {}),
    "+ patches cut in cells": ("deconv", MOMENTS | ROOT, {}),
    "+ symmetric gradient of moments": ("deconv", PATCHES | ROOT, {}),
    "+ Newton-Schulz in one variable": ("deconv", PATCHES | MOMENTS | PRODUCTS, {}),
    "all of these": ("deconv", PRODUCTS, {}),
    "deconv, roots by eigenvectors": ("deconv", {}, {}),
    "* sampling_stride=5": ("deconv", {}, {"sampling_stride": 5}),
    "* block=32": ("deconv", {}, {"block": 32}),
    "* statistics_every=2": ("deconv", {}, {"statistics_every": 2}),
    "* statistics_every=10": ("deconv", {}, {"statistics_every": 10}),
}


NAME = "deconv, roots by eigenvectors"  # the layers as they are
SHORT = ("none", "batch (fused)", "deconv, as published", "all of these", NAME)
BASES = ("none", "batch (fused)")


def build(net: str, norm: str, functions: dict, options: dict) -> keras.Model:
    """A network with logits, of one of `VARIANTS`."""
    arguments: dict[str, Any] = {
        "dropout": 0,
        "classifier_activation": None,
        **NORMS[norm],
    }
    if options:
        arguments["norm_options"] = options
    model = builders.build(net, **arguments)
    for layer in model.layers:
        if isinstance(layer, Whitening):
            for name, function in functions.items():
                setattr(layer, name, function)
    return model


def training_step(net: str, variant: tuple, batch: int):
    """A function that takes one step of gradient descent with momentum."""
    keras.utils.set_random_seed(0)
    model = build(net, *variant)
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    optimizer.build(model.trainable_variables)
    x = tf.random.stateless_normal((batch, 32, 32, 3), (0, 0))
    labels = tf.range(batch) % 10

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            )
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    step.get_concrete_function()
    return step


def operations(net: str, batch: int) -> dict[str, float]:
    """10^9 operations of a training step, by what they are for.

    Convolutions and what is done to their kernels count three times, since two
    gradients cost as much as the product; covariances twice; of a root 28 products,
    though the layers get by with less.
    """
    model = build(net, *VARIANTS[NAME])
    out = dict.fromkeys(("convolutions", "covariances", "roots", "kernels"), 0.0)
    for layer in model.layers:
        if not isinstance(layer, NetworkDeconvolution2D):
            continue
        _, rows, columns, filters = layer.output.shape
        features = layer.running_mean.shape[-1]
        weights = math.prod(layer.kernel.shape)
        sampled = layer.sample(tf.zeros((1, *layer.input.shape[1:]))).shape[-2]
        root = 28 if layer.iterations == 5 else 6 * layer.iterations
        out["convolutions"] += 6 * batch * rows * columns * weights
        out["covariances"] += 4 * batch * sampled * features**2
        out["roots"] += 2 * root * features**3
        out["kernels"] += 6 * filters * layer.shares * features**2
    return {name: count / 1e9 for name, count in out.items()}


def measure(
    net: str, batch: int, turns: int, names: Sequence[str] = tuple(VARIANTS)
) -> dict[str, dict[str, list[float]]]:
    """Wall and processor seconds of a step, by variant, one of each for each turn.

    For a variant with `statistics_every=k` a step is the mean of `k` steps.
    """
    ready = {name: training_step(net, VARIANTS[name], batch) for name in names}
    seconds: dict[str, dict[str, list[float]]] = {
        name: {"wall": [], "cpu": []} for name in ready
    }
    for turn in range(turns + 1):
        for name, step in ready.items():
            every = VARIANTS[name][2].get("statistics_every", 1)
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(every):
                step().numpy()
            if turn:  # the first turn warms up
                seconds[name]["wall"].append((time.perf_counter() - wall) / every)
                seconds[name]["cpu"].append((time.process_time() - cpu) / every)
    return seconds


def table(seconds: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: medians of seconds, and of ratios to the nets without whitening."""

    def ratio(name, base, clock):
        pairs = zip(seconds[name][clock], seconds[base][clock], strict=True)
        return f"{statistics.median(a / b for a, b in pairs):.2f}"

    head = ("variant", "wall s", "cpu s", "wall / none", "cpu / none")
    lines: list[tuple[str, ...]] = [(*head, "wall / fused batch", "cpu / fused batch")]
    for name, times in seconds.items():
        cells = [f"{statistics.median(times[clock]):.2f}" for clock in ("wall", "cpu")]
        for base in BASES:
            cells += [ratio(name, base, clock) for clock in ("wall", "cpu")]
        lines.append((name, *cells))
    return tables.markdown(lines, left=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=NETS, nargs="+", default=NETS)
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[128], help="images a step"
    )
    parser.add_argument("--turns", type=int, default=5, help="turns that count")
    parser.add_argument("--short", action="store_true", help="the main rows only")
    arguments = parser.parse_args()
    names = SHORT if arguments.short else tuple(VARIANTS)
    for name, batch in itertools.product(arguments.net, arguments.batch):
        print(f"\n{name}, batch {batch}, {arguments.turns} turns\n")
        counts = operations(name, batch).items()
        print(", ".join(f"{count:.0f} GFLOP {what}" for what, count in counts), "\n")
        print(table(measure(name, batch, arguments.turns, names)), flush=True)


if __name__ == "__main__":
    main()
