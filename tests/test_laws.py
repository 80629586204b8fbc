"""What may import what: the two laws of the house, and no arrow upwards."""

import ast
from pathlib import Path

import pytest

import allconv

ROOT = Path(allconv.__file__).parent
# From the ground up: a folder imports those before it, never one after it.
FLOORS = (
    *("core", "data", "layers", "saliency", "probes", "networks", "presets"),
    *("results", "training", "figures", "reports", "commands", "lessons"),
)
ANY_MODEL = ("saliency", "probes", "figures")
NOT_THERE = {"data", "networks", "presets", "training", "results", "reports"}
HEAVY = {"keras", "tensorflow"}


def imported(path: Path, at_once: bool = False) -> set[str]:
    """Full names of the modules that a file imports; `at_once`: as it is imported."""
    tree = ast.parse(path.read_text())
    nodes = list(tree.body) if at_once else list(ast.walk(tree))
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports by dots"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def folders(path: Path) -> set[str]:
    return {n.split(".")[1] for n in imported(path) if n.startswith("allconv.")} & {
        *FLOORS
    }


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).glob("*.py"))


def test_every_folder_has_its_floor():
    assert {p.parent.name for p in ROOT.glob("*/__init__.py")} == set(FLOORS)


@pytest.mark.parametrize("folder", ANY_MODEL)
def test_what_looks_at_any_keras_model_knows_nothing_of_ours(folder):
    for path in modules(folder):
        assert not folders(path) & NOT_THERE, path


def reached(name: str, seen: set[str]) -> set[str]:
    """What is imported with a module of ours, at once, by way of other modules."""
    for stem in (
        f"{name.replace('.', '/')}.py",
        f"{name.replace('.', '/')}/__init__.py",
    ):
        path = ROOT.parent / stem
        if path.exists() and name not in seen:
            seen.add(name)
            for other in imported(path, at_once=True):
                seen.add(other.split(".")[0])
                if other.startswith("allconv."):
                    parts = other.split(".")
                    for i in range(1, len(parts) + 1):
                        reached(".".join(parts[:i]), seen)
    return seen


@pytest.mark.parametrize("folder", ["presets", "results"])
def test_recipes_and_tables_need_no_tensorflow(folder):
    for path in modules(folder):
        if path.stem != "__init__":
            found = reached(f"allconv.{folder}.{path.stem}", set())
            assert not found & HEAVY, path


@pytest.mark.parametrize("folder", FLOORS)
def test_nothing_imports_what_stands_above_it(folder):
    above = set(FLOORS[FLOORS.index(folder) + 1 :])
    for path in modules(folder):
        assert not folders(path) & above, path
