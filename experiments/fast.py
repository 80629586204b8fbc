"""How well can All-CNN-C be trained in an hour and a half on two CPU cores?

The paper's 7.25 % with flips and shifts took 350 epochs, some 39 hours on this kind of
machine. `fast_augmented` has 16 epochs, with batch normalisation (folded away
afterwards), whitened inputs, the middle of the images first, a rate that rises and
falls to 0 and smoothed labels. One pass over each test image after the last epoch;
nothing is chosen on the test set, but on images held back: `experiments.trials fast`.

    python -m experiments.queue fast     # 90 minutes on two cores
    python -m experiments.fast           # a second: the table and the figure
"""

from pathlib import Path

from matplotlib.figure import Figure

from allconv import paper, presets, results

HERE = Path(__file__).parent
RECORDS = HERE / "records"
TABLES = HERE / "tables"
FIGURE = HERE / "figures" / "fast.png"

PRESETS = ("all_cnn_c_short", "fast_augmented")


def table(records: list[dict]) -> str:
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
    records = results.read(RECORDS)
    text = table(records)
    TABLES.mkdir(exist_ok=True)
    (TABLES / "fast.md").write_text(f"{text}\n")
    print(text)
    figure(records).savefig(FIGURE)
    print(FIGURE)


if __name__ == "__main__":
    main()
