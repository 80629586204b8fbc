"""How well can All-CNN-C be trained in an hour and a half on two CPU cores?

Claim: the paper's 7.25 % with flips and shifts took 350 epochs, some 39 hours on this
kind of machine. `fast_augmented` ends near it in 16 epochs, with batch normalisation
(folded away afterwards), small images first, a rate that rises and falls to 0 and
smoothed labels. One pass over each test image, the last epoch, nothing chosen on the
test set.

    python -m experiments.fast --trials                  # 20 minutes: the choices
    python -m experiments.queue fast                     # 90 minutes on two cores
    python -m experiments.fast                           # a second: tables and figure

Choices are made by `TRIALS`: short runs that differ in one thing, measured on 5,000
training images that they do not see. Whitened inputs (GCN and ZCA) were 2.7 % better
than those of mean 0 and variance 1, at the same cost.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from allconv import paper, presets, results, train
from allconv.checkpoint import write_bytes
from allconv.records import to_json

HERE = Path(__file__).parent
RECORDS = HERE / "records"
TABLES = HERE / "tables"
FIGURE = HERE / "figures" / "fast.png"

TRIAL = replace(
    presets.FAST,
    name="trial",
    preprocessing="mean_std",
    epochs=2,
    windows=((0, 24),),
    hold_out=5000,
)
# By name: what differs from `TRIAL`.
TRIALS = {
    "trial": {},
    "trial_whitened": {"preprocessing": "gcn_zca"},
    "trial_deconv": {"norm": "deconv"},
}
PRESETS = ("all_cnn_c_short", "fast_augmented")


def run_trials(data_dir: str | None, names: list[str]) -> None:
    """Train what has no record yet, and keep its record."""
    for name in names:
        preset = replace(TRIAL, name=name, **TRIALS[name])
        record = train.run(preset, data_dir=data_dir)
        write_bytes(RECORDS / f"{name}-seed0.json", (to_json(record) + "\n").encode())


def trials_table(records: list[dict]) -> str:
    """Markdown: the error of every trial on the images held back."""
    found = {r["preset"]["name"]: r for r in records if r.get("split") == "hold_out"}
    lines = [("trial", "changed", "held-out error %", "minutes")]
    for name, changes in TRIALS.items():
        cells = ["not run", ""]
        if name in found:
            cells = [f"{found[name]['error']:.2f}", f"{found[name]['minutes']:.0f}"]
        changed = ", ".join(f"{field}={value}" for field, value in changes.items())
        lines.append((name, changed or "nothing", *cells))
    return results.markdown(lines)


def results_table(records: list[dict]) -> str:
    """Markdown: test errors of All-CNN-C with augmentation, paper's first."""
    lines = [("recipe", "epochs", "error %", "n", "minutes")]
    published = paper.CIFAR10_AUGMENTED["all_cnn_c"]
    lines.append(("the paper", 350, f"{published.value:.2f}", "", ""))
    for name in PRESETS:
        found = results.summarise(records, name)
        minutes = "" if found.minutes is None else f"{found.minutes:.0f}"
        epochs = presets.get(name).epochs
        lines.append((name, epochs, str(found), len(found.errors), minutes))
    return results.markdown(lines, left=1)


def figure(records: list[dict]) -> Figure:
    """Test error against minutes of training, All-CNN-C with augmentation."""
    drawn = Figure(figsize=(6, 3.6), dpi=120, layout="constrained")
    axes = drawn.add_subplot()
    for name in PRESETS:
        mine = [
            r
            for r in records
            if r["preset"]["name"] == name and r["status"] == "finished"
        ]
        minutes, errors = [r["minutes"] for r in mine], [r["error"] for r in mine]
        axes.plot(minutes, errors, "o", label=name)
    published = paper.CIFAR10_AUGMENTED["all_cnn_c"].value
    label = f"the paper, 350 epochs: {published}"
    axes.axhline(published, color="0.5", lw=1, label=label)
    axes.set_xlim(0)
    axes.set_ylim(0)
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("test error in %")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--trials", nargs="*", metavar="NAME", help="train these trials; none: all"
    )
    parser.add_argument("--data-dir", help="folder of the data; default: ALLCONV_DATA")
    arguments = parser.parse_args()
    if arguments.trials is not None:
        run_trials(arguments.data_dir, arguments.trials or list(TRIALS))
    records = results.read(RECORDS)
    for title, name, table in (
        ("All-CNN-C with flips and shifts", "fast", results_table(records)),
        ("Trials, on images held back", "fast_trials", trials_table(records)),
    ):
        TABLES.mkdir(exist_ok=True)
        (TABLES / f"{name}.md").write_text(f"{table}\n")
        print(f"{title}\n\n{table}\n")
    figure(records).savefig(FIGURE)
    print(FIGURE)


if __name__ == "__main__":
    main()
