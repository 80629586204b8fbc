"""Figures 6 and 8 and Tables 1, 3, 4 and 7 of Zeiler & Fergus (2014) at CIFAR size."""

import json
from pathlib import Path

import keras
import numpy as np

from allconv.data import datasets
from allconv.figures import probes
from allconv.networks import builders
from allconv.presets import catalogue
from allconv.probes.correspondence import compare, load_parts
from allconv.probes.filters import filter_statistics, silent
from allconv.probes.transfer import PIXELS, Transfer, carry
from allconv.results import paper, tables
from experiments.zfnet.subject import NETWORK, Looked, NotRunError, Subject

# Preset -> (what was changed, row of the paper's Table 3, its reference there).
ABLATION = {
    "zfnet_32": ("nothing", "zfnet", None),
    "zfnet_32_no_3_4": (
        "without layers 3, 4",
        *("alexnet without layers 3, 4", "alexnet"),
    ),
    "zfnet_32_no_7": ("without layer 7", "alexnet without layer 7", "alexnet"),
    "zfnet_32_no_6_7": (
        "without layers 6, 7",
        *("alexnet without layers 6, 7", "alexnet"),
    ),
    "zfnet_32_no_3_4_6_7": (
        "without layers 3, 4, 6, 7",
        *("alexnet without layers 3, 4, 6, 7", "alexnet"),
    ),
    "zfnet_32_half_dense": ("dense layers halved", "zfnet, dense 2048", "zfnet"),
    "zfnet_32_double_dense": ("dense layers doubled", "zfnet, dense 8192", "zfnet"),
    "zfnet_32_wide": ("layers 3 to 5 widened", "zfnet, wide 3-5", "zfnet"),
    "zfnet_32_wide_double_dense": (
        "both wider",
        *("zfnet, wide 3-5, dense 8192", "zfnet"),
    ),
    "zfnet_32_unbounded": ("filters not renormalised", None, None),
    "alexnet_32": ("AlexNet's layers 1, 2, 4, 5", "alexnet", "zfnet"),
}
FILTERS = {  # title -> preset
    "ZFNet: 5x5, stride 1": "zfnet_32",
    "not renormalised": "zfnet_32_unbounded",
    "AlexNet: 7x7, stride 2": "alexnet_32",
}
# Ours -> row of the paper's Table 7, of a support vector machine.
LAYERS = {
    **{"conv1": "SVM 1", "conv2": "SVM 2", "conv3": "SVM 3", "conv4": "SVM 4"},
    **{"conv5": "SVM 5", "fc6": None, "fc7": "SVM 7"},
}


def filters(subject: Subject) -> list[Path]:
    """Figure 6: first layers with and without renormalisation, and AlexNet's."""
    head = ["network", "kernel", "stride", "filters", "dead", "silent", "aliased"]
    head += ["power beyond the stride", "of white noise", "strongest / median RMS"]
    kernels, statistics = {}, {}
    rows: list[list] = []
    for title, preset in FILTERS.items():
        try:
            classifier = subject.load(preset)
        except NotRunError:
            rows.append([title, *["not run"] * (len(head) - 1)])
            continue
        layer = classifier.model.get_layer("conv1")
        kernels[title] = kernel = np.asarray(layer.kernel)
        stride = layer.strides[0]
        statistics[title] = found = filter_statistics(kernel, stride)
        quiet = silent(
            classifier.model, classifier.preprocessor(subject.images[:1000]), "conv1"
        )
        rows.append(
            [
                *(title, "{} x {}".format(*kernel.shape[:2]), stride, kernel.shape[3]),
                *(found.dead.sum(), quiet.sum(), found.aliased.sum()),
                f"{found.aliased_power.mean():.2f}",
                f"{1 - 1 / stride**2:.2f}",
                f"{found.dominance:.1f}",
            ]
        )
    if not kernels:
        raise NotRunError(f"there are no weights of {', '.join(FILTERS.values())}")
    title = "First layers (Figure 6). Silent: zero everywhere in 1000 test images."
    return [
        subject.draw("filters", probes.filters_figure(kernels, statistics)),
        subject.write("filters", title, head, rows),
    ]


def correspondence(subject: Looked) -> list[Path]:
    """Figure 8 and Table 1: the same part masked in the faces of several dogs."""
    model, boxes = subject.model, load_parts(subject.parts)
    of = json.loads(subject.parts.read_text()).get("dataset")
    images = subject.images[subject.numbers(boxes.names, of)]
    scores = compare(
        *(model, subject.inputs(images), boxes.boxes, list(subject.compared)),
        fill=subject.grey,
        draws=50,
    )
    rows = [
        [
            *(score.part, score.layer, spread(score.pairs)),
            spread(score.among_changed),
            published(
                paper.CORRESPONDENCE.get(score.part, {}).get(
                    subject.compared[score.layer] or 0
                )
            ),
        ]
        for score in scores
    ]
    title = (
        f"Mean feature sign change, {len(images)} images, mean ± standard deviation "
        "over pairs (Table 1). The paper's are of ImageNet dogs."
    )
    head = ["part", "layer", "ours", "among features that changed", "paper"]
    masks = probes.masks_figure(images, boxes.boxes)
    bars = probes.correspondence_figure(scores)
    return [
        subject.draw("correspondence_masks", masks),
        subject.draw("correspondence", bars),
        subject.write("correspondence", title, head, rows),
    ]


def ablation(subject: Subject) -> list[Path]:
    """Table 3: layers removed and resized, by the short recipe and by the long one."""
    records = tables.read(subject.records)
    return [_ablation(subject, records, suffix) for suffix in ("", "_long")]


def _ablation(subject: Subject, records: list[dict], suffix: str) -> Path:
    """The networks that one recipe was run with, whose presets end like this."""
    presets = {
        n: f"{n}{suffix}" for n in ABLATION if f"{n}{suffix}" in catalogue.PRESETS
    }
    errors = {n: tables.summarise(records, presets[n]).errors for n in presets}
    full = errors["zfnet_32"]
    rows = []
    for name, preset in presets.items():
        change, row, reference = ABLATION[name]
        network = builders.build(name)
        training = [
            100 * (1 - r["history"][-1]["accuracy"])
            for r in tables.finished(records, preset)
        ]
        more = "not run"
        if full and errors[name]:
            more = f"{np.mean(errors[name]) - np.mean(full):+.2f}"
        ours = [
            *(spread(training, 2), str(tables.summarise(records, preset))),
            *(more, len(errors[name])),
        ]
        theirs = ["", "", ""]
        if row:
            cell = paper.ABLATION[row]
            theirs = [cell["train"].value, cell["top1"].value, ""]
        if reference:
            base = paper.ABLATION[reference]["top1"].value
            theirs[2] = f"{cell['top1'].value - base:+.1f} ({reference})"
        rows.append([change, f"{network.count_params():,}", *ours, *theirs])
    recipe = catalogue.get(presets["zfnet_32"])
    title = (
        f"ZFNet at CIFAR size, {recipe.epochs} epochs each (Table 3). Errors in %; the "
        "training error is the mean over the last epoch. The paper's are of ImageNet, "
        "training and validation top-1."
    )
    head = ["change", "parameters", "training", "test", "against the full net", "n"]
    head += ["paper: training", "paper: validation", "paper: against its full net"]
    return subject.write(f"ablation{suffix}", title, head, rows)


def transfer(subject: Subject, per_class: int = 30) -> list[Path]:
    """Tables 4 and 7: a linear classifier on each layer, on the other data set."""
    ways = {
        "CIFAR-10 to CIFAR-100": (NETWORK, "cifar100"),
        "CIFAR-100 to CIFAR-10": ("zfnet_32_cifar100_long", "cifar10"),
    }
    columns: dict[str, dict[str, Transfer]] = {}
    missing = []
    for way, (preset, target) in ways.items():
        try:
            classifier = subject.load(preset)
            splits = datasets.load(target, subject.data_dir)
        except (NotRunError, datasets.DataError) as error:
            missing.append(f"{way}: {error}")
            columns[way] = columns[f"{way}, untrained"] = {}
            continue
        keras.utils.set_random_seed(0)
        untrained = builders.build(
            classifier.meta["architecture"], classes=classifier.meta["classes"]
        )
        for title, model in ((way, classifier.model), (f"{way}, untrained", untrained)):
            columns[title] = carry(
                *(model, *splits, list(LAYERS), per_class),
                preprocess=classifier.preprocessor,
            )
    if len(missing) == len(ways):
        raise NotRunError("; ".join(missing))
    for text in missing:
        print(f"transfer: left out, {text}", flush=True)
    rows = []
    for layer, row in {PIXELS: None, **LAYERS}.items():
        cells = [
            spread(found[layer].accuracy, 1) if found else "not run"
            for found in columns.values()
        ]
        numbers = paper.TRANSFER[row] if row else {}
        theirs = [published(numbers.get(c)) for c in ("caltech101", "caltech256")]
        rows.append([layer, *cells, *theirs])
    title = (
        f"Accuracy in % of a linear classifier on each layer, {per_class} images per "
        "class, mean ± standard deviation of 5 folds (Tables 4 and 7). The paper's "
        "network is trained on ImageNet; 30 and 60 images per class."
    )
    head = ["layer", *columns, "paper: Caltech-101", "paper: Caltech-256"]
    return [subject.write("transfer", title, head, rows)]


def spread(values, digits: int = 3) -> str:
    """Mean ± sample standard deviation; 'not run' without a value."""
    if not len(values):
        return "not run"
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def published(number: paper.Number | None) -> str:
    if number is None:
        return ""
    return f"{number.value}" + (f" ± {number.spread}" if number.spread else "")
