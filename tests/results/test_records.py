"""Records: what a reader may rely on, and what it refuses by name."""

import json
import os
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import strategies as st

from allconv.results import records, tables
from experiments import RECORDS

PATHS = sorted(RECORDS.glob("*.json"))
ONE = json.loads((RECORDS / "model_c_budget-seed0.json").read_text())


def test_every_record_here_is_one_and_keeps_its_bytes():
    assert PATHS
    for path in PATHS:
        record = records.read(path)
        assert records.to_json(record) + "\n" == path.read_text()
        if record["status"] == "finished":
            assert record["error"] == pytest.approx(100 * record["wrong"] / record["n"])
            assert record["n"] == sum(map(sum, record["confusion"]))


def test_reading_records_imports_no_tensorflow():
    program = "import sys, allconv.results.records; print('tensorflow' in sys.modules)"
    said = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert said == "False\n"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"error": "15,30"}, r"`error` should be .* Received: error='15,30'"),
        ({"error": None}, r"`error` should be .* Received: error=None"),
        ({"error": float("nan")}, r"`error` should be .* Received: error=nan"),
        ({"error": float("inf")}, r"`error` should be .* Received: error=inf"),
        ({"error": -5}, "`error` should be a finite number from 0 to 100"),
        ({"error": 1e308}, "`error` should be a finite number from 0 to 100"),
        ({"error": True}, r"`error` should be .* Received: error=True"),
        ({"error": 10**400}, "`error` should be a finite number from 0 to 100"),
        ({"minutes": None}, r"`minutes` should be .* Received: minutes=None"),
        ({"minutes": -1}, "`minutes` should be a finite number from 0"),
        ({"seed": [1]}, r"`seed` should be .* Received: seed=\[1\]"),
        ({"seed": 1.0}, r"`seed` should be .* Received: seed=1.0"),
        ({"status": "zzz"}, "`status` should be one of finished, diverged"),
        ({"split": "train"}, "`split` should be one of test, hold_out"),
        ({"history": [{}]}, r"`history\[0\].epoch` is missing"),
        ({"history": [{"epoch": 1, "loss": "x"}]}, r"`history\[0\].loss` should be a"),
        ({"confusion": [[1, 2]]}, "`confusion` should have as many rows as columns"),
        ({"confusion": [[-1]]}, r"`confusion\[0\]\[0\]` should be an integer from 0"),
        ({"data": []}, r"`data` should be .* Received: data=\[\]"),
        ({"data": {"train": 1}}, r"`data.train` should be .* Received: data.train=1"),
        ({"commit": 7}, r"`commit` should be .* Received: commit=7"),
        ({"preset": {}}, "`preset.name` is missing"),
        ({"preset": ONE["preset"] | {"name": 5}}, "`preset.name` should be a text"),
        ({"preset": ONE["preset"] | {"epochs": "x"}}, "`preset.epochs` should be an"),
        ({"preset": ONE["preset"] | {"epochs": -1}}, "`preset.epochs` should be an"),
        (
            {"preset": ONE["preset"] | {"windows": [[0]]}},
            r"`preset.windows\[0\]` should",
        ),
        (
            {"preset": ONE["preset"] | {"momentum": "x"}},
            "`preset.momentum` should be a",
        ),
    ],
)
def test_a_field_that_is_odd_is_named_with_the_file(tmp_path, changes, message):
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(ONE | changes))
    with pytest.raises(ValueError, match=rf"odd\.json is no run record: {message}"):
        tables.read(tmp_path)


@pytest.mark.parametrize("key", sorted(ONE))
def test_a_field_that_is_missing_is_named(key):
    text = json.dumps({k: v for k, v in ONE.items() if k != key})
    with pytest.raises(ValueError, match=f"`{key}` (of a finished run )?is missing"):
        records.from_json(text)


def test_a_run_that_diverged_has_no_error_and_is_a_record():
    there = {k: v for k, v in ONE.items() if k not in records.MEASURED}
    assert records.from_json(json.dumps(there | {"status": "diverged"}))["seed"] == 0


def test_fields_of_a_later_version_are_kept():
    later = ONE | {"mood": "good", "preset": ONE["preset"] | {"mixup": 0.5}}
    assert records.from_json(json.dumps(later)) == later


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "{", "[" * 10**5, "\xff"])
def test_what_is_no_record_at_all_is_named(tmp_path, text):
    path = tmp_path / "odd.json"
    path.write_text(text, "latin-1")
    with pytest.raises(ValueError, match=r"odd\.json is no run record"):
        records.read(path)


def test_only_files_are_records(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ValueError, match=r"pipe\.json should be a file. It is a pipe"):
        tables.read(tmp_path)


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@hypothesis.given(st.sampled_from(sorted(ONE)), values)
def test_any_odd_field_is_refused_or_makes_a_table(key, value):
    try:
        record = records.from_json(json.dumps(ONE | {key: value}))
    except ValueError:
        return
    for style in tables.STYLES:
        text = tables.render(tables.rows("cifar10", [record]), style)
        assert "nan" not in text
        assert "inf" not in text
