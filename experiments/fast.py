"""How well can All-CNN-C be trained in an hour and a half on two CPU cores?

The paper's 7.25 % with flips and shifts, and 9.08 % without, took 350 epochs, 39 hours
on the machine below at the speed of its bare step. `fast_augmented` has 14 epochs, with
batch normalisation (folded away afterwards), Muon's steps for the hidden kernels,
whitened inputs, the middle of the images first, a rate that rises and falls to 0 and
smoothed labels; `long_augmented` has 36 of them, with half of the paper's dropout, and
`longest_augmented` 68, with three quarters of it.
`fast` has 14 epochs and that dropout on images as they are, more of them on whole ones;
`fast_augmented_plain` has no normalising layer, hence SGD alone. One pass over each
test image after the last epoch; nothing is chosen on the test set, but on images held
back (`experiments.trials fast`).

    python -m experiments.queue fast     # hours
    python -m experiments.fast           # some seconds: the table and the figure

Found on two cores of an AMD EPYC with AVX-512 (All-CNN-C, batch 128, bare step: 124
images/s): `fast_augmented` 7.33 % after 74 minutes, n = 1. An epoch took 255 to 281 s
at 24 x 24, 365 to 368 at 28 and 472 at 32; the first took 450 beside other work.
On a machine of the same name on which an epoch took 116 to 135 s at 24 x 24, 158 to
168 at 28 and 209 to 218 at 32: `long_augmented` 6.95 % after 84 minutes and `fast`
8.89 % after 36, `fast_augmented_plain` 13.01 % after 30 (13.2 % training error in the
last epoch), `longest_augmented` 7.21 % after 154 (stopped once, then gone on with);
n = 1 each. Of the training images 3.8 % were wrong in the last of the 36 epochs, 3.9 in
the last of the 68: whether epochs no longer help or dropout hurts is not known.

Earlier recipes of these names (`records/`), n = 1 each. `fast`: 8 epochs 9.27 % after
22 minutes (`fast_8-seed0.json`). `fast_augmented`, on cores without AVX-512: 11 epochs
with Muon 7.45 % after 103 minutes (`fast_augmented_11-seed0.json`); 16 epochs with SGD
8.46 % after 133 minutes (`fast_augmented_sgd-seed0.json`).
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from allconv.figures import runs
from allconv.networks import weights
from allconv.presets import catalogue
from allconv.presets.preset import Preset
from allconv.results import paper, tables
from experiments import FIGURES, RECORDS, TABLES
from experiments.written import write_figure, write_text

FIGURE = FIGURES / "fast.png"

PRESETS = (
    *("all_cnn_c_short", "fast_augmented", "fast_augmented_plain"),
    *("long_augmented", "longest_augmented", "fast"),
)
COLUMNS = (
    *("recipe", "flips and shifts", "trained with", "epochs"),
    *("paper %, 350 epochs", "ours %", "n", "minutes", "test-time augmentation %"),
)
PUBLISHED = {
    True: paper.CIFAR10_AUGMENTED["all_cnn_c"].value,
    False: paper.TABLE_3["all_cnn_c"].value,
}


def table(records: list[dict]) -> str:
    """Markdown: test errors of All-CNN-C, the paper's beside ours."""
    lines: list[Sequence] = [COLUMNS]
    for name in PRESETS:
        preset, found = catalogue.get(name), tables.summarise(records, name)
        augmented = preset.augmentation != "none"
        lines.append(
            (
                name,
                "yes" if augmented else "no",
                trained_with(preset),
                preset.epochs,
                f"{PUBLISHED[augmented]:.2f}",
                str(found),
                len(found.errors),
                "" if found.minutes is None else f"{found.minutes:.0f}",
                augmented_error(name) if len(found.errors) == 1 else "",
            )
        )
    return tables.markdown(lines, left=3)


def trained_with(preset: Preset) -> str:
    """The norm of a recipe, and its optimizer where that is not SGD."""
    norm = {"batch": "batch norm", "none": "no norm"}[preset.norm]
    return f"{norm}, Muon" if preset.muon else norm


def augmented_error(preset: str) -> str:
    """Error in % of the released file with test-time augmentation (mirroring)."""
    of = (e for e in weights.manifest() if e["preset"] == preset)
    return next((f"{entry['error_mirrored']:.2f}" for entry in of), "")


def figure(records: list[dict]) -> Figure:
    """Test error against minutes of training, All-CNN-C."""
    points = {
        name: [
            (record["minutes"], record["error"], "")
            for record in tables.finished(records, name)
        ]
        for name in PRESETS
    }
    drawn = runs.scatter(
        {name: group for name, group in points.items() if group},
        xlabel="minutes of training",
        ylabel="test error in %",
        levels={
            f"the paper, {'with' if augmented else 'without'} flips and shifts": error
            for augmented, error in PUBLISHED.items()
        },
    )
    drawn.axes[0].set_xlim(0)
    drawn.axes[0].set_ylim(0)
    return drawn


def main() -> None:
    records = tables.read(RECORDS)
    text = table(records)
    write_text(TABLES / "fast.md", f"{text}\n")
    print(text)
    write_figure(FIGURE, figure(records))
    print(FIGURE)


if __name__ == "__main__":
    main()
