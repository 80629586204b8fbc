"""The program behind the fast recipes: our errors beside the paper's."""

from experiments import fast


def test_results_stand_beside_the_papers_number(monkeypatch):
    released = {"preset": "fast_augmented", "error_mirrored": 7.25}
    monkeypatch.setattr(fast.weights, "manifest", lambda: [released])
    record = {
        "preset": {"name": "fast_augmented"},
        "status": "finished",
        "split": "test",
        "seed": 0,
        "error": 7.5,
        "minutes": 80.0,
    }
    lines = fast.table([record]).splitlines()
    assert lines[2] == "| the paper | 350 | 7.25 |  |  |  |"
    assert lines[-1] == "| fast_augmented | 16 | 7.50 | 1 | 80 | 7.25 |"
    assert "not run" in lines[3]
    (axes,) = fast.figure([record]).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["fast_augmented"] == [[80.0, 7.5]]
    assert drawn["all_cnn_c_short"] == []
