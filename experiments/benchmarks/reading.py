"""Does a training that reads JPEG files keep up with its network?

Claim: from files of ImageNet's size, decoded, cut, scaled and mirrored as the papers
have it, the whole loop keeps 0.95 of the rate of a bare step on a batch in memory.

    python -m experiments.benchmarks.reading  # 10 minutes on two cores
    python -m experiments.benchmarks.reading --presets vgg11_batch --batch 16 --steps 8

The files are drawn: 400 of 500 x 375 pixels in ten classes. Rows are timed in turn,
round by round, in one process; ratios are medians over the rounds. `reading` is the
data path alone, with all cores; `loop` is the training, from its fifth step to its
last: the start and the checkpoint come once in an epoch of thousands. Where network and
reading share the cores, `bound` is what is left if neither ever waits.

Found on two idle cores (AMD EPYC, AVX-512), images/s, medians of 2 rounds, of VGG-11
(batches of 16) one round: ResNet-18 bare 17.3, loop 17.3, 1.00 of bare (bound 0.96);
All-CNN-B bare 33.0, loop 31.3, 0.95 (0.94); VGG-11 bare 3.8, loop 3.5, 0.94 (0.99).
The data path alone reads 430 to 480 images/s, 4.2 to 4.7 milliseconds of a core each.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from allconv.core import runtime
from allconv.presets import catalogue
from allconv.results import tables
from allconv.training import run, streamed
from experiments.benchmarks.training import bare_step, whole_loop

PRESETS = ("resnet18_batch", "all_cnn_b_imagenet", "vgg11_batch")
CLASSES, FILES = 10, 40  # files of a class
HEIGHT, WIDTH = 375, 500
START = 4  # steps of the loop before those that count


class Clock(keras.callbacks.Callback):
    """When each step ended."""

    def __init__(self):
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())


def draw(folder: Path) -> int:
    """Class folders to train and to test on; returns the mean bytes of a file."""
    rng = np.random.default_rng(0)
    sizes = []
    for part, count in (("train", FILES), ("val", 2)):
        for label in range(CLASSES):
            place = folder / part / f"class{label}"
            place.mkdir(parents=True)
            for i in range(count):
                path = place / f"{i}.JPEG"
                picture(rng).save(path, quality=90)
                sizes.append(path.stat().st_size)
    return round(statistics.mean(sizes))


def picture(rng: np.random.Generator) -> Image.Image:
    """Colours with as much detail at every scale, as a photograph has about."""
    whole = np.zeros((HEIGHT, WIDTH, 3))
    for cells in (4, 8, 16, 32, 64, 128, 256):
        noise = rng.normal(size=(3, cells, cells))
        planes = [
            np.asarray(Image.fromarray(plane).resize((WIDTH, HEIGHT), 2))
            for plane in noise.astype("float32")
        ]
        whole += np.stack(planes, -1) / np.sqrt(cells)
    whole = 128 + 60 * whole / whole.std()
    return Image.fromarray(whole.clip(0, 255).astype("uint8"))


def measure(
    name: str, folder: Path, batch_size: int, steps: int, rounds: int
) -> list[str]:
    """The row of a preset: images per second of each, and ratios."""
    preset = replace(
        catalogue.get(name),
        dataset=str(folder / "images"),
        batch_size=batch_size,
        epochs=1,
        steps_per_epoch=steps,
        validate_every=0,
        milestones=(),
    )
    supply = streamed.supply(preset, folder)
    model = run.compiled(preset, supply)
    step = bare_step(model)
    images, labels = next(iter(supply.stream(preset, 0, 0)))
    labels = tf.one_hot(labels, CLASSES)

    def rate(seconds: float, counted: int) -> float:
        return counted * batch_size / seconds

    def reading() -> float:
        begun = time.perf_counter()
        for _ in supply.stream(preset, 0, 0):
            pass
        return rate(time.perf_counter() - begun, steps)

    def bare() -> float:
        begun = time.perf_counter()
        for _ in range(steps):
            step(images, labels)
        return rate(time.perf_counter() - begun, steps)

    def loop() -> float:
        clock = Clock()
        whole_loop(model, supply, preset, [clock])
        return rate(clock.ends[-1] - clock.ends[START - 1], steps - START)

    passes = {"reading": reading, "bare": bare, "loop": loop}
    rates: dict[str, list[float]] = {name: [] for name in passes}
    for turn in range(rounds + 1):
        for key, go in passes.items():
            found = go()
            if turn:  # the first warms up
                rates[key].append(found)

    def median(values) -> float:
        return statistics.median(values)

    kept = median(a / b for a, b in zip(rates["loop"], rates["bare"], strict=True))
    bound = median(
        r / (r + b) for r, b in zip(rates["reading"], rates["bare"], strict=True)
    )
    cells = [f"{median(rates[key]):.1f}" for key in passes]
    return [name, *cells, f"{kept:.3f}", f"{bound:.3f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--batch", type=int, default=32, help="images; default: 32")
    parser.add_argument("--steps", type=int, default=16, help="a round; default: 16")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    arguments = parser.parse_args()
    if arguments.steps <= START:
        parser.error(f"--steps should be above {START}, from which on they count")
    runtime.set_seed(0)
    lines: list[Sequence[str]] = [
        ("preset", "reading", "bare", "loop", "loop / bare", "bound")
    ]
    with tempfile.TemporaryDirectory() as place:
        size = draw(Path(place) / "images")
        for name in arguments.presets:
            print(f"{name} ...", flush=True)
            row = measure(
                name, Path(place), arguments.batch, arguments.steps, arguments.rounds
            )
            lines.append(row)
    machine = runtime.environment()
    print(
        f"\nImages/s at 224 pixels, batch {arguments.batch}, files of "
        f"{size / 1000:.0f} kB; medians of {arguments.rounds} rounds of "
        f"{arguments.steps} steps; "
        f"{machine['processor']}, {machine['cores']} cores, TensorFlow "
        f"{machine['tensorflow']}\n"
    )
    print(tables.markdown(lines, left=1))


if __name__ == "__main__":
    main()
