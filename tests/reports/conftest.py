"""A microscope page of two released networks, and a browser that has it open."""

import pytest

from allconv.networks import weights
from allconv.networks.classifier import Classifier
from allconv.reports.microscope import page
from tests.reports import browser as browsers


@pytest.fixture(scope="session")
def classifiers():
    return {
        name: Classifier.load(weights.released(name, "cifar10"))
        for name in ("all_cnn_c", "model_c")
    }


@pytest.fixture(scope="session")
def microscope(classifiers, tmp_path_factory):
    path = tmp_path_factory.mktemp("microscope") / "new" / "microscope.html"
    assert page.write(path, list(classifiers.values()), patches="index.html") == path
    return path


@pytest.fixture(scope="session")
def browser(microscope, tmp_path_factory):
    """A window with the page; what a test opens in it, it leaves."""
    if not (browsers.CHROMIUM and browsers.DRIVER):
        pytest.skip(browsers.MISSING)
    with browsers.Browser(tmp_path_factory.mktemp("profile")) as window:
        window.open(microscope.as_uri())
        window.wait("answer")
        yield window
