"""Runs the tests in one environment for each set of versions that should work.

    python tools/matrix.py --smoke oldest newest   # the quick part: some minutes a set
    python tools/matrix.py                         # every set, the whole suite
    python tools/matrix.py oldest -- -k muon -x    # what follows -- goes to pytest

Prints versions and the tests that passed, failed and were skipped, and keeps them in
`tools/matrix.json` (unless pytest was told something else), from which `make tables`
makes the README's table. Needs a Python of each set, as `python3.10`, say, or one of
pyenv's. Each environment is made anew in `build/matrix`, unless `--keep` finds it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "build" / "matrix"
RESULTS = ROOT / "tools" / "matrix.json"

# name -> (Python, what pip is asked for besides the project)
SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "oldest": (
        "3.10",
        (
            *("tensorflow==2.19.*", "keras==3.10.*", "numpy==2.0.*", "h5py==3.12.*"),
            *("matplotlib==3.10.0", "pillow==11.0.*", "filelock==4.0.*"),
            *("tqdm==4.66.*", "pooch==1.8.*", "wrapt==1.16.*", "lazy-loader==0.4"),
        ),
    ),
    "colab": ("3.13", ("tensorflow==2.20.*", "keras==3.13.*", "numpy==2.1.*")),
    "pinned": ("3.11", ("-c", str(ROOT / "constraints.txt"))),
    "newest": ("3.13", ()),
}
# What meets TensorFlow, Keras and NumPy from the most sides in the least time.
SMOKE = (
    *("tests/core", "tests/data", "tests/layers", "tests/presets", "tests/results"),
    *("tests/networks/test_all_cnn.py", "tests/networks/test_places.py"),
    *("tests/saliency/test_audit.py", "tests/saliency/test_addresses.py"),
    *("tests/training/test_muon.py", "tests/test_own.py", "tests/test_wheel.py"),
)
SHOWN = ("tensorflow", "keras", "numpy")


def find_python(version: str) -> str:
    """An interpreter of that version.

    Raises:
        FileNotFoundError: If there is none.
    """
    found = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    own = [str(p) for p in sorted(pyenv.glob(f"{version}.*/bin/python"))]
    if found is None and not own:
        raise FileNotFoundError(f"There is no Python {version} on this machine.")
    # pyenv's own command by that name refuses to run where it is not switched on.
    return own[-1] if own else str(found)


def make(name: str, keep: bool) -> Path:
    """The Python of a set's environment, made if it is not kept."""
    version, wanted = SETS[name]
    folder = PLACE / name
    inside = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (keep and inside.exists()):
        python = find_python(version)
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        pip = [str(inside), "-m", "pip", "install", "--quiet", "-e", f"{ROOT}[test]"]
        subprocess.run([*pip, "ipykernel", *wanted], check=True)
    return inside


def run(name: str, python: Path, smoke: bool, extra: list[str]) -> dict:
    """The tests run by that Python: versions, counts, what failed."""
    report = PLACE / f"{name}.xml"
    report.unlink(missing_ok=True)
    start = time.monotonic()
    command = [str(python), "-m", "pytest", "-n", "2", f"--junitxml={report}"]
    where = SMOKE if smoke else ()
    subprocess.run([*command, *extra, *where], cwd=ROOT, check=False)
    minutes = round((time.monotonic() - start) / 60)
    return {"set": name, "part": "quick" if smoke else "all", "minutes": minutes} | (
        _versions(python) | _counts(report)
    )


def _versions(python: Path) -> dict:
    code = (
        "import importlib.metadata as m, json, platform, sys\n"
        "print(json.dumps([platform.python_version(), *map(m.version, sys.argv[1:])]))"
    )
    found = subprocess.check_output([python, "-c", code, *SHOWN], text=True)
    return dict(zip(("python", *SHOWN), json.loads(found), strict=True))


def _counts(report: Path) -> dict:
    """Of pytest's report, an XML of its own; one error where it wrote none."""
    if not report.exists():
        return {"passed": 0, "failed": 1, "skipped": 0, "failures": ["pytest itself"]}
    cases = list(ET.parse(report).getroot().iter("testcase"))
    kinds = [{part.tag for part in case} for case in cases]
    bad = [bool(kind & {"failure", "error"}) for kind in kinds]
    skipped = sum("skipped" in kind for kind in kinds)
    names = [f"{c.attrib['classname']}.{c.attrib['name']}" for c in cases]
    return {
        "passed": len(cases) - sum(bad) - skipped,
        "failed": sum(bad),
        "skipped": skipped,
        "failures": [n for n, failed in zip(names, bad, strict=True) if failed],
    }


def table(results: list[dict]) -> str:
    """Results as a Markdown table."""
    keys = ("python", *SHOWN, "part", "passed", "failed", "skipped", "minutes")
    head = ("Python", "TensorFlow", "Keras", "NumPy", "tests", *keys[5:])
    rows = [[str(result[key]) for key in keys] for result in results]
    marks = ["---"] * 5 + ["---:"] * 4
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows))


def read() -> list[dict]:
    """The results that were kept, in the order of `SETS`."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def keep(new: list[dict]) -> None:
    """Keep results in place of those of the same set and part."""
    old = read() if RESULTS.exists() else []
    merged = {(one["set"], one["part"]): one for one in [*old, *new]}
    order = sorted(merged.values(), key=lambda one: [*SETS].index(one["set"]))
    RESULTS.write_text(json.dumps(order, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    own, _, extra = (" ".join(sys.argv[1:]) + " ").partition("-- ")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(SETS))
    parser.add_argument("--smoke", action="store_true", help="the quick part alone")
    parser.add_argument("--keep", action="store_true", help="use environments again")
    arguments = parser.parse_args(own.split())
    for name in arguments.sets:
        if name not in SETS:
            parser.error(f"there is no set {name!r}: the sets are {', '.join(SETS)}")
    results = []
    for name in arguments.sets or SETS:
        python = make(name, arguments.keep)
        results.append(run(name, python, arguments.smoke, extra.split()))
    print(table(results))
    print("\n".join(name for one in results for name in one["failures"]))
    if not extra.strip():
        keep(results)
    return int(any(one["failed"] for one in results))


if __name__ == "__main__":
    sys.exit(main())
