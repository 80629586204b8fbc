"""Does whitening teach a network to segment sooner than batch normalisation?

Ye et al. (ICLR 2020) train networks on Cityscapes from random weights: with network
deconvolution the mean intersection over union (IoU) rises faster, and ends higher. Here
the question is asked of a small fully convolutional network and of a **synthetic** set,
shapes on textures (`allconv.data.segmentation`), which says nothing of Cityscapes.

    python -m experiments.segmentation                  # 40 minutes on two cores
    python -m experiments.segmentation --draw           # table and figures alone
    python -m experiments.segmentation --data CITYSCAPES --size 256

1,000 images of 64 pixels and 6 classes, six epochs, batches of 8, SGD with momentum 0.9
and the authors' schedule and weight decay; three seeds each of no norm, batch
normalisation and deconvolution. Each has its own rate, chosen by the mean IoU of 300
training images held back. Another set, by `--data`: a folder in the layout of
Cityscapes or VOC, or of `images` and `masks`.

`AUTHORS` is what the authors ran, on a GPU: it is **not run** here, and the networks it
names are not built.

Expected: `tables/segmentation.md`, `figures/segmentation.png` and
`figures/segmentation_examples.png`. Minutes are of the processor: the median step's
seconds, times the steps.
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
from allconv.networks.registry import NORMS
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
    norm: str, rate: float, seed: int, splits: Sequence[Split], classes: int
) -> tuple[dict, keras.Model]:
    """One training by `RECIPE`.

    Args:
        norm: Of the network.
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
    model = fcn(classes, norm=norm, input_shape=kept[0].shape[1:])
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


def run(norm: str, data: segmentation.Segments, seeds: int) -> tuple[dict, np.ndarray]:
    """Choose a rate by images held back; then train on the others, and test.

    Returns:
        `rate`, `tried` (mean IoU of the images held back, by rate) and `runs`; and the
        classes that the first run finds in the first test images.
    """
    images, masks = data.train
    order = np.random.default_rng(0).permutation(len(images))
    first, rest = order[:HELD], order[HELD:]
    scale = MeanStd().fit(images[rest])
    splits = [(scale(images[part]), masks[part]) for part in (rest, first)]
    splits.append((scale(data.test[0]), data.test[1]))
    tried: dict[float, tuple[dict, keras.Model]] = {}

    def score(rate: float) -> float:
        tried[rate] = train(norm, rate, 0, splits, len(data.class_names))
        held = tried[rate][0]["held"]
        print(norm, rate, held, flush=True)
        return math.inf if held is None else -held

    rate = choose(score)
    record, model = tried[rate]
    more = [
        train(norm, rate, seed, splits, len(data.class_names))[0]
        for seed in range(1, seeds)
    ]
    held = {f"{one:g}": run["held"] for one, (run, _) in sorted(tried.items())}
    found = predict(model, splits[2][0][:EXAMPLES])
    return {"rate": rate, "tried": held, "runs": [record, *more]}, found


def table(found: dict) -> str:
    """Markdown: what each norm came to on the test images."""
    lines: list[Sequence] = [
        ("norm", "rate", "mean IoU % after 1 epoch", "mean IoU %")
        + ("pixel accuracy %", "n", "diverged", "minutes (processor)")
    ]
    for norm in NORMS:
        one = found[norm]
        done = finished(one)
        iou, accuracy = ([run[name] for run in done] for name in MEASURES)
        first = spread([values[1] for values in iou], 1)
        last = [spread([v[-1] for v in values], 1) for values in (iou, accuracy)]
        counts = (len(done), len(one["runs"]) - len(done))
        minutes = f"{RECIPE.epochs * seconds(one) / 60:.1f}"
        lines.append((norm, f"{one['rate']:g}", first, *last, *counts, minutes))
    return f"{markdown(lines, left=1)}\n\n{found['data']}"


def figure(found: dict) -> Figure:
    """Both measures against epochs and against minutes."""
    curves = {
        name: {
            norm: (
                finished(found[norm])[0]["epochs"],
                seconds(found[norm]) / 60,
                np.array([run[name] for run in finished(found[norm])]),
            )
            for norm in NORMS
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
        masks = {"images": data.test[1][:EXAMPLES]}
        for norm in NORMS:
            if norm not in found:
                found[norm], masks[norm] = run(norm, data, arguments.seeds)
                save(kept_in, found)
        if {*NORMS} <= {*masks}:  # all measured now
            examples = segments.masks(data.test[0][:EXAMPLES], masks, data.class_names)
            write_figure(FIGURES / f"{name}_examples.png", examples)
    write_text(TABLES / f"{name}.md", f"{table(found)}\n")
    write_figure(FIGURES / f"{name}.png", figure(found))
    print(table(found))


if __name__ == "__main__":
    main()
