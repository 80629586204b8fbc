"""What drives a neuron, under three rules, with and without pooling.

The comparisons of 'Striving for Simplicity', its section on deconvolution, on
CIFAR-10's test images (figures by number from memory):

    rules_all_cnn_c.png     figures 4 and 5, a network without pooling: no switches
    rules_model_c.png       the same with max-pooling: switches, kept or thrown away
    patches_conv6.png       figure 3: what excites units of a layer, and what of that
    patches_conv8.png       drives them, by guided backprop

    python -m experiments.pictures                     # 2 minutes, 2 cores
    python -m experiments.pictures --weights FILE ...  # other weights than the released

Expected: without switches the deconvnet draws grids and blurs that owe nothing to the
image, while guided backprop stays sharp. Nothing is picked by eye. Of the last layer
every unit that ever fires, a class, is shown at its strongest activation over the test
set; of a hidden layer, units at equal distances among those that fire in nine images.
What was chosen, and the limit of every scale, is in `pictures.json`. Maps are per grey
level of the raw image; in those of patches the whitening is undone instead
(`Preprocessor.invert`), which shows what goes with a feature in real images.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from allconv.core import files
from allconv.data import datasets
from allconv.figures.maps import rule_comparison, top_patches
from allconv.networks import weights
from allconv.networks.classifier import Classifier
from allconv.probes import patches
from allconv.reports.units import explain_top
from allconv.saliency.explainer import Explainer
from allconv.saliency.rules import RULES, Pool
from experiments import FIGURES
from experiments.written import write_figure

NETWORKS = {"all_cnn_c": "conv9", "model_c": "conv7"}  # and the layer of class scores
HIDDEN = {"conv6": 6, "conv8": 5}  # of All-CNN-C, and how many units
ROUTES: dict[str, Pool] = {
    "switches": "switch",
    "no switches,\ncentre": "centre",
    "no switches,\nspread": "spread",
}

Images = tuple[np.ndarray, np.ndarray]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--weights",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help=f"of {' or '.join(NETWORKS)}; default: the released ones",
    )
    parser.add_argument("--data-dir", help="folder of the data; default: ALLCONV_DATA")
    parser.add_argument("--output", type=Path, default=FIGURES, metavar="FOLDER")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    given = {}
    for path in options.weights:
        network = Classifier.load(path).meta["architecture"]
        if network not in NETWORKS:
            parser.error(f"{path} holds {network}, none of {', '.join(NETWORKS)}")
        given[network] = path

    facts = {}
    for network, scores in NETWORKS.items():
        try:
            path = given.get(network) or weights.released(network, "cifar10")
        except ValueError as error:
            print(f"{network} is left out: {error}")
            continue
        classifier = Classifier.load(path)
        _, test = datasets.load(classifier.meta["dataset"], options.data_dir)
        hidden = HIDDEN if network == "all_cnn_c" else {}
        inputs = classifier.preprocessor(test[0])
        tops = patches.top_activations(classifier.model, inputs, [scores, *hidden])
        drawn = {
            f"rules_{network}": compare_rules(classifier, test, scores, tops[scores])
        }
        for layer, n in hidden.items():
            drawn[f"patches_{layer}"] = show_patches(
                classifier, test[0], layer, tops[layer], n
            )
        for name, (figure, fact) in drawn.items():
            picture = options.output / f"{name}.png"
            write_figure(picture, figure, pil_kwargs={"optimize": True})
            facts[picture.name] = {"weights": source(path, classifier), **fact}
            print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")
    if not facts:
        return 1
    text = json.dumps(facts, indent=1) + "\n"
    files.write_bytes(options.output / "pictures.json", text.encode())
    return 0


def compare_rules(
    classifier: Classifier, test: Images, layer: str, top: patches.Top
) -> tuple[Figure, dict]:
    """Units of the last layer at their strongest activation, under every rule.

    Args:
        classifier: A network with its preprocessing.
        test: uint8 images `(n, height, width, 3)` and their labels.
        layer: The layer of class scores.
        top: Its strongest activations over these images.

    Returns:
        The figure, and what its caption needs.
    """
    images, labels = test
    model, preprocessor = classifier.model, classifier.preprocessor
    channels = np.flatnonzero(top.value[:, 0] > 0)
    index, y, x, activation, _ = top.select((channels, 0))
    position, pixels = np.stack([y, x], axis=-1), images[index]
    inputs = preprocessor(pixels)
    explainers = {rule: Explainer(model, rule, layer=layer) for rule in RULES}
    if explainers["deconvnet"].audit.pools:
        explainers = {"backprop": explainers["backprop"]} | {
            f"{rule},\n{title}": Explainer(
                model, replace(RULES[rule], pool=route), layer=layer
            )
            for rule in ("deconvnet", "guided")
            for title, route in ROUTES.items()
        }
    maps = {
        title: preprocessor.pullback(
            pixels, explainer(inputs, channel=channels, position=position)
        )
        for title, explainer in explainers.items()
    }
    names = datasets.CLASS_NAMES[classifier.meta["dataset"]]
    pairs = [(names[c], names[k]) for c, k in zip(channels, labels[index], strict=True)]
    titles = [unit if unit == label else f"{unit} ({label})" for unit, label in pairs]
    figure, limits = rule_comparison(pixels, maps, row_titles=titles, share="none")
    return figure, {
        "units": f"all of {layer} that fire, {len(channels)} of {len(top.index)}, each "
        f"at its strongest activation over {len(images)} test images",
        "titles": "class of the unit (label of the image, where it is another)",
        "layer": layer,
        "channel": channels.tolist(),
        "image": index.tolist(),
        "label": [label for _, label in pairs],
        "position": position.tolist(),
        "activation": _rounded(activation),
        "scale": "each map has its own; its limits by rule, in units of activation "
        "per grey level",
        "limits": {
            title.replace("\n", " "): _rounded(column)
            for title, column in zip(maps, limits.T, strict=True)
        },
    }


def show_patches(
    classifier: Classifier,
    images: np.ndarray,
    layer: str,
    top: patches.Top,
    n: int,
) -> tuple[Figure, dict]:
    """The nine patches that excite some units most, with guided backprop, unwhitened.

    Args:
        classifier: A network with its preprocessing.
        images: uint8 `(n, height, width, 3)`.
        layer: A hidden layer.
        top: Its nine strongest activations over these images.
        n: Number of units, at equal distances among those that fire in nine images.

    Returns:
        The figure, and what its caption needs.

    Raises:
        ValueError: If fewer than `n` units fire in nine images.
    """
    width = len(top.index)
    channels = spaced(np.flatnonzero(top.value[:, -1] > 0), n)
    top = top.select(channels)
    guided = {"guided": Explainer(classifier.model, "guided", layer=layer)}
    (maps,) = explain_top(
        classifier, guided, images, top, channels, inverted=True
    ).values()
    pixels = patches.gather(images, top.index)
    figure, limits = top_patches(
        patches.crop(pixels / 255, top.box, np.nan),
        patches.crop(maps, top.box, np.nan),
        row_titles=[f"{layer}, {channel}" for channel in channels],
    )
    return figure, {
        "units": f"{n} of {width} of {layer}, at equal distances "
        f"among those that fire in nine of {len(images)} test images",
        "layer": layer,
        "channel": channels.tolist(),
        "image": top.index.tolist(),
        "position": np.stack([top.y, top.x], axis=-1).tolist(),
        "activation": [_rounded(row) for row in top.value],
        "scale": "the maps of a unit share one; its limits by unit, where the gradient "
        "at the whitened inputs is unwhitened as if it were an input",
        "limits": _rounded(limits),
    }


def spaced(units: np.ndarray, n: int) -> np.ndarray:
    """`n` of the given units, at equal distances from the first on."""
    if len(units) < n:
        raise ValueError(
            f"{n} units were asked for. Received: {len(units)} units that fire"
        )
    return units[np.arange(n) * len(units) // n]


def source(path: Path, classifier: Classifier) -> dict:
    """Which weights a picture is of."""
    keys = ("architecture", "dataset", "preset", "seed", "error")
    facts = {key: classifier.meta.get(key) for key in keys}
    return {"file": path.name, "sha256": weights.sha256(path), **facts}


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.3g}") for value in values]


if __name__ == "__main__":
    sys.exit(main())
