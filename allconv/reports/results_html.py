"""The tables of results and the runs behind them, as parts of a web page."""

import html
import io
import math
import zlib

from matplotlib import rc_context
from matplotlib.figure import Figure

from allconv.data import datasets
from allconv.figures import runs, style
from allconv.reports import packed
from allconv.results import tables


def shown(dataset: str, records: list[dict]) -> list[str]:
    """The tables of the papers, or that of your own data set."""
    if dataset in datasets.NAMES:
        return list(tables.TABLES)
    mine = any(record["preset"]["dataset"] == dataset for record in records)
    return [dataset] if mine else []


def table(name: str, records: list[dict]) -> str:
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


def all_runs(records: list[dict]) -> str:
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
    if len(names) != len(record["per_class"]):
        names = [str(i) for i in range(len(record["per_class"]))]
    if len(names) <= 20:  # with more, no number in the matrix can be read
        figure = runs.confusion_matrix(record["confusion"], names)
        pictures += _svg(figure, f"Confusion matrix of {label}, in %", "confusion")
    else:
        pictures += (
            f"<p>A confusion matrix of {len(names)} classes cannot be read at this "
            "size; the run's record has it, of 100 classes at most.</p>"
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


def _svg(figure: Figure, alt: str, kind: str) -> str:
    """An image element of a figure, drawn by lines; the page unpacks it to show it."""
    file = io.BytesIO()
    with style.defaults(), rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    content = packed.text(zlib.compress(file.getvalue(), 9))
    return f'<img class="{kind}" alt="{html.escape(alt)}" data-packed="{content}">'
