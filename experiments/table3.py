"""Do the findings of Table 3 hold when a network is trained for minutes, not for hours?

Claims of Springenberg et al. (2015), Table 3, CIFAR-10 without augmentation: in each
family the Strided network is the worst; All-CNN, whose pooling is learned, is not worse
than ConvPool; both are better than the network they come from.

The paper's 350 epochs are 39 to 52 hours for All-CNN-C on two cores. `catalogue.BUDGET`
has 6, with the paper's inputs, optimiser and weight decay and no normalising layers.
Batch size, rate, dropout and how kernels and class scores start were tried with
All-CNN-C and Model A on training images held back (`trials`). The number of epochs is
what the hours allow.

    python -m experiments.trials budget     # an hour: the choice
    python -m experiments.queue budget      # 6 to 11 hours on two cores: the runs
    python -m experiments.table3            # some seconds: tables and figure
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from allconv.figures import runs
from allconv.networks import all_cnn_rows
from allconv.presets import catalogue
from allconv.results import paper, tables
from allconv.saliency.similarity import rank_correlation
from experiments import FIGURES, RECORDS, TABLES
from experiments.written import write_figure, write_text

FIGURE = FIGURES / "table3.png"

NETWORKS = all_cnn_rows.TABLE_3
FAMILIES = {"a": NETWORKS[:4], "b": NETWORKS[4:8], "c": NETWORKS[8:]}
# In words, and by how many points it holds, of the errors of (base, Strided, ConvPool,
# All-CNN). Below 0 the order is the other way round.
CLAIMS = {
    "Strided is the worst, by": lambda base, strided, pool, conv: (
        strided - max(base, pool, conv)
    ),
    "All-CNN is better than ConvPool (the paper: about equal), by": (
        lambda base, strided, pool, conv: pool - conv
    ),
    "ConvPool and All-CNN are better than the base, by": (
        lambda base, strided, pool, conv: base - max(pool, conv)
    ),
}


def summaries(records: list[dict]) -> dict[str, tables.Summary]:
    """What the runs of each network came to, by network."""
    return {name: tables.summarise(records, f"{name}_budget") for name in NETWORKS}


def errors(records: list[dict]) -> dict[str, float]:
    """The mean test error in % of each network that has a finished run."""
    found = summaries(records)
    return {
        name: float(np.mean(one.errors)) for name, one in found.items() if one.errors
    }


def table(records: list[dict]) -> str:
    """Markdown: the paper's error and ours, network by network."""
    epochs = catalogue.BUDGET.epochs
    head = ("network", "parameters", "paper %, 350 epochs", f"ours %, {epochs} epochs")
    lines: list[Sequence] = [(*head, "n", "diverged", "minutes")]
    for name, found in summaries(records).items():
        lines.append(
            (
                name,
                f"{all_cnn_rows.count_parameters(name):,}",
                f"{paper.TABLE_3[name].value:.2f}",
                str(found),
                len(found.errors),
                found.diverged,
                "" if found.minutes is None else f"{found.minutes:.0f}",
            )
        )
    return tables.markdown(lines, left=1)


def claims(records: list[dict]) -> str:
    """Markdown: by how much a finding holds in each family, in the paper and here."""
    published = {name: paper.TABLE_3[name].value for name in NETWORKS}
    ours = errors(records)
    heads = [f"{f.upper()}, {who} %" for f in FAMILIES for who in ("paper", "ours")]
    lines = [("finding", *heads)]
    for words, margin in CLAIMS.items():
        cells = []
        for names in FAMILIES.values():
            for known in (published, ours):
                if all(name in known for name in names):
                    cells.append(f"{margin(*(known[name] for name in names)):+.2f}")
                else:
                    cells.append("not run")
        lines.append((words, *cells))
    return tables.markdown(lines, left=1)


def agreement(ours: dict[str, float]) -> float:
    """Spearman's rank correlation of our errors and the paper's, of two networks on.

    Args:
        ours: Errors in % by network.

    Returns:
        From -1 to 1; NaN of fewer than two networks.
    """
    if len(ours) < 2:
        return np.nan
    published = np.array([[paper.TABLE_3[name].value for name in ours]])
    return float(rank_correlation(published, np.array([list(ours.values())]))[0])


def ranks(records: list[dict]) -> str:
    """`agreement` as a sentence."""
    ours = errors(records)
    value = f"{agreement(ours):.2f}, over {len(ours)} networks"
    value = value if len(ours) > 1 else "not run"
    return f"Rank correlation of the two columns (1: the same order): {value}."


def figure(ours: dict[str, float]) -> Figure:
    """Our errors in % against the paper's, a mark for each kind of network."""
    points = {}
    for i, kind in enumerate(("base", "Strided", "ConvPool", "All-CNN")):
        names = [row[i] for row in FAMILIES.values() if row[i] in ours]
        points[kind] = [
            (paper.TABLE_3[name].value, ours[name], name[-1].upper()) for name in names
        ]
    return runs.scatter(
        points,
        xlabel="the paper's error in %, 350 epochs",
        ylabel=f"our error in %, {catalogue.BUDGET.epochs} epochs",
    )


def main() -> None:
    records = tables.read(RECORDS)
    for name, text in (
        ("table3", f"{table(records)}\n\n{ranks(records)}"),
        ("table3_claims", claims(records)),
    ):
        write_text(TABLES / f"{name}.md", f"{text}\n")
        print(text + "\n")
    write_figure(FIGURE, figure(errors(records)))
    print(FIGURE)


if __name__ == "__main__":
    main()
