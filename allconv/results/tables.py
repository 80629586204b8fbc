"""From run records to tables beside the paper's numbers.

A cell is the final epoch's error in % on the whole test set, mean ± sample standard
deviation over seeds. What was not run says so; diverged runs are counted, not dropped.
"""

import csv
import io
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from allconv.core.arguments import checked
from allconv.core.checks import check_choice, nearest
from allconv.data import datasets
from allconv.networks import all_cnn_rows, classics_rows, zfnet_rows
from allconv.presets import catalogue
from allconv.presets.preset import recipe_of
from allconv.results import paper
from allconv.results.records import read as read_record

COLUMNS = (
    *("network", "recipe", "epochs", "parameters"),
    *("paper error %", "our error %", "n", "diverged", "minutes"),
)

BRIEF = ("network", "recipe", "epochs", "paper error %", "our error %", "n")
"""What fits the width of a page."""

# Networks of the other papers: no rows of these in the tables of CIFAR; your own are.
OTHERS = (*zfnet_rows.NAMES, *classics_rows.NAMES, *classics_rows.IMAGENET_NAMES)

# name -> (title, data set, whether augmented, published errors by network or recipe)
TABLES = {
    "cifar10": (
        "CIFAR-10 without augmentation (Table 3)",
        "cifar10",
        False,
        paper.TABLE_3,
    ),
    "cifar10_augmented": (
        "CIFAR-10 with flips and shifts (Table 4)",
        "cifar10",
        True,
        paper.CIFAR10_AUGMENTED,
    ),
    "cifar100": ("CIFAR-100 (Table 4)", "cifar100", None, paper.CIFAR100),
    "imagenet": (
        "ImageNet, top-1 (All-CNN, ZFNet's Table 3, Network Deconvolution's Table 2)",
        "imagenet",
        None,
        paper.IMAGENET_RECIPES,
    ),
}


@dataclass(frozen=True)
class Summary:
    """What the runs of one recipe came to.

    Attributes:
        errors: Final errors in %, one a finished run.
        diverged: Number of runs that diverged.
        minutes: Mean minutes of a finished run; None without one.
        again: Errors in % of further runs of the same seeds, on another machine, say;
            they are told, and count for nothing else.
    """

    errors: tuple[float, ...]
    diverged: int
    minutes: float | None
    again: tuple[float, ...] = ()

    @classmethod
    def of(cls, runs: list[dict]) -> "Summary":
        """What these records say, each of a run that finished or diverged."""
        done = [r for r in runs if r["status"] == "finished"]
        return cls(
            errors=tuple(map(error_of, done)),
            diverged=sum(r["status"] == "diverged" for r in runs),
            minutes=statistics.mean(r["minutes"] for r in done) if done else None,
        )

    def __str__(self) -> str:
        if not self.errors:
            return "diverged" if self.diverged else "not run"
        text = f"{statistics.mean(self.errors):.2f}"
        if len(self.errors) > 1:
            text += f" ± {statistics.stdev(self.errors):.2f}"
        if self.again:
            text += f" (again: {', '.join(f'{e:.2f}' for e in self.again)})"
        return text


@checked
def read(folder: str | Path) -> list[dict]:
    """All run records of a folder, `*.json`, by name.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If a file there is no record; names it and the field.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no folder {folder} of records. Name one with --records."
        )
    return [read_record(path) for path in sorted(folder.glob("*.json"))]


@checked
def followed(records: Iterable[dict], recipe: str | dict) -> list[dict]:
    """The records of one recipe, one a seed, measured on the test set or diverged.

    Args:
        records: Of `read`.
        recipe: A name of `presets`, or the fields of a recipe, as a record has them. A
            record counts if `recipe_of` is the same, and no callback has set other
            weights in the run.
    """
    mine: dict[int, dict] = {}
    for one in _all_of(records, recipe):
        mine.setdefault(one["seed"], one)
    return list(mine.values())


def _all_of(records: Iterable[dict], recipe: str | dict) -> list[dict]:
    """As `followed`, but each record of a seed that differs from the others."""
    given = catalogue.get(recipe).as_dict() if isinstance(recipe, str) else recipe
    expected = recipe_of(given)
    mine: list[dict] = []
    for one in records:
        # The name first: most records have another, and the rest takes time.
        counts = one["preset"]["name"] == expected["name"]
        counts = counts and recipe_of(one["preset"]) == expected
        counts = counts and not expected["hold_out"]
        counts = counts and not one.get("altered", False)
        if counts and one not in mine:  # else a copy of a file
            mine.append(one)
    return mine


@checked
def finished(records: Iterable[dict], recipe: str | dict) -> list[dict]:
    """Those that `followed` the recipe to their end."""
    return [r for r in followed(records, recipe) if r["status"] == "finished"]


@checked
def summarise(records: Iterable[dict], recipe: str | dict) -> Summary:
    """The test-set results of one recipe over its seeds."""
    every = _all_of(records, recipe)
    first = followed(every, recipe)
    further = [r for r in every if r not in first and r["status"] == "finished"]
    return replace(Summary.of(first), again=tuple(map(error_of, further)))


def error_of(record: dict, five: bool = False) -> float:
    """A finished run's error in %, measured as its recipe's paper does.

    Args:
        record: As `records.read` gives it.
        five: Whether five guesses are allowed.
    """
    ten = record["preset"]["augmentation"] == "ten_crops"
    name = ("ten_crop_" if ten else "") + ("top5_error" if five else "error")
    return record[name]


@checked
def title(name: str, records: Iterable[dict] = ()) -> str:
    """What one of `TABLES`, or the table of your own data set, is of.

    Args:
        name: A table's, or the path or title of a data set that a record is of.
        records: Of `read`.

    Raises:
        ValueError: If there is none of that name.
    """
    if name in TABLES:
        return TABLES[name][0]
    records = list(records)
    if _own(name, records) is None:
        own = {datasets.title(one["preset"]["dataset"]) for one in records}
        raise ValueError(
            f"A table should be one of {', '.join(TABLES)}, or of a data set of your "
            f"own that has records. Received: {name!r}{nearest(name, {*TABLES, *own})}"
        )
    return datasets.title(name)


def _own(name: str, records: Iterable[dict]) -> str | None:
    """The path, as a record has it, of your own data set of that path or title."""
    for record in records:
        path = record["preset"]["dataset"]
        known = (*datasets.NAMES, *datasets.ON_DISK)
        if path not in known and name in (path, datasets.title(path)):
            return path
    return None


@checked
def rows(name: str, records: list[dict]) -> list[dict[str, str]]:
    """The rows of one of `TABLES`, a dict of `COLUMNS` each.

    Every preset has a row, run or not; so has every other recipe that has a record. One
    that has a preset's name and other fields, by an older version, say, is starred.
    """
    title(name, records)  # refuses what there is not
    dataset: str | None
    if name in TABLES:
        _, dataset, augmented, published = TABLES[name]
    else:
        dataset, augmented, published = _own(name, records), None, {}
    known = [recipe_of(preset.as_dict()) for preset in catalogue.PRESETS.values()]
    parameters = {}
    for record in records:
        recipe = recipe_of(record["preset"])
        if not _counted(recipe):
            parameters[json.dumps(recipe, sort_keys=True)] = record["parameters"]
        if recipe not in known and not recipe["hold_out"]:
            known.append(recipe)
    out = []
    every = name not in TABLES or dataset in datasets.ON_DISK
    mine = [p for p in known if every or p["architecture"] not in OTHERS]
    for preset in sorted(mine, key=_order):
        if preset["dataset"] != dataset:
            continue
        if augmented not in (None, preset["augmentation"] != "none"):
            continue
        summary = summarise(records, preset)
        ours = catalogue.PRESETS.get(preset["name"])
        other = ours is not None and recipe_of(ours.as_dict()) != preset
        number = published.get(preset["name"], published.get(preset["architecture"]))
        cells = (
            preset["architecture"],
            preset["name"] + "*" * other,
            str(preset["epochs"]),
            _parameters(preset, parameters),
            ""
            if number is None
            else f"{number.value:.2f}{'' if number.confirmed else ' ?'}",
            str(summary),
            str(len(summary.errors)),
            str(summary.diverged),
            "" if summary.minutes is None else f"{summary.minutes:.0f}",
        )
        out.append(dict(zip(COLUMNS, cells, strict=True)))
    return out


def _order(preset: dict) -> tuple:
    names = (*all_cnn_rows.NAMES, preset["architecture"])
    return (
        names.index(preset["architecture"]),
        -preset["epochs"],
        preset["name"],
    )


def _counted(preset: dict) -> bool:
    """Whether `_parameters` is known without a run's record."""
    ours = preset["architecture"] in all_cnn_rows.NAMES
    return ours and preset["dataset"] in (*datasets.NAMES, *datasets.ON_DISK)


def _parameters(preset: dict, recorded: dict[str, int]) -> str:
    """Weights and biases by arithmetic, so that a table needs no model built.

    Of another network they are known from a record alone.
    """
    if not _counted(preset):
        found = recorded.get(json.dumps(preset, sort_keys=True))
        return "" if found is None else f"{found:,}"
    classes = {"cifar100": 100, "imagenet": 1000}.get(preset["dataset"], 10)
    return f"{all_cnn_rows.count_parameters(preset['architecture'], classes):,}"


@checked
def render(
    table: list[dict[str, str]],
    style: str = "text",
    columns: Sequence[str] = COLUMNS,
) -> str:
    """A table as `"text"`, `"markdown"`, `"latex"` or `"csv"`.

    Args:
        table: Of `rows`.
        style: A key of `STYLES`.
        columns: Of `COLUMNS`, in the order wanted; network and recipe come first.

    Raises:
        ValueError: If there is no such style or column.
    """
    check_choice("style", style, STYLES)
    for column in columns:
        check_choice("columns", column, COLUMNS)
    body = [[_plain(row[column]) for column in columns] for row in table]
    return STYLES[style]([list(columns), *body])


def _plain(cell: str) -> str:
    """Without ends of lines and signs that steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in cell)


def _text(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
    starred = any(cell.endswith("*") for line in lines for cell in line)
    return text + "\n\n* an earlier recipe that had this name" * starred


@checked
def markdown(lines: Sequence[Sequence], left: int = 2) -> str:
    """A Markdown table: its head and its rows, all but `left` columns set right."""
    head, *rows = lines
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (head, rule, *rows))


def _markdown(lines: list[list[str]]) -> str:
    signs = str.maketrans({sign: rf"\{sign}" for sign in r"\|`<[]"})
    return markdown([[cell.translate(signs) for cell in line] for line in lines])


_LATEX = str.maketrans(
    {sign: rf"\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
    | {"^": r"\textasciicircum{}", "±": r"$\pm$"}
)


def _latex(lines: list[list[str]]) -> str:
    body = [" & ".join(c.translate(_LATEX) for c in line) + r" \\" for line in lines]
    head = [r"\begin{tabular}{ll" + "r" * (len(lines[0]) - 2) + "}", r"\hline"]
    return "\n".join(
        [*head, body[0], r"\hline", *body[1:], r"\hline", r"\end{tabular}"]
    )


def _csv(lines: list[list[str]]) -> str:
    """Values that a spreadsheet takes for numbers or texts, none for a formula."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for line in lines:
        *names, epochs, parameters = line[:4]
        names = [f"'{n}" if n.startswith(tuple("=+-@")) else n for n in names]
        writer.writerow([*names, epochs, parameters.replace(",", ""), *line[4:]])
    return file.getvalue().rstrip("\n")


STYLES = {"text": _text, "markdown": _markdown, "latex": _latex, "csv": _csv}
