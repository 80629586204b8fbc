"""Table 3 at a budget: errors beside the paper's, and by how much its findings hold."""

import math
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
    """By hand from Table 3: every finding holds but All-CNN-A, which is 0.09 worse."""
    lines = [line.split(" | ") for line in table3.claims([]).splitlines()[2:]]
    assert [line[1] for line in lines] == ["+0.99", "-0.09", "+2.17"]
    assert [line[3] for line in lines] == ["+0.78", "+0.23", "+0.87"]
    assert [line[5] for line in lines] == ["+0.45", "+0.23", "+0.43"]
    assert {line[2] for line in lines} == {"not run"}
    errors = {"model_b": 20, "strided_cnn_b": 19, "conv_pool_cnn_b": 18}
    records = [record(name, error) for name, error in errors.items()]
    whole = [*records, record("all_cnn_b", 21.5)]
    assert "| not run |" in table3.claims(records).splitlines()[2]
    ours = [line.split(" | ")[4] for line in table3.claims(whole).splitlines()[2:]]
    assert ours == ["-2.50", "-3.50", "-1.50"]


def test_agreement_is_of_ranks():
    published = {name: paper.TABLE_3[name].value for name in table3.NETWORKS}
    assert table3.agreement(published) == pytest.approx(1)
    turned = {name: np.exp(-value) for name, value in published.items()}
    assert table3.agreement(turned) == pytest.approx(-1)
    assert math.isnan(table3.agreement({"model_a": 20.0}))
    assert table3.ranks([record("model_a", 20.0)]).endswith("order): not run.")
    two = [record("model_a", 20.0), record("all_cnn_c", 15.0)]
    assert table3.ranks(two).endswith("order): 1.00, over 2 networks.")


def test_every_finished_network_is_a_named_point():
    (axes,) = table3.figure({"model_a": 20.0, "all_cnn_c": 15.0}).axes
    points = {tuple(p) for line in axes.lines for p in line.get_xydata()}
    assert points == {(12.47, 20.0), (9.08, 15.0)}
    assert [text.get_text() for text in axes.texts] == ["A", "C"]


def test_errors_are_means_over_seeds():
    records = [record("model_a", 20.0), record("model_a", 23.0, seed=1)]
    assert table3.errors(records) == {"model_a": 21.5}
