"""Does our All-CNN-C begin as the Caffe network did?

Claim: with the paper's recipe (rate 0.05, batch 256, no augmentation) the first twelve
epochs follow the curve of a public Caffe run of the same network, which went on to
9.87 % error after 358 epochs (github.com/mateuszbuda/ALL-CNN; `caffe_all_cnn_c.csv`
holds its measurements on the test set, every 200 iterations of 256 images).

    python -m experiments.queue fidelity    # 90 minutes on two cores
    python -m experiments.fidelity          # a second: the figure and the table
"""

import csv
import json
from pathlib import Path

from allconv import run_plots

HERE = Path(__file__).parent
RECORD = HERE / "records" / "caffe_start-seed0.json"
CAFFE = HERE / "caffe_all_cnn_c.csv"
FIGURE = HERE / "figures" / "fidelity.png"
EPOCH = 50_000 / 256  # Caffe's iterations


def caffe() -> tuple[list[float], list[float]]:
    """(epochs, accuracy in %) of the public run."""
    with CAFFE.open() as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row["iterations"]) / EPOCH for row in rows]
    return epochs, [100 * float(row["accuracy"]) for row in rows]


def ours() -> tuple[list[float], list[float]]:
    """(epochs, accuracy in %) of our run's record."""
    history = json.loads(RECORD.read_text())["history"]
    return (
        [row["epoch"] for row in history],
        [100 * row["val_accuracy"] for row in history],
    )


def main() -> None:
    (epochs, accuracies), (x, y) = caffe(), ours()
    print("epoch   ours  Caffe (the measurement nearest in time)")
    for epoch, accuracy in zip(x, y, strict=True):
        nearest = min(range(len(epochs)), key=lambda i: abs(epochs[i] - epoch))
        print(f"{epoch:5}{accuracy:7.2f}{accuracies[nearest]:7.2f}")
    last = sum(e <= x[-1] + 3 for e in epochs)
    figure = run_plots.learning_curves(
        {
            "this project": (x, y),
            "public Caffe run": (epochs[:last], accuracies[:last]),
        }
    )
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE)
    print(FIGURE)


if __name__ == "__main__":
    main()
