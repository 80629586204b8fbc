"""Write the tables of the README and of docs/ from the records, between their markers.

    python -m experiments.documents           # rewrite the tables
    python -m experiments.documents --check   # status 1 where a table would change

A marked table stands between `<!-- table NAME -->` and `<!-- end -->`.
"""

import argparse
import re
import sys
from pathlib import Path

from allconv.core import files
from allconv.results import tables
from experiments import (
    RECORDS,
    TABLES as KEPT,
    fast,
    imagenet,
    netdeconv,
    peers,
    table3,
)
from tools import matrix

ROOT = Path(__file__).parent.parent
# The folders that hold documents.
FOLDERS = ("docs", "findings", "notebooks", "records", "weights")
# What stands between the markers of that name; any other name is one of
# `tables.TABLES`.
TABLES = {
    "budget": table3.table,
    "ranks": table3.ranks,
    "claims": table3.claims,
    "verdicts": table3.verdicts,
    "fast": fast.table,
    "whitening": netdeconv.table,
    "whitening_brief": netdeconv.brief,
    "whitening_20": netdeconv.twenty,
    "versions": lambda _: matrix.table(matrix.read()),
    "peers": peers.kept,
    "imagenet_all_cnn": imagenet.all_cnn,
    "imagenet_table_2": imagenet.ensembles,
    "imagenet_table_3": imagenet.zfnet,
    "imagenet_netdeconv": imagenet.netdeconv,
    "fashion": lambda _: kept("netdeconv_fashion"),
    "sparsity": lambda _: kept("netdeconv_sparsity"),
    "segmentation": lambda _: kept("segmentation"),
}
MARKED = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def kept(name: str) -> str:
    """A table as its experiment wrote it."""
    return (KEPT / f"{name}.md").read_text(encoding="utf-8").rstrip()


def documents() -> list[Path]:
    """The Markdown files of the project."""
    inside = (path for name in FOLDERS for path in (ROOT / name).rglob("*.md"))
    return [*sorted(ROOT.glob("*.md")), *sorted(inside)]


def generate(text: str, records: list[dict]) -> str:
    """A document with every marked table made anew."""

    def table(match: re.Match) -> str:
        if match[2] in TABLES:
            made = TABLES[match[2]](records)
        else:
            made = tables.render(tables.rows(match[2], records), "markdown")
        return f"{match[1]}{made}\n{match[3]}"

    return MARKED.sub(table, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change no file")
    check = parser.parse_args().check
    records = tables.read(RECORDS)
    changed = []
    for path in documents():
        before = path.read_text(encoding="utf-8")
        after = generate(before, records)
        if after != before:
            changed.append(path)
            if not check:
                files.write_bytes(path, after.encode())
    for path in changed:
        print(f"{path.relative_to(ROOT)}: {'differs' if check else 'rewritten'}")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
