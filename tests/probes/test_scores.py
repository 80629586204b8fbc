"""One column, several columns: what scores mean is the same wherever they are read."""

import keras
import numpy as np
import pytest
from keras import layers

from allconv.probes import invariance, occlusion
from allconv.results.evaluation import evaluate, score
from allconv.saliency.cam import grad_cam
from allconv.saliency.explainer import Explainer, explain
from allconv.saliency.lrp import propagate
from tests.nets import images

X = images(n=4, size=8)


def sigmoid(z):
    return 1 / (1 + np.exp(-np.asarray(z, np.float64)))


def net(units=1, activation=None):
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(units, activation, kernel_initializer="random_normal"),
        ]
    )


def probe(model, **how):
    """The probabilities of both probes, without a change and with one."""
    covered = occlusion.occlude(model, X, 8, 8, 0.0, **how)
    moved = invariance.measure(model, X, "translation", [2], ["conv"], **how)
    np.testing.assert_allclose(
        covered.clean_probability, moved.clean_probability, rtol=1e-5
    )
    return covered, moved


@pytest.mark.parametrize("activation", [None, "sigmoid"])
@pytest.mark.parametrize("labels", [None, np.array([0, 1, 1, 0])])
def test_one_column_is_the_second_of_two_classes(activation, labels):
    model = net(activation=activation)
    logits = net()(X)[:, 0]
    second = sigmoid(logits)
    expected = (second > 0.5).astype(int) if labels is None else labels
    covered, moved = probe(model, labels=labels, from_logits=activation is None)
    np.testing.assert_array_equal(covered.classes, expected)
    watched = np.where(expected == 1, second, 1 - second)
    np.testing.assert_allclose(covered.clean_probability, watched, rtol=1e-5)
    down = np.zeros_like(X)
    down[:, 2:] = X[:, :-2]
    second = sigmoid(net()(down)[:, 0])
    watched = np.where(expected == 1, second, 1 - second)
    np.testing.assert_allclose(moved.probability[:, 0], watched, rtol=1e-4)


def test_columns_of_their_own():
    expected = sigmoid(net(5)(X))
    for activation in (None, "sigmoid"):
        model = net(5, activation)
        how = {"from_logits": activation is None, "multi_label": True}
        covered, _ = probe(model, labels=np.array([0, 4, 2, 2]), **how)
        np.testing.assert_allclose(
            covered.clean_probability, expected[range(4), [0, 4, 2, 2]], rtol=1e-5
        )
    with pytest.raises(ValueError, match="Pass multi_label=True"):
        probe(net(5, "sigmoid"))


@pytest.mark.filterwarnings("ignore:You are using a softmax")
def test_scores_that_cannot_be_read_are_refused():
    with pytest.raises(ValueError, match="a softmax over one class"):
        probe(net(1, "softmax"))
    with pytest.raises(ValueError, match="Pass from_logits=True"):
        probe(net())
    with pytest.raises(ValueError, match="gives no logits"):
        probe(net(1, "sigmoid"), from_logits=True)


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_evaluation_of_one_column(activation):
    logits = net()(X).numpy()
    second = sigmoid(logits[:, 0])
    labels = np.array([0, 1, 1, 0])
    found = evaluate(net(activation=activation), X, labels)
    assert found.wrong == ((second > 0.5) != labels).sum()
    chosen = np.where(labels == 1, second, 1 - second)
    assert found.loss == pytest.approx(-np.log(chosen).mean(), rel=1e-5)
    assert found.confusion.shape == (2, 2)


def test_scores_of_one_column_have_to_be_told():
    with pytest.raises(ValueError, match="pass `from_logits`"):
        score(np.array([[0.2], [0.9]]), [0, 1])
    assert score(np.array([[0.2], [0.9]]), [0, 1], from_logits=False).wrong == 0
    assert score(np.array([[0.2], [0.9]]), [0, 1], from_logits=True).wrong == 1
    with pytest.raises(ValueError, match="from 0 to 1"):
        score(np.array([[2.0]]), [0], from_logits=False)
    with pytest.raises(ValueError, match=r"`outputs` should be an array of finite"):
        score(np.array([[0.2, 0.8], [np.nan, 1]]), [0, 1])
    with pytest.raises(ValueError, match="5 sigmoids"):
        evaluate(net(5, "sigmoid"), X, np.array([0, 1, 4, 2]))


@pytest.mark.parametrize("rule", ["backprop", "deconvnet", "guided"])
@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_both_classes_of_one_output_are_explained(rule, activation):
    model, two = net(activation=activation), net(2)
    dense = model.layers[-1].kernel.numpy()
    two.layers[-1].kernel.assign(np.concatenate([-dense, dense], axis=1))
    for target in (0, 1):
        np.testing.assert_allclose(
            explain(model, X, rule, target=target),
            explain(two, X, rule, target=target),
            rtol=1e-5,
            atol=1e-7,
        )
    usual = explain(model, X, rule)
    np.testing.assert_array_equal(usual, explain(model, X, rule, target=1))
    np.testing.assert_array_equal(usual, explain(model, X, rule, channel=0))
    index, said = Explainer(model, rule).locate(X, target=[0, 1, 0, 1])
    assert index[:, -1].tolist() == [0, 1, 0, 1]
    logits = net()(X)[:, 0].numpy()
    np.testing.assert_allclose(said, logits * [-1, 1, -1, 1], rtol=1e-5)
    with pytest.raises(ValueError, match="from 0 to 1"):
        explain(model, X, rule, target=2)


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_both_classes_of_one_output_have_a_grad_cam_and_relevance(activation):
    model, two = net(activation=activation), net(2)
    dense = model.layers[-1].kernel.numpy()
    two.layers[-1].kernel.assign(np.concatenate([-dense, dense], axis=1))
    for target in (0, 1, [0, 1, 1, 0]):
        one, other = (grad_cam(m, X, "conv", target=target) for m in (model, two))
        assert one.any()
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-8)
        one, other = (propagate(m, X, target=target) for m in (model, two))
        np.testing.assert_allclose(one.maps, other.maps, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(one.score, other.score, rtol=1e-5)
        np.testing.assert_array_equal(one.target, other.target)
        np.testing.assert_allclose(one.absorbed_share, other.absorbed_share, atol=1e-5)
    np.testing.assert_array_equal(
        propagate(model, X).maps, propagate(model, X, target=1).maps
    )
    for tool in (propagate, lambda m, x, **how: grad_cam(m, x, "conv", **how)):
        with pytest.raises(ValueError, match="from 0 to 1"):
            tool(model, X, target=2)
