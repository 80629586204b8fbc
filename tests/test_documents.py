"""The documents say what is so: tables, commands, examples, links, folders."""

import argparse
import importlib
import re
import shlex

import pytest

from allconv import __main__ as cli
from allconv.results import tables
from experiments import RECORDS, documents
from tools import links

ROOT = documents.ROOT
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in documents.documents()
}
# What holds of today; the changelog speaks of the past.
CURRENT = "\n".join(text for name, text in DOCUMENTS.items() if name != "CHANGELOG.md")


@pytest.fixture(scope="module")
def records():
    return tables.read(RECORDS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_tables_are_what_the_records_say(name, records):
    made = documents.generate(DOCUMENTS[name], records)
    assert made == DOCUMENTS[name], "run `make tables`"


@pytest.mark.parametrize("name", ["README.md", "docs/results.md"])
def test_a_changed_table_would_be_noticed(name, records):
    text = DOCUMENTS[name]
    broken = re.sub(r"(<!-- table \w+ -->\n(?:.*\n){2}\| )", r"\g<1>1", text, count=1)
    assert broken != text
    assert documents.generate(broken, records) == text


def test_the_tree_lists_every_folder():
    text = DOCUMENTS["CONTRIBUTING.md"]
    tree = text[text.index("allconv/            ") :]
    tree = tree[: tree.index("```")]
    listed = set(re.findall(r"^  (\w+)/ ", tree, re.MULTILINE))
    folders = {p.parent.name for p in (ROOT / "allconv").glob("*/__init__.py")}
    assert listed == folders
    top = re.findall(r"^(\w+)/ ", tree, re.MULTILINE)
    assert top
    assert [name for name in top if not (ROOT / name).is_dir()] == []


def test_every_notebook_is_in_the_table():
    listed = re.findall(r"^\| \[.*?\]\(notebooks/(\S+?)\)", README, re.MULTILINE)
    assert listed == sorted(p.name for p in (ROOT / "notebooks").glob("*.ipynb"))


def test_the_python_named_is_the_one_required():
    required = re.search(
        r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text()
    )
    assert f"Python {required[1]} or newer" in README


COMMANDS = sorted(
    {
        *re.findall(r"^python -m (\S+) ?(.*?)(?: +#.*)?$", CURRENT, re.MULTILINE),
        *re.findall(r"`python -m ([^\s`]+) ?([^`]*)`", CURRENT),
    }
)
OURS = [c for c in COMMANDS if c[0].split(".")[0] in ("allconv", "experiments")]


class ParsedError(Exception):
    """Raised where a program has read its arguments, in place of what it does then."""


@pytest.mark.parametrize("module, arguments", OURS)
def test_commands_parse(module, arguments, monkeypatch):
    words = shlex.split(arguments)
    if module == "allconv":
        if "--help" not in words:
            cli._parser().parse_args(words)
        return
    program = importlib.import_module(module)
    if hasattr(program, "__path__"):  # a package, run by its __main__
        program = importlib.import_module(f"{module}.__main__")
    if not words:
        return
    parse = argparse.ArgumentParser.parse_args

    def parse_only(*args, **kwargs):
        parse(*args, **kwargs)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr("sys.argv", [module, *words])
    with pytest.raises(ParsedError):
        program.main()


def test_commands_are_found_in_text_and_listings():
    assert ("experiments.queue", "budget") in OURS
    assert ("allconv", "train quick --seed 1") in OURS
    assert len(OURS) > 15


def test_what_make_is_asked_for_is_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    asked = re.findall(r"(?:^|`)make (\w+)", CURRENT, re.MULTILINE)
    assert {"demo", "test", "docs"} <= set(asked) <= targets


EXAMPLES = {
    name: "\n".join(
        re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    )
    for name, text in DOCUMENTS.items()
    if "```python" in text
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_python_run(name, tmp_path, monkeypatch):
    """With synthetic shapes for CIFAR-10, and a model and a photograph of the name."""
    import keras
    import numpy as np

    from allconv.data import datasets
    from tests.nets import sequential

    load = datasets.load
    monkeypatch.setattr(datasets, "load", lambda *_: load("shapes"))
    monkeypatch.chdir(tmp_path)
    sequential().save("mine.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    keras.utils.save_img("cat.jpg", pixels)
    if "import torch" in EXAMPLES[name]:
        pytest.importorskip("torch", reason="PyTorch is not installed")
    exec(compile(EXAMPLES[name], name, "exec"), {})


def test_there_are_examples():
    assert {"README.md", "docs/explain-my-model.md"} <= set(EXAMPLES)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    assert list(links.broken(ROOT / name)) == []


def test_links_that_lead_nowhere_are_found(tmp_path):
    (tmp_path / "there.md").write_text("# A `b`, c!\n\n# Two\n\n# Two\n")
    page = tmp_path / "page.md"
    good = "[a](there.md) [b](there.md#a-b-c) [c](there.md#two-1) [d](https://x.org)"
    page.write_text(f"# Here\n\n{good} [e](#here) `[f](code.md)`\n")
    assert list(links.broken(page)) == []
    bad = ["no.md", "there.md#two-2", "#nowhere", "no.png"]
    page.write_text(f"[a]({bad[0]}) [b]({bad[1]}) [c]({bad[2]}) ![d\ne]({bad[3]})")
    assert list(links.broken(page)) == bad
    html = tmp_path / "page.html"
    html.write_text('<p id="p"><a href="#p"></a><a href="#q"></a><img src="no.png">')
    assert list(links.broken(html)) == ["#q", "no.png"]
