"""The table of versions: what pytest reported, kept by set and part."""

import json

import pytest

from tools import matrix

REPORT = """\
<testsuites><testsuite>
<testcase classname="tests.a" name="good"/>
<testcase classname="tests.a" name="bad"><failure>no</failure></testcase>
<testcase classname="tests.b" name="odd"><error>no</error></testcase>
<testcase classname="tests.b" name="left"><skipped/></testcase>
</testsuite></testsuites>
"""


def test_a_report_is_counted_and_failures_are_named(tmp_path):
    report = tmp_path / "oldest.xml"
    assert matrix._counts(report)["failures"] == ["pytest itself"]
    report.write_text(REPORT)
    found = matrix._counts(report)
    assert [found[k] for k in ("passed", "failed", "skipped")] == [1, 2, 1]
    assert found["failures"] == ["tests.a.bad", "tests.b.odd"]


def result(name, part, passed):
    versions = dict.fromkeys(("python", *matrix.SHOWN), "1.0")
    counts = {"passed": passed, "failed": 0, "skipped": 0, "minutes": 1}
    return {"set": name, "part": part} | versions | counts


def test_a_result_replaces_that_of_its_set_and_part_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix, "RESULTS", tmp_path / "matrix.json")
    matrix.keep([result("newest", "quick", 1), result("oldest", "quick", 2)])
    matrix.keep([result("newest", "all", 3), result("oldest", "quick", 4)])
    kept = [(r["set"], r["part"], r["passed"]) for r in matrix.read()]
    assert kept == [
        ("oldest", "quick", 4),
        ("newest", "quick", 1),
        ("newest", "all", 3),
    ]
    rows = matrix.table(matrix.read()).splitlines()
    assert len(rows) == 5
    assert rows[2] == "| 1.0 | 1.0 | 1.0 | 1.0 | quick | 4 | 0 | 0 | 1 |"


def test_what_is_kept_and_what_is_run_is_there():
    assert json.loads(matrix.RESULTS.read_text())
    assert {one["set"] for one in matrix.read()} <= {*matrix.SETS}
    with pytest.raises(FileNotFoundError, match=r"There is no Python 2\.99"):
        matrix.find_python("2.99")
    assert all((matrix.ROOT / path).exists() for path in matrix.SMOKE)
