"""A page on which to leaf through a network: every unit of every layer, and the runs.

`write` makes one HTML file that needs no server, no network and no other file: for each
unit the nine patches of test images that excite it most, guided backprop and deconvnet
of them (as in figure 3 of the All-CNN paper), the tables of results, learning curves
and confusion matrices.

    classifier = Classifier.load(weights.released("all_cnn_c", "cifar10"))
    gallery.write("gallery.html", classifier, results.read("records"))
"""

import base64
import html
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from allconv.core import files, runtime
from allconv.data import datasets
from allconv.figures import maps, runs, style
from allconv.networks.classifier import Classifier
from allconv.probes import receptive_field
from allconv.reports.units import RULES, Units, convolutions, look
from allconv.results import tables

TEMPLATE = Path(__file__).with_name("gallery.html")
SIDE, COLUMNS = 3, 16  # of a unit's patches; of units in a sheet
# Lossless pictures of all colours would double the file for steps that no eye can see.
COLOURS = 63  # steps from 0 to 1 of a channel of a picture
GREYS = 15  # steps of a signed map on each side of zero


def write(
    path: str | Path,
    classifier: Classifier,
    records: Iterable[dict] = (),
    data_dir: str | Path | None = None,
    *,
    layers: Sequence[str] | None = None,
    progress: bool = True,
) -> Path:
    """Write the page.

    The images are the test set that the network was trained for or, where that is not
    on this machine, synthetic shapes; the page says which.

    Args:
        path: The HTML file; its folder is made.
        classifier: A network with its preprocessing.
        records: Run records, as from `tables.read`, for tables and curves.
        data_dir: As in `data.load`.
        layers: Names of convolutions; None: all of them.
        progress: Whether to show progress bars.

    Returns:
        The path.

    Raises:
        ValueError: If a layer is no convolution of the network; and as `units.look`.
    """
    dataset, records = classifier.meta["dataset"], list(records)
    known = convolutions(classifier.model)
    if others := [name for name in layers or () if name not in known]:
        raise ValueError(
            f"`layers` should be convolutions: {', '.join(known)}. Received: {others}"
        )
    shown = dataset if datasets.is_cached(dataset, data_dir) else "shapes"
    sides = classifier.model.input_shape[1:3]
    if shown != dataset and sides not in ((datasets.SIZE,) * 2, (None, None)):
        raise ValueError(
            f"There is no data set {dataset}, and no other has images of {sides[0]} x "
            f"{sides[1]}: name its place as it was when the network was trained."
        )
    _, (images, labels) = datasets.load(shown, data_dir)
    scripts = [_json("classes-data", datasets.class_names(shown))]
    for units in look(classifier, images, layers, SIDE**2, progress=progress):
        scripts.append(layer_data(classifier, units, labels))
    parts = {
        "title": "Inside a convolutional network",
        "lead": _lead(classifier.meta, shown, len(images)),
        "tables": "\n".join(
            _table(name, records) for name in _tables(dataset, records)
        ),
        "runs": _runs(records),
        "foot": _foot(),
        "data": "\n".join(scripts),
        "side": str(SIDE),
        "columns": str(COLUMNS),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, fill(TEMPLATE.read_text("utf-8"), parts).encode())
    return path


def fill(template: str, parts: Mapping[str, str]) -> str:
    """Put each part in the place of its `{{name}}`; parts are not searched for names.

    Raises:
        KeyError: If the template names a part that is not given.
    """
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def sheet(tiles: np.ndarray) -> np.ndarray:
    """Set the tiles of all units in one picture, without gaps.

    Args:
        tiles: `(units, 9, height, width, channels)`.

    Returns:
        Array `(rows * 3 * height, 16 * 3 * width, channels)`: 16 units a row, each a
        square of 3 x 3; zeros where the last row has no more units.
    """
    units, k, height, width, channels = tiles.shape
    rows = -(-units // COLUMNS)
    blank = np.zeros((rows * COLUMNS - units, *tiles.shape[1:]), tiles.dtype)
    grid = np.concatenate([tiles, blank])
    grid = grid.reshape(rows, COLUMNS, k // SIDE, SIDE, height, width, channels)
    return grid.transpose(0, 2, 4, 1, 3, 5, 6).reshape(
        rows * (k // SIDE) * height, COLUMNS * SIDE * width, channels
    )


def rgba(tiles: np.ndarray) -> np.ndarray:
    """Floats from 0 to 1 as uint8 with a fourth channel; transparent where NaN."""
    beyond = np.isnan(tiles).any(axis=-1, keepdims=True)
    colours = np.round(255 * np.where(beyond, 0, tiles)).astype(np.uint8)
    return np.concatenate([colours, np.where(beyond, 0, 255).astype(np.uint8)], -1)


def class_names(meta: dict) -> list[str]:
    """The names of the classes that a weight file's network tells apart."""
    own = meta.get("class_names")
    return list(own) if own else datasets.CLASS_NAMES[meta["dataset"]]


def layer_data(classifier: Classifier, units: Units, labels: np.ndarray) -> str:
    """All that the page shows of one layer, as a JSON script element."""
    model, top = classifier.model, units.top
    layer = model.get_layer(units.layer)
    rows, columns, count = layer.output.shape[1:]
    height, width = units.pictures.shape[2:4]
    image = model.input_shape[1:3]
    names = class_names(classifier.meta)
    scores = units.layer == convolutions(model)[-1] and count == len(names)
    kernel, stride = " × ".join(map(str, layer.kernel_size)), layer.strides[0]
    pictures = np.round(COLOURS * units.pictures) / COLOURS
    limits, sheets = {}, {"pictures": _webp(sheet(rgba(pictures)))}
    for rule in RULES:
        limit = maps.shared_limits(units.maps[rule], "row")[:, :1]
        limits[rule] = [f"{x:.2g}" for x in limit[:, 0]]
        signed = maps.signed_colours(units.maps[rule], limit[..., None, None, None])
        signed = np.round(2 * GREYS * signed) / (2 * GREYS)
        sheets[rule] = _webp(sheet(rgba(signed)))
    field = receptive_field.compute(model, units.layer)
    seen = "the whole image"
    if min(field.size) < min(image):
        seen = f"{height} × {width} of the image's {image[0]} × {image[1]} pixels"
    facts = {
        "name": units.layer,
        "about": f"{units.layer} is a {kernel} convolution"
        f"{f' with stride {stride}' if stride > 1 else ''}: {count} units, each at "
        f"{rows} × {columns} places. A unit sees {seen}."
        f"{' Its units are the scores of the classes.' if scores else ''}",
        "image": image,
        "box": field.boxes([rows // 2], [columns // 2])[0].tolist(),
        "size": [height, width],
        "names": names if scores else None,
        "index": top.index.tolist(),
        "y": top.y.tolist(),
        "x": top.x.tolist(),
        "value": [[float(f"{v:.3g}") for v in row] for row in top.value],
        "label": labels[top.index].tolist(),
        "limits": limits,
        "sheets": sheets,
    }
    return _json(
        f"data-{units.layer}", facts, layer=units.layer, note=f"sees {width} px"
    )


def _json(name: str, content: object, **dataset: str) -> str:
    """A script element that holds data; no text in it can end the element."""
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    extra = "".join(f' data-{k}="{html.escape(v)}"' for k, v in dataset.items())
    name = html.escape(name)
    return f'<script type="application/json" id="{name}"{extra}>{text}</script>'


def _webp(picture: np.ndarray) -> str:
    """A data URI of a lossless picture, uint8 with four channels."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=True, quality=75, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _svg(figure: Figure, alt: str, kind: str) -> str:
    """An image element of a figure, drawn by lines."""
    file = io.BytesIO()
    with style.defaults():
        figure.savefig(file, format="svg", metadata={"Date": None})
    uri = "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()
    return f'<img class="{kind}" loading="lazy" alt="{html.escape(alt)}" src="{uri}">'


def _lead(meta: dict, shown: str, count: int) -> str:
    """What the network is, how good it is, and which images it is shown."""
    said = {k: html.escape(str(v)) for k, v in meta.items()}
    trained = html.escape(datasets.title(meta["dataset"]))
    text = f"<p>The network <code>{said['architecture']}</code>, trained on {trained}"
    if "preset" in meta:
        text += f" by the recipe <code>{said['preset']}</code>, seed {said['seed']}"
    if "error" in meta:
        text += f": it gets {meta['error']:.2f} % of the test images wrong"
    text += (
        ". Below are, for every unit of every layer, the nine places that excite it "
        f"most in {count:,} test images, and two explanations of what it responds to."
        "</p>"
    )
    if shown != meta["dataset"]:
        text += (
            f'<p class="notice">{trained} was not on the machine that made this page: '
            "the images are synthetic shapes, which the network has never seen.</p>"
        )
    return text


def _tables(dataset: str, records: list[dict]) -> list[str]:
    """The tables of the papers, or that of your own data set."""
    if dataset in datasets.NAMES:
        return list(tables.TABLES)
    mine = any(record["preset"]["dataset"] == dataset for record in records)
    return [dataset] if mine else []


def _table(name: str, records: list[dict]) -> str:
    """One of `tables.TABLES` in HTML; rows with a result of ours stand out."""
    lines = []
    for row in tables.rows(name, records):
        cells = "".join(
            f"<td{'' if i < 2 else ' class=right'}>{html.escape(cell)}</td>"
            for i, cell in enumerate(row.values())
        )
        lines.append(f"<tr{' class=done' if row['n'] != '0' else ''}>{cells}</tr>")
    head = "".join(
        f'<th scope="col"{"" if i < 2 else " class=right"}>{html.escape(column)}</th>'
        for i, column in enumerate(tables.COLUMNS)
    )
    title = tables.title(name, records)
    table = (
        f"<table><caption>{html.escape(title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>"
    )
    return _scrolled(table, title)


def _scrolled(content: str, title: str) -> str:
    """What may be wider than a phone, in a part of the page that scrolls by itself."""
    label = html.escape(title)
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{label}">'
        f"{content}</div>"
    )


def _runs(records: list[dict]) -> str:
    """Learning curves of runs that are alike, then each run by itself."""
    finished = [
        r for r in records if r["status"] == "finished" and r["split"] == "test"
    ]
    if not finished:
        return "<p>No run is finished yet.</p>"
    alike: dict[tuple, dict] = {}
    for record in finished:
        epochs, values = _curve(record, "val_accuracy")
        if len(epochs) > 1:
            preset = record["preset"]
            key = (preset["dataset"], preset["augmentation"], preset["epochs"])
            alike.setdefault(key, {})[_label(record)] = (epochs, values)
    out = []
    for (dataset, augmentation, epochs), curves in sorted(alike.items()):
        title = (
            f"{datasets.title(dataset)}, {epochs} epochs, augmentation: {augmentation}"
        )
        alt = f"Test accuracy over epochs: {title}: {', '.join(curves)}"
        figure = _svg(runs.learning_curves(curves), alt, "curves")
        out.append(f"<h3>{html.escape(title)}</h3>{_scrolled(figure, title)}")
    out.append("<h3>Each run</h3>")
    return "\n".join([*out, *map(_run, finished)])


def _run(record: dict) -> str:
    curves = {
        title: _curve(record, key)
        for title, key in (("training", "accuracy"), ("test", "val_accuracy"))
    }
    curves = {title: curve for title, curve in curves.items() if curve[0]}
    label, pictures, epochs = _label(record), "", record["preset"]["epochs"]
    if curves:
        figure = runs.learning_curves(curves, ylabel="accuracy in %")
        pictures = _svg(figure, f"Accuracy over epochs of {label}", "curve")
    names = datasets.CLASS_NAMES.get(record["preset"]["dataset"], ())
    if len(names) != len(record["confusion"]):
        names = [str(i) for i in range(len(record["confusion"]))]
    if len(names) <= 20:  # with more, no number in the matrix can be read
        figure = runs.confusion_matrix(record["confusion"], names)
        pictures += _svg(figure, f"Confusion matrix of {label}, in %", "confusion")
    else:
        pictures += (
            f"<p>A confusion matrix of {len(names)} classes cannot be read at this "
            "size; the run's record has it.</p>"
        )
    return (
        f'<details class="run"><summary>{html.escape(label)}: error '
        f"{record['error']:.2f} % ({record['wrong']:,} of {record['n']:,}), "
        f"{html.escape(str(epochs))} epoch{'s' * (epochs != 1)}, "
        f"{record['minutes']:.0f} minutes"
        f'</summary><div class="figures">{pictures}</div></details>'
    )


def _label(record: dict) -> str:
    return f"{record['preset']['name']}, seed {record['seed']}"


def _curve(record: dict, key: str) -> tuple[list[int], list[float]]:
    rows = [row for row in record["history"] if math.isfinite(row.get(key, math.nan))]
    return [row["epoch"] for row in rows], [100 * row[key] for row in rows]


def _foot() -> str:
    made = runtime.environment()
    commit = f", commit {made_by[:12]}" if (made_by := runtime.commit()) else ""
    return html.escape(
        f"Made by `python -m allconv gallery` with TensorFlow {made['tensorflow']} and "
        f"Keras {made['keras']}{commit}. Nothing on this page is loaded from elsewhere."
    )
