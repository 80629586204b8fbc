"""Settings that hold for every test."""

import functools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # the reason is in allconv
os.environ.setdefault("MPLBACKEND", "agg")
# Tests run side by side: one thread each, so that they do not fight for cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import sys

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "project", deadline=None, derandomize=True, print_blob=True
)
hypothesis.settings.load_profile("project")


@pytest.fixture(autouse=True)
def _no_determinism_is_left_behind():
    """Training asks for deterministic kernels for the whole process; XLA then warns."""
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework import config

        config.disable_op_determinism()


@pytest.fixture(autouse=True, scope="session")
def _shapes_are_drawn_once():
    """The drawn set is asked for in a hundred tests, and takes half a second."""
    from allconv.data import shapes

    draw, once = shapes.draw, functools.lru_cache(maxsize=8)(shapes.draw)

    @functools.wraps(draw)
    def copied(*args, **options):
        plain = all(type(value) is int for value in (*args, *options.values()))
        found = (once if plain else draw)(*args, **options)
        return tuple(array.copy() for array in found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "draw", copied)
        yield


@pytest.fixture(scope="session")
def cifar10():
    """Real CIFAR-10, where it is cached; the test is skipped elsewhere."""
    from allconv.data import datasets

    if not datasets.is_cached("cifar10"):
        pytest.skip(
            f"CIFAR-10 is not in {datasets.data_folder()}; `make demo` fetches it"
        )
    return datasets.load("cifar10")


@pytest.fixture
def same_weights():
    """The same random weights in every run, for networks built in a test."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module")
def reference():
    """A network with weights that a rectifier and a normalisation notice."""
    from tests.nets import noticeable

    return noticeable()


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run's folder and record, to be read only."""
    from tests.runs import run

    folder = tmp_path_factory.mktemp("run")
    return folder, run(folder, csv=True)
