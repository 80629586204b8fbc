"""Every notebook runs, from any folder and with other values, and says what it shows.

What is kept in it is of one run, on the data that its text names.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

import allconv
from allconv.data import datasets
from allconv.networks import places
from allconv.results import tables

ROOT = Path(allconv.__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)

# What a reader may change stands at the top of its section, with this comment.
PARAMETER = re.compile(r"^([A-Z_]+) = .*?(?=  # change me)", re.MULTILINE)
# Other values, which the sections are run with once more. A file is made by `files`.
OTHER = {
    "01": {"PHOTO": "{photo}", "LAYER": "'conv2d'"},
    "04": {
        **{"CLASSES": "[9, 3]", "IMAGES": "[7]", "CHANNEL": "191", "IMAGE": "299"},
        **{"LAYERS": "['conv5']", "LAYER": "'conv9'", "UNITS": "[3]"},
        "SEEDS": "(5, 6)",
    },
    "05": {
        **{"LAYERS": "['conv3']", "LAYER": "'conv5'", "MAPS": "1"},
        **{"CHANNELS": "[7]", "SQUARE": "5", "CLASSES": "[9, 4, 7, 0]"},
        **{"PER_CLASS": "3", "MODEL": "{model}", "PREPROCESS": "'white:1'"},
        "PHOTO": "{photo}",
    },
    "06": {"SIZE": "3"},
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


def with_other_values(
    notebook: nbformat.NotebookNode, values: dict[str, str]
) -> list[nbformat.NotebookNode]:
    """The cells of all sections that have parameters, with other values for these."""
    cells = []
    for section in sections(notebook):
        if any(PARAMETER.search(cell.source) for cell in section):
            for cell in section:
                source = PARAMETER.sub(
                    lambda m: f"{m[1]} = {values[m[1]]}", cell.source
                )
                cells.append(nbformat.v4.new_code_cell(source))
    return cells


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """A photograph and a model, as a reader brings them."""
    folder = tmp_path / "mine"
    folder.mkdir()
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


@each_notebook
def test_runs_anywhere_and_with_other_values(path, files, tmp_path, monkeypatch):
    """In quick mode, in an empty folder; nothing that the reader gave is changed."""
    monkeypatch.setenv("ALLCONV_QUICK", "1")
    (tmp_path / "site").mkdir()  # the package is found, and nothing that lies beside it
    (tmp_path / "site" / "allconv").symlink_to(ROOT / "allconv")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    given = {file: file.read_bytes() for file in files.values()}
    paths = {kind: repr(str(file)) for kind, file in files.items()}
    values = {k: v.format(**paths) for k, v in OTHER.get(path.stem[:2], {}).items()}

    notebook = nbformat.read(path, as_version=4)
    notebook.cells += with_other_values(notebook, values)
    anywhere = tmp_path / "anywhere"
    anywhere.mkdir()
    resources = {"metadata": {"path": str(anywhere)}}
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources=resources
    ).execute()

    assert {file: file.read_bytes() for file in files.values()} == given
    assert set((tmp_path / "mine").iterdir()) == set(given)
    assert not list(anywhere.iterdir())
    wants = 'load_or_draw("cifar' in "".join(cell.source for cell in code(notebook))
    assert (STANDS_IN in printed(notebook)) == wants


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
    assert prints["cifar100"] == {datasets.CIFAR100_PRINTS[1]}
    # The second is of runs that kept training images back to measure on.
    assert len(prints["cifar10"] - {None}) == 1
    for document in [ROOT / "README.md", *(ROOT / "experiments/tables").iterdir()]:
        assert STANDS_IN not in document.read_text(encoding="utf-8")


@each_notebook
def test_notebooks_import_and_never_define(path):
    for cell in code(nbformat.read(path, 4)):
        assert "\ndef " not in f"\n{cell.source}"
        assert "\nclass " not in f"\n{cell.source}"


@each_notebook
def test_own_pictures_are_read_by_the_one_loader(path):
    source = "".join(cell.source for cell in code(nbformat.read(path, 4)))
    assert "load_img" not in source
    assert "save_img" not in source
    assert ".preprocessor(" not in source  # which takes scaled images without a word
