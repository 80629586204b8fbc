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
from dataclasses import dataclass

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
ALL = "all three"
KINDS = ("base", "Strided", "ConvPool", "All-CNN")
NEAR = 0.5  # points of error that count as about equal
# In words; and which error, of (base, Strided, ConvPool, All-CNN), lies above which, by
# more than how many points. Of several the one that is nearest to denying it counts.
CLAIMS: dict[str, tuple[tuple[int, ...], tuple[int, ...], float]] = {
    "Strided is the worst": ((1,), (0, 2, 3), 0.0),
    f"All-CNN is at most {NEAR} points worse than ConvPool": ((2,), (3,), -NEAR),
    "ConvPool and All-CNN are better than the base": ((0,), (2, 3), 0.0),
}


@dataclass(frozen=True)
class Margin:
    """By how many points of error a claim holds; below 0: by how many it does not.

    Attributes:
        points: Of mean errors.
        error: Its standard error; None: no network was run twice.
    """

    points: float
    error: float | None = None

    @property
    def verdict(self) -> str:
        """`"shown"` and `"contradicted"` are said from two standard errors on."""
        if self.error is None or abs(self.points) < 2 * self.error:
            return "not shown"
        return "shown" if self.points > 0 else "contradicted"

    def __str__(self) -> str:
        return f"{self.points:+.2f}" + (f" ± {self.error:.2f}" if self.error else "")


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


def spread(found: Sequence[tables.Summary]) -> float | None:
    """The standard deviation of one run's error, pooled over all networks run twice.

    Returns:
        In points; None where no network was.
    """
    free = sum(max(0, len(one.errors) - 1) for one in found)
    if not free:
        return None
    squares = sum(np.var(one.errors) * len(one.errors) for one in found if one.errors)
    return float(np.sqrt(squares / free))


def margin(
    claim: str, means: Sequence[float], counts: Sequence[int], sigma: float | None
) -> Margin:
    """By how much a claim holds in one family.

    Args:
        claim: Of `CLAIMS`.
        means: Errors in % of a family's four networks, in its order.
        counts: Runs of each.
        sigma: Of `spread`.
    """
    above, below, by = CLAIMS[claim]
    high, low = min(above, key=means.__getitem__), max(below, key=means.__getitem__)
    error = (
        None if sigma is None else sigma * (1 / counts[high] + 1 / counts[low]) ** 0.5
    )
    return Margin(means[high] - means[low] - by, error)


def over_all(margins: Sequence[Margin]) -> Margin:
    """The mean of the families' margins, which are of different runs."""
    errors = [one.error for one in margins]
    known = [one for one in errors if one is not None]
    error = float(np.hypot.reduce(known)) / len(errors) if known == errors else None
    return Margin(float(np.mean([one.points for one in margins])), error)


def verdicts(records: list[dict]) -> str:
    """Markdown: each finding over all families, in the paper and here."""
    head, *rows = _margins(records)
    return tables.markdown([head, *(row for row in rows if row[1] == ALL)], left=2)


def claims(records: list[dict]) -> str:
    """Markdown: each finding, in each family and over all, in the paper and here."""
    return tables.markdown(_margins(records), left=2)


def _margins(records: list[dict]) -> list[Sequence]:
    """The rows of `claims`, the first of titles."""
    found = summaries(records)
    sigma = spread(list(found.values()))
    lines: list[Sequence] = [("finding", "family", "paper", "ours", "verdict")]
    for claim in CLAIMS:
        papers, ours = [], []
        for family, names in FAMILIES.items():
            published = [paper.TABLE_3[name].value for name in names]
            papers.append(margin(claim, published, (1,) * 4, None))
            cells = ("not run", "not run")
            runs_of = [found[name].errors for name in names]
            if all(runs_of):
                means = [float(np.mean(one)) for one in runs_of]
                ours.append(margin(claim, means, [len(one) for one in runs_of], sigma))
                cells = (str(ours[-1]), ours[-1].verdict)
            lines.append((claim, family.upper(), str(papers[-1]), *cells))
        cells = ("not run", "not run")
        if len(ours) == len(FAMILIES):
            mean = over_all(ours)
            cells = (str(mean), mean.verdict)
        lines.append((claim, ALL, str(over_all(papers)), *cells))
    return lines


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


def figure(records: list[dict]) -> Figure:
    """The paper's error and ours, a panel a family, a line a kind of network."""
    ours = errors(records)
    panels = {
        f"family {family.upper()}": {
            kind: (paper.TABLE_3[name].value, ours[name])
            for kind, name in zip(KINDS, names, strict=True)
            if name in ours
        }
        for family, names in FAMILIES.items()
    }
    return runs.slopes(
        panels,
        ends=("paper,\n350 epochs", f"ours,\n{catalogue.BUDGET.epochs} epochs"),
        ylabel="test error in %",
    )


def main() -> None:
    records = tables.read(RECORDS)
    for name, text in (
        ("table3", f"{table(records)}\n\n{ranks(records)}"),
        ("table3_claims", claims(records)),
    ):
        write_text(TABLES / f"{name}.md", f"{text}\n")
        print(text + "\n")
    write_figure(FIGURE, figure(records))
    print(FIGURE)


if __name__ == "__main__":
    main()
