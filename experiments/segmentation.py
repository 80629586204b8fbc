"""Does whitening teach a network to segment sooner than batch normalisation?

Ye et al. (ICLR 2020) train networks on Cityscapes from random weights: with network
deconvolution the mean intersection over union (IoU) rises faster, and ends higher. Here
the question is asked of a small fully convolutional network and of a **synthetic** set,
shapes on textures (`allconv.data.segmentation`), which says nothing of Cityscapes.

    python -m experiments.segmentation                  # 30 minutes on two cores
    python -m experiments.segmentation --draw           # the table and figure alone
    python -m experiments.segmentation --examples       # 5 more: what each finds
    python -m experiments.segmentation --data CITYSCAPES --size 256

1,000 images of 64 pixels and 6 classes, six epochs, batches of 8, SGD with momentum 0.9
and the authors' schedule and weight decay; three seeds each of no norm, batch
normalisation and deconvolution: as it is published, and with statistics of every
position in place of every third, which leaves nine an image of the coarsest map. Each
has its own rate, chosen by the mean IoU of 300 training images held back. Another set,
by `--data`: a folder in the layout of Cityscapes or VOC, or of `images` and `masks`.

`AUTHORS` is what the authors ran, on a GPU: it is **not run** here, and the networks it
names are not built.

Found (`tables/segmentation.md`, `figures/segmentation.png`): a mean IoU of 58.3 % with
deconvolution of every position's statistics, 50.4 with batch normalisation, 33.3 with
no norm, 26.6 with deconvolution as it is published; over seeds some 5 points up or
down. Minutes are of the processor: the median step's seconds, times the steps.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops
from matplotlib.figure import Figure

from allconv.core import runtime
from allconv.data import datasets, segmentation
from allconv.data.preprocessing import MeanStd
from allconv.data.segmentation import IGNORED, Split
from allconv.figures import segments, whitening
from allconv.networks.segmentation import fcn
from allconv.results.tables import markdown
from experiments import FIGURES, TABLES
from experiments.short_runs import choose, finished, save, seconds, spread
from experiments.written import write_figure, write_text


@dataclass(frozen=True)
class Recipe:
    """How to train: the rate falls as `(1 - step / steps) ** 0.9`."""

    network: str
    epochs: int
    batch: int
    crop: int  # pixels
    rate: float | None  # None: chosen on images held back
    momentum: float = 0.9
    weight_decay: float = 1e-4  # the gradient of decay / 2 times the weights' squares


RECIPE = Recipe("fcn", epochs=6, batch=8, crop=64, rate=None)
# Their command: Cityscapes, ResNet-50 from random weights, images scaled by 0.5 to 2
# of 520 pixels and mirrored at random, blocks of 64, 5 iterations. Not run.
AUTHORS = Recipe("fcn_resnet50", epochs=30, batch=8, crop=480, rate=0.1)
# By label: a norm and its options.
KINDS: dict[str, tuple[str, dict]] = {
    **{"none": ("none", {}), "batch": ("batch", {}), "deconv": ("deconv", {})},
    "deconv, every position": ("deconv", {"sampling_stride": 1}),
}
HELD = 300  # images to choose a rate by
EXAMPLES = 6  # test images to draw


def confusion(masks: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """Pixels by their class `(classes,)` and the class that was found, without 255."""
    counted = masks != IGNORED
    pairs = masks[counted].astype(np.int64) * classes + found[counted]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def mean_iou(counts: np.ndarray) -> float:
    """Mean of intersection / union in %, over the classes that occur or were found."""
    both = np.diag(counts)
    either = counts.sum(axis=0) + counts.sum(axis=1) - both
    return 100 * float(np.mean(both[either > 0] / either[either > 0]))


def pixel_accuracy(counts: np.ndarray) -> float:
    """Pixels whose class was found, in %."""
    return 100 * float(np.trace(counts) / counts.sum())


MEASURES = {"mean IoU in %": mean_iou, "pixel accuracy in %": pixel_accuracy}


def loss(masks, logits):
    """Mean cross entropy of the pixels that have a class."""
    counted = ops.cast(ops.not_equal(masks, IGNORED), "float32")
    numbers = ops.where(ops.equal(masks, IGNORED), 0, ops.cast(masks, "int32"))
    each = ops.sparse_categorical_crossentropy(numbers, logits, from_logits=True)
    return ops.sum(each * counted) / ops.maximum(ops.sum(counted), 1)


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The class of each pixel."""
    parts = [
        model(images[i : i + 100], training=False) for i in range(0, len(images), 100)
    ]
    return np.concatenate([np.argmax(ops.convert_to_numpy(p), -1) for p in parts])


def train(
    kind: str, rate: float, seed: int, splits: Sequence[Split], classes: int
) -> tuple[dict, keras.Model]:
    """One training by `RECIPE`.

    Args:
        kind: One of `KINDS`.
        rate: The first learning rate.
        seed: Of the weights and the order of the images.
        splits: Inputs and masks to learn, to choose a rate by, and to test on after
            each epoch.
        classes: Number of classes.

    Returns:
        Of JSON's types: `epochs`, each of `MEASURES` after them on the test images,
        `seconds` of an epoch, and `held`: the mean IoU of the images held back, None if
        the training diverged. And the network.
    """
    keras.utils.set_random_seed(seed)
    kept, held, test = splits
    norm, options = KINDS[kind]
    shape = kept[0].shape[1:]
    model = fcn(classes, norm=norm, norm_options=options, input_shape=shape)
    for weights in model.trainable_weights:  # Caffe's decay, as everywhere here
        weights.regularizer = keras.regularizers.L2(RECIPE.weight_decay / 2)
    steps = len(kept[0]) // RECIPE.batch
    schedule = keras.optimizers.schedules.PolynomialDecay(
        rate, RECIPE.epochs * steps, 0.0, power=0.9
    )
    model.compile(keras.optimizers.SGD(schedule, RECIPE.momentum), loss)
    rng = np.random.default_rng(seed)
    record: dict = {"epochs": [], "held": None} | {name: [] for name in MEASURES}
    times = []
    for epoch in range(RECIPE.epochs + 1):
        counts = confusion(test[1], predict(model, test[0]), classes)
        record["epochs"].append(epoch)
        for name, measure in MEASURES.items():
            record[name].append(measure(counts))
        if epoch == RECIPE.epochs:
            counts = confusion(held[1], predict(model, held[0]), classes)
            record["held"] = mean_iou(counts)
            break
        order = rng.permutation(len(kept[0]))
        for i in range(steps):
            batch = order[i * RECIPE.batch :][: RECIPE.batch]
            start = time.process_time()
            value = model.train_on_batch(kept[0][batch], kept[1][batch])
            times.append(time.process_time() - start)
            if not math.isfinite(float(value)):
                return record | {"seconds": steps * statistics.median(times)}, model
    return record | {"seconds": steps * statistics.median(times)}, model


def split(data: segmentation.Segments) -> list[Split]:
    """Inputs and masks to learn, to choose a rate by, and to test on."""
    images, masks = data.train
    order = np.random.default_rng(0).permutation(len(images))
    first, rest = order[:HELD], order[HELD:]
    scale = MeanStd().fit(images[rest])
    splits = [(scale(images[part]), masks[part]) for part in (rest, first)]
    return [*splits, (scale(data.test[0]), data.test[1])]


def run(kind: str, splits: Sequence[Split], classes: int, seeds: int) -> dict:
    """Choose a rate by images held back, and train with it.

    Returns:
        `rate`, `tried` (mean IoU of the images held back, by rate) and `runs`.
    """
    tried: dict[float, dict] = {}

    def score(rate: float) -> float:
        tried[rate], _ = train(kind, rate, 0, splits, classes)
        held = tried[rate]["held"]
        print(kind, rate, held, flush=True)
        return math.inf if held is None else -held

    rate = choose(score)
    more = [train(kind, rate, seed, splits, classes)[0] for seed in range(1, seeds)]
    held = {f"{one:g}": run["held"] for one, run in sorted(tried.items())}
    return {"rate": rate, "tried": held, "runs": [tried[rate], *more]}


def examples(found: dict, data: segmentation.Segments) -> Figure:
    """The first test images, their masks, and what the first run of each kind finds."""
    splits, classes = split(data), len(data.class_names)
    masks = {"masks": data.test[1][:EXAMPLES]}
    for kind in KINDS:
        _, model = train(kind, found[kind]["rate"], 0, splits, classes)
        masks[kind.replace(", ", ",\n")] = predict(model, splits[2][0][:EXAMPLES])
    return segments.masks(data.test[0][:EXAMPLES], masks, data.class_names)


def table(found: dict) -> str:
    """Markdown: what each norm came to on the test images."""
    lines: list[Sequence] = [
        ("norm", "rate", "mean IoU % after 2 epochs", "mean IoU %")
        + ("pixel accuracy %", "n", "diverged", "minutes (processor)")
    ]
    for kind in KINDS:
        one = found[kind]
        done = finished(one)
        iou, accuracy = ([run[name] for run in done] for name in MEASURES)
        first = spread([values[2] for values in iou], 1)
        last = [spread([v[-1] for v in values], 1) for values in (iou, accuracy)]
        counts = (len(done), len(one["runs"]) - len(done))
        minutes = f"{RECIPE.epochs * seconds(one) / 60:.1f}"
        lines.append((kind, f"{one['rate']:g}", first, *last, *counts, minutes))
    return f"{markdown(lines, left=1)}\n\n{found['data']}"


def figure(found: dict) -> Figure:
    """Both measures against epochs and against minutes."""
    curves = {
        name: {
            kind: (
                finished(found[kind])[0]["epochs"],
                seconds(found[kind]) / 60,
                np.array([run[name] for run in finished(found[kind])]),
            )
            for kind in KINDS
        }
        for name in MEASURES
    }
    return whitening.progress(curves, ("epochs", "minutes (processor)"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="textures", help="default: textures, drawn")
    parser.add_argument("--size", type=int, default=64, help="in pixels; default: 64")
    parser.add_argument("--seeds", type=int, default=3, help="default: 3")
    parser.add_argument("--draw", action="store_true", help="from what was measured")
    parser.add_argument("--examples", action="store_true", help="draw what each finds")
    arguments = parser.parse_args()
    name = "segmentation"
    if arguments.data != "textures":
        name += f"_{datasets.title(arguments.data)}"
    kept_in = TABLES / f"{name}.json"
    found = json.loads(kept_in.read_text()) if kept_in.exists() else {}
    if not arguments.draw:
        data = segmentation.load(arguments.data, arguments.size)
        kind = "a synthetic set" if arguments.data == "textures" else arguments.data
        found["data"] = (
            f"Of {kind}: {len(data.train[0]) - HELD:,} images to learn, {HELD} to "
            f"choose a rate by, {len(data.test[0]):,} to test on, {arguments.size} "
            f"pixels, {len(data.class_names)} classes."
        )
        found.setdefault("made with", runtime.made_with())
        splits, classes = split(data), len(data.class_names)
        for kind in KINDS:
            if kind not in found:
                found[kind] = run(kind, splits, classes, arguments.seeds)
                save(kept_in, found)
        if arguments.examples:
            write_figure(FIGURES / f"{name}_examples.png", examples(found, data))
    write_text(TABLES / f"{name}.md", f"{table(found)}\n")
    write_figure(FIGURES / f"{name}.png", figure(found))
    print(table(found))


if __name__ == "__main__":
    main()
