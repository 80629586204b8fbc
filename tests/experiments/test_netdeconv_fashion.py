"""The paper's first experiments: closed form, search for a rate, table and figure."""

import json
import math

import numpy as np
import pytest
from keras import ops

from allconv.layers.netdeconv import ChannelDeconvolution, NetworkDeconvolutionDense
from experiments import TABLES, netdeconv_fashion as fashion, short_runs


def test_nothing_linear_is_below_the_closed_form():
    rng = np.random.default_rng(0)
    pixels, labels = rng.random((60, 784)).astype(np.float32), rng.integers(0, 10, 60)
    pixels[:, 5:] = 0  # dark pixels, as the images' corners
    targets = np.eye(10)[labels]
    floor = fashion.floor((pixels, labels), (pixels, labels))
    weights = fashion.closed_form(pixels, targets)
    ones = np.append(pixels.astype(float), np.ones((60, 1)), axis=1)
    slope = ones.T @ (ones @ weights - targets)  # of the loss: 0 at its least
    np.testing.assert_allclose(slope, 0, atol=1e-9)
    loss = np.sum((ones @ weights - targets) ** 2) / 2 / 60
    assert floor["loss"] == pytest.approx(loss)
    assert floor["error"] == pytest.approx(
        100 * np.mean(np.argmax(ones @ weights, axis=1) != labels)
    )


def test_losses_are_those_of_their_formulas():
    rng = np.random.default_rng(0)
    targets, scores = np.eye(10)[[3, 1]], rng.normal(size=(2, 10))
    squares = ops.convert_to_numpy(fashion.half_squares(targets, scores))
    entropy = ops.convert_to_numpy(fashion.cross_entropy(targets, scores))
    for i, label in enumerate((3, 1)):
        own = sum((s - (k == label)) ** 2 for k, s in enumerate(scores[i])) / 2
        assert squares[i] == pytest.approx(own)
        own = math.log(sum(map(math.exp, scores[i]))) - scores[i][label]
        assert entropy[i] == pytest.approx(own)


@pytest.mark.parametrize("best", [1e-4, 0.003, 0.1, 3.0])
@pytest.mark.parametrize("limit", [1e9, 0.02])
def test_the_search_finds_the_best_rate_of_the_ladder(best, limit):
    asked = []

    def score(rate):
        asked.append(rate)
        return math.inf if rate > limit else abs(math.log10(rate / best))

    found = short_runs.choose(score)
    assert found == (best if best < limit else 0.01)
    assert len(asked) == len(set(asked)) <= 9


def test_networks_are_whitened_or_normalised_where_they_should_be():
    for hidden, count in ((), 7850), ((128, 128), 784 * 128 + 128 * 138 + 266):
        for method in fashion.METHODS:
            model = fashion.network(method, hidden)
            kinds = [type(layer) for layer in model.layers]
            layers = len(hidden) + 1
            whole = layers * method.startswith("deconv")
            assert kinds.count(NetworkDeconvolutionDense) == whole
            assert kinds.count(ChannelDeconvolution) == layers * (method == "channels")
            trained = sum(np.prod(w.shape) for w in model.trainable_weights)
            extra = {"batch": 2 * (sum(hidden) or 784)}.get(method, 0)
            assert trained == count + extra
            assert model.output_shape == (None, 10)
    assert {
        layer.block for layer in fashion.network("deconv", (128,)).layers[1::2]
    } == {*(784, 128)}


def test_a_training_nears_the_closed_form(monkeypatch):
    monkeypatch.setattr(fashion, "BATCH", 64)
    rng = np.random.default_rng(0)
    pixels = np.zeros((640, 784), np.float32)
    pixels[:, :3] = rng.random((640, 3))
    labels = (pixels[:, 0] > 0.5).astype(int)
    split = (pixels, labels)
    problem = fashion.PROBLEMS["L2 regression"]
    run = fashion.train(problem, "none", 0.1, 0, split, [split, split])
    assert run["steps"] == [0, 1, 2, 4, 8, 10]
    assert run["held"] == run["losses"][-1] < run["losses"][0]
    assert run["losses"][-1] > fashion.floor(split, split)["loss"]
    assert run["error"] < 50
    lost = fashion.train(problem, "none", 1e30, 0, split, [split, split])
    assert lost["held"] is None
    assert np.isfinite(lost["losses"]).all()


def test_table_and_figure_are_of_what_was_measured():
    found = json.loads((TABLES / "netdeconv_fashion.json").read_text())
    assert fashion.table(found) + "\n" == (TABLES / "netdeconv_fashion.md").read_text(
        encoding="utf-8"
    )
    figure = fashion.figure(found)
    top = figure.axes[:3]
    titles = [axes.get_ylabel().removeprefix("loss of ") for axes in top]
    assert titles == [*fashion.PROBLEMS]
    drawn = top[0].lines[0].get_ydata()
    runs = found["L2 regression"]["none"]["runs"]
    np.testing.assert_allclose(drawn, np.mean([r["losses"] for r in runs], axis=0)[1:])
    assert top[0].lines[-1].get_ydata()[0] == found["closed form"]["loss"]
