"""An occlusion map costs what its forward passes cost, and its memory is bounded.

Claims: the occlusion map of a 32 x 32 image at stride 1 (1,089 windows of 2 x 2) takes
at most 1.2 times a bare compiled forward pass over as many images in equal batches; and
at 224 x 224, ten times the windows do not raise the peak of memory by more than 5 %.
Weights and images are random, which hardly changes the work.

    python -m experiments.benchmarks.probes    # 4 minutes, 2 cores

Both passes compile once per turn and take turns, so that other load on the machine
falls on both; the ratio is that of the medians. `cpu` sums over threads and suffers
less from other load.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from allconv.networks import builders
from allconv.probes.occlusion import occlude, starts
from experiments.benchmarks import peak_memory
from experiments.benchmarks.interleaved import time_interleaved
from experiments.written import write_text

SIZE, BATCH = 2, 256


def throughput(name: str, repeats: int) -> dict[str, dict[str, float]]:
    """Median seconds of an occlusion map and of a bare pass over as many images.

    Args:
        name: One of `registry.NAMES`, for 32 x 32 images.
        repeats: Timed turns; one more is run first.
    """
    keras.utils.set_random_seed(0)
    model = builders.build(name)
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    windows = len(starts(32, SIZE, 1)) ** 2
    images = np.repeat(image, windows, axis=0)

    def forward() -> None:
        compiled = tf.function(lambda batch: model(batch, training=False))
        for start in range(0, windows, BATCH):
            compiled(tf.constant(images[start : start + BATCH])).numpy()

    def occlusion() -> None:
        occlude(model, image, SIZE, 1, 0.5, layer="conv5", batch_size=BATCH)

    passes = {"forward": forward, "occlusion": occlusion}
    return time_interleaved(passes, repeats)


def memory() -> list[tuple[int, float]]:
    """Windows and peak memory (GiB) of coarse and fine maps of a 224 x 224 image."""
    model = builders.build("zfnet")
    image = np.random.default_rng(0).random((224, 224, 3), np.float32)
    found = []
    for stride in (64, 64, 22):  # the first warms the allocator up
        occlude(model, image, 64, stride, 0.5, layer="conv5")
        found.append((len(starts(224, 64, stride)) ** 2, peak_memory() / 1024))
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["all_cnn_c", "zfnet_32"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    arguments = parser.parse_args()

    (coarse, low), (fine, high) = memory()
    print(f"224 x 224: {coarse} windows {low:.2f} GiB, {fine} windows {high:.2f} GiB")
    measured = {}
    for name in arguments.networks:
        measured[name] = seconds = throughput(name, arguments.repeats)
        for clock in ("wall", "cpu"):
            forward, map_ = (seconds[key][clock] for key in ("forward", "occlusion"))
            print(
                f"{name}, {clock}: forward {forward:.2f} s, occlusion {map_:.2f} s, "
                f"ratio {map_ / forward:.2f}"
            )
    if arguments.json:
        numbers = {"memory_gib": {coarse: low, fine: high}, "seconds": measured}
        write_text(arguments.json, json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
