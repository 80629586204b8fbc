"""Tables from records: arithmetic, honesty, formats."""

import csv
import io
import json
import re

import pytest

from allconv.presets import catalogue
from allconv.results import paper, tables


def record(name="all_cnn_c", seed=0, error=10.0, **changes):
    return {
        "preset": catalogue.get(name).as_dict(),
        "seed": seed,
        "status": "finished",
        "split": "test",
        "error": error,
        "minutes": 60.0,
        **changes,
    }


def row(records, table="cifar10", recipe="all_cnn_c"):
    return next(r for r in tables.rows(table, records) if r["recipe"] == recipe)


def test_nothing_run_says_not_run():
    table = tables.rows("cifar10", [])
    assert {r["our error %"] for r in table} == {"not run"}
    assert {r["network"] for r in table} == set(paper.TABLE_3)
    assert row([])["paper error %"] == "9.08"


def test_records_of_two_precisions_count_for_one_recipe():
    half = catalogue.get("all_cnn_c").as_dict() | {"precision": "mixed_bfloat16"}
    records = [record(error=9.0), record(seed=1, error=11.0, preset=half)]
    assert row(records)["our error %"] == "10.00 ± 1.41"


def test_one_run_has_no_spread():
    assert row([record(error=9.5)])["our error %"] == "9.50"


def test_mean_and_sample_deviation():
    three = [record(seed=s, error=e) for s, e in enumerate((9.0, 10.0, 11.0))]
    assert row(three)["our error %"] == "10.00 ± 1.00"
    assert row(three)["n"] == "3"
    assert str(tables.summarise(iter(three), "all_cnn_c")) == "10.00 ± 1.00"


def test_diverged_runs_are_counted_not_dropped():
    both = [record(error=9.5), record(seed=1, status="diverged")]
    assert row(both)["our error %"] == "9.50"
    assert row(both)["diverged"] == "1"
    assert row([record(status="diverged")])["our error %"] == "diverged"


def test_held_out_errors_are_no_results():
    held = record(split="hold_out")
    held["preset"] = {**held["preset"], "hold_out": 5000}
    named = {**held["preset"], "name": "some trial"}
    diverged = {**held, "preset": named, "status": "diverged"}
    assert row([held])["our error %"] == "not run"
    recipes = {r["recipe"] for r in tables.rows("cifar10", [held, diverged])}
    assert "some trial" not in recipes


def test_only_the_very_recipe_counts_and_each_seed_once():
    other = record(error=1.0)
    other["preset"] = {**other["preset"], "norm": "batch"}
    assert row([other, record(error=9.5)])["our error %"] == "9.50"


def test_a_second_record_of_a_seed_is_told_and_a_copy_is_not():
    twice = [record(error=9.5), record(error=9.7), record(error=9.5)]
    assert row(twice)["our error %"] == "9.50 (again: 9.70)"
    assert row(twice)["n"] == "1"
    other = [*twice, record(seed=1, error=9.7)]
    assert row(other)["our error %"] == "9.60 ± 0.14 (again: 9.70)"
    assert tables.summarise(other, "all_cnn_c").errors == (9.5, 9.7)


NAME = 'a|b & c #1, "x" 100% {~^} <i> [l](u) `t`\\ $5_'


def named(name):
    one = record(error=9.5)
    one["preset"] = {**one["preset"], "name": name}
    return tables.rows("cifar10", [one])


def line_of(text):
    (found,) = (line for line in text.splitlines() if "9.50" in line)
    return found


def test_names_stay_in_their_cell():
    markdown = line_of(tables.render(named(NAME), "markdown"))
    assert len(re.findall(r"(?<!\\)\|", markdown)) == 10
    assert r"\<i> \[l\](u) \`t\`\\" in markdown
    latex = line_of(tables.render(named(NAME), "latex"))
    assert len(re.findall(r"(?<!\\)&", latex)) == 8
    assert r"\#1, " in latex
    assert r"100\% \{\textasciitilde{}\textasciicircum{}\}" in latex
    assert r"\textbackslash{} \$5\_" in latex
    rows = list(csv.DictReader(io.StringIO(tables.render(named(NAME), "csv"))))
    assert [r["recipe"] for r in rows if r["our error %"] == "9.50"] == [NAME]
    for style in tables.STYLES:
        assert "9.50" in line_of(tables.render(named("a\nb\r\x1b[31mc"), style))


@pytest.mark.parametrize("sign", "=+-@")
def test_no_name_is_a_formula_to_a_spreadsheet(sign):
    text = tables.render(named(f"{sign}SUM(A1)"), "csv")
    (found,) = (r for r in csv.reader(io.StringIO(text)) if "9.50" in r)
    assert found[1] == f"'{sign}SUM(A1)"


def test_another_recipe_of_a_presets_name_is_starred():
    other = record(error=1.0)
    other["preset"] = {**other["preset"], "batch_size": 32}
    newer = record(error=2.0)
    newer["preset"] = {**newer["preset"], "a field of a later version": 1}
    rows = tables.rows("cifar10", [other, newer])
    starred = {r["our error %"] for r in rows if r["recipe"] == "all_cnn_c*"}
    assert starred == {"1.00", "2.00"}


def test_recipes_of_one_name_are_not_mixed():
    odd = [record(seed=0, error=20.0), record(seed=1, error=60.0)]
    for one, size in zip(odd, (32, 256), strict=True):
        one["preset"] = {**one["preset"], "name": "mine", "batch_size": size}
    rows = [r for r in tables.rows("cifar10", odd) if r["recipe"] == "mine"]
    assert [r["our error %"] for r in rows] == ["20.00", "60.00"]
    assert {r["n"] for r in rows} == {"1"}


def test_a_recipe_that_is_no_preset_has_a_row_of_its_own():
    odd = record()
    odd["preset"] = {**odd["preset"], "name": "all_cnn_c-3ep", "epochs": 3}
    assert row([odd], recipe="all_cnn_c-3ep")["epochs"] == "3"
    assert row([odd])["our error %"] == "not run"


def test_tables_keep_data_sets_and_augmentation_apart():
    names = {t: {r["recipe"] for r in tables.rows(t, [])} for t in tables.TABLES}
    assert "all_cnn_c_augmented" in names["cifar10_augmented"]
    assert "all_cnn_c_augmented" not in names["cifar10"]
    assert "all_cnn_c_cifar100" in names["cifar100"]
    assert "tiny" not in set.union(*names.values())


def test_unconfirmed_numbers_carry_a_question_mark():
    assert row([], "cifar100", "all_cnn_c_cifar100")["paper error %"] == "33.71 ?"
    assert row([], "cifar100", "all_cnn_c_cifar100")["parameters"] == "1,387,108"


def test_formats():
    table = tables.rows("cifar10", [record(error=9.5), record(seed=1, error=9.7)])
    text = tables.render(table)
    assert max(map(len, text.splitlines())) <= 110
    markdown = tables.render(table, "markdown").splitlines()
    assert markdown[1] == "| --- | --- |" + " ---: |" * 7
    assert {line.count("|") for line in markdown} == {10}
    latex = tables.render(table, "latex")
    assert r"all\_cnn\_c" in latex
    assert r"9.60 $\pm$ 0.14" in latex
    rows = list(csv.DictReader(io.StringIO(tables.render(table, "csv"))))
    assert rows[0]["network"] == "model_a"
    assert rows[0]["parameters"] == "839242"


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="should be one of cifar10, cifar10_augmented"):
        tables.rows("svhn", [])
    with pytest.raises(ValueError, match="text, markdown, latex, csv"):
        tables.render([], "html")
    with pytest.raises(FileNotFoundError, match="no folder"):
        tables.read(tmp_path / "gone")
    (tmp_path / "bad.json").write_text(json.dumps({"status": "finished"}))
    with pytest.raises(ValueError, match=r"bad\.json is no run record"):
        tables.read(tmp_path)


def test_the_table_of_a_set_of_ones_own_is_named_where_it_is_mistyped():
    record = {"preset": {"dataset": "somewhere/photos.npz"}}
    with pytest.raises(ValueError, match="Received: 'fotos'; the nearest is photos"):
        tables.title("fotos", [record])
