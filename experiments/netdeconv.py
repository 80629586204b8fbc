"""Does whitening train networks in fewer epochs than batch normalisation?

Claims of Ye et al. (ICLR 2020), with the settings of their code: after one epoch,
network deconvolution is far ahead of batch normalisation (Table 1; VGG-16 on CIFAR-10:
74.18 % against 14.12 %), because gradient descent on whitened inputs needs one step for
a linear problem, and the values that a convolution reads are not white: neighbouring
pixels and channels are strongly correlated.

    python -m experiments.queue netdeconv     # one epoch of each: hours on two cores
    python -m experiments.queue netdeconv_20  # VGG-16 in twenty: four hours
    python -m experiments.netdeconv           # 4 minutes: the tables and the figures

The tables and the curves come from the records; what has none is 'not run'. The other
figures are computed here, from CIFAR-10 where it is cached and from synthetic shapes
elsewhere: one step of regression on whitened patches; the covariance of what a layer
reads, before and after; the kernels of the whitening, which subtract from a pixel what
its surround predicts, of patches of images and of a first layer that was trained for an
epoch of 6,400 images (its five iterations subtract little: a twentieth for each
neighbour, the exact root a sixth); and the paper's claim that whitened patches are
sparser. With the exact root they are (excess kurtosis 11.2, pixels -0.8), with five
iterations a little (0.7): `tables/netdeconv_sparsity.md`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np
from matplotlib.figure import Figure

from allconv.data import datasets
from allconv.data.preprocessing import MeanStd
from allconv.figures import whitening
from allconv.layers.netdeconv import NetworkDeconvolution2D
from allconv.networks import all_cnn, classics_rows
from allconv.networks.registry import NORMS
from allconv.presets import catalogue
from allconv.probes import correlation, sparsity
from allconv.results import paper, tables
from experiments import FIGURES, RECORDS, TABLES
from experiments.written import write_figure, write_text

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


def example_images(n: int = 1000) -> tuple[str, np.ndarray, np.ndarray]:
    """Normalised training images: CIFAR-10's where it is cached, else synthetic shapes.

    Returns:
        The data set's name, float32 `(n, 32, 32, 3)`, and labels `(n,)`.
    """
    name = "cifar10" if datasets.is_cached("cifar10") else "shapes"
    images, labels = (part[:n] for part in datasets.load(name)[0])
    return name, MeanStd().fit(images)(images), labels


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


def trained_root(images: np.ndarray, labels: np.ndarray, batch: int = 64):
    """The running `D` `(75, 75)` of a small network's first layer, after one epoch."""
    keras.utils.set_random_seed(0)
    first = NetworkDeconvolution2D(32, 5, padding="same", activation="relu")
    second = NetworkDeconvolution2D(64, 3, padding="same", activation="relu")
    halve = keras.layers.MaxPooling2D
    end = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential([first, halve(), second, halve(), *end])
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy"
    )
    model.fit(images, labels, batch, 1, verbose=0)
    return first.running_deconv.numpy()


def kernels(images: np.ndarray, trained: np.ndarray) -> Figure:
    """The whitening of 5 x 5 patches of images, and that of a trained first layer."""
    matrix = correlation.covariance(correlation.patch_rows(images, 5))
    return whitening.deconvolution_kernels(
        {
            "patches, exact root": correlation.whitener(matrix, epsilon=1e-2),
            "a trained first layer": trained,
        }
    )


def whitened_patches(images: np.ndarray) -> dict[str, np.ndarray]:
    """By label: 5 x 5 patches as rows, whitened or not, and normal numbers.

    Each pixel is centred and divided by its standard deviation first.
    """
    rows = correlation.patch_rows(images, 5)
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    matrix = correlation.covariance(rows)
    exact = correlation.whitener(matrix, epsilon=1e-5)
    some = correlation.whitener(matrix, epsilon=1e-5, iterations=5)
    normal = np.random.default_rng(0).normal(size=rows.shape)
    return {
        "pixels": rows,
        "whitened, exact root": rows @ exact,
        "whitened, 5 iterations": rows @ some,
        "normal numbers": normal,
    }


def sparsity_table(patches: Mapping[str, np.ndarray]) -> str:
    """Markdown: two measures of how sparse rows are, by what was done to them."""
    lines: list[Sequence] = [("5 x 5 patches", "excess kurtosis", "Hoyer's measure")]
    for label, rows in patches.items():
        measures = (sparsity.kurtosis(rows), sparsity.hoyer(rows))
        lines.append((label, *(f"{one:.2f}" for one in measures)))
    return tables.markdown(lines, left=1)


def figures(records: list[dict]) -> Iterator[tuple[str, Figure]]:
    """Names and figures, one after the other."""
    _, images, _ = example_images()
    losses = correlation.one_step(correlation.patch_rows(images[:200], 5))
    yield "netdeconv_one_step", whitening.descents(losses)
    matrices = before_and_after(images)
    yield "netdeconv_covariance", whitening.covariances(matrices)
    yield "netdeconv_kernels", kernels(images, trained_root(*example_images(6400)[1:]))
    patches = whitened_patches(images)
    write_text(TABLES / "netdeconv_sparsity.md", f"{sparsity_table(patches)}\n")
    yield "netdeconv_sparsity", whitening.densities(patches)
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
