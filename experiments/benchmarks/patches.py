"""Top-9 patches of a whole network cost little more than a forward pass.

Claim: the nine strongest activations of all channels of all nine convolutions of
All-CNN-C are found in at most 1.3 times a bare compiled forward pass over the same
images. Weights and images are random here, which hardly changes the work.

    python -m experiments.benchmarks.patches --images 2000    # 3 minutes, 2 cores

Expected, by processor time: 1.15 with 2,000 images and 1.06 with 10,000 (each pass is
traced anew, which weighs less the longer it is).

The passes take turns, so that other load on the machine falls on all; the ratio is
that of the medians.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf

from allconv.networks import all_cnn
from allconv.probes import patches
from experiments.benchmarks.interleaved import time_interleaved

LAYERS = [f"conv{i}" for i in range(1, 10)]


def measure(images: int, batch_size: int, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of a bare forward pass and of both kinds of ranking.

    Args:
        images: Number of 32x32 images.
        batch_size: Images per step.
        repeats: Timed turns; one more is run first, for tracing.

    Returns:
        Per pass the median `wall` and `cpu` seconds (`cpu` sums over threads).
    """
    keras.utils.set_random_seed(0)
    model = all_cnn.build("all_cnn_c")
    x = np.random.default_rng(0).random((images, 32, 32, 3), np.float32)
    forward = tf.function(lambda batch: model(batch, training=False))

    def bare():
        for i in range(0, images, batch_size):
            forward(tf.convert_to_tensor(x[i : i + batch_size])).numpy()

    def ranking(one_per_image):
        patches.top_activations(
            model,
            x,
            LAYERS,
            one_per_image=one_per_image,
            batch_size=batch_size,
            progress=False,
        )

    passes = {
        "forward": bare,
        "top-9, one per image": lambda: ranking(True),
        "top-9, all positions": lambda: ranking(False),
    }
    return time_interleaved(passes, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    spent = measure(**vars(arguments))
    print(f"{arguments.images} images of 32x32, batches of {arguments.batch_size}")
    for name, clocks in spent.items():
        ratios = {c: seconds / spent["forward"][c] for c, seconds in clocks.items()}
        print(
            f"{name:22s} {clocks['wall']:7.2f} s ({ratios['wall']:.2f} x)   "
            f"cpu {clocks['cpu']:7.2f} s ({ratios['cpu']:.2f} x)"
        )


if __name__ == "__main__":
    main()
