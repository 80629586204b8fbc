"""The README says what is so: its tables, its tree, its commands."""

import argparse
import importlib
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


def test_the_tree_lists_every_folder():
    tree = TEXT[TEXT.index("allconv/            ") : TEXT.index("experiments/        ")]
    listed = set(re.findall(r"^  (\w+)/ ", tree, re.MULTILINE))
    folders = {p.parent.name for p in (readme.ROOT / "allconv").glob("*/__init__.py")}
    assert listed == folders


COMMANDS = sorted(
    {
        *re.findall(r"^python -m (\S+) ?(.*?)(?: +#.*)?$", TEXT, re.MULTILINE),
        *re.findall(r"`python -m ([^\s`]+) ?([^`]*)`", TEXT),
    }
)


class ParsedError(Exception):
    """Raised where a program has read its arguments, in place of what it does then."""


@pytest.mark.parametrize("module, arguments", COMMANDS)
def test_commands_parse(module, arguments, monkeypatch):
    words = shlex.split(arguments)
    if module == "allconv":
        if "--help" not in words:
            cli._parser().parse_args(words)
        return
    program = importlib.import_module(module)
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
    assert ("experiments.queue", "budget") in COMMANDS
    assert ("allconv", "train quick --seed 1") in COMMANDS
    assert len(COMMANDS) > 15
