"""What the first map costs, and whether the ten thousandth costs more.

Claims: in a fresh process the first guided map of ResNet50 (224 pixels) takes less than
3 s after TensorFlow's import and the building of the network: the model is traced once.
Memory stays as it is over 20,000 images, and over 200 explainers that come and go.

    python -m experiments.benchmarks.endurance                      about 3 minutes

Memory is what this process holds (`VmRSS`), in MiB, read after a collection, at ten
points: of a leak all points grow. The limit of 20 MiB from the second point to the last
is what the allocators of the libraries come and go by.

On two cores that twenty other processes used, the first map took 3.4 s of cores (27 s
by the clock) and the next 0.25; memory was 967 MiB at all ten points over the images,
and between 904 and 925 over the explainers, 920 at last.
"""

import gc
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from allconv.networks import all_cnn
from allconv.saliency.explainer import Explainer

IMAGES, EXPLAINERS, POINTS, LIMIT = 20_000, 200, 10, 20.0


def first_map() -> list[tuple[float, float]]:
    """Seconds to the first map of ResNet50, by the clock and of all cores together.

    And those of the next, with its trace made.
    """
    model = keras.applications.ResNet50(weights=None)
    images = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype("float32")
    explainer, found = None, []
    for _ in range(2):
        start = time.perf_counter(), time.process_time()
        explainer = explainer or Explainer(model, "guided")
        explainer(images, target=0)
        found.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return found


def held() -> float:
    """Resident memory of this process, in MiB."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def over_images(count: int) -> Iterator[float]:
    """Memory after each tenth of the images, through a small network."""
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(8, 3, 2, activation="relu"),
            keras.layers.Conv2D(8, 3, 2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ]
    )
    explainer = Explainer(model, "guided")
    images = np.random.default_rng(0).normal(size=(100, 32, 32, 3)).astype("float32")
    for _ in range(POINTS):
        for start in range(0, count // POINTS, 100):
            n = 100 - start // 100 % 3  # batches of several sizes
            explainer(images[:n], target=np.arange(n) % 10)
        yield held()


def over_explainers(count: int) -> Iterator[float]:
    """Memory after each tenth of the explainers, of one All-CNN-C."""
    model = all_cnn.build("all_cnn_c")
    image = np.zeros((1, 32, 32, 3), "float32")
    for _ in range(POINTS):
        for i in range(count // POINTS):
            Explainer(model, ("guided", "deconvnet")[i % 2])(image, target=0)
        yield held()


def main() -> None:
    for name, (clock, cores) in zip(("first", "next"), first_map(), strict=True):
        print(
            f"{name} map of ResNet50: {clock:.2f} s, {cores:.2f} s of cores", flush=True
        )
    for what, points in (
        (f"{IMAGES} images", over_images(IMAGES)),
        (f"{EXPLAINERS} explainers", over_explainers(EXPLAINERS)),
    ):
        found = list(points)
        grown = found[-1] - found[1]
        print(f"MiB over {what}: {' '.join(f'{x:.0f}' for x in found)}")
        print(f"  {grown:+.1f} MiB: {'held' if grown < LIMIT else 'not held'}")


if __name__ == "__main__":
    main()
