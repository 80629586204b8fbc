"""Every notebook runs from top to bottom, and its kept outputs are of such a run."""

import nbformat
import pytest
from nbclient import NotebookClient

from experiments.documents import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_runs_in_quick_mode(path, monkeypatch):
    monkeypatch.setenv("ALLCONV_QUICK", "1")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_kept_outputs_are_of_one_run_and_small(path):
    assert path.stat().st_size < 2**20
    cells = [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    assert not any(o.output_type == "error" for c in cells for o in c.outputs)
    assert any(c.outputs for c in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_import_and_never_define(path):
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code":
            assert "\ndef " not in f"\n{cell.source}"
            assert "\nclass " not in f"\n{cell.source}"
