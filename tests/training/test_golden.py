"""Runs end with the bytes they always ended with, where the machine allows it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from allconv.core import runtime
from allconv.presets import catalogue
from allconv.training.run import train

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
SHAPES = {"dataset": "shapes", "train_size": 256, "epochs": 2, "validate_every": 0}
PRESETS = {
    "tiny": catalogue.get("tiny"),
    "batch_muon": replace(
        catalogue.FAST,
        name="batch_muon",
        preprocessing="mean_std",
        windows=((0, 16), (1, 32)),
        **SHAPES,
    ),
    "deconv": replace(catalogue.get("quick"), name="deconv", **SHAPES),
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_run_ends_with_the_bytes_of_the_record(name, tmp_path):
    here, there = runtime.environment(), GOLDEN["environment"]
    decisive = ("tensorflow", "keras", "numpy", "system", "processor", "threads")
    decisive += ("instructions", "onednn")
    if other := [k for k in decisive if here[k] != there[k]]:
        pytest.skip(f"the bytes are those of another {', '.join(other)}")
    record = train(PRESETS[name], 0, tmp_path, progress=False)
    assert record["state_sha256"] == GOLDEN["state_sha256"][name]
