"""From nothing to a result and a picture: what `make demo` runs.

Gets CIFAR-10, measures the released All-CNN-C on its test set (where none is released:
trains the `quick` preset first), prints the paper's errors beside ours, and draws what
drives the network on some test images. Where nothing can be fetched, synthetic shapes
stand in for CIFAR-10, and it says so. Everything is reused by a second call.
"""

import sys
from dataclasses import replace
from pathlib import Path

from allconv.data import datasets
from allconv.figures.maps import rule_comparison
from allconv.networks import weights
from allconv.networks.classifier import Classifier
from allconv.presets import catalogue
from allconv.results import paper, tables
from allconv.results.evaluation import score
from allconv.saliency.explainer import Explainer
from allconv.saliency.rules import RULES
from allconv.training import run
from experiments import RECORDS
from experiments.written import write_figure

FOLDER = Path("demo")
SCORES = "conv9"  # the class scores of All-CNN-C, before they are averaged


def trained(dataset: str) -> Path:
    """The weights of All-CNN-C after some minutes, where none are released."""
    preset = catalogue.get("quick")
    if dataset == "shapes":
        preset = replace(
            catalogue.get("tiny"), name="quick-shapes", architecture="all_cnn_c"
        )
    print("   nothing is released for it: training for some minutes ...", flush=True)
    folder = FOLDER / preset.name
    run.train(preset, 0, folder)
    return folder / run.WEIGHTS


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    dataset = "cifar10"
    print("1. CIFAR-10 ...", flush=True)
    try:
        _, (images, labels) = datasets.load(dataset)
        print(f"   verified, in {datasets.data_folder()}")
    except datasets.DataError as error:
        dataset = "shapes"
        _, (images, labels) = datasets.load(dataset)
        print(
            f"   {error}\n   Going on with synthetic shapes: nothing measured here is "
            "of CIFAR-10."
        )

    print("2. All-CNN-C's error on the test set", flush=True)
    try:
        path = weights.released("all_cnn_c", dataset)
    except ValueError:
        path = trained(dataset)
    classifier = Classifier.load(path)
    result = score(classifier.predict(images), labels)
    recipe, known = classifier.meta["preset"], classifier.meta.get("error")
    recorded = "" if known is None else f" ({known:.2f} % were recorded)"
    print(f"   by the recipe {recipe}: {result.error:.2f} %{recorded}", flush=True)
    if dataset == "cifar10":
        augmented = catalogue.get(recipe).augmentation != "none"
        table = paper.CIFAR10_AUGMENTED if augmented else paper.TABLE_3
        print(f"   the paper's, after 350 epochs: {table['all_cnn_c'].value:.2f} %")

    print("3. All that was trained, from the records of the runs", flush=True)
    records = tables.read(RECORDS)
    for name in tables.TABLES:
        done = [row for row in tables.rows(name, records) if row["n"] != "0"]
        print(f"\n{tables.title(name)}\n\n{tables.render(done)}")
    print("\n4. What drives the network", flush=True)
    chosen = [int((labels == c).argmax()) for c in range(0, 10, 2)]
    pixels = images[chosen]
    inputs = classifier.preprocessor(pixels)
    maps = {}
    for rule in RULES:
        # The scores are rectified; below 0 they have no gradient, before it they have.
        explainer = Explainer(
            classifier.model, rule, layer=SCORES, before_rectifier=True
        )
        at_inputs = explainer(inputs, channel=labels[chosen], position="all")
        maps[rule] = classifier.preprocessor.pullback(pixels, at_inputs)
    names = [datasets.CLASS_NAMES[dataset][labels[i]] for i in chosen]
    figure, _ = rule_comparison(pixels, maps, row_titles=names, share="none")
    picture = FOLDER / "rules.png"
    write_figure(picture, figure)
    print(f"   {explainer.audit}\n   {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
