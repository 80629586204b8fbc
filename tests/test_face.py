"""What `import allconv` offers, and what it costs."""

import importlib
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

import allconv
from allconv.core.moved import MOVED
from allconv.data import shapes

FOLDERS = sorted(p.parent.name for p in Path(allconv.__file__).parent.glob("*/*.pyi"))


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_face_lists_itself_and_every_name_is_there():
    assert {*FOLDERS, "Classifier", "Explainer", "explain"} <= set(dir(allconv))
    for name in FOLDERS:
        folder = getattr(allconv, name)
        assert folder.__all__
        assert set(folder.__all__) <= set(dir(folder))
        for offered in folder.__all__:
            assert getattr(folder, offered) is not None


def test_every_module_stands_in_its_folders_face():
    for name in FOLDERS:
        folder = importlib.import_module(f"allconv.{name}")
        modules = {p.stem for p in Path(folder.__file__).parent.glob("[a-z]*.py")}
        assert modules - {"faces", "moved", "registered"} <= set(folder.__all__)


def test_importing_the_package_imports_nothing_heavy():
    python(
        "import sys, allconv\n"
        "heavy = {'keras', 'tensorflow', 'numpy', 'matplotlib', 'h5py'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert 'explain' in dir(allconv)\n"
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A compiled model with a layer, a schedule and an optimiser of this project."""
    from allconv.layers import NetworkDeconvolution2D
    from allconv.training import Linear, Muon

    inputs = keras.Input((8, 8, 3))
    maps = NetworkDeconvolution2D(4, 3, name="conv1")(inputs)
    model = keras.Model(inputs, keras.layers.Flatten()(maps))
    kernels = [v.path for v in model.trainable_variables if v.name == "kernel"]
    model.compile(Muon(Linear(0.1, 10, 2), 0.9, False, kernels, 0.1), "mse")
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return path


@pytest.mark.parametrize(
    "imports",
    [
        "import allconv, keras",
        "import keras, allconv",
        "import allconv.layers.whitening_layer, keras",
        "from allconv.layers.batch_norm import BatchNormalization; import keras",
        "from allconv.training import schedules; import keras",
    ],
)
def test_keras_loads_our_layers_after_one_import(saved, imports):
    python(f"{imports}\nkeras.models.load_model({str(saved)!r})")


@pytest.mark.parametrize("old", MOVED)
def test_a_name_of_the_last_release_works_and_names_the_new_place(old):
    sys.modules.pop(old, None)
    new, renamed = MOVED[old]
    with pytest.warns(DeprecationWarning, match=f"`{old}` is now `{new}`"):
        module = importlib.import_module(old)
    content = importlib.import_module(new)
    for name in (n for n in vars(content) if not n.startswith("_")):
        assert getattr(module, name) is getattr(content, name)
    for before, now in renamed.items():
        assert getattr(module, before) is getattr(content, now)


def test_a_moved_name_is_not_found_where_there_never_was_one():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("allconv.modules")


def test_a_classifier_is_what_it_was_after_save_and_load(tmp_path):
    classifier = allconv.Classifier.released("all_cnn_c", "cifar10")
    images, _ = shapes.draw(3)
    classifier.save(tmp_path / "new" / "mine.h5")
    again = allconv.Classifier.load(tmp_path / "new" / "mine.h5")
    np.testing.assert_array_equal(again.predict(images), classifier.predict(images))
    for fact in ("architecture", "dataset", "classes", "preset", "seed", "error"):
        assert again.meta[fact] == classifier.meta[fact]
    with pytest.raises(ValueError, match="No weights of all_cnn_c for mnist"):
        allconv.Classifier.released("all_cnn_c", "mnist")
