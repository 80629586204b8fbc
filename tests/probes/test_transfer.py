"""Transfer beside refits, loops and integrals done one by one."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from keras import layers

from allconv.probes import transfer


def network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(5, activation="relu", name="dense"),
            layers.Dense(2, activation="softmax", name="scores"),
        ]
    )


def examples(n=40, classes=4, seed=0):
    """Images whose class is the brightness of one quarter."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = rng.normal(0, 0.3, (n, 8, 8, 3)).astype("float32")
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(label, 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1
    return images, labels


def solve(x, target, penalty):
    """Ridge with a free intercept, from the normal equations of the joint problem."""
    wide = np.column_stack([x, np.ones(len(x))])
    penalties = np.diag([penalty] * x.shape[1] + [0.0])
    both = np.linalg.solve(wide.T @ wide + penalties, wide.T @ target)
    return both[:-1], both[-1]


@given(
    n=st.integers(6, 14),
    d=st.integers(1, 18),
    seed=st.integers(0, 1000),
    penalty=st.sampled_from([1e-3, 1e-1, 1.0, 10.0]),
)
@settings(max_examples=40)
def test_ridge_is_the_solution_and_its_left_out_accuracy_that_of_n_refits(
    n, d, seed, penalty
):
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(n, d)) + 3, np.arange(n) % 3
    labels = 10 + rng.permutation(labels)
    classes = np.array([10, 11, 12])
    found = transfer.ridge(x, labels, classes, [penalty])

    target = np.eye(3)[labels - 10]
    absolute = penalty * ((x - x.mean(axis=0)) ** 2).sum(axis=1).mean()
    weights, bias = solve(x, target, absolute)
    np.testing.assert_allclose(found.weights, weights, atol=1e-6)
    np.testing.assert_allclose(found.bias, bias, atol=1e-6)

    right = []
    for i in range(n):
        rest = np.arange(n) != i
        weights, bias = solve(x[rest], target[rest], absolute)
        scores = x[i] @ weights + bias
        order = np.sort(scores)
        if order[-1] - order[-2] < 1e-9:  # a tie: either answer is right
            return
        right.append(scores.argmax() == labels[i] - 10)
    assert found.left_out == pytest.approx(100 * np.mean(right))


def test_the_penalty_is_the_largest_of_the_best_left_out():
    x, labels = np.random.default_rng(1).normal(size=(30, 20)), np.arange(30) % 3
    x[:, 0] += 2 * labels
    classes, grid = np.arange(3), [1e-4, 1e-2, 1.0, 100.0]
    single = {p: transfer.ridge(x, labels, classes, [p]).left_out for p in grid}
    found = transfer.ridge(x, labels, classes, grid)
    best = max(single.values())
    assert found.left_out == best
    assert found.penalty == max(p for p, value in single.items() if value == best)
    assert min(single.values()) < best


def test_ridge_finds_classes_that_a_line_separates():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    x = np.eye(3)[labels] + rng.normal(0, 0.05, (60, 3))
    found = transfer.ridge(x[:30], labels[:30], np.arange(3))
    assert found.left_out == 100
    np.testing.assert_array_equal(found.classify(x[30:]), labels[30:])


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 5),
    length=st.integers(1, 60),
)
@settings(max_examples=40)
def test_pool_is_the_integral_over_cells(height, width, channels, length):
    rng = np.random.default_rng(height * 100 + width)
    maps = rng.normal(size=(2, height, width, channels)).astype("float32")
    out = transfer.pool(tf.constant(maps), length).numpy()

    grid = 1
    while (grid + 1) ** 2 * channels <= length and grid + 1 <= min(height, width):
        grid += 1
    # Each pixel cut into grid x grid parts: a cell is a whole number of them.
    fine = maps.repeat(grid, axis=1).repeat(grid, axis=2)
    cells = fine.reshape(2, grid, height, grid, width, channels).mean(axis=(2, 4))
    np.testing.assert_allclose(out, cells.reshape(2, -1), atol=1e-5)


def test_features_are_those_of_the_layers_whatever_the_batch():
    model, (images, _) = network(), examples(11)
    found = transfer.features(
        model, 255 * images, ["conv", "dense"], 36, lambda x: x / 255, batch_size=4
    )
    assert list(found) == ["pixels", "conv", "dense"]
    for name in ("conv", "dense"):
        inner = keras.Model(model.inputs[0], model.get_layer(name).output)
        expected = transfer.pool(inner(images), 36)
        np.testing.assert_allclose(found[name], expected, atol=1e-5)
    assert found["conv"].shape == (11, 36)  # 6 x 6 x 4, as 3 x 3 x 4
    expected = transfer.pool(tf.constant(255 * images), 36)
    np.testing.assert_allclose(found["pixels"], expected, rtol=1e-4)


def test_draws_are_disjoint_balanced_and_of_the_seed():
    labels = np.random.default_rng(0).permutation(np.repeat([2, 5, 7], 20))
    chosen = transfer.draw(labels, 4, 5, seed=1)
    assert chosen.shape == (5, 12)
    assert len(np.unique(chosen)) == 60
    for fold in chosen:
        np.testing.assert_array_equal(np.sort(labels[fold]), np.repeat([2, 5, 7], 4))
    np.testing.assert_array_equal(chosen, transfer.draw(labels, 4, 5, seed=1))
    assert (chosen != transfer.draw(labels, 4, 5, seed=2)).any()


def test_transfer_is_a_loop_over_folds_and_layers():
    model, (x, y), (x_test, y_test) = network(), examples(60), examples(22, seed=1)
    found = transfer.carry(
        model, (x, y), (x_test, y_test), ["conv", "dense"], 5, folds=3, length=16
    )
    for name, result in found.items():
        before = transfer.features(model, x, ["conv", "dense"], 16)[name]
        after = transfer.features(model, x_test, ["conv", "dense"], 16)[name]
        accuracies = []
        for fold in transfer.draw(y, 5, 3, seed=0):
            line = transfer.ridge(before[fold], y[fold], np.arange(4))
            answers = line.classify(after)
            each = [np.mean(answers[y_test == c] == c) for c in range(4)]
            accuracies.append(100 * np.mean(each))
        np.testing.assert_allclose(result.accuracy, accuracies)
        assert result.length == before.shape[1]
        assert result.mean == pytest.approx(np.mean(accuracies))
        assert result.std == pytest.approx(np.std(accuracies, ddof=1))
    assert found["pixels"].mean > 90  # a line on the pixels solves it


@pytest.mark.parametrize(
    "change, match",
    [
        ({"per_class": 11}, r"5 folds of 11 images .* need 55 of each; class 0 has 10"),
        ({"per_class": 0}, "`per_class` should be an integer from 1"),
        ({"per_class": 1.5}, "`per_class` should be an integer from 1"),
        (
            {
                "test": (
                    np.array([np.ones((8, 8, 3)), np.full((8, 8, 3), np.nan)]),
                    [0, 1],
                )
            },
            r"`test\[0\]` should be .* finite real",
        ),
        ({"layers": []}, "`layers` should name a layer"),
        ({"layers": ["pixels"]}, "none 'pixels'"),
        ({"layers": ["nowhere"]}, "nowhere"),
        ({"length": 0}, "`length` should be an integer from 1"),
        ({"test": (np.zeros((2, 8, 8, 3)), np.array([0, 9]))}, "`test` has a class"),
        ({"test": (np.zeros((2, 8, 8, 3)), np.array([0]))}, "an integer label"),
    ],
)
def test_bad_input_gets_one_line(change, match):
    arguments = {
        "train": examples(),
        "test": examples(8, seed=1),
        "layers": ["conv"],
        "per_class": 2,
    }
    with pytest.raises(ValueError, match=match):
        transfer.carry(network(), **(arguments | change))


def test_features_that_say_nothing_are_refused():
    with pytest.raises(ValueError, match="not the same for all"):
        transfer.ridge(np.ones((4, 3)), np.arange(4) % 2, np.arange(2))
    with pytest.raises(ValueError, match="finite"):
        transfer.ridge(np.full((4, 3), np.nan), np.arange(4) % 2, np.arange(2))


def test_transfer_preprocesses_and_draws_by_its_seed():
    model, (x, y), (x_test, y_test) = network(), examples(60), examples(22, seed=1)
    found = transfer.carry(
        model,
        (9 * x + 1, y),
        (9 * x_test + 1, y_test),
        ["conv"],
        5,
        folds=3,
        length=16,
        seed=4,
        preprocess=lambda images: (images - 1) / 9,
    )["conv"]
    before, after = (
        transfer.features(model, i, ["conv"], 16)["conv"] for i in (x, x_test)
    )
    lines = [
        transfer.ridge(before[fold], y[fold], np.arange(4))
        for fold in transfer.draw(y, 5, 3, 4)
    ]
    each = [
        [(line.classify(after) == y_test)[y_test == c].mean() for c in range(4)]
        for line in lines
    ]
    np.testing.assert_allclose(found.accuracy, 100 * np.mean(each, axis=1))
    np.testing.assert_array_equal(found.penalty, [line.penalty for line in lines])
