r"""Does our All-CNN-C begin as the Caffe network did?

Question: with the paper's recipe (rate 0.05, batch 256, no augmentation), do the first
twelve epochs follow the curve of a public Caffe run of the same network, which went on
to 9.87 % error after 358 epochs (github.com/mateuszbuda/ALL-CNN; `caffe_all_cnn_c.csv`
holds its measurements on the test set, every 200 iterations of 256 images)? Found:
nearly. Seed 0 is up to 24 points ahead at first, and 3 points at epoch 12.

    python -m experiments.queue fidelity    # 212 minutes on two busy cores
    python -m allconv train caffe_start --epochs 3 --seed 1 \
        --records records
    python -m experiments.fidelity          # a second: the figure and the table
    python -m experiments.fidelity --starts 8    # a minute: class scores at the start

The second run shows how much the start differs from seed to seed, and the last line
why: the class scores end in a rectifier. At the start some are 0 in nearly all images,
others in nearly none, as the seed has it, and a score that is 0 in all of them has no
gradient: its class is lost.
"""

import argparse
import csv

import keras
import numpy as np

from allconv.figures.runs import learning_curves
from allconv.networks import all_cnn
from allconv.presets import catalogue
from allconv.presets.preset import complete
from allconv.results import tables
from allconv.training.inputs import Inputs
from experiments import FIGURES, HERE, RECORDS
from experiments.written import write_figure

CAFFE = HERE / "caffe_all_cnn_c.csv"
FIGURE = FIGURES / "fidelity.png"
EPOCH = 50_000 / 256  # Caffe's iterations


def caffe() -> tuple[list[float], list[float]]:
    """(epochs, accuracy in %) of the public run."""
    with CAFFE.open() as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row["iterations"]) / EPOCH for row in rows]
    return epochs, [100 * float(row["accuracy"]) for row in rows]


def ours() -> dict[int, tuple[list[float], list[float]]]:
    """(epochs, accuracy in %) of our runs' records, by seed; some are shorter."""
    runs = {}
    recipe = catalogue.get("caffe_start")
    for record in tables.read(RECORDS):
        found = complete(record["preset"])
        if found != recipe.as_dict() | {k: found[k] for k in ("name", "epochs")}:
            continue
        runs[record["seed"]] = (
            [row["epoch"] for row in record["history"]],
            [100 * row["val_accuracy"] for row in record["history"]],
        )
    return dict(sorted(runs.items()))


def shares_on(seed: int, inputs: np.ndarray) -> np.ndarray:
    """Where each class score of a new network is above 0: shares `(10,)` of places."""
    keras.utils.set_random_seed(seed)
    model = all_cnn.AllCNNC()
    scores = keras.Model(model.inputs[0], model.get_layer("conv9").output)
    return (scores.predict(inputs, verbose=0) > 0).mean(axis=(0, 1, 2))


def starts(count: int) -> None:
    """Print the shares of `count` seeds, on the first 200 training images."""
    found = Inputs(catalogue.get("caffe_start"))
    print("seed  share of places where the score of each class is above 0")
    for seed in range(count):
        shares = shares_on(seed, found.x_train[:200])
        print(f"{seed:4}  {'  '.join(f'{share:.2f}' for share in shares)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, metavar="SEEDS")
    arguments = parser.parse_args()
    if arguments.starts:
        starts(arguments.starts)
        return
    (epochs, accuracies), runs = caffe(), ours()
    if not runs:
        raise SystemExit("No run is recorded: python -m experiments.queue fidelity")
    longest = max((x for x, _ in runs.values()), key=len)
    print("epoch" + "".join(f"  seed {seed}" for seed in runs) + "   Caffe, at epoch")
    for i, epoch in enumerate(longest):
        mine = [f"{y[i]:8.2f}" if i < len(y) else f"{'':8}" for _, y in runs.values()]
        near = min(range(len(epochs)), key=lambda j: abs(epochs[j] - epoch))
        print(f"{epoch:5}{''.join(mine)}{accuracies[near]:8.2f}  {epochs[near]:.2f}")
    last = sum(e <= longest[-1] + 3 for e in epochs)
    figure = learning_curves(
        {f"this project, seed {seed}": run for seed, run in runs.items()}
        | {"public Caffe run": (epochs[:last], accuracies[:last])}
    )
    write_figure(FIGURE, figure)
    print(FIGURE)


if __name__ == "__main__":
    main()
