"""Write the page in which a network runs: template, engine, weights and images.

The page is one HTML file that opens from a folder, needs no server and loads nothing.
Weights travel as half-precision numbers where those are exact, as they are for the
released files, else as float32; what is large is deflated.

    classifier = Classifier.load(weights.released("all_cnn_c", "cifar10"))
    page.write("microscope.html", [classifier])
"""

import base64
import hashlib
import html
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from allconv.core import files, runtime
from allconv.data import datasets
from allconv.data.preprocessing import (
    FIXED_POINT,
    GCN_SCALE,
    GCNZCA,
    MeanPixel,
    MeanStd,
)
from allconv.networks.classifier import Classifier
from allconv.probes import receptive_field
from allconv.reports import packed
from allconv.reports.microscope.steps import describe
from allconv.reports.sources import check_in_memory

FOLDER = Path(__file__).parent
ENGINE = ("kernels.js", "convolution.js", "layers.js", "engine.js", "inputs.js")
SCRIPTS = (
    "photo.js",
    "draw.js",
    "laboratory.js",
    "view.js",
    "hands.js",
    "microscope.js",
)
IMAGES = 60
_IMAGE_BYTES = 1 << 21  # of all images to pick from, which travel as they are
# Paul Tol's 'muted' set, which colour-blind people tell apart, and a grey; one fixed
# colour for each of ten classes, again and again where there are more.
COLOURS = (
    "#332288 #88ccee #44aa99 #117733 #999933 #ddcc77 #cc6677 #882255 #aa4499 #8a8a8a"
).split()


class Samples(NamedTuple):
    """Images to pick from, for a network that is not of this project's data sets.

    Attributes:
        images: uint8 `(n, height, width, 3)`, of the network's input size.
        labels: Their classes among `classes`, or None.
        names: What to call each of them.
        classes: Names of the network's classes.
        title: What to call all the images.
    """

    images: np.ndarray
    labels: np.ndarray | None
    names: Sequence[str]
    classes: Sequence[str]
    title: str


def write(
    path: str | Path,
    classifiers: Sequence[Classifier],
    data_dir: str | Path | None = None,
    *,
    patches: str | None = None,
) -> Path:
    """Write the page.

    The images to pick from are of the test set that each network was trained for or,
    where that is not on this machine, synthetic shapes; the page says which.

    Args:
        path: The HTML file; its folder is made.
        classifiers: Networks with their preprocessing; the page shows the first.
        data_dir: As in `data.load`.
        patches: Address of a page with the patches of each unit, which understands
            `#layer/unit`; the microscope links to it.

    Returns:
        The path.

    Raises:
        ValueError: If there is no network, or the engine cannot run one of them.
    """
    parts = pieces(classifiers, data_dir, patches=patches)
    parts |= {"common": _text("common.js"), "foot": _foot()}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    page = re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], _text("microscope.html"))
    files.write_bytes(path, page.encode())
    return path


def pieces(
    classifiers: Sequence[Classifier],
    data_dir: str | Path | None = None,
    *,
    patches: str | None = None,
    shown: Mapping[str, Sequence[int]] | None = None,
    samples: Samples | None = None,
) -> dict[str, str]:
    """What a page holds of the microscope, by name of its place in a template.

    Args:
        classifiers, data_dir, patches: As for `write`.
        shown: By the name of a layer, its units that have patches; None: all have.
        samples: The images to pick from; None: of the network's own data set.

    Raises:
        ValueError: As `write`.
    """
    if not classifiers:
        raise ValueError("The page needs a network at least. Received: none")
    blobs: dict[str, str] = {}
    networks = [_network(c, blobs, data_dir, samples) for c in classifiers]
    facts = {"networks": networks, "colours": COLOURS, "patches": patches}
    facts["shown"] = shown and {name: list(units) for name, units in shown.items()}
    return {
        "style": _text("microscope.css"),
        "body": _text("body.html"),
        "engine": "\n".join(map(_text, ENGINE)),
        "worker": _text("worker.js"),
        "script": "\n".join(map(_text, SCRIPTS)),
        "kernels": base64.b64encode((FOLDER / "kernels.wasm").read_bytes()).decode(),
        "facts": json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c"),
        "blobs": "\n".join(
            f'<script type="text/plain" id="{name}">{text}</script>'
            for name, text in blobs.items()
        ),
    }


def _text(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def _network(
    classifier: Classifier,
    blobs: dict[str, str],
    data_dir: str | Path | None,
    samples: Samples | None,
) -> dict:
    """What the page knows of one network; arrays go to `blobs`, equal ones once."""
    model, meta = classifier.model, classifier.meta
    network, values = describe(model)
    halves = values.astype(np.float16)
    exact = bool((halves == values).all())
    about = f"{model.name}, on {samples.title}." if samples else None
    if samples is None:
        check_in_memory(meta)
        known = datasets.is_cached(meta["dataset"], data_dir)
        shown = meta["dataset"] if known else "shapes"
        samples = _samples(shown, meta["dataset"], data_dir)
        about = _about(meta, shown)
    if samples.images.shape[1:] != network["input"]:
        raise ValueError(
            f"The page has images of {samples.images.shape[1:]}. "
            f"Received: {model.name} of {network['input']}"
        )
    if network["input"][0] != network["input"][1]:
        raise ValueError(f"The page has square images. Received: {network['input']}")
    labels = samples.labels
    return {
        "network": network,
        "title": meta["architecture"],
        "about": about,
        "classes": list(samples.classes),
        "weights": {"half": exact, "blob": _blob(halves if exact else values, blobs)},
        "preprocessing": _preprocessing(classifier.preprocessor, blobs),
        "images": {
            "blob": _blob(samples.images, blobs),
            "names": list(samples.names),
            "labels": None if labels is None else labels.tolist(),
        },
        "layers": [_layer(model, layer["name"]) for layer in network["layers"]],
        **_ends(network, values),
    }


def _samples(shown: str, trained: str, data_dir: str | Path | None) -> Samples:
    """Test images, equally many of each class, in the order of the set."""
    _, (images, labels) = datasets.load(shown, data_dir)
    classes, count = datasets.class_names(shown), fitting(images)
    each = -(-count // len(classes))
    firsts = [np.flatnonzero(labels == c)[:each] for c in np.unique(labels)]
    numbers = np.sort(np.concatenate(firsts))[:count]
    names = [f"{classes[labels[i]]}, test image {i}" for i in numbers]
    mine = datasets.class_names(trained)
    kept = labels[numbers] if shown == trained else None
    return Samples(images[numbers], kept, names, mine, datasets.title(shown))


def fitting(images: np.ndarray) -> int:
    """How many images to pick from: fewer where they are large."""
    return max(1, min(IMAGES, len(images), _IMAGE_BYTES // images[0].nbytes))


def _preprocessing(preprocessor: object, blobs: dict[str, str]) -> dict:
    match preprocessor:
        case GCNZCA():
            arrays = preprocessor.compact()
            arrays["half"] = _by_diagonals(arrays["half"], len(arrays["mean"]))
            numbers = {"norm": GCN_SCALE, "unit": FIXED_POINT}
        case MeanStd() | MeanPixel():
            arrays, numbers = preprocessor.arrays(), {}
        case _:
            raise ValueError(
                "The page has the preprocessing gcn_zca, mean_std and mean_pixel. "
                f"Received: {type(preprocessor).__name__}"
            )
    kept = {name: _blob(array, blobs) for name, array in arrays.items()}
    return {"kind": preprocessor.name, "arrays": kept, **numbers}


def _by_diagonals(half: np.ndarray, size: int) -> np.ndarray:
    """The upper half of a matrix, row by row, in the order of its diagonals.

    Entries get smaller with the distance of their pixels, and deflate has a code of its
    own for each stretch of numbers: 6 % less than row by row.
    """
    rows, columns = np.triu_indices(size)
    return half[np.argsort(columns - rows, kind="stable")]


def _layer(model, name: str) -> dict:
    """What a person is told of a layer, and where its units look."""
    layer, field = model.get_layer(name), receptive_field.compute(model, name)
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(layer).__name__.removesuffix("2D"))
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    return {
        "name": name,
        "shape": (1, 1, *layer.output.shape[1:])[-3:],
        "kind": kind.lower(),
        "window": window,
        "strides": getattr(layer, "strides", None) if window else None,
        "patches": getattr(layer, "kernel_size", None) is not None,
        "field": {"start": field.start, "size": field.size, "stride": field.stride},
    }


def _ends(network: dict, values: np.ndarray) -> dict:
    """Where class scores are a map, and which units vote for them directly."""
    steps, layers = network["steps"], network["layers"]
    ops = [step["op"] for step in steps if step["op"] != "relu"]
    at = {step["layer"]: i for i, step in enumerate(steps) if step["op"] == "conv"}
    if not at:
        return {"classMap": None, "votes": None}
    last = max(at.values())
    position = {layer["name"]: i for i, layer in enumerate(layers)}
    index = position[steps[last]["layer"]]
    class_map = index if ops[-2:] == ["conv", "global_average"] else None
    votes = None
    below = layers[index - 1]["step"] == last - 1 if index else False
    if below and steps[last]["kernel"] == (1, 1):
        classes = steps[last]["filters"]
        bias = classes * steps[last]["bias"]
        before = [s["filters"] for s in steps[:last] if s["op"] == "conv"][-1]
        votes = {"layer": index - 1, "shape": (before, classes), "bias": bool(bias)}
    return {"classMap": class_map, "votes": votes}


def _blob(array: np.ndarray, blobs: dict[str, str]) -> str:
    """Keep an array deflated, as `packed` has it; its name, equal for equal arrays.

    First come the low bytes of all numbers, then the next ones, and whole numbers have
    their sign in the lowest bit: a ninth less to load. What looks like noise is coded
    byte by byte, without a search for repetitions, where that is shorter.
    """
    if np.issubdtype(array.dtype, np.signedinteger):
        array = (array << 1) ^ (array >> 8 * array.itemsize - 1)
    content = np.ascontiguousarray(array).view(np.uint8).reshape(-1, array.itemsize)
    planes = content.T.tobytes()
    name = "blob-" + hashlib.sha256(planes).hexdigest()[:16]
    if name not in blobs:
        ways = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED)
        blobs[name] = packed.text(min((_deflated(planes, w) for w in ways), key=len))
    return name


def _deflated(content: bytes, strategy: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    return packer.compress(content) + packer.flush()


def _about(meta: Mapping, shown: str) -> str:
    text = f"{meta['architecture']}, trained on {datasets.title(meta['dataset'])}"
    if "preset" in meta:
        text += f" by the recipe {meta['preset']}, seed {meta['seed']}"
    if "error" in meta:
        text += f": it gets {meta['error']:.2f} % of the test images wrong"
    if shown != meta["dataset"]:
        text += (
            f". {datasets.title(meta['dataset'])} was not on the machine that made "
            "this page: the images are synthetic shapes, which the network has never "
            "seen"
        )
    return text + "."


def _foot() -> str:
    made = runtime.environment()
    commit = f", commit {made_by[:12]}" if (made_by := runtime.commit()) else ""
    return html.escape(
        f"Made with TensorFlow {made['tensorflow']} and Keras {made['keras']}{commit}. "
        "The networks run in this page: nothing is loaded from elsewhere and no "
        "picture leaves it."
    )
