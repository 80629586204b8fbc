"""What the cheaper kinds of network deconvolution cost in accuracy.

The savings of `experiments.benchmarks.netdeconv` that are marked `*` there are other
functions than the paper's, and off by default. Claim, if they are to be used: a short
training ends no worse with them. All-CNN-C, the recipe of `quick` on the middle of
10,000 images, three seeds of each, measured on 5,000 training images held back; never
on the test set.

    python -m experiments.netdeconv_savings    # 12 minutes on two cores

Found on two cores of an AMD EPYC with AVX-512 (`tables/netdeconv_savings.md`): blocks
of 32 lose nothing, and took a fifth less time; positions five apart lose 2.4 points and
saved a twentieth; statistics of every second step only lose 15 points at this rate, and
of every tenth step it does not learn.

`minutes` are the mean of the finished runs and hold other work of the machine;
`experiments.benchmarks.netdeconv` measures what a step costs. *diverged* counts runs
whose loss became no number.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from allconv.presets import catalogue
from allconv.results import tables
from allconv.training.run import train
from experiments import TABLES
from experiments.benchmarks.netdeconv import VARIANTS
from experiments.written import write_text

PRESET = replace(
    catalogue.get("quick"),
    name="saving",
    windows=((0, 24),),
    train_size=10_000,
    hold_out=5000,
)
# What differs from the paper's layer, by the name it has among the costs.
SAVINGS: dict[str, dict] = {"deconv": {}} | {
    name: options for name, (_, _, options) in VARIANTS.items() if options
}


def run(options: dict, seed: int, data_dir: str | None = None) -> dict:
    """The record of one short training with `options` for the layers that whiten."""
    preset = replace(PRESET, norm_options=options)
    with tempfile.TemporaryDirectory() as folder:
        return train(preset, seed, Path(folder), data_dir=data_dir, progress=False)


def table(records: dict[str, list[dict]]) -> str:
    """Markdown: errors on the images held back, by what was saved."""
    head = ("variant", "held-out error %", "n", "diverged", "minutes")
    lines: list[Sequence] = [head]
    for name, runs in records.items():
        found = tables.Summary.of(runs)
        minutes = "" if found.minutes is None else f"{found.minutes:.2f}"
        lines.append((name, found, len(found.errors), found.diverged, minutes))
    return tables.markdown(lines, left=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="default: 3")
    parser.add_argument("--data-dir", help="folder of the data; default: ALLCONV_DATA")
    arguments = parser.parse_args()
    records: dict[str, list[dict]] = {name: [] for name in SAVINGS}
    for seed in range(arguments.seeds):  # in turn, so that other work hurts all alike
        for name, options in SAVINGS.items():
            records[name].append(run(options, seed, arguments.data_dir))
            print(name, seed, records[name][-1].get("error"), flush=True)
    text = table(records)
    write_text(TABLES / "netdeconv_savings.md", f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
