"""Writes the README's tables from the records, between its markers.

python -m experiments.readme           # rewrite the tables
python -m experiments.readme --check   # status 1 where README and records differ
"""

import argparse
import re
import sys
from pathlib import Path

from allconv.core import files
from allconv.results import tables
from experiments import RECORDS, fast, netdeconv, table3

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
# What stands between the markers of that name; any other name is one of
# `tables.TABLES`.
TABLES = {
    "budget": table3.table,
    "ranks": table3.ranks,
    "claims": table3.claims,
    "fast": fast.table,
    "whitening": netdeconv.table,
}
MARKED = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def generate(text: str) -> str:
    """The README with every marked table made anew."""
    records = tables.read(RECORDS)

    def table(match: re.Match) -> str:
        if match[2] in TABLES:
            made = TABLES[match[2]](records)
        else:
            made = tables.render(tables.rows(match[2], records), "markdown")
        return f"{match[1]}{made}\n{match[3]}"

    return MARKED.sub(table, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    before = README.read_text()
    after = generate(before)
    if parser.parse_args().check:
        return int(before != after)
    files.write_bytes(README, after.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
