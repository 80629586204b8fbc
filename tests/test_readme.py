"""The README says what is so: its tables, its tree, its commands."""

import re
import shlex

import pytest

from allconv import __main__ as cli
from experiments import readme

TEXT = readme.README.read_text()


def test_tables_are_what_the_records_say():
    assert readme.generate(TEXT) == TEXT, "run `python -m experiments.readme`"


def test_a_changed_table_would_be_noticed():
    broken = TEXT.replace("| all_cnn_c |", "| all_cnn_c | 1", 1)
    assert broken != TEXT
    assert readme.generate(broken) == TEXT


def test_the_tree_lists_every_module():
    tree = TEXT[TEXT.index("allconv/            ") : TEXT.index("experiments/        ")]
    listed = set(re.findall(r"^  (\w+\.py) ", tree, re.MULTILINE))
    modules = {p.name for p in (readme.ROOT / "allconv").glob("[a-z]*.py")}
    assert listed == modules


COMMANDS = re.findall(r"^python -m (\S+) ?(.*?)(?: +#.*)?$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("module, arguments", COMMANDS)
def test_commands_parse(module, arguments):
    if module == "allconv":
        words = shlex.split(arguments)
        if "--help" not in words:
            cli._parser().parse_args(words)
    else:
        name = module.removeprefix("experiments.")
        assert (readme.ROOT / "experiments" / f"{name}.py").exists()
