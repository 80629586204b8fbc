"""Does the training loop cost anything beside the convolutions?

Claim: All-CNN-C trains through this project's whole loop (order, shifts, flips, state
kept, progress) at no less than 0.97 of the rate of a bare compiled step, and no slower
than plain `model.fit` on arrays in memory.

    python -m experiments.benchmarks.training  # 4 to 9 minutes on two cores
    python -m experiments.benchmarks.training --plain --steps 390  # up to an hour

All are timed in turn, round by round, in one process; ratios are medians over the
rounds. The matrix product is the floor: what this machine does at best. The last three
rows are the same loop with normalising layers. A round of the loop holds its start and
a checkpoint, half a second that a whole epoch has once.

Found on two idle cores (AMD EPYC with AVX-512), `--plain --steps 60`, images/s, median
of 3 rounds and range: bare 252.5 (247.3 to 255.3), allconv 248.4 (238.6 to 252.5),
0.973 of bare; `model.fit` 186.6 (186.5 to 186.7). `fit` on arrays waits at its end for
the sleeping tuner of `tf.data`, up to as long again as it ran and at most a minute;
this project's data come without it. With 20 steps a round: bare 245.5, allconv 240.9,
0.976 of bare, `fit` 251.5, not made to wait; of bare, the loop with Keras' batch
normalisation 0.855, with the fused one 0.989, with network deconvolution 0.637.

On slower cores of the same name, 60 steps: bare 124.1, allconv 122.3, 0.990 of bare,
`fit` 93.5. On cores without AVX-512, by the bare step alone: 93.
"""

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from allconv.core import runtime
from allconv.networks import all_cnn_rows
from allconv.presets import catalogue
from allconv.presets.preset import Preset
from allconv.training import run
from allconv.training.callbacks import Keeper
from allconv.training.inputs import Arrays, Batches

PRESET = replace(
    catalogue.PAPER, batch_size=128, augmentation="paper", epochs=1, validate_every=0
)
NORMS: dict[str, dict[str, Any]] = {
    "none": {"norm": "none"},
    "batch (Keras)": {"norm": "batch", "norm_options": {"fused": False}},
    "batch (fused)": {"norm": "batch"},
    "deconv": {"norm": "deconv"},
}


def flops_per_image(name: str) -> float:
    """Floating-point operations of one training step, per image.

    Two for each multiplication of a convolution, three times over: forwards, for the
    weights and, in all layers but the first, for the inputs.
    """
    total, channels = 0.0, 3
    sizes = all_cnn_rows.map_sizes(name)
    for i, (row, size) in enumerate(
        zip(all_cnn_rows.get(name).rows, sizes, strict=True)
    ):
        if isinstance(row, all_cnn_rows.Conv):
            filters = 10 if row.filters == all_cnn_rows.CLASSES else row.filters
            once = 2 * row.kernel**2 * channels * filters * size**2
            total += once * (3 if i else 2)
            channels = filters
    return total


def matmul_rate(n: int = 2048, repeats: int = 8) -> float:
    """Floating-point operations per second of an n x n float32 matrix product."""
    a = tf.random.stateless_normal((n, n), (0, 0))
    product = tf.function(lambda x: tf.linalg.matmul(x, a))
    product(a).numpy()
    begun = time.perf_counter()
    for _ in range(repeats):
        result = product(a)
    result.numpy()
    return 2 * n**3 * repeats / (time.perf_counter() - begun)


def arrays(steps: int, batch_size: int) -> Arrays:
    """Random images and labels for so many steps."""
    rng = np.random.default_rng(0)
    n = steps * batch_size
    images = rng.normal(size=(n, 32, 32, 3)).astype("float32")
    both = (images, rng.integers(0, 10, n))
    return Arrays(both, both, 10, steps)


def bare_step(model: keras.Model):
    """Loss, gradients and update in one `tf.function`, on a batch in memory."""

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = model.loss(y, model(x, training=True)) + tf.add_n(model.losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)
        return loss

    return step


def normalised(norm: str, inputs: Arrays) -> keras.Model:
    """All-CNN-C ready for `fit` with one of `NORMS`."""
    return run.compiled(replace(PRESET, **NORMS[norm]), inputs)


def whole_loop(
    model: keras.Model,
    inputs: Batches,
    preset: Preset = PRESET,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """The training of `allconv train`: order, state, a checkpoint, progress."""
    with tempfile.TemporaryDirectory() as folder:
        keeper = Keeper(Path(folder), {}, {}, preset, inputs.steps, [], [], False)
        with keeper.listening(), keeper.bar(False):
            run.fit(model, inputs, preset, 0, 0, [keeper, *callbacks])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="a round; default: 20")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument(
        "--plain", action="store_true", help="without the rows of normalising layers"
    )
    arguments = parser.parse_args()

    runtime.set_seed(0)
    batch = PRESET.batch_size
    inputs = arrays(arguments.steps, batch)
    one_hot = keras.utils.to_categorical(inputs.y_train, 10)
    model = normalised("none", inputs)
    step = bare_step(model)
    x, y = tf.constant(inputs.x_train[:batch]), tf.constant(one_hot[:batch])

    def bare() -> None:
        for _ in range(inputs.steps):
            step(x, y)

    def plain_fit() -> None:
        n = inputs.steps * batch
        model.fit(inputs.x_train[:n], one_hot[:n], batch_size=batch, verbose=0)

    models = {"allconv": model}
    for norm in () if arguments.plain else list(NORMS)[1:]:
        models[norm] = normalised(norm, inputs)
    loops = {"bare step": bare, "model.fit": plain_fit}
    for name, each in models.items():
        loops[name] = functools.partial(whole_loop, each, inputs)
    print("tracing ...", flush=True)
    inputs.steps = 2
    for loop in loops.values():
        loop()
    inputs.steps = arguments.steps
    rates: dict[str, list[float]] = {name: [] for name in loops}
    floor = []
    for i in range(arguments.rounds):
        print(f"round {i + 1} of {arguments.rounds} ...", flush=True)
        floor.append(matmul_rate())
        for name, loop in loops.items():
            begun = time.perf_counter()
            loop()
            seconds = time.perf_counter() - begun
            rates[name].append(arguments.steps * batch / seconds)

    machine = runtime.environment()
    print(
        f"\nAll-CNN-C, batch {batch}, float32, {arguments.steps} steps a round, "
        f"{arguments.rounds} rounds; {machine['processor']}, {machine['cores']} cores, "
        f"TensorFlow {machine['tensorflow']}, Keras {machine['keras']}"
    )
    gflops = flops_per_image("all_cnn_c") / 1e9
    print(f"matrix product: {statistics.median(floor) / 1e9:.0f} GFLOP/s")
    print(f"{'':14}{'images/s':>10}{'min':>8}{'max':>8}{'GFLOP/s':>10}{'of bare':>10}")
    for name, mine in rates.items():
        ratio = statistics.median(
            a / b for a, b in zip(mine, rates["bare step"], strict=True)
        )
        middle = statistics.median(mine)
        print(
            f"{name:14}{middle:10.1f}{min(mine):8.1f}{max(mine):8.1f}"
            f"{middle * gflops:10.0f}{ratio:10.3f}"
        )


if __name__ == "__main__":
    main()
