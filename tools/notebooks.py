"""Write the first cells of the lessons, run them, and keep what they draw, small.

    python -m tools.notebooks --heads         # badges and the cell that installs
    python -m tools.notebooks                 # run all, and keep their outputs
    python -m tools.notebooks notebooks/03*   # run one

Pictures are kept with 256 colours, which takes a third of the bytes. Controls are not
kept, since they need a kernel; the figure that they change is.
"""

import argparse
import base64
import io
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
(REPOSITORY,) = re.findall(r'^Repository = "(.+?)"', PYPROJECT, re.MULTILINE)
SLUG = REPOSITORY.removeprefix("https://github.com/")
UNSET = "*The badges lead nowhere: `pyproject.toml` does not say where this copy lies.*"
VIEW = "application/vnd.jupyter.widget-view+json"
BADGES = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    f"(https://colab.research.google.com/github/{SLUG}/blob/main/notebooks/{{name}})\n"
    "[![Open on Binder](https://mybinder.org/badge_logo.svg)]"
    f"(https://mybinder.org/v2/gh/{SLUG}/main?labpath=notebooks%2F{{name}})"
) + (f"\n{UNSET}" if SLUG.startswith("OWNER/") else "")
INSTALL = f"""\
# On Colab, say, this gets the project. Where the project is there, it does nothing.
import importlib.util
import os
import sys

if importlib.util.find_spec("allconv") is None:
    repository = "{REPOSITORY}"
    if "/OWNER/" in repository:  # whose it is nobody knows: nothing of theirs is run
        raise ImportError(
            "allconv is not installed here, and this copy of the lesson has no address "
            "to get it from. Install it from a checkout: %pip install PATH/OF/allconv"
        )
    !git clone --quiet --depth 1 {{repository}} allconv-source
    %pip install --quiet ./allconv-source
    sys.path.insert(0, os.path.abspath("allconv-source"))"""


def notebooks() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def with_head(notebook: nbformat.NotebookNode, name: str) -> None:
    """Set the badges, in the second paragraph, and the first code cell."""
    title, _, rest = notebook.cells[0].source.partition("\n\n")
    if rest.startswith("[!["):
        rest = rest.partition("\n\n")[2]
    badges = BADGES.format(name=name)
    notebook.cells[0].source = f"{title}\n\n{badges}\n\n{rest}"
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    first.source = INSTALL


def small(png: str, colours: int = 256) -> str:
    """A PNG in base64 with fewer colours, where that makes it smaller."""
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    reduced = image.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    out = io.BytesIO()
    reduced.save(out, "PNG", optimize=True)
    return min(png, base64.b64encode(out.getvalue()).decode(), key=len)


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Keep of outputs what a reader without a kernel sees."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [
            output
            for output in cell.outputs
            if VIEW not in output.get("data", {})
            and output.get("name") != "stderr"  # what TensorFlow says as it starts
        ]
        for output in cell.outputs:
            output.pop("transient", None)
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = small(output.data["image/png"])


def run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(
        notebook, timeout=1800, kernel_name="python3", resources=resources
    ).execute()
    tidy(notebook)
    nbformat.write(notebook, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, help="default: all")
    parser.add_argument("--heads", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    for path in arguments.paths or notebooks():
        started = time.perf_counter()
        if arguments.heads:
            notebook = nbformat.read(path, as_version=4)
            with_head(notebook, path.name)
            nbformat.write(notebook, path)
        else:
            run(path)
        size = path.stat().st_size
        print(f"{path.name:34}{size:>9,} bytes{time.perf_counter() - started:6.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
