"""Does whitening its input solve a linear model in one pass? And a small MLP?

The first experiments of Ye et al. (ICLR 2020, section 5.1). Claims: with L2 loss a
linear model of whitened pixels comes near the closed form of the regression within an
epoch, where plain and batch-normalised gradient descent stay far above it; and logistic
regression and an MLP learn faster too.

    python -m experiments.netdeconv_fashion           # 12 minutes on two cores
    python -m experiments.netdeconv_fashion --draw    # the table and figure alone

The networks are those of the authors' code: pixels from 0 to 1 into one dense layer, or
into 784-128-128-10 with sigmoids; L2 loss is half the sum of squares of the ten scores'
distances to 0 or 1. Theirs too: SGD with momentum 0.9, batches of 512, the rate falling
along half a cosine; one epoch (the MLP here two). Not theirs: no weight decay, which
would move the closed form away.

What learns:

* `none`: the layers alone.
* `batch`: batch normalisation in front of each sigmoid, as in the authors' MLP; of the
  linear models, which have no sigmoid, in front of the layer.
* `deconv`: every layer is a `NetworkDeconvolutionDense` whose `D` is of all its inputs,
  784 or 128, in the 5 iterations of the layers, and in 15, which come nearer to the
  inverse root.
* `channels`: the authors' `ChannelDeconv(32)` in front of every layer, which whitens 32
  means of pixels; it is what their code has for these networks.

The rate is chosen for each on 5,000 training images held back (`hold_out`), along a
ladder of half decades, by seed 0. Losses are of all other 55,000 in inference, where
running averages stand in for the batch's statistics. Seconds are of the processor: the
median step's, times the steps. MNIST, which the paper has too, is not run:
`--dataset mnist` runs it where it is at hand. The paper has figures and no numbers of
these experiments.

Found (`tables/netdeconv_fashion.md`, `figures/netdeconv_fashion.png`), three seeds: the
closed form's loss is 0.174; `deconv` ends at 0.181, plain descent at 0.194, `batch` at
0.213. Logistic regression: 0.415, 0.518, 0.455. MLP: 0.263, 0.616, 0.391; test errors
12.7, 24.2 and 15.7 %. `channels` is between in the linear models, and level in the MLP
at a fifth of the seconds. Per second plain descent is ahead in the linear models: a
step of `deconv` takes 30 times as long. With 15 iterations, 512 images are too few for
784 directions, and all is worse.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops
from matplotlib.figure import Figure

from allconv.core import runtime
from allconv.data import datasets
from allconv.figures import whitening
from allconv.layers.netdeconv import ChannelDeconvolution, NetworkDeconvolutionDense
from allconv.results.tables import markdown
from experiments import FIGURES, TABLES
from experiments.short_runs import choose, finished, save, seconds, spread
from experiments.written import write_figure, write_text

BATCH, HELD, PIXELS, CLASSES = 512, 5000, 784, 10
METHODS = ("none", "batch", "deconv", "deconv, 15 iterations", "channels")
MEASURED = (0, 1, 2, 4, 8, 16, 32, 64, 107, 160, 214)  # steps


@dataclass(frozen=True)
class Problem:
    """What is learned: a loss of scores and one-hot targets, hidden units, epochs."""

    loss: Callable
    hidden: tuple[int, ...] = ()
    epochs: int = 1


def half_squares(targets, scores):
    """Half the sum of squared distances, for each image."""
    return ops.sum(ops.square(targets - scores), axis=-1) / 2


def cross_entropy(targets, scores):
    """Of the softmax of the scores, for each image."""
    return ops.categorical_crossentropy(targets, scores, from_logits=True)


PROBLEMS = {
    "L2 regression": Problem(half_squares),
    "logistic regression": Problem(cross_entropy),
    "MLP": Problem(cross_entropy, hidden=(128, 128), epochs=2),
}
Split = tuple[np.ndarray, np.ndarray]  # pixels (n, 784) from 0 to 1; labels (n,)


def network(method: str, hidden: Sequence[int]) -> keras.Model:
    """The linear model, or the MLP, from pixels to scores."""
    x = inputs = keras.Input((PIXELS,))
    if method == "batch" and not hidden:
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    for i, units in enumerate((*hidden, CLASSES)):
        if i:
            x = layers.Activation("sigmoid")(x)
        x = _weigh(x, units, method)
        if method == "batch" and i < len(hidden):
            x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return keras.Model(inputs, x)


def _weigh(x: keras.KerasTensor, units: int, method: str) -> keras.KerasTensor:
    if method.startswith("deconv"):
        iterations = 15 if "15" in method else 5
        whole = {"block": x.shape[-1], "iterations": iterations}
        return NetworkDeconvolutionDense(units, **whole)(x)
    if method == "channels":
        x = ChannelDeconvolution(32)(x)
    start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    return layers.Dense(units, kernel_initializer=start)(x)


def closed_form(pixels: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The least squares of an affine model, weights `(785, 10)`, the last its bias."""
    ones = np.append(pixels, np.ones((len(pixels), 1), pixels.dtype), axis=1)
    ones = ones.astype(np.float64)
    return np.linalg.lstsq(ones.T @ ones, ones.T @ targets, rcond=None)[0]


def train(
    problem: Problem, method: str, rate: float, seed: int, kept: Split, others: list
) -> dict:
    """One training.

    Args:
        problem: What is learned.
        method: One of `METHODS`.
        rate: The first learning rate.
        seed: Of the weights and the order of the images.
        kept: Images to learn.
        others: Images held back, and test images.

    Returns:
        Of JSON's types: `steps` and `losses` (mean over all images learned) as long as
        they are finite, `held` (loss of the images held back; None: it diverged),
        `error` (of the test images, in %) and `seconds` of a step.
    """
    keras.utils.set_random_seed(seed)
    model = network(method, problem.hidden)
    pixels, targets = kept[0], np.eye(CLASSES, dtype=np.float32)[kept[1]]
    epoch = len(pixels) // BATCH
    steps = problem.epochs * epoch
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(keras.optimizers.SGD(schedule, momentum=0.9), problem.loss)
    rng = np.random.default_rng(seed)
    measured = sorted({step for step in MEASURED if step < steps} | {steps})
    losses, seconds = [], []
    for step in range(steps + 1):
        if step in measured:
            loss = _loss(model, problem, kept)
            if not math.isfinite(loss):
                break
            losses.append(loss)
        if step == steps:
            break
        if step % epoch == 0:
            order = rng.permutation(len(pixels))
        batch = order[step % epoch * BATCH :][:BATCH]
        start = time.process_time()
        model.train_on_batch(pixels[batch], targets[batch])
        seconds.append(time.process_time() - start)
    held, test = others
    wrong = np.argmax(_scores(model, test[0]), axis=-1) != test[1]
    return {
        "steps": measured[: len(losses)],
        "losses": losses,
        "held": _loss(model, problem, held) if len(losses) == len(measured) else None,
        "error": 100 * float(wrong.mean()),
        "seconds": statistics.median(seconds),
    }


def _scores(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    return ops.convert_to_numpy(model(pixels, training=False))


def _loss(model: keras.Model, problem: Problem, split: Split) -> float:
    targets = np.eye(CLASSES, dtype=np.float32)[split[1]]
    scores = _scores(model, split[0])
    return float(ops.convert_to_numpy(problem.loss(targets, scores)).mean())


def load(dataset: str, data_dir: str | None) -> tuple[Split, list[Split]]:
    """Images to learn, and those held back and those to test on."""
    (images, labels), test = datasets.load(dataset, data_dir)
    kept, held = datasets.hold_out(images, labels, HELD)

    def flat(split: Split) -> Split:
        grey = split[0][..., 0].reshape(-1, PIXELS)
        return grey.astype(np.float32) / 255, split[1]

    return flat(kept), [flat(held), flat(test)]


def floor(kept: Split, test: Split) -> dict[str, float]:
    """What the closed form comes to: `loss` and `error`, as `train` has them."""
    targets = np.eye(CLASSES)[kept[1]]
    weights = closed_form(kept[0], targets)
    scores = [pixels @ weights[:-1] + weights[-1] for pixels in (kept[0], test[0])]
    losses = ops.convert_to_numpy(half_squares(targets, scores[0]))
    wrong = np.argmax(scores[1], axis=-1) != test[1]
    return {"loss": float(losses.mean()), "error": 100 * float(wrong.mean())}


def runs(
    title: str, method: str, kept: Split, others: list[Split], seeds: int
) -> dict[str, object]:
    """Choose a rate by the images held back, and train with it.

    Returns:
        `rate`, `tried` (losses of the images held back, by rate) and `runs`.
    """
    tried: dict[float, dict] = {}

    def score(rate: float) -> float:
        tried[rate] = train(PROBLEMS[title], method, rate, 0, kept, others)
        held = tried[rate]["held"]
        print(title, method, rate, held, flush=True)
        return math.inf if held is None else held

    rate = choose(score)
    more = [
        train(PROBLEMS[title], method, rate, seed, kept, others)
        for seed in range(1, seeds)
    ]
    held = {f"{one:g}": run["held"] for one, run in sorted(tried.items())}
    return {"rate": rate, "tried": held, "runs": [tried[rate], *more]}


def table(found: dict) -> str:
    """Markdown: rates, losses on the images learned, test errors, milliseconds."""
    head = ("problem", "method", "rate", "loss after 8 steps", "final loss")
    lines: list[Sequence] = [
        (*head, "test error %", "n", "diverged", "ms of a step (processor)")
    ]
    for title in PROBLEMS:
        for method, one in found[title].items():
            done = finished(one)
            early = spread([run["losses"][run["steps"].index(8)] for run in done], 4)
            last = spread([run["losses"][-1] for run in done], 4)
            error = spread([run["error"] for run in done], 2)
            counts = (len(done), len(one["runs"]) - len(done))
            step = f"{1000 * seconds(one):.0f}"
            rate = f"{one['rate']:g}"
            lines.append((title, method, rate, early, last, error, *counts, step))
        if title == "L2 regression":
            least = found["closed form"]
            cells = (f"{least['loss']:.4f}", f"{least['error']:.2f}")
            lines.append((title, "closed form", "", "", *cells, "", "", ""))
    return markdown(lines)


def figure(found: dict) -> Figure:
    """Losses against steps and against seconds, the closed form as a line."""
    curves = {
        f"loss of {title}": {
            method: (
                finished(one)[0]["steps"],
                seconds(one),
                np.array([run["losses"] for run in finished(one)]),
            )
            for method, one in found[title].items()
        }
        for title in PROBLEMS
    }
    floors = {"loss of L2 regression": found["closed form"]["loss"]}
    units = ("steps", "seconds")
    return whitening.progress(curves, units, logarithmic=True, floors=floors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="fashion_mnist", help="or mnist")
    parser.add_argument("--seeds", type=int, default=3, help="default: 3")
    parser.add_argument("--draw", action="store_true", help="from what was measured")
    parser.add_argument("--data-dir", help="folder of the data; default: ALLCONV_DATA")
    arguments = parser.parse_args()
    name = arguments.dataset.replace("fashion_mnist", "fashion")
    name = f"netdeconv_{name}"
    kept_in = TABLES / f"{name}.json"
    found = json.loads(kept_in.read_text()) if kept_in.exists() else {}
    if not arguments.draw:
        kept, others = load(arguments.dataset, arguments.data_dir)
        found.setdefault("made with", runtime.made_with())
        found.setdefault("closed form", floor(kept, others[1]))
        for title in PROBLEMS:
            for method in METHODS:
                if method not in found.setdefault(title, {}):
                    one = runs(title, method, kept, others, arguments.seeds)
                    found[title][method] = one
                    save(kept_in, found)
    write_text(TABLES / f"{name}.md", f"{table(found)}\n")
    write_figure(FIGURES / f"{name}.png", figure(found))
    print(table(found))


if __name__ == "__main__":
    main()
