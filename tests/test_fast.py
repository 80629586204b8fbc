"""The program behind the fast recipes: trials are kept, tables say what was not run."""

from dataclasses import replace

from allconv import presets, results, train
from experiments import fast


def test_trials_differ_in_what_they_say_and_never_see_the_test_set():
    base = fast.TRIAL.as_dict()
    for name, changes in fast.TRIALS.items():
        preset = replace(fast.TRIAL, name=name, **changes)
        presets.check(preset)
        differing = {k for k, v in preset.as_dict().items() if v != base[k]} - {"name"}
        assert differing == set(changes)
        assert preset.hold_out


def test_a_trial_is_trained_once_and_stands_in_its_table(tmp_path, monkeypatch):
    small = replace(
        presets.get("tiny"), epochs=1, train_size=64, hold_out=100, validate_every=0
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fast, "RECORDS", tmp_path)
    monkeypatch.setattr(fast, "TRIAL", small)
    monkeypatch.setattr(fast, "TRIALS", {"one": {}, "other": {"momentum": 0.5}})
    fast.run_trials(None, ["one"])
    monkeypatch.setattr(train, "fit", None)
    fast.run_trials(None, ["one"])  # finished: nothing is trained
    records = results.read(tmp_path)
    _, _, one, other = fast.trials_table(records).splitlines()
    assert one.startswith(f"| one | nothing | {records[0]['error']:.2f} |")
    assert other == "| other | momentum=0.5 | not run |  |"
    assert results.summarise(records, "one").errors == ()  # no test result


def test_results_stand_beside_the_papers_number():
    record = {
        "preset": {"name": "fast_augmented"},
        "status": "finished",
        "split": "test",
        "seed": 0,
        "error": 7.5,
        "minutes": 80.0,
    }
    lines = fast.results_table([record]).splitlines()
    assert lines[2] == "| the paper | 350 | 7.25 |  |  |"
    assert lines[-1] == "| fast_augmented | 16 | 7.50 | 1 | 80 |"
    assert "not run" in lines[3]
    (axes,) = fast.figure([record]).axes
    points = [
        tuple(line.get_xydata()[0])
        for line in axes.lines
        if line.get_marker() == "o" and len(line.get_xdata())
    ]
    assert points == [(80.0, 7.5)]
