"""Short runs by which settings are chosen, on training images held back.

A group is a base recipe and trials that each differ from it in what they name. All are
measured on 5,000 training images that they do not see, never on the test set.

    python -m experiments.trials fast            # some 10 minutes a trial on two cores
    python -m experiments.trials muon            # some 7 minutes a trial on one core
    python -m experiments.trials budget
    python -m experiments.trials table3          # some 15 minutes a trial on two cores
    python -m experiments.trials zfnet           # some 7 minutes a trial on two cores
    python -m experiments.trials fast --only trial_whitened

A trial that has a record is not run again. Tables go to `experiments/tables`.

What they decided. `fast`: whitened inputs (GCN and ZCA) have 2.7 % less error after two
epochs than those of mean 0 and variance 1, at the same cost. (The 34 minutes of
`trial_whitened` hold a pause of 26.) With kernels that turn by 0.1 times the rate
18.3 % are left, by 0.3 times it 19.1, with SGD 24.9; one run of each. (The 24 minutes
of these two are those of one core.)

`muon`: in far fewer steps, kernels that turn by 0.3 times the rate leave 27.9 % of
error where SGD leaves 41.4, and by 1.0 times it 45.9; one run of each.

`budget`, without normalising layers: of what was tried, batches of 32 at a rate of 0.02
do best on both networks, on All-CNN-C by 1 % of one run. At 0.05 in batches of 64 Model
A learns nothing (89.6 %), though it does at 0.1 and All-CNN-C at both; half of the
paper's dropout costs All-CNN-C 2 % and Model A 6 %. (Minutes are those of whatever else
the machine did.) With scores that start wherever their kernels have them Model A learns
nothing (89.6 %), All-CNN-C less (72.8 %); with Caffe's `xavier` All-CNN-C hardly learns
(88.5 %), which costs Model A 1.5 %.

`zfnet`: of 8 epochs, a rate of 0.05 leaves 22.2 %, whitened inputs 18.8, batch
normalisation 18.4, both with kernels that turn 13.5, when 12.8 % of the training images
are still wrong; more or less dropout leaves more. One run of each.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from allconv.presets import catalogue
from allconv.presets.preset import Preset, complete
from allconv.results import tables
from allconv.results.records import to_json
from allconv.training.run import train
from experiments import RECORDS, TABLES
from experiments.written import write_text

FAST = replace(
    catalogue.FAST,
    name="trial",
    preprocessing="mean_std",
    epochs=2,
    windows=((0, 24),),
    muon=0.0,
    hold_out=5000,
)
# SGD against Muon, in a few minutes each: 3 epochs of 10,000 images.
MUON = replace(
    FAST, name="muon_trial", preprocessing="gcn_zca", epochs=3, train_size=10_000
)
# A tenth of what a network of the table gets: 3 epochs of 10,000 images.
BUDGET = replace(
    catalogue.BUDGET,
    name="budget_trial",
    epochs=3,
    windows=((0, 24),),
    train_size=10_000,
    hold_out=5000,
    batch_size=64,
    learning_rate=0.05,
    dropout=0.0,
    initializer="he_normal",
    score_bias=1.0,
)
MODEL_A: dict[str, Any] = {"architecture": "model_a"}
SMALL: dict[str, Any] = {"batch_size": 32, "learning_rate": 0.02}
# What differs from the base, tried on All-CNN-C and on Model A alike.
BUDGET_CHANGES: dict[str, dict[str, Any]] = {
    "": {},
    "_fast": {"learning_rate": 0.1},
    "_slow": {"learning_rate": 0.02},
    "_small": SMALL,
    "_small_dropped": SMALL | {"dropout": 0.5},
    "_small_asleep": SMALL | {"score_bias": 0.0},
    "_small_xavier": SMALL | {"initializer": "lecun_uniform"},
}

# Table 3 at the paper's accuracy: `fast` in eight epochs, in the precision that is the
# fastest on these cores.
TABLE3 = replace(
    catalogue.get("fast"),
    name="table3_trial",
    epochs=8,
    windows=((0, 24), (6, 32)),
    hold_out=5000,
    precision="mixed_bfloat16",
)
TABLE3_CHANGES: dict[str, dict[str, Any]] = {
    "": {},
    "_dropped": {"dropout": 1.0},
    "_kept": {"dropout": 0.25},
    "_fast": {"learning_rate": 0.4},
    "_muon": {"muon": 0.2},
}

# ZFNet at the size of CIFAR: 8 of the 20 epochs of `zfnet_32_long`.
ZFNET = replace(
    catalogue.get("zfnet_32_flips"),
    name="zfnet_trial",
    augmentation="alternate",
    batch_size=128,
    learning_rate=0.02,
    dropout=0.25,
    label_smoothing=0.1,
    hold_out=5000,
    precision="mixed_bfloat16",
)
QUICK: dict[str, Any] = {"learning_rate": 0.05}
NORMED: dict[str, Any] = {"norm": "batch", "learning_rate": 0.05}
TURNED = NORMED | {"muon": 0.4, "nesterov": True}

# group -> (base, {trial: what differs})
TRIALS: dict[str, tuple[Preset, dict[str, dict[str, Any]]]] = {
    "fast": (
        FAST,
        {
            "trial": {},
            "trial_whitened": {"preprocessing": "gcn_zca"},
            "trial_deconv": {"norm": "deconv"},
            "trial_muon": {"preprocessing": "gcn_zca", "muon": 0.3},
            "trial_muon_slow": {"preprocessing": "gcn_zca", "muon": 0.1},
        },
    ),
    "muon": (
        MUON,
        {
            "muon_trial": {},
            "muon_trial_slow": {"muon": 0.1},
            "muon_trial_middle": {"muon": 0.3},
            "muon_trial_fast": {"muon": 1.0},
        },
    ),
    "budget": (
        BUDGET,
        {
            f"budget_trial{suffix}{change}": where | what
            for suffix, where in (("", {}), ("_a", MODEL_A))
            for change, what in BUDGET_CHANGES.items()
        },
    ),
    "table3": (
        TABLE3,
        {
            f"table3_trial{suffix}{change}": where | what
            for change, what in TABLE3_CHANGES.items()
            for suffix, where in (("", {}), ("_a", MODEL_A))
        },
    ),
    "zfnet": (
        ZFNET,
        {
            "zfnet_trial": {},
            "zfnet_trial_fast": QUICK,
            "zfnet_trial_faster": {"learning_rate": 0.1},
            "zfnet_trial_fast_kept": QUICK | {"dropout": 0.0},
            "zfnet_trial_fast_dropped": QUICK | {"dropout": 0.5},
            "zfnet_trial_fast_whitened": QUICK | {"preprocessing": "gcn_zca"},
            "zfnet_trial_normed": NORMED,
            "zfnet_trial_normed_fast": NORMED | {"learning_rate": 0.2},
            "zfnet_trial_muon": TURNED,
            "zfnet_trial_muon_whitened": TURNED | {"preprocessing": "gcn_zca"},
            "zfnet_trial_fast_undecayed": QUICK | {"weight_decay": 5e-5},
        },
    ),
}


def preset(group: str, name: str) -> Preset:
    """The recipe of a trial."""
    base, trials = TRIALS[group]
    return replace(base, name=name, **trials[name])


def record_of(recipe: Preset, records: list[dict]) -> dict | None:
    """The record of just this recipe; one that was changed since does not count."""
    mine = (r for r in records if complete(r["preset"]) == recipe.as_dict())
    return next(mine, None)


def run(group: str, names: list[str], data_dir: str | None = None) -> None:
    """Train the named trials that have no record yet, and keep their records."""
    for name in names:
        recipe = preset(group, name)
        if record_of(recipe, tables.read(RECORDS)) is None:
            record = train(recipe, data_dir=data_dir)
            path = RECORDS / f"{name}-seed0.json"
            write_text(path, to_json(record) + "\n")


def table(group: str, records: list[dict]) -> str:
    """Markdown: the error of every trial of a group on the images held back."""
    lines: list[Sequence] = [("trial", "changed", "held-out error %", "minutes")]
    for name, changes in TRIALS[group][1].items():
        record = record_of(preset(group, name), records)
        cells = ["not run", ""]
        if record is not None:
            error = record.get("error")  # none of a run that diverged
            cells = [record["status"] if error is None else f"{error:.2f}"]
            cells.append(f"{record['minutes']:.0f}")
        changed = ", ".join(f"{field}={value}" for field, value in changes.items())
        lines.append((name, changed or "nothing", *cells))
    return tables.markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", choices=TRIALS)
    parser.add_argument("--only", nargs="+", metavar="TRIAL", help="default: all")
    parser.add_argument("--data-dir", help="folder of the data; default: ALLCONV_DATA")
    arguments = parser.parse_args()
    names = list(TRIALS[arguments.group][1])
    for name in arguments.only or ():
        if name not in names:
            parser.error(f"{name!r} is none of the trials {', '.join(names)}")
    run(arguments.group, arguments.only or names, arguments.data_dir)
    text = table(arguments.group, tables.read(RECORDS))
    write_text(TABLES / f"trials_{arguments.group}.md", f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
