"""Scores against counting by hand."""

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from allconv.data.photos import Photos
from allconv.results.evaluation import evaluate, evaluate_photos, score


def test_by_hand():
    outputs = np.array([[2.0, 1, 0], [0, 3, 1], [5, 0, 0], [0, 0, 9]])
    result = score(outputs, np.array([0, 1, 1, 2]))
    assert result.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert (result.n, result.wrong, result.error) == (4, 1, 25.0)
    assert result.per_class == [0.0, 50.0, 0.0]
    powers = np.exp(outputs)
    chosen = powers[np.arange(4), [0, 1, 1, 2]] / powers.sum(axis=1)
    assert result.loss == pytest.approx(-np.log(chosen).mean())


@hypothesis.given(
    hnp.arrays(np.float32, (12, 4), elements=st.floats(-5, 5, width=32)),
    hnp.arrays(np.int64, 12, elements=st.integers(0, 3)),
)
def test_logits_and_their_softmax_score_alike(outputs, labels):
    powers = np.exp(outputs.astype(np.float64))
    a = score(outputs, labels)
    b = score(powers / powers.sum(axis=1, keepdims=True), labels)
    assert a.wrong == sum(outputs.argmax(axis=1) != labels)
    # A tie may fall either way where exp() rounds two logits together.
    if len(set(map(tuple, np.sort(outputs)[:, -2:]))) == 12:
        assert abs(a.loss - b.loss) < 1e-5


def slow_calibration(probabilities, labels):
    total = 0.0
    for b in range(15):
        inside = [
            (p.max(), p.argmax() == y)
            for p, y in zip(probabilities, labels, strict=True)
            if b / 15 <= p.max() < (b + 1) / 15 or (b == 14 and p.max() == 1)
        ]
        if inside:
            confidence, right = np.mean(inside, axis=0)
            total += abs(confidence - right) * len(inside) / len(labels)
    return total


@hypothesis.given(st.integers(0, 10_000))
def test_calibration_error_is_the_definition(seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(3), 40)
    labels = rng.integers(0, 3, 40)
    mine = score(probabilities, labels).calibration_error
    assert mine == pytest.approx(slow_calibration(probabilities, labels), abs=1e-9)


def test_a_class_without_images_has_no_error():
    assert np.isnan(score(np.eye(3), np.array([0, 1, 1])).per_class[2])


def test_model_and_ragged_last_batch():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Activation("linear")])
    inputs = np.random.default_rng(0).normal(size=(11, 2)).astype("float32")
    labels = inputs.argmax(axis=1)
    assert evaluate(model, inputs, labels, batch_size=4).wrong == 0
    assert evaluate(model, inputs, 1 - labels, batch_size=4).error == 100


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_softmax_in_half_precision_is_one(policy):
    keras.utils.set_random_seed(0)  # rounding moves an image to another bin of some
    full, half = (
        keras.Sequential(
            [
                keras.Input((5,)),
                keras.layers.Dense(10, activation="softmax", dtype=dtype),
            ]
        )
        for dtype in ("float32", policy)
    )
    half.set_weights(full.get_weights())
    inputs = np.random.default_rng(0).normal(size=(200, 5)).astype("float32")
    labels = full.predict(inputs, verbose=0).argmax(axis=1)
    expected, found = (evaluate(m, inputs, labels) for m in (full, half))
    assert found.loss == pytest.approx(expected.loss, rel=0.02)
    assert found.calibration_error == pytest.approx(
        expected.calibration_error, rel=0.02
    )


def test_bad_input():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Activation("linear")])
    with pytest.raises(ValueError, match="Received: 3 images, 2 labels"):
        evaluate(model, np.zeros((3, 2)), np.zeros(2, int))
    inputs = keras.Input((2,))
    two = keras.Model(inputs, [inputs + 0, inputs + 1], name="two")
    with pytest.raises(ValueError, match=r"one output.* Received: two with 2 outputs"):
        evaluate(two, np.zeros((3, 2)), np.zeros(3, int))
    for wrong in (np.zeros((0, 3)), np.ones(2), np.full((3, 2), np.nan), [[1j, 0]]):
        with pytest.raises(ValueError, match=r"`outputs` .* \(rows, columns\)"):
            score(wrong, np.zeros(len(wrong), int))
    assert score(np.eye(3), [0, 1, 0]).wrong == 1
    with pytest.raises(ValueError, match="the model has 2 classes"):
        score(np.eye(2), np.array([0, 2]))
    for wrong, received in (
        (np.array([[0], [1]]), r"int64, \(2, 1\)"),  # as keras.datasets gives them
        (np.eye(2), r"float64, \(2, 2\)"),
        (np.array([0.0, 1.0]), r"float64, \(2,\)"),
    ):
        with pytest.raises(ValueError, match=rf"Labels should be 2 .*: {received}"):
            score(np.eye(2), wrong)


def test_the_loss_of_a_sure_mistake_and_of_small_logits():
    sure = score(np.array([[0.0, 12]]), [0])
    assert sure.loss == pytest.approx(12, rel=1e-4)
    small = score(np.array([[0.9, 0.3]]), [0])
    assert small.loss == pytest.approx(np.log1p(np.exp(-0.6)))


def test_five_guesses_are_the_five_largest_scores():
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(size=(60, 9)), rng.integers(0, 9, 60)
    best = np.argsort(-outputs, axis=1)[:, :5]
    missed = sum(label not in row for row, label in zip(best, labels, strict=True))
    found = score(outputs, labels, from_logits=True)
    assert (found.wrong_in_five, found.top5_error) == (missed, 100 * missed / 60)
    assert 0 < missed < 60
    # Of equal scores the lower classes are guessed first.
    equal = score(np.zeros((9, 9)), np.arange(9), from_logits=True)
    assert equal.wrong_in_five == 4


def test_errors_are_of_the_photographs_whose_class_is_known(tmp_path):
    """Of class 0 is the red, of class 1 the blue; the network says red, then green."""
    for name, colour in (("red", "red"), ("blue", "blue"), ("else", "green")):
        (tmp_path / name).mkdir()
        for number in range(2):
            picture = Image.new("RGB", (9, 8), colour)
            picture.save(tmp_path / name / f"{number}.png")
    photos = Photos(tmp_path, 4, ["red", *"abcd", "blue"])
    assert photos.labels.tolist() == [5, 5, -1, -1, 0, 0]
    scores = np.array([[9, 5, 4, 3, 2, 1]], np.float32)
    model = keras.Sequential(
        [keras.Input((4, 4, 3)), keras.layers.Lambda(lambda x: x[:, 0, 0, :1] * scores)]
    )
    found = evaluate_photos(model, photos, batch_size=3)
    # Of blue photographs all scores are 0: the first five classes are as high.
    assert (found.n, found.error, found.top5_error) == (4, 50.0, 50.0)
    photos.labels[:] = -1
    with pytest.raises(ValueError, match="whose class is known"):
        evaluate_photos(model, photos)
