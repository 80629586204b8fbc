"""Claim: a run in bfloat16 ends where one in float32 ends, and sooner.

A short recipe of All-CNN-C, three seeds in each precision, measured on 5,000 training
images that are held back. Records that differ in `Preset.precision` alone count for one
recipe; this is to show whether they may: the means should differ by less than one
standard deviation.

    python -m experiments.precision      # some 20 minutes on two cores with AVX-512

Found: 37.55 % in float32 and 38.73 % in bfloat16, three seeds each. They differ by 1.17
points, less than either standard deviation (1.48 and 4.35). One seed in bfloat16 ended
at 43.5 %, so three seeds of so short a recipe rule out a large harm, not a small one.
(Minutes are those of a machine that did other things: an undisturbed epoch took 45 s in
float32.)

Expected: `experiments/tables/precision.md`.
"""

import statistics
from dataclasses import replace

from allconv.presets import catalogue
from allconv.presets.preset import Preset, complete
from allconv.results import tables
from allconv.results.records import to_json
from allconv.training.run import train
from experiments import RECORDS, TABLES
from experiments.written import write_text

PRECISIONS = ("float32", "mixed_bfloat16")
SEEDS = (0, 1, 2)


def preset(precision: str) -> Preset:
    """The short recipe in one precision."""
    return replace(
        catalogue.get("fast"),
        name=f"precision_{precision}",
        windows=((0, 24),),
        epochs=4,
        train_size=10_000,
        hold_out=5000,
        shuffle_rounds=8,
        precision=precision,
    )


def found(precision: str, records: list[dict]) -> list[dict]:
    """The records of one precision, by seed."""
    recipe = preset(precision).as_dict()
    mine = {r["seed"]: r for r in records if complete(r["preset"]) == recipe}
    return [mine[seed] for seed in SEEDS if seed in mine]


def run() -> None:
    """Train what has no record yet, the precisions in turn."""
    for seed in SEEDS:
        for precision in PRECISIONS:
            records = found(precision, tables.read(RECORDS))
            if seed not in [r["seed"] for r in records]:
                record = train(preset(precision), seed)
                path = RECORDS / f"precision_{precision}-seed{seed}.json"
                write_text(path, to_json(record) + "\n")


def table(records: list[dict]) -> str:
    """Markdown: held-out errors and minutes of each precision, and the difference."""
    lines: list[tuple] = [("precision", "held-out error %", "n", "minutes")]
    summaries = [tables.Summary.of(found(p, records)) for p in PRECISIONS]
    for precision, summary in zip(PRECISIONS, summaries, strict=True):
        minutes = "" if summary.minutes is None else f"{summary.minutes:.1f}"
        lines.append((precision, str(summary), len(summary.errors), minutes))
    text = tables.markdown(lines, left=1)
    if all(len(s.errors) == len(SEEDS) for s in summaries):
        means = [statistics.mean(s.errors) for s in summaries]
        spread = max(statistics.stdev(s.errors) for s in summaries)
        text += (
            f"\n\nThe means differ by {abs(means[0] - means[1]):.2f} points; the "
            f"larger of the two standard deviations is {spread:.2f}."
        )
    return text


def main() -> None:
    run()
    text = table(tables.read(RECORDS))
    write_text(TABLES / "precision.md", f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
