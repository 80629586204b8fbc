"""Answers are checked, figures live, and a network comes with the names of classes."""

import sys

import keras
import numpy as np
import pytest

from allconv.data import photo
from allconv.lessons import check, checks, imagenet, live

RIGHT = {
    "number": (0.5, 0.5 + 1e-7),
    "counts": ((30, 27), np.array([30, 27])),
    "text": ("cat", "cat"),
    "array": ([[1, 0], [0, 1]], np.eye(2)),
    "nothing": ([], []),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_right_answer_is_right(kind, capsys):
    check(*RIGHT[kind])
    assert capsys.readouterr().out == "Right.\n"


@pytest.mark.parametrize(
    "answer, expected, words",
    [
        (0.6, 0.5, "Not yet. Halve it. Received: 0.6"),
        ((1, 2), (1, 2, 3), r"The shape should be \(3,\). Received: \(2,\). Halve it."),
        ("dog", "cat", "Received: dog"),
        ("1", 1, "Received: 1"),
        (None, 0.5, "Received: None"),
        (np.nan, 0.5, "Received: nan"),
        ([0, 1e-3], [0, 1], "Not yet"),
    ],
)
def test_a_wrong_answer_is_told_what_helps(answer, expected, words):
    with pytest.raises(AssertionError, match=words):
        check(answer, expected, "Halve it.")


def test_numbers_may_be_off_by_a_share_of_the_largest():
    check([100.05, 0.05], [100, 0], tolerance=1e-3)
    with pytest.raises(AssertionError):
        check([100.2, 0], [100, 0], tolerance=1e-3)


def test_a_function_is_called(capsys):
    check(lambda a, b: a - b, 2, of=(5, 3))
    assert capsys.readouterr().out == "Right.\n"
    with pytest.raises(AssertionError):
        check(lambda a, b: b - a, 2, of=(5, 3))


def test_three_dots_are_no_answer_yet(capsys):
    check(..., 1)
    check(..., 1, of=(2,))
    assert capsys.readouterr().out == f"{checks.NOT_ANSWERED}\n" * 2


class Handle:
    """Stands for what `display` gives."""

    def __init__(self):
        self.updates = []

    def update(self, what):
        self.updates.append(what)


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, and the handle of the figure."""
    found, handle = [], Handle()

    def display(what, display_id=False):
        found.append(what)
        return handle if display_id else None

    monkeypatch.setattr(live, "display", display)
    return found, handle


def test_a_figure_is_drawn_at_once_and_anew_when_a_control_moves(shown):
    pytest.importorskip("ipywidgets")  # without it, one that does not move
    found, handle = shown
    controls = {"unit": range(5), "rule": ["a", "b"]}
    unit, rule = live.show(lambda **values: values, controls, unit=3)
    assert found[-1] == {"unit": 3, "rule": "a"}
    unit.value = 4
    rule.value = "b"
    assert handle.updates == [{"unit": 4, "rule": "a"}, {"unit": 4, "rule": "b"}]


def test_without_ipywidgets_there_is_the_figure(shown, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert live.show(lambda unit: unit, {"unit": range(5)}, unit=2) == []
    assert shown[0] == [2]
    assert "pip install ipywidgets" in capsys.readouterr().out


@pytest.fixture
def mine(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(2, activation="softmax"))
    model.save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras"


def test_a_file_has_the_names_beside_it(mine):
    assert imagenet.load(str(mine), "tf").names == ["class 0", "class 1"]
    mine.with_suffix(".txt").write_text("cat\ndog\n")
    network = imagenet.load(str(mine), "tf")
    assert network.names == ["cat", "dog"]
    pixels = photo.read(imagenet.CAT, 8)[None]
    np.testing.assert_allclose(
        network.preprocess(pixels), pixels / 127.5 - 1, atol=1e-5
    )


def test_networks_of_keras_have_their_way_and_their_names(monkeypatch):
    asked = []
    monkeypatch.setattr(
        keras.applications, "VGG16", lambda weights: asked.append(weights)
    )
    monkeypatch.setattr(
        keras.applications.imagenet_utils,
        "decode_predictions",
        lambda scores, top: [[("n1", f"tiger_cat{row.argmax()}", 1)] for row in scores],
    )
    network = imagenet.load("VGG16")
    assert asked == ["imagenet"]
    assert network.names[:2] == ["tiger cat0", "tiger cat1"]
    assert len(network.names) == 1000
    blue = np.zeros((1, 1, 1, 3), np.uint8)
    np.testing.assert_allclose(
        network.preprocess(blue)[0, 0, 0], [-103.939, -116.779, -123.68], 1e-5
    )


def test_what_cannot_be_fetched_is_said_in_one_line(monkeypatch):
    def fail(weights):
        raise Exception("URL fetch failure")  # as Keras does

    monkeypatch.setattr(keras.applications, "MobileNetV2", fail)
    with pytest.raises(FileNotFoundError, match="MobileNetV2 cannot be fetched here"):
        imagenet.load("MobileNetV2")


def test_our_own_network_will_do():
    network = imagenet.load("all_cnn_c")
    assert network.names[3] == "cat"
    scores = network.model(network.preprocess(photo.read(imagenet.CAT, 32)[None]))
    assert network.names[int(np.argmax(scores))] == "cat"
