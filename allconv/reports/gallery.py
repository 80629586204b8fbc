"""A page on which a network runs and shows what each of its units responds to.

`write` makes one HTML file that needs no server, no network and no other file. It opens
at the microscope, where the network runs live; beside it are, for each unit of each
layer, the nine patches of images that excite it most, with guided backprop, deconvnet
and backprop of them (as in figure 3 of the All-CNN paper); the tables of results,
learning curves and confusion matrices.

    classifier = Classifier.load(weights.released("all_cnn_c", "cifar10"))
    gallery.write("gallery.html", classifier, results.read("records"))

`write_model` makes such a page of any Keras model and a folder of photographs.
"""

import html
import json
import math
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np

from allconv.core import files, runtime
from allconv.data import datasets
from allconv.data.preprocessing import Preprocessor
from allconv.networks.classifier import Classifier
from allconv.reports import results_html, sheets, sources
from allconv.reports.microscope import page as microscope
from allconv.reports.units import RULES, convolutions, look, sampled

FOLDER = Path(__file__).with_name("browser")
# Pixels of all maps of a page, which is then below 30 MB; a larger patch is shrunk.
MAP_PIXELS = 45_000_000
LIVE_WEIGHTS = 10_000_000  # numbers; more would make the page slow to load and to run
PARTS = {
    "microscope": "Microscope",
    "units": "Units",
    "tables": "Tables",
    "runs": "Runs",
    "reading": "Reading",
}


def write(
    path: str | Path,
    classifier: Classifier,
    records: Iterable[dict] = (),
    data_dir: str | Path | None = None,
    *,
    layers: Sequence[str] | None = None,
    units: int | None = None,
    live: bool = True,
    progress: bool = True,
) -> Path:
    """Write the page of a network of this project.

    The images are the test set that the network was trained for or, where that is not
    on this machine, synthetic shapes; the page says which.

    Args:
        path: The HTML file; its folder is made.
        classifier: A network with its preprocessing.
        records: Run records, as from `tables.read`, for tables and curves.
        data_dir: As in `data.load`.
        layers: Names of convolutions; None: all of them.
        units: How many units of a layer are shown; None: all.
        live: Whether the network runs in the page, where the page's engine can run it.
        progress: Whether to show progress bars.

    Returns:
        The path.

    Raises:
        ValueError: If a layer is no convolution of the network; and as `units.look`.
    """
    meta, records = classifier.meta, list(records)
    _check_layers(classifier.model, layers)
    source = sources.of_network(classifier, data_dir)
    parts, found = _units(classifier, source, layers, units, progress)
    there = found.pop("shown")
    engine, why = _live(classifier, data_dir, None, there) if live else ({}, "")
    lead = _lead(meta, source) + (f'<p class="notice">{why}</p>' if why else "")
    names = results_html.shown(meta["dataset"], records)
    parts |= {
        "title": "Inside a convolutional network",
        "lead": lead,
        "tables": "\n".join(results_html.table(name, records) for name in names),
        "runs": results_html.all_runs(records),
    }
    called = "test image"
    shell = found | {"called": called, "classes": list(source.classes)}
    return _assemble(path, parts, engine, shell, [*PARTS])


def write_model(
    path: str | Path,
    model: keras.Model,
    folder: str | Path,
    preprocess: str,
    *,
    layers: Sequence[str] | None = None,
    units: int | None = None,
    live: bool = True,
    strict: bool = True,
    progress: bool = True,
) -> Path:
    """Write the page of any Keras model that `Explainer` explains.

    Memory does not grow with the number of photographs: while the page is made they
    lie, at the size of the model's input, in a temporary file.

    Args:
        path: The HTML file; its folder is made.
        model: Functional or Sequential, of one image input of known size.
        folder: Photographs, or one folder of them for each class.
        preprocess: How it takes pixels, as for `inputs.parse`: "white:1", say.
        layers: Addresses of convolutions, "block/conv1" in a nested model; None: all.
        units: How many units of a layer are shown, from the first to the last.
        live: Whether the model runs in the page, where the page's engine can run it.
        strict: Whether a model is refused of which a rule says nothing somewhere; if
            not, it has its own gradient there. See `Explainer`.
        progress: Whether to show progress bars.

    Returns:
        The path.

    Raises:
        ValueError: If the model or the folder is none of these; and as `units.look`.
    """
    inputs = getattr(model, "inputs", None) or ()
    shapes = [tuple(tensor.shape[1:]) for tensor in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or None in shapes[0]:
        raise ValueError(
            "The page is of models of one image of known size, (height, width, 3). "
            f"Received: {model.name} of inputs {shapes}"
        )
    if shapes[0][2] != 3:
        raise ValueError(f"Images should have 3 channels. Received: {shapes[0]}")
    _check_layers(model, layers)
    preprocessor = cast("Preprocessor", sources.preprocessor(preprocess))
    with tempfile.TemporaryDirectory() as scratch:
        source = sources.folder(folder, shapes[0][:2], scratch, progress=progress)
        outputs = model.outputs[0].shape[-1]
        mine = list(source.classes)
        names = mine if len(mine) == outputs else [f"class {i}" for i in range(outputs)]
        facts = {"dataset": str(folder), "class_names": names}
        classifier = Classifier(
            model, preprocessor, {"architecture": model.name} | facts
        )
        parts, found = _units(
            classifier, source, layers, units, progress, strict=strict
        )
        there = found.pop("shown")
        engine: dict[str, Any] = {}
        why = ""
        if live:
            some = _samples(source, names, mine)
            engine, why = _live(classifier, None, some, there)
        del source  # closes the temporary file
    parts |= {
        "title": f"Inside {html.escape(model.name)}",
        "lead": f"<p>The network <code>{html.escape(model.name)}</code>. "
        f"{_said_of_units(found['title'], found['total'])}</p>"
        + (f'<p class="notice">{why}</p>' if why else ""),
        "tables": "",
        "runs": "",
    }
    shell = found | {"called": "image", "classes": mine}
    return _assemble(path, parts, engine, shell, ["microscope", "units", "reading"])


def fill(template: str, parts: Mapping[str, str]) -> str:
    """Put each part in the place of its `{{name}}`; parts are not searched for names.

    Raises:
        KeyError: If the template names a part that is not given.
    """
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _check_layers(model: keras.Model, layers: Sequence[str] | None) -> None:
    known = convolutions(model)
    if others := [name for name in layers or () if name not in known]:
        raise ValueError(
            f"`layers` should be convolutions: {', '.join(known)}. Received: {others}"
        )
    if not known:
        raise ValueError(f"{model.name} has no convolution to look at.")


def _units(
    classifier: Classifier,
    source: sources.Source,
    layers: Sequence[str] | None,
    units: int | None,
    progress: bool,
    *,
    strict: bool = True,
) -> tuple[dict[str, str], dict]:
    """Look at all units: the data scripts, and what the page's shell knows of them."""
    model, image = classifier.model, source.images.shape[1:3]
    known = convolutions(model)
    layers = list(layers or known)
    counts = [len(sampled(_channels(known[name]), units)) for name in layers]
    tiles = sum(counts) * sheets.SIDE**2 * len(RULES)
    side = max(16, math.isqrt(MAP_PIXELS // tiles))
    full = max(image) <= side  # nothing is shrunk: patches are cut from whole images
    found = list(
        look(
            classifier,
            source.images,
            layers,
            sheets.SIDE**2,
            labels=source.labels,
            units=units,
            side=side,
            strict=strict,
            progress=progress,
        )
    )
    atlas = sheets.Atlas(source, found)
    first = min(len(layers) - 1, int(len(layers) * 0.6))
    own = classifier.meta.get("class_names")
    names = list(own) if own else datasets.class_names(classifier.meta["dataset"])
    scripts = [sheets.script("u-images", atlas.facts(full))]
    # The layer that is opened first comes first; then the network, then the others.
    for one in sorted(found, key=lambda units: units.layer != layers[first]):
        facts = sheets.layer_data(classifier, one, atlas, names, full)
        scripts.append(sheets.script(f"data-{one.layer}", facts))
    notes = [sheets.note(model, name, image) for name in layers]
    shell = {
        "layers": [
            {"name": name, "note": note}
            for name, note in zip(layers, notes, strict=True)
        ],
        "shown": {one.layer: one.channels.tolist() for one in found},
        "first": first,
        "side": sheets.SIDE,
        "columns": sheets.COLUMNS,
        "atlas": sheets.ATLAS,
        "image": image,
        "full": full,
        "total": len(source.images),
        "title": source.title,
        "colours": microscope.COLOURS,
    }
    return {"first": "\n".join(scripts[:2]), "data": "\n".join(scripts[2:])}, shell


def _channels(layer: keras.Layer) -> int:
    return layer.output.shape[-1]


def _live(
    classifier: Classifier,
    data_dir: str | Path | None,
    samples: microscope.Samples | None,
    shown: Mapping[str, Sequence[int]],
) -> tuple[dict[str, str], str]:
    """The microscope's pieces; or none, and why."""
    count = classifier.model.count_params()
    try:
        if count > LIVE_WEIGHTS:
            raise ValueError(f"{count:,} weights are too many for a page.")
        pieces = microscope.pieces(
            [classifier], data_dir, patches="", shown=shown, samples=samples
        )
    except ValueError as error:
        why = html.escape(str(error))
        return {}, f"The network does not run in this page. {why}"
    return pieces, ""


def _samples(
    source: sources.Source, names: Sequence[str], mine: Sequence[str]
) -> microscope.Samples:
    """Photographs to pick from, evenly from the first to the last."""
    some = sampled(len(source.images), microscope.fitting(source.images))
    labels = None
    if source.labels is not None and list(names) == list(mine):
        labels = source.labels[some]
    called = [(source.names or [])[i] for i in some]
    images = np.array(source.images[some])
    return microscope.Samples(images, labels, called, names, source.title)


def _assemble(
    path: str | Path,
    parts: dict[str, str],
    engine: dict[str, str],
    shell: dict,
    shown: list[str],
) -> Path:
    if not engine:
        shown = [name for name in shown if name != "microscope"]
    networks = json.loads(engine["facts"])["networks"] if engine else []
    names = [network["title"] for network in networks]
    style = (microscope.FOLDER / "microscope.css").read_text("utf-8")
    parts = parts | {
        "style": style,
        "browser_style": _text("gallery.css"),
        "common": (microscope.FOLDER / "common.js").read_text("utf-8"),
        "router": _text("router.js"),
        "units": f"{_text('panel.js')}\n{_text('units.js')}",
        "links": "".join(
            f'<a href="#{name}" data-part="{name}">{PARTS[name]}</a>' for name in shown
        ),
        "microscope": f'<section id="part-microscope" class="part" '
        f'aria-label="The microscope">{engine["body"]}</section>'
        if engine
        else "",
        "live": fill(_text("live.html"), engine) if engine else "",
        "shell": sheets.data(shell | {"live": names}),
        "foot": _foot(),
    }
    template = _text("gallery.html")
    for name in ("tables", "runs"):
        if name not in shown:
            template = re.sub(
                rf'<section id="part-{name}".*?</section>', "", template, flags=re.S
            )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, fill(template, parts).encode())
    return path


def _text(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def _lead(meta: dict, source: sources.Source) -> str:
    """What the network is, how good it is, and which images it is shown."""
    said = {k: html.escape(str(v)) for k, v in meta.items()}
    trained = html.escape(datasets.title(meta["dataset"]))
    text = f"<p>The network <code>{said['architecture']}</code>, trained on {trained}"
    if "preset" in meta:
        text += f" by the recipe <code>{said['preset']}</code>, seed {said['seed']}"
    if "error" in meta:
        text += f": it gets {meta['error']:.2f} % of the test images wrong"
    text += f". {_said_of_units(source.title, len(source.images))}</p>"
    if source.stand_in:
        text += (
            f'<p class="notice">{trained} was not on the machine that made this page: '
            "the images are synthetic shapes, which the network has never seen.</p>"
        )
    return text


def _said_of_units(title: str, count: int) -> str:
    return (
        "Under Units are, for the units of its layers, the nine places that excite "
        f"each most in {count:,} images ({html.escape(title)}), and three explanations "
        "of what it responds to."
    )


def _foot() -> str:
    made = runtime.environment()
    commit = f", commit {made_by[:12]}" if (made_by := runtime.commit()) else ""
    return html.escape(
        f"Made by `python -m allconv gallery` with TensorFlow {made['tensorflow']} and "
        f"Keras {made['keras']}{commit}. Nothing on this page is loaded from elsewhere."
    )
