"""Trials differ in what they say, are trained once and never see the test set."""

from dataclasses import replace

from allconv.presets import catalogue
from allconv.presets.limits import check
from allconv.results import tables
from allconv.training import run
from experiments import trials


def test_trials_differ_in_what_they_say_and_never_see_the_test_set():
    names = [name for _, group in trials.TRIALS.values() for name in group]
    assert len(set(names)) == len(names)
    assert not set(names) & set(catalogue.PRESETS)
    for group, (base, changed) in trials.TRIALS.items():
        before = base.as_dict()
        for name, changes in changed.items():
            preset = trials.preset(group, name)
            check(preset)
            now = preset.as_dict()
            differing = {field for field in now if now[field] != before[field]}
            assert differing - {"name"} == set(changes)
            assert preset.hold_out == 5000


def test_a_trial_is_trained_once_and_stands_in_its_table(tmp_path, monkeypatch):
    small = replace(
        catalogue.get("tiny"), epochs=1, train_size=64, hold_out=100, validate_every=0
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trials, "RECORDS", tmp_path)
    group = {"one": {}, "other": {"momentum": 0.5}}
    monkeypatch.setattr(trials, "TRIALS", {"some": (small, group)})
    trials.run("some", ["one"])
    monkeypatch.setattr(run, "fit", None)
    trials.run("some", ["one"])  # finished: nothing is trained
    records = tables.read(tmp_path)
    _, _, one, other = trials.table("some", records).splitlines()
    assert one.startswith(f"| one | nothing | {records[0]['error']:.2f} |")
    assert other == "| other | momentum=0.5 | not run |  |"
    assert tables.summarise(records, records[0]["preset"]).errors == ()  # no test
    failed = {**records[0], "status": "diverged"}
    del failed["error"]
    assert "| one | nothing | diverged |" in trials.table("some", [failed])
    changed = replace(small, weight_decay=0.0)
    monkeypatch.setattr(trials, "TRIALS", {"some": (changed, group)})
    assert "| one | nothing | not run |" in trials.table("some", records)
