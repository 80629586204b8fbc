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

from allconv import paper, presets, results, run_plots, weights

HERE = Path(__file__).parent
RECORDS = HERE / "records"
TABLES = HERE / "tables"
FIGURE = HERE / "figures" / "fast.png"

PRESETS = ("all_cnn_c_short", "fast_augmented")


def table(records: list[dict]) -> str:
    """Markdown: test errors of All-CNN-C with augmentation, paper's first."""
    lines = [("recipe", "epochs", "error %", "n", "minutes", "mirrored look too %")]
    published = paper.CIFAR10_AUGMENTED["all_cnn_c"]
    lines.append(("the paper", 350, f"{published.value:.2f}", "", "", ""))
    for name in PRESETS:
        found = results.summarise(records, name)
        minutes = "" if found.minutes is None else f"{found.minutes:.0f}"
        cells = (name, presets.get(name).epochs, str(found), len(found.errors))
        lines.append((*cells, minutes, two_looks(name)))
    return results.markdown(lines, left=1)


def two_looks(preset: str) -> str:
    """Error in % of the released file with a second, mirrored look at each image."""
    of = (e for e in weights.manifest() if e["preset"] == preset)
    return next((f"{entry['error_mirrored']:.2f}" for entry in of), "")


def figure(records: list[dict]) -> Figure:
    """Test error against minutes of training, All-CNN-C with augmentation."""
    points = {
        name: [
            (record["minutes"], record["error"], "")
            for record in records
            if record["preset"]["name"] == name and record["status"] == "finished"
        ]
        for name in PRESETS
    }
    published = paper.CIFAR10_AUGMENTED["all_cnn_c"].value
    drawn = run_plots.scatter(
        points,
        xlabel="minutes of training",
        ylabel="test error in %",
        level=(published, f"the paper, 350 epochs: {published}"),
    )
    drawn.axes[0].set_xlim(0)
    drawn.axes[0].set_ylim(0)
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
