"""Attack what is kept on the disk, the commands and the functions; print a table.

    python -m tests.attack                    # all
    python -m tests.attack calls commands     # these areas alone; kills take longest

Status 1 if something broke, which is told on standard error. `tests/test_attack.py`
does some of each, but for the kills, in seconds.
"""

import argparse
import collections
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# One thread each, as the tests have it, and before TensorFlow is imported.
for name in ("OMP", "TF_NUM_INTRAOP", "TF_NUM_INTEROP"):
    os.environ[f"{name}_NUM_THREADS" if name == "OMP" else f"{name}_THREADS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["MPLBACKEND"] = "agg"

from allconv.results.tables import markdown  # noqa: E402
from tests.attack import calls, commands, kills, odd_files, writes  # noqa: E402

# area -> what is tried in it; kills come first, before TensorFlow is used.
AREAS = {
    "kills": ("a run killed: equal bytes", lambda f: kills.attack(f, 200)),
    "writes": ("a full disk or two writers at each place", writes.attack),
    "damage": ("damaged files", lambda f: odd_files.damaged(f, 2000)),
    "records": ("odd records in tables", lambda f: odd_files.odd_records(f, 400)),
    "manifests": ("odd manifests", lambda f: odd_files.odd_manifests(f, 400)),
    "commands": ("odd command lines", lambda f: commands.attack(f, 1000)),
    "calls": ("odd calls of functions: nothing not finite", calls.attack),
}


def outcomes(area: str) -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        yield from AREAS[area][1](Path(folder))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("areas", nargs="*", help=f"of {', '.join(AREAS)}; default: all")
    chosen = parser.parse_args().areas or list(AREAS)
    lines, broken = [("area", "tried", "held", "broke")], 0
    for area in (name for name in AREAS if name in chosen):
        count: collections.Counter[bool] = collections.Counter()
        for what, why in outcomes(area):
            count[not why] += 1
            if why:
                print(f"{area}: {what}: {why}", file=sys.stderr, flush=True)
        tried = str(sum(count.values()))
        lines.append((AREAS[area][0], tried, str(count[True]), str(count[False])))
        broken += count[False]
        print(markdown(lines[-1:] * 2, left=1).splitlines()[-1], file=sys.stderr)
    print(markdown(lines, left=1))
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
