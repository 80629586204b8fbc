"""Do the papers' networks reach the papers' errors on ImageNet?

Springenberg et al. (2015): All-CNN-B, 41.2 % top-1. Zeiler & Fergus (2014), Tables 2
and 3: ZFNet, 38.4 / 16.5 % top-1 / top-5, and what its layers are worth. Ye et al.
(2020), Table 2: network deconvolution 1 to 1.6 points ahead of batch normalisation.

    python -m allconv train zfnet --data-dir /data/imagenet --records records
    python -m experiments.imagenet      # the tables, from the records

One run is some GPU hours to days: see docs/imagenet.md. A cell without a record says
'not run'.
"""

from collections.abc import Sequence

from allconv.presets import imagenet
from allconv.results import paper, tables
from experiments import RECORDS

HEAD = ("paper: top-1", "top-5", "ours: top-1", "top-5", "n")


def zfnet(records: list[dict]) -> str:
    """Markdown: Table 3, errors in % of ten crops; the training error is top-1."""
    head = ("network", "paper: training", "ours: training", *HEAD)
    lines: list[Sequence] = [head]
    for recipe, row in imagenet.TABLE_3.items():
        theirs = paper.ABLATION[row]
        done = tables.finished(records, recipe)
        training = [100 * (1 - run["history"][-1]["accuracy"]) for run in done]
        first = [theirs["train"].value, _mean(training)]
        lines.append([row, *first, *_cells(records, recipe, theirs)])
    return tables.markdown(lines, left=1)


def ensembles(records: list[dict]) -> str:
    """Markdown: Table 2, validation errors in % of ten crops."""
    lines: list[Sequence] = [("network", *HEAD)]
    for name, theirs in paper.ZFNET_TABLE_2.items():
        lines.append([name, *_cells(records, name, theirs)])
    return tables.markdown(lines, left=1)


def all_cnn(records: list[dict]) -> str:
    """Markdown: errors in % of the middle of each image."""
    lines: list[Sequence] = [("network", *HEAD)]
    for name, number in paper.IMAGENET.items():
        lines.append([name, *_cells(records, name, {"top1": number})])
    return tables.markdown(lines, left=1)


def netdeconv(records: list[dict]) -> str:
    """Markdown: Table 2 of Ye et al., accuracies in % of the middle of each image."""
    lines: list[Sequence] = [("network", "norm", *HEAD)]
    for (network, norm), theirs in paper.NETDECONV_TABLE_2.items():
        cells = _cells(records, f"{network}_{norm}", theirs, accuracy=True)
        lines.append([network, norm, *cells])
    return tables.markdown(lines, left=2)


def _cells(
    records: list[dict],
    recipe: str,
    theirs: dict[str, paper.Number],
    accuracy: bool = False,
) -> list:
    """What the columns of `HEAD` say of a recipe; it may be none of ours."""
    published = [theirs[k].value if k in theirs else "" for k in ("top1", "top5")]
    if recipe not in paper.IMAGENET_RECIPES:
        ours_too = recipe.startswith("zfnet")  # several of ours, whose mean is taken
        return [*published, *["not run" if ours_too else ""] * 2, ""]
    done = tables.finished(records, recipe)
    ours = []
    for five in (False, True):
        errors = [tables.error_of(run, five) for run in done]
        ours.append(_mean([100 - e for e in errors] if accuracy else errors))
    return [*published, *ours, len(done)]


def _mean(values: list[float]) -> str:
    return str(tables.Summary(tuple(values), 0, None))


def main() -> None:
    records = tables.read(RECORDS)
    for title, table in (
        ("All-CNN-B, error in %, centre crop", all_cnn),
        ("ZFNet, Table 2, validation error in %, ten crops", ensembles),
        ("ZFNet, Table 3, error in %, ten crops", zfnet),
        ("Network deconvolution, Table 2, accuracy in %, centre crop", netdeconv),
    ):
        print(f"{title}\n\n{table(records)}\n")


if __name__ == "__main__":
    main()
