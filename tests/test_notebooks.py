"""Every notebook runs, from any folder and with other values, and says what it shows.

What is kept in it is of one run, on the data that its text names.
"""

import ast
import base64
import importlib.util
import io
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient
from PIL import Image

import allconv
from allconv.data import cifar_files
from allconv.figures import grid
from allconv.lessons import checks
from allconv.networks import places
from allconv.results import tables
from tools import notebooks

ROOT = Path(allconv.__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)

# What a reader may change stands at the top of its section, with this comment.
PARAMETER = re.compile(r"^([A-Z_]+) = .*?(?=  # change me)", re.MULTILINE)
# Other values, which the sections are run with once more. A file is made by `files`.
OTHER = {
    "01": {
        **{"PHOTO": "{photo}", "MODEL": "{model}", "PREPROCESS": "'white:1'"},
        "LAYER": "'conv2d'",
    },
    "02": {"SHIFTS": "range(-2, 3, 2)", "IMAGES": "3", "BASE": "'a'"},
    "03": {
        **{"KERNEL": "5", "STRIDE": "3", "CLASSES": "[9, 3]", "IMAGES": "[7]"},
        **{"CHANNEL": "191", "LAYERS": "['conv5']", "UNITS": "[7, 191]"},
    },
    "04": {
        **{"PICTURE": "0", "OTHER": "'cat'", "SHUFFLED": "['conv9']"},
        **{"IMAGE": "299", "SEEDS": "(5, 6)"},
    },
    "06": {
        **{"LAYERS": "['conv3']", "LAYER": "'conv5'", "MAPS": "1"},
        **{"CHANNELS": "[7]", "SQUARE": "5", "CLASSES": "[9, 4, 7, 0]"},
    },
    "07": {"HEIGHT": "6", "SIZE": "3"},
    "09": {
        **{"PER_CLASS": "3", "MODEL": "{model}", "PREPROCESS": "'white:1'"},
        "PHOTO": "{photo}",
    },
}
STANDS_IN = "which stand in for"  # as `datasets.load_or_draw` prints


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook: nbformat.NotebookNode) -> str:
    """All text that the cells gave out."""
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    return "\n".join(o.get("text") or str(o.get("data")) for o in outputs)


def sections(notebook: nbformat.NotebookNode) -> Iterator[list[nbformat.NotebookNode]]:
    """The code cells of each section; the first is what stands before any."""
    found: list[nbformat.NotebookNode] = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            found.append(cell)
        elif re.search("^## ", cell.source, re.MULTILINE):
            yield found
            found = []
    yield found


def is_a(cell: nbformat.NotebookNode, *kinds: str) -> bool:
    return bool({*kinds} & {*cell.metadata.get("tags", [])})


def with_other_values(
    notebook: nbformat.NotebookNode, values: dict[str, str]
) -> list[nbformat.NotebookNode]:
    """The cells of all sections that have parameters, with other values for these.

    Exercises and live figures are left out.
    """
    cells = []
    for section in sections(notebook):
        if any(PARAMETER.search(cell.source) for cell in section):
            for cell in section:
                source = PARAMETER.sub(
                    lambda m: f"{m[1]} = {values[m[1]]}", cell.source
                )
                if not is_a(cell, "exercise", "check", "live"):
                    cells.append(nbformat.v4.new_code_cell(source))
    return cells


ANSWER = re.compile(r"^(\w+) = \.\.\.  # ")
SOLUTION = re.compile(r"<b>Solution</b>.*?```python\n(.*?)```", re.DOTALL)
# What makes a wrong answer of a right one.
WRONG = """
def _wrong(value):
    if callable(value):
        return lambda *inputs: _wrong(value(*inputs))
    if isinstance(value, (tuple, list)):
        return [_wrong(one) for one in value]
    return value + "?" if isinstance(value, str) else 2 * value + 1
"""
TRY = """
_right, {name} = {name}, _wrong({name})
try:
    exec({check!r}, globals())
except Exception:
    {name} = _right
else:
    raise AssertionError("a wrong answer passes")
"""


def solved(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The cells with each exercise's solution; after each check, a wrong answer."""
    found = [nbformat.v4.new_code_cell(WRONG)]
    for i, cell in enumerate(cells):
        found.append(cell)
        if is_a(cell, "exercise"):
            name = ANSWER.match(cell.source)[1]
            assert is_a(cells[i + 1], "check")
            cell.source = SOLUTION.search(cells[i + 2].source)[1]
        elif is_a(cell, "check"):
            attempt = TRY.format(name=name, check=cell.source)
            found.append(nbformat.v4.new_code_cell(attempt))
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """A photograph and a model, as a reader brings them."""
    folder = tmp_path_factory.mktemp("mine")
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "holiday.jpg")
    model = keras.Sequential(
        [
            keras.Input((24, 24, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.save(folder / "mine.keras")
    return {"photo": folder / "holiday.jpg", "model": folder / "mine.keras"}


@pytest.fixture(scope="module")
def kernel(files, tmp_path_factory) -> Iterator[tuple[NotebookClient, Path]]:
    """One kernel for all, in quick mode, in an empty folder: TensorFlow starts once."""
    site = tmp_path_factory.mktemp("site")  # the package, and nothing that lies beside
    (site / "allconv").symlink_to(ROOT / "allconv")
    anywhere = tmp_path_factory.mktemp("anywhere")
    manager = KernelManager(kernel_name="python3")
    quick = {"ALLCONV_QUICK": "1", "ALLCONV_MODEL": str(files["model"])}
    environment = os.environ | quick | {"PYTHONPATH": str(site)}
    manager.start_kernel(cwd=str(anywhere), env=environment)
    client = NotebookClient(nbformat.v4.new_notebook(), km=manager, timeout=300)
    yield client, anywhere
    if client.kc is not None:
        client.kc.stop_channels()
    manager.shutdown_kernel(now=True)


FORGET = """
%reset -f
import gc, keras
keras.utils.clear_session()
gc.collect()
"""


@each_notebook
def test_runs_anywhere_and_with_other_values(path, files, kernel):
    """With all solutions; nothing that the reader gave is changed."""
    client, anywhere = kernel
    given = {file: file.read_bytes() for file in files.values()}
    paths = {kind: repr(str(file)) for kind, file in files.items()}
    values = {k: v.format(**paths) for k, v in OTHER.get(path.stem[:2], {}).items()}

    notebook = nbformat.read(path, as_version=4)
    again = with_other_values(notebook, values)
    forget = nbformat.v4.new_code_cell(FORGET)
    notebook.cells = [forget, *solved(notebook.cells), *again]
    client.nb = notebook
    client.execute()

    for cell in notebook.cells:
        if is_a(cell, "check"):
            assert "".join(output.text for output in cell.outputs) == "Right.\n"
    assert {file: file.read_bytes() for file in files.values()} == given
    assert set(files["photo"].parent.iterdir()) == set(given)
    assert not list(anywhere.iterdir())
    wants = 'load_or_draw("cifar' in "".join(cell.source for cell in code(notebook))
    assert (STANDS_IN in printed(notebook)) == wants


@pytest.mark.parametrize("path", NOTEBOOKS[:8], ids=lambda p: p.stem)
def test_every_lesson_has_exercises_whose_solutions_are_folded(path):
    notebook = nbformat.read(path, as_version=4)
    exercises = [cell for cell in notebook.cells if is_a(cell, "exercise")]
    assert 2 <= len(exercises) <= 5
    for cell in notebook.cells:
        if is_a(cell, "check"):
            assert cell.outputs[0].text == f"{checks.NOT_ANSWERED}\n"
    text = "".join(cell.source for cell in notebook.cells)
    for part in ("**Question.**", "**You will see**", "**Predict", "## What to remem"):
        assert part in text
    assert "**Paper.**" in text
    assert "**Next:**" in text
    assert text.count("<details>") == text.count("</details>") > len(exercises)


def test_names_are_defined_where_they_are_used():
    """Else a name left over from another notebook, in the same kernel, would do."""
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F821,F401"]
    done = subprocess.run(
        [*ruff, *NOTEBOOKS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@each_notebook
def test_parameters_stand_first_in_their_section(path):
    for section in sections(nbformat.read(path, as_version=4)):
        for cell in section:
            lines = cell.source.splitlines()
            known = [bool(PARAMETER.match(line)) for line in lines]
            assert known == sorted(known, reverse=True), cell.source
            assert not any(known) or cell is section[0]
            assert ("# change me" in cell.source) == any(known)


@each_notebook
def test_kept_outputs_are_of_one_run_and_small(path):
    assert path.stat().st_size < 2**20
    cells = code(nbformat.read(path, 4))
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    assert not any(o.output_type == "error" for c in cells for o in c.outputs)
    assert any(c.outputs for c in cells)


@each_notebook
def test_kept_outputs_are_of_the_data_that_they_name(path):
    notebook = nbformat.read(path, as_version=4)
    source = "".join(cell.source for cell in code(notebook))
    assert STANDS_IN not in printed(notebook)
    for name in re.findall(r'load_or_draw\(\s*"(\w+)"', source):
        assert f"data: {name}" in printed(notebook)
    # Only that function lets one set stand in for another.
    assert not re.search(r"datasets\.load\(", source)


def test_every_number_of_the_tables_is_of_real_data():
    """No record, so no row of a table, is of synthetic shapes or of changed images."""
    prints = {"cifar10": set(), "cifar100": set()}
    for record in tables.read(places.folder("records")):
        prints[record["preset"]["dataset"]].add(record["data"].get("test"))
    assert prints["cifar100"] == {cifar_files.CIFAR100_PRINTS[1]}
    # The second is of runs that kept training images back to measure on.
    assert len(prints["cifar10"] - {None}) == 1
    for document in [ROOT / "README.md", *(ROOT / "experiments/tables").iterdir()]:
        assert STANDS_IN not in document.read_text(encoding="utf-8")


@each_notebook
def test_notebooks_import_and_define_what_they_teach_alone(path):
    for cell in code(nbformat.read(path, 4)):
        assert "\nclass " not in f"\n{cell.source}"
        if not is_a(cell, "taught", "live"):
            assert "\ndef " not in f"\n{cell.source}"


def first_cells(path: Path) -> tuple[str, str]:
    """The cell that gets the project, and all that the others import."""
    first, *others = (cell.source for cell in code(nbformat.read(path, as_version=4)))
    lines = "\n".join(others).replace("%", "# %").replace("sys.path", "# sys.path")
    nodes = [n for n in ast.walk(ast.parse(lines)) if isinstance(n, IMPORTS)]
    return first, "\n".join(ast.unparse(node) for node in nodes)


IMPORTS = (ast.Import, ast.ImportFrom)
PLACEHOLDER = "https://github.com/OWNER/allconv"
ADDRESS = "https://github.com/somebody/allconv"
SHELL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for source in {sources}:
    shell.run_cell(source).raise_error()
import allconv
print(allconv.__file__)
"""


def test_first_cells_get_the_project_where_it_is_missing(tmp_path):
    """In an empty folder, with a Python that lacks the package; the address is ours."""
    if not (ROOT / ".git").exists():
        pytest.skip("there is no repository to fetch from here")
    venv.create(tmp_path / "python", symlinks=os.name != "nt")
    at = {"base": str(tmp_path / "python"), "platbase": str(tmp_path / "python")}
    python = Path(sysconfig.get_path("scripts", vars=at), "python")
    borrowed = Path(sysconfig.get_path("purelib", vars=at), "borrowed.pth")
    borrowed.write_text(sysconfig.get_path("purelib"))
    found = [first_cells(path) for path in NOTEBOOKS]
    (install,) = {first for first, _ in found}
    assert install == notebooks.INSTALL
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    clean |= {"PIP_NO_DEPS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    clean |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_VALUE_0": ADDRESS}
    clean |= {"GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf"}
    install = install.replace(notebooks.REPOSITORY, ADDRESS)
    sources = [install, *(imports for _, imports in found)]
    away = tmp_path / "away"
    away.mkdir()
    done = subprocess.run(
        [python, "-c", SHELL.format(sources=sources)],
        **{"cwd": away, "env": clean, "capture_output": True, "text": True},
        check=False,
    )
    if "setuptools" in done.stdout + done.stderr and done.returncode:
        pytest.skip("pip cannot fetch setuptools here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith(
        str(away / "allconv-source/allconv/__init__.py")
    )


def test_a_copy_without_an_address_fetches_nothing(monkeypatch):
    """`OWNER` is a name that anybody can take: what they keep there is not run."""
    source = notebooks.INSTALL.replace(notebooks.REPOSITORY, PLACEHOLDER)
    lines = source.replace("!git", "ran.append(1)  #").replace("%pip install --q", "#")
    ran: list[int] = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="no address"):
        exec(lines, {"ran": ran})
    assert ran == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    exec(lines, {"ran": ran})
    assert ran == []
    if notebooks.REPOSITORY == PLACEHOLDER:
        assert notebooks.UNSET in notebooks.BADGES


@each_notebook
def test_links_lead_somewhere(path):
    text = "\n".join(c.source for c in nbformat.read(path, 4).cells)
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in t]
    assert targets
    assert [t for t in targets if not (path.parent / t).exists()] == []


@each_notebook
def test_first_cells_are_those_that_the_tool_writes(path):
    notebook = nbformat.read(path, as_version=4)
    before = [cell.source for cell in notebook.cells]
    notebooks.with_head(notebook, path.name)
    assert [cell.source for cell in notebook.cells] == before
    assert notebooks.BADGES.format(name=path.name) in before[0]


def test_kept_outputs_are_tidied():
    picture = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(picture, "PNG")
    png = base64.b64encode(picture.getvalue()).decode()
    new = nbformat.v4.new_output
    cell = nbformat.v4.new_code_cell(
        outputs=[
            new("stream", name="stderr", text="I0000 TensorFlow starts"),
            new("stream", name="stdout", text="kept"),
            new("display_data", {notebooks.VIEW: {}, "text/plain": "VBox()"}),
            new("display_data", {"image/png": png}),
        ]
    )
    notebooks.tidy(nbformat.v4.new_notebook(cells=[cell]))
    text, drawn = cell.outputs
    assert text.text == "kept"
    assert len(drawn.data["image/png"]) < len(png) / 1.5
    small = Image.open(io.BytesIO(base64.b64decode(drawn.data["image/png"])))
    assert np.abs(np.asarray(small.convert("RGB"), int) - pixels).mean() < 20


@each_notebook
def test_kept_outputs_need_no_kernel(path):
    outputs = [o for c in code(nbformat.read(path, 4)) for o in c.outputs]
    assert not any(notebooks.VIEW in o.get("data", {}) for o in outputs)
    assert not any(o.get("name") == "stderr" for o in outputs)


@each_notebook
def test_own_pictures_are_read_by_the_one_loader(path):
    source = "".join(cell.source for cell in code(nbformat.read(path, 4)))
    assert "load_img" not in source
    assert "save_img" not in source
    assert ".preprocessor(" not in source  # which takes scaled images without a word
    assert "preprocess_input" not in source  # which is of one network, for any


def test_documents_teach_the_guarded_way_to_inputs():
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        assert ".preprocessor(" not in path.read_text(encoding="utf-8"), path


def cells_with(path: Path, text: str) -> list[str]:
    """The sources of the code cells that have a text in them."""
    cells = code(nbformat.read(path, as_version=4))
    return [cell.source for cell in cells if text in cell.source]


def test_a_photograph_becomes_a_picture_in_five_lines():
    (five,) = cells_with(NOTEBOOKS[0], "rule_comparison(picture, at_pixels)")
    assert five.startswith("picture = photo.read(PHOTO or")
    assert len(five.splitlines()) == 5


def test_first_layers_that_are_compared_were_both_trained():
    """By the same recipe: one beside random numbers shows nothing."""
    (lesson,) = [path for path in NOTEBOOKS if path.stem.startswith("06")]
    (trained,) = cells_with(lesson, "train(")
    (compared,) = cells_with(lesson, "filters_figure(")
    names = re.search(r"for name in (\(.*?\))", trained)[1]
    assert names in compared
    assert len(ast.literal_eval(names)) == 2
    assert "Classifier.load(folder / name / WEIGHTS)" in compared
    assert cells_with(lesson, "builders.") == []


@each_notebook
def test_text_of_figures_that_are_drawn_here_is_legible(path):
    for source in cells_with(path, "figsize=("):
        sizes = [float(x) for x in re.findall(r"fontsize=([\d.]+)", source)]
        for width in re.findall(r"figsize=\(([\d.]+)", source):
            assert min([*sizes, 10]) >= grid.POINTS * float(width)


@each_notebook
def test_long_cells_are_not_about_text(path):
    for cell in code(nbformat.read(path, as_version=4)):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert "\\begin{" not in cell.source
        if len(lines) > 20 and cell.source != notebooks.INSTALL:
            assert sum("print(" in line or 'f"' in line for line in lines) < 5
