"""Does whitening train networks in fewer epochs than batch normalisation?

Claims of Ye et al. (ICLR 2020), with the settings of their code: after one epoch,
network deconvolution is far ahead of batch normalisation (Table 1; VGG-16 on CIFAR-10:
74.18 % against 14.12 %), because gradient descent on whitened inputs needs one step for
a linear problem, and the values that a convolution reads are not white: neighbouring
pixels and channels are strongly correlated.

    python -m experiments.queue netdeconv     # one epoch of each: hours on two cores
    python -m experiments.queue netdeconv_20  # VGG-16 in twenty: four hours
    python -m experiments.netdeconv           # a minute: the tables and the figures

The tables and the curves come from the records; what has none is 'not run'. The other
figures are computed here, from CIFAR-10 where it is cached and from synthetic shapes
elsewhere: one step of regression on whitened patches; the covariance of what a layer
reads, before and after; the kernels of the whitening, which subtract from a pixel what
its surround predicts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np
from matplotlib.figure import Figure

from allconv.data import datasets
from allconv.data.preprocessing import MeanStd
from allconv.figures import whitening
from allconv.networks import all_cnn, classics_rows
from allconv.networks.registry import NORMS
from allconv.presets import catalogue
from allconv.probes import correlation
from allconv.results import paper, tables
from experiments import FIGURES, RECORDS
from experiments.written import write_figure

COLUMNS = (
    *("network", "data set"),
    *("batch, paper", "batch, ours", "deconv, paper", "deconv, ours"),
    *("minutes, batch", "minutes, deconv"),
)


def table(records: list[dict]) -> str:
    """Markdown: accuracy in % after one epoch, the paper's number beside ours."""
    return _table(records, catalogue.TABLE_1, 1)


def brief(records: list[dict]) -> str:
    """As `table`, of the rows that were run with either norm."""
    rows = {
        name: row
        for name, row in catalogue.TABLE_1.items()
        if any(
            tables.summarise(records, f"{name}_{norm}").errors
            for norm in ("batch", "deconv")
        )
    }
    return _table(records, rows, 1)


def twenty(records: list[dict]) -> str:
    """As `table`, after 20 epochs, of the rows that have a recipe."""
    rows = {
        name: row
        for name, row in catalogue.TABLE_1.items()
        if f"{name}_deconv_20" in catalogue.PRESETS
    }
    return _table(records, rows, 20)


def _table(records: list[dict], rows: Mapping[str, tuple[str, str]], epochs: int):
    lines: list[Sequence] = [COLUMNS]
    run, suffix = 0, "" if epochs == 1 else f"_{epochs}"
    for name, (network, dataset) in rows.items():
        published = paper.WHITENING[classics_rows.get(network).published, dataset]
        batch, deconv = (
            tables.summarise(records, f"{name}_{norm}{suffix}")
            for norm in ("batch", "deconv")
        )
        run += bool(batch.errors and deconv.errors)
        cells = [classics_rows.get(network).published, dataset]
        for norm, ours in (("bn", batch), ("nd", deconv)):
            theirs = published[f"{norm}{epochs}"]
            doubt = "" if theirs.confirmed else " ?"
            cells += [f"{theirs.value:.2f}{doubt}", accuracy(ours)]
        cells += [
            "" if ours.minutes is None else f"{ours.minutes:.0f}"
            for ours in (batch, deconv)
        ]
        lines.append(cells)
    all_rows = f"{len(catalogue.TABLE_1)} rows of the paper's table"
    return f"{tables.markdown(lines)}\n\n{run} of the {all_rows} were run with both."


def accuracy(summary: tables.Summary) -> str:
    """What a summary says, as accuracy in %."""
    return str(replace(summary, errors=tuple(100 - e for e in summary.errors)))


def curves(records: list[dict]) -> dict[str, tuple[list, list, list]]:
    """By norm: epochs, minutes, test accuracies in % of All-CNN-C's first run.

    A norm without a run is left out. Epochs of a run are taken to last equally long.
    """
    found = {}
    for norm in NORMS:
        runs = tables.finished(records, f"all_cnn_c_{norm}_10")
        if runs:
            run = min(runs, key=lambda record: record["seed"])
            epochs = [row["epoch"] for row in run["history"]]
            each = run["minutes"] / len(epochs)
            accuracies = [100 * row["val_accuracy"] for row in run["history"]]
            found[norm] = (epochs, [each * epoch for epoch in epochs], accuracies)
    return found


def example_images(n: int = 1000) -> tuple[str, np.ndarray]:
    """Normalised training images: CIFAR-10's where it is cached, else synthetic shapes.

    Returns:
        The data set's name, and float32 `(n, 32, 32, 3)`.
    """
    name = "cifar10" if datasets.is_cached("cifar10") else "shapes"
    images = datasets.load(name)[0][0][:n]
    return name, MeanStd().fit(images)(images)


def before_and_after(images: np.ndarray) -> dict[str, np.ndarray]:
    """By title: covariances of what two layers of All-CNN-C read, and whitened.

    The second layer's inputs are the first layer's outputs at random weights.
    """
    keras.utils.set_random_seed(0)
    model = all_cnn.AllCNNC(norm="deconv", dropout=0)
    found = {}
    for name in ("conv1", "conv2"):
        layer = model.get_layer(name)
        rows = correlation.layer_rows(model, name, images[:200])
        before = correlation.covariance(rows)
        found[f"{name}: {len(before)} values of a patch"] = before
        for iterations in (layer.iterations, 15):
            root = correlation.whitener(before, layer.epsilon, iterations)
            title = f"{name}: {iterations} Newton-Schulz steps"
            found[title] = root @ before @ root
    return found


def kernels(images: np.ndarray, size: int = 5) -> Figure:
    """The whitening of `size` x `size` patches, drawn as filters."""
    matrix = correlation.covariance(correlation.patch_rows(images, size))
    root = correlation.whitener(matrix, epsilon=1e-2)
    return whitening.deconvolution_kernels(root, size, columns=3 * size)[0]


def figures(records: list[dict]) -> Iterator[tuple[str, Figure]]:
    """Names and figures, one after the other."""
    _, images = example_images()
    losses = correlation.one_step(correlation.patch_rows(images[:200], 5))
    yield "netdeconv_one_step", whitening.descents(losses)
    matrices = before_and_after(images)
    yield "netdeconv_covariance", whitening.covariances(matrices)
    yield "netdeconv_kernels", kernels(images)
    found = curves(records)
    if found:
        yield "netdeconv_norms", whitening.against_time(found)


def main() -> None:
    records = tables.read(RECORDS)
    print("Accuracy in % after one epoch (Ye et al. 2020, Table 1)\n")
    print(table(records))
    print("\nAfter 20 epochs\n")
    print(twenty(records))
    print("\nAll-CNN-C, ten epochs")
    found = curves(records)
    for norm in NORMS:
        if norm in found:
            _, minutes, accuracies = found[norm]
            print(f"{norm:8}{accuracies[-1]:6.2f} % in {minutes[-1]:.0f} minutes")
        else:
            print(f"{norm:8}not run")
    for name, figure in figures(records):
        path = FIGURES / f"{name}.png"
        write_figure(path, figure)
        print(path)


if __name__ == "__main__":
    main()
