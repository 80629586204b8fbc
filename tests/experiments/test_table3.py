"""Table 3 at a budget: errors beside the paper's, and by how much its findings hold."""

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest

from allconv.presets import catalogue
from allconv.results import paper
from experiments import queue, table3


def record(network, error, seed=0, minutes=20.0, status="finished"):
    return {
        "preset": catalogue.get(f"{network}_budget").as_dict(),
        "seed": seed,
        "status": status,
        "split": "test",
        "error": error,
        "minutes": minutes,
    }


def test_one_recipe_for_all_twelve():
    """Only the network differs, and what the paper fixes is as in the paper."""
    for name in table3.NETWORKS:
        preset = catalogue.get(f"{name}_budget")
        assert preset == replace(catalogue.BUDGET, name=preset.name, architecture=name)
    fixed = ("preprocessing", "augmentation", "momentum", "weight_decay", "norm")
    for field in fixed:
        assert getattr(catalogue.BUDGET, field) == getattr(catalogue.PAPER, field)
    assert {n for n, _ in queue.QUEUES["budget"]} == {
        f"{name}_budget" for name in table3.NETWORKS
    }


def test_errors_stand_beside_the_papers():
    records = [
        record("model_c", 20.0, minutes=10),
        record("model_c", 21.0, seed=1, minutes=14),
        record("model_a", 30.0, status="diverged"),
    ]
    lines = table3.table(records).splitlines()
    assert len(lines) == 14
    assert lines[2].startswith("| model_a | 839,242 | 12.47 | diverged | 0 | 1 |")
    assert lines[10] == "| model_c | 954,730 | 9.74 | 20.50 ± 0.71 | 2 | 0 | 12 |"
    assert lines[13].endswith("| 9.08 | not run | 0 | 0 |  |")


def test_margins_of_the_papers_findings():
    """By hand from Table 3: Strided 0.99, 0.78, 0.45 behind; and so on."""
    lines = [line.split(" | ") for line in table3.claims([]).splitlines()[2:]]
    papers = [line[2] for line in lines]
    assert papers[:4] == ["+0.99", "+0.78", "+0.45", "+0.74"]
    assert papers[4:8] == ["+0.41", "+0.73", "+0.73", "+0.62"]
    assert papers[8:] == ["+2.17", "+0.87", "+0.43", "+1.16"]
    assert {line[3] for line in lines} == {"not run"}
    errors = {"model_b": 20, "strided_cnn_b": 19, "conv_pool_cnn_b": 18}
    records = [record(name, error) for name, error in errors.items()]
    whole = [*records, record("all_cnn_b", 21.5)]
    assert "| not run |" in table3.claims(records).splitlines()[3]
    ours = [line.split(" | ")[3] for line in table3.claims(whole).splitlines()[3::4]]
    assert ours == ["-2.50", "-3.00", "-1.50"]
    assert "| not shown |" in table3.claims(whole).splitlines()[3]  # run once each


def test_verdicts_are_at_two_standard_errors():
    """By hand: a spread of sqrt(2) points of one run; four runs of two networks."""
    records = [
        record(name, error + part, seed)
        for name, error in zip(table3.FAMILIES["c"], (10, 16, 11, 12), strict=True)
        for seed, part in enumerate((-1, 1))
    ]
    found = list(table3.summaries(records).values())
    assert table3.spread(found) == pytest.approx(math.sqrt(2))
    lines = [line.split(" | ") for line in table3.claims(records).splitlines()[4::4]]
    assert lines[0][3:] == ["+4.00 ± 1.41", "shown |"]
    assert lines[1][3:] == ["-0.50 ± 1.41", "not shown |"]
    assert lines[2][3:] == ["-2.00 ± 1.41", "not shown |"]
    assert table3.Margin(-3.0, 1.5).verdict == "contradicted"
    mean = table3.over_all([table3.Margin(1, 0.3), table3.Margin(2, 0.4)])
    assert (mean.points, mean.error) == (1.5, pytest.approx(0.25))
    assert table3.over_all([table3.Margin(1, 0.3), table3.Margin(2)]).error is None


def test_spread_of_three_seeds_is_the_sample_standard_deviation():
    errors = (15.3, 15.7, 16.1)
    records = [record("model_c", error, seed) for seed, error in enumerate(errors)]
    found = list(table3.summaries(records).values())
    assert table3.spread(found) == pytest.approx(statistics.stdev(errors))


def test_agreement_is_of_ranks():
    published = {name: paper.TABLE_3[name].value for name in table3.NETWORKS}
    assert table3.agreement(published) == pytest.approx(1)
    turned = {name: np.exp(-value) for name, value in published.items()}
    assert table3.agreement(turned) == pytest.approx(-1)
    assert math.isnan(table3.agreement({"model_a": 20.0}))
    assert table3.ranks([record("model_a", 20.0)]).endswith("order): not run.")
    two = [record("model_a", 20.0), record("all_cnn_c", 15.0)]
    assert table3.ranks(two).endswith("order): 1.00, over 2 networks.")


def test_every_finished_network_is_a_line_from_the_papers_error_to_ours():
    figure = table3.figure([record("model_a", 20.0), record("all_cnn_c", 15.0)])
    lines = [[tuple(line.get_ydata()) for line in axes.lines] for axes in figure.axes]
    assert lines == [[(12.47, 20.0)], [], [(9.08, 15.0)]]
    assert [axes.get_title()[-1] for axes in figure.axes] == ["A", "B", "C"]


def test_errors_are_means_over_seeds():
    records = [record("model_a", 20.0), record("model_a", 23.0, seed=1)]
    assert table3.errors(records) == {"model_a": 21.5}
