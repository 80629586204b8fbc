"""Which maps show what decided? Every method on networks whose evidence is known.

Question: in images where one patch decides each class (`experiments.planted`), how much
of a map lies in the patch of the class that was asked for, does the map know the class,
and does it change when the weights do? Found, in the trained all-convolutional networks
(the patch is 6 % of the image): LRP epsilon-plus has 86 % of its map there, class
activation maps 60 %, the image times the gradient 52 %, guided backprop 23 %, backprop
17 %. The deconvnet has 6 % and does not know the class (49 of 100), having no switches;
with max-pooling it has 10 %, and 75 of 100. Guided backprop knows the class here, but
with the class scores drawn anew its maps still correlate by 0.72; those of backprop by
0.52, those of LRP by 0.06. Grad-CAM at the last hidden layer is the class activation
map but for the bias of the scores, and LRP epsilon is the image times the gradient.

    python -m experiments.trust              # 8 minutes, 2 busy cores
    python -m experiments.trust --seeds 1    # one network of each kind, written nowhere

Nothing is tuned: each method has the settings of its paper or of its library, which are
written in `methods`. SmoothGrad and integrated gradients are means of gradients, a line
each over `Explainer`. Sobel edges and random numbers are what no network had a part in.
"""

import argparse
from collections.abc import Callable
from textwrap import fill
from typing import NamedTuple

import keras
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from allconv.figures.maps import COLOURS
from allconv.probes.faithfulness import curves
from allconv.results.tables import markdown
from allconv.saliency import cam
from allconv.saliency.explainer import Explainer
from allconv.saliency.lrp import propagate
from allconv.saliency.sanity import randomise, weighted_layers
from allconv.saliency.similarity import edge_maps, rank_correlation
from experiments import FIGURES, TABLES, planted
from experiments.written import write_figure, write_text

Maps = Callable[[np.ndarray, np.ndarray], np.ndarray]  # images, target -> importance
TABLE, FIGURE = TABLES / "trust.md", FIGURES / "trust.png"
RULES = ("backprop", "deconvnet", "guided")
SAMPLES, NOISE, POINTS = 16, 0.15, 32  # draws, share of the range; points of the path
SMOOTH = f"SmoothGrad ({SAMPLES} draws, {NOISE:.0%})"
INTEGRATED = f"integrated gradients ({POINTS} points)"
FRAME = COLOURS[1]  # an orange, of which every eye sees that it is no grey
TEXT = 10  # points: 10.8 pixels of a picture that is shown 1280 wide
HIDDEN = "hidden"  # the last layer before the class scores, for Grad-CAM


def magnitude(maps: np.ndarray) -> np.ndarray:
    """Of what has no sign to speak of: gradients and what rules make of them."""
    return np.abs(maps).sum(-1)


def evidence(maps: np.ndarray) -> np.ndarray:
    """Of what says how much each pixel adds to the score: what speaks for the class."""
    return np.maximum(maps.sum(-1), 0)


def methods(model: keras.Model, rng: np.random.Generator) -> dict[str, Maps]:
    """Every method for one network, as functions of images and classes.

    They return importance `(n, height, width)`, not negative.
    """
    explainers = [Explainer(model, rule) for rule in RULES]

    def gradient(x, c):
        return explainers[0](x, target=c)

    def smooth_gradient(x, c):
        draws = (rng.normal(x, NOISE * np.ptp(x)) for _ in range(SAMPLES))
        return sum(gradient(draw, c) for draw in draws) / SAMPLES

    def mean_gradient(x, c):  # on the way from 0, the mean of the images
        return sum(gradient((k + 0.5) / POINTS * x, c) for k in range(POINTS)) / POINTS

    def relevance(composite):
        return lambda x, c: evidence(propagate(model, x, composite, target=c).maps)

    def grad_cam(x, c):
        return placed(cam.grad_cam(model, x, HIDDEN, target=c))

    def rule_maps(explainer):
        return lambda x, c: magnitude(explainer(x, target=c))

    return {
        **dict(zip(RULES, map(rule_maps, explainers), strict=True)),
        SMOOTH: lambda x, c: magnitude(smooth_gradient(x, c)),
        "input x gradient": lambda x, c: evidence(x * gradient(x, c)),
        INTEGRATED: lambda x, c: evidence(x * mean_gradient(x, c)),
        "LRP epsilon": relevance("epsilon"),
        "LRP epsilon-plus": relevance("epsilon_plus"),
        "LRP epsilon-alpha2-beta1": relevance("epsilon_alpha2_beta1"),
        "CAM": lambda x, c: placed(
            np.maximum(cam.class_activation_map(model, x, target=c), 0)
        ),
        "Grad-CAM": grad_cam,
        "guided Grad-CAM": lambda x, c: (
            magnitude(explainers[2](x, target=c)) * grad_cam(x, c)
        ),
        "Sobel edges": lambda x, c: magnitude(edge_maps(x)),
        "random": lambda x, c: rng.random(x.shape[:3]),
    }


def placed(maps: np.ndarray) -> np.ndarray:
    """Small maps over the image: in its middle, if the network does not pad."""
    size, inner = planted.SIZE, maps.shape[1]
    if inner <= size // 2:  # padded, at stride 2
        return cam.enlarge(maps, (size, size))
    before = (size - inner) // 2
    pad = (before, size - inner - before)
    return np.pad(maps, ((0, 0), pad, pad))


TITLES = {
    "built": "Built by hand: a matched filter for each pattern",
    "strided": "Trained, all-convolutional",
    "pooled": "Trained, with max-pooling",
}
COLUMNS = {  # title -> digits
    "in the patch, %": 0,
    "AUC": 2,
    "own class, %": 0,
    "alike, scores random": 2,
    "alike, all random": 2,
    "deletion": 2,
    "insertion": 2,
}


class Case(NamedTuple):
    """One network and its images, in each of which two classes are there for sure."""

    model: keras.Model
    data: planted.Planted
    targets: np.ndarray  # (2, n)
    accuracy: float  # % of all 'is it there?', on these images


def case(kind: str, seed: int, n: int) -> Case:
    model, data = planted.NETWORKS[kind](seed), planted.draw(n, seed, part=1, sure=2)
    rng = np.random.default_rng([seed, 2])
    targets = [rng.permutation(np.flatnonzero(row))[:2] for row in data.present]
    right = (model.predict(data.images, verbose=0) > 0.5) == data.present
    return Case(model, data, np.transpose(targets), 100 * right.mean())


def in_patch(importance: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """Share of the importance that lies in the patch, `(n,)`; of an empty map, 0."""
    whole = importance.sum((1, 2))
    return (importance * patch).sum((1, 2)) / np.where(whole > 0, whole, 1)


def auc(importance: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """How often a pixel of the patch is above one outside, `(n,)`; ties count half."""
    found = []
    for values, mask in zip(importance, patch, strict=True):
        inside, outside = values[mask], np.sort(values[~mask])
        below = np.searchsorted(outside, inside, "left")
        below_or_equal = np.searchsorted(outside, inside, "right")
        found.append((below + below_or_equal).mean() / 2 / len(outside))
    return np.array(found)


def own_class(maps: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """Of two classes' maps, does each prefer its own patch? 1, 0, or 1/2 if equal.

    Args:
        maps: `(2, n, height, width)`, of two classes of each image.
        patches: The patches of those classes, of the same shape.

    Returns:
        float64 `(2, n)`. A map that is the same for both classes gets 1/2 on average.
    """
    own, other = (maps * patches).sum((2, 3)), (maps * patches[::-1]).sum((2, 3))
    return (np.sign(own - other) + 1) / 2


def measure(subject: Case, seed: int) -> tuple[dict[str, dict[str, float]], dict]:
    """Every column for every method, the mean over images; and the maps themselves."""
    model, (images, _, where), targets, _ = subject
    rng = np.random.default_rng([seed, 3])
    paths = [path for path, _ in weighted_layers(model)]
    every = methods(model, rng)
    broken = {
        "alike, scores random": methods(randomise(model, paths[-1:], seed), rng),
        "alike, all random": methods(randomise(model, paths, seed), rng),
    }
    patches = np.stack([where[np.arange(len(images)), target] for target in targets])
    rows, drawn = {}, {}
    for title, method in every.items():
        maps = drawn[title] = np.stack([method(images, target) for target in targets])
        flat = [x.reshape(-1, *x.shape[2:]) for x in (maps, patches)]
        row: dict[str, float] = {
            "in the patch, %": 100 * float(in_patch(*flat).mean()),
            "AUC": float(auc(*flat).mean()),
            "own class, %": 100 * float(own_class(maps, patches).mean()),
        }
        for column, others in broken.items():
            alike = rank_correlation(maps[0], others[title](images, targets[0]))
            row[column] = np.nanmean(alike) if np.isfinite(alike).any() else np.nan
        found = curves(
            model.predict_on_batch, images, maps[0], targets[0], fill=0, seed=seed
        )
        row["deletion"] = float(found.deletion_area.mean())
        row["insertion"] = float(found.insertion_area.mean())
        rows[title] = row
    return rows, drawn


def table(kind: str, rows: list[dict[str, dict[str, float]]], note: str) -> str:
    """One table: mean ± sample standard deviation over networks."""
    lines = [["method", *COLUMNS]]
    for title in rows[0]:
        values = [[row[title][column] for column in COLUMNS] for row in rows]
        cells = zip(np.transpose(values), COLUMNS.values(), strict=True)
        lines.append([title, *(cell(*pair) for pair in cells)])
    return f"## {kind}\n\n{note}\n\n{markdown(lines, 1)}"


def cell(values: np.ndarray, digits: int) -> str:
    values = values[np.isfinite(values)]  # a network all of whose maps are empty
    if not len(values):
        return "no map"
    mean = f"{values.mean():.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {values.std(ddof=1):.{digits}f}"


def figure(shown: dict[str, tuple[Case, dict[str, np.ndarray]]]) -> Figure:
    """The first image of each kind of network: two classes, every method."""
    plain: dict = {"image.origin": "upper", "axes.grid": False, "text.usetex": False}
    titles = ["image", *next(iter(shown.values()))[1]]
    with rc_context(plain):
        drawn = Figure((1.1 * len(titles), 2.5 * len(shown) + 0.3), dpi=100)
        axes = drawn.subplots(2 * len(shown), len(titles), squeeze=False)
        for i, row in enumerate(axes):
            kind, k = list(shown)[i // 2], i % 2
            (_, data, targets, _), maps = shown[kind]
            row[0].imshow(np.clip(data.images[0] / 2.4 + 0.5, 0, 1))
            row[0].set_ylabel(f"{kind}\nclass {targets[k, 0]}", fontsize=TEXT)
            for ax, title in zip(row[1:], titles[1:], strict=True):
                values = maps[title][k, 0]
                ax.imshow(values, "gray", vmin=0, vmax=np.percentile(values, 99.5) or 1)
            for ax in row:
                patch = data.where[0, targets[k, 0]]
                ax.contour(patch, [0.5], colors=FRAME, linewidths=1.2)
                ax.set(xticks=[], yticks=[])
        for ax, title in zip(axes[0], titles, strict=True):
            ax.set_title(fill(title.split(" (")[0], 12), fontsize=TEXT)
        drawn.tight_layout(pad=0.3)
    return drawn


NOTES = """\
How much of a map lies where the evidence is, in images where one patch decides each
class. Mean ± sample standard deviation over {seeds} networks of each kind, {n} images
each, two classes of each image. Made by `python -m experiments.trust`; all images are
drawn by code. `figures/trust.png` shows the first image of the first network of each
kind: the patch framed, each map on its own scale, white at its 99.5th percentile.

- in the patch: share of the map in the patch of the class; by chance {chance:.0f} %.
- AUC: how often a pixel of the patch is above one outside it; by chance 0.5.
- own class: how often the map of a class has more in its own patch than in that of
  another class that is in the image too; a map that ignores the class gets 50.
- alike: rank correlation with the map of the same network with its class scores, or all
  its layers, drawn anew; a map that shows what was learned gets about 0.
- deletion, insertion: area under the class probability while pixels are set to 0, or
  put back, the most important first; low and high are good.

The three rules, SmoothGrad and Sobel are read as magnitudes, all others by their
positive part, what speaks for the class. In the network that was built by hand a class
activation map has one cell for a whole patch, so that its AUC is low there.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="networks of each kind")
    parser.add_argument("--images", type=int, default=64, help="images of each network")
    options = parser.parse_args(arguments)
    n, tables = options.images, []
    shown: dict[str, tuple[Case, dict[str, np.ndarray]]] = {}
    for kind in planted.NETWORKS:
        rows, accuracies, absorbed = [], [], []
        for seed in range(options.seeds):
            subject = case(kind, seed, n)
            row, maps = measure(subject, seed)
            shown.setdefault(kind, (subject, maps))
            rows.append(row)
            accuracies.append(subject.accuracy)
            found = propagate(
                subject.model, subject.data.images, target=subject.targets[0]
            )
            absorbed.append(np.median(found.absorbed_share))
            print(f"{kind}, network {seed}: {subject.accuracy:.1f} % right", flush=True)
        right, share = cell(np.array(accuracies), 1), cell(np.array(absorbed), 2)
        note = (
            f"{right} % of all answers right on these images.\nUnder LRP epsilon-plus, "
            f"biases absorb {share} of the score (median of images)."
        )
        tables.append(table(TITLES[kind], rows, note))
    chance = 100 * (planted.PATCH / planted.SIZE) ** 2
    head = NOTES.format(seeds=options.seeds, n=n, chance=chance)
    text = "\n\n".join([head.rstrip(), *tables]) + "\n"
    print(text)
    if arguments is None and options == parser.parse_args([]):
        write_text(TABLE, text)
        write_figure(FIGURE, figure(shown), pil_kwargs={"optimize": True})
        print(TABLE, FIGURE)


if __name__ == "__main__":
    main()
