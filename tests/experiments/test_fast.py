"""The program behind the fast recipes: our errors beside the paper's."""

from allconv.presets import catalogue
from experiments import fast


def test_results_stand_beside_the_papers_number(monkeypatch):
    released = {"preset": "fast_augmented", "error_mirrored": 7.25}
    monkeypatch.setattr(fast.weights, "manifest", lambda: [released])
    record = {
        "preset": catalogue.get("fast_augmented").as_dict(),
        "status": "finished",
        "split": "test",
        "seed": 0,
        "error": 7.5,
        "minutes": 80.0,
    }
    lines = fast.table([record]).splitlines()
    assert lines[3] == (
        "| fast_augmented | yes | batch norm, Muon | 14 | 7.25 | 7.50 | 1 | 80 | 7.25 |"
    )
    assert lines[4].startswith("| fast_augmented_plain | yes | no norm | 14 | 7.25 ")
    assert lines[5].startswith("| long_augmented | yes | batch norm, Muon | 36 | 7.25 ")
    assert lines[6].startswith("| longest_augmented | yes | batch norm, Muon | 68 | ")
    assert lines[7] == (
        "| fast | no | batch norm, Muon | 14 | 9.08 | not run | 0 |  |  |"
    )
    (axes,) = fast.figure([record]).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["fast_augmented"] == [[80.0, 7.5]]
    assert "all_cnn_c_short" not in drawn
