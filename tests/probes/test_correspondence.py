import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from keras import layers

from allconv.probes.correspondence import (
    compare,
    load_parts,
    mask,
    random_boxes,
    sign_distances,
)


def sign(x):
    return int(x > 0) - int(x < 0)


@given(st.integers(0, 999), st.integers(2, 6), st.integers(1, 9))
@settings(deadline=None, max_examples=25)
def test_sign_distances_against_loops(seed, n, features):
    changes = np.random.default_rng(seed).integers(-2, 3, (n, features)) * 0.5
    pairs, among_changed = sign_distances(changes)
    ordered, kept = 0.0, []
    for i in range(n):
        for j in range(n):
            if i != j:
                differ = [
                    sign(a) != sign(b)
                    for a, b in zip(changes[i], changes[j], strict=True)
                ]
                ordered += sum(differ) / features
                either = np.logical_or(changes[i], changes[j]).sum()
                if i < j:
                    kept.append(sum(differ) / either if either else 0)
    assert len(pairs) == n * (n - 1) // 2
    np.testing.assert_allclose(2 * pairs.sum(), ordered)
    np.testing.assert_allclose(among_changed, kept)


@given(st.integers(0, 999))
@settings(deadline=None, max_examples=25)
def test_sign_distances_are_of_signs(seed):
    """Equal signs give 0, opposite signs 1; sizes do not matter."""
    rng = np.random.default_rng(seed)
    change = rng.normal(size=10)
    scales = rng.uniform(0.1, 9, (4, 1))
    np.testing.assert_array_equal(sign_distances(change * scales), 0)
    np.testing.assert_array_equal(sign_distances(np.stack([change, -change])), 1)
    assert np.shape(sign_distances(change[None])) == (2, 0)  # one row has no pair


def net_of_known_signs():
    """Feature 0 is the sum of pixels, 1 its negative, 2 the constant 0."""
    inputs = keras.Input((4, 4, 1))
    flat = layers.Flatten(name="flat")(inputs)
    dense = layers.Dense(3, use_bias=False, name="signs")
    model = keras.Model(inputs, layers.Softmax()(dense(flat)))
    dense.set_weights([np.tile([1.0, -1.0, 0.0], (16, 1))])
    return model


def test_a_net_with_known_sign_changes():
    """Masking a bright corner lowers the sum, a dark one raises it: 2 of 3 differ."""
    images = np.zeros((3, 4, 4, 1), "float32")
    images[0, :2, :2], images[1, :2, :2], images[2, :2, :2] = 1, 5, -1
    corner = np.tile([0, 0, 2, 2], (3, 1))
    elsewhere = np.tile([2, 2, 4, 4], (3, 1))
    scores = compare(
        net_of_known_signs(),
        images,
        {"corner": corner, "elsewhere": elsewhere},
        ["signs", "flat"],
        0,
        draws=2,
        batch_size=2,
    )
    assert [(s.part, s.layer) for s in scores] == [
        (part, layer)
        for part in ("corner", "elsewhere", "random")
        for layer in ("signs", "flat")
    ]
    by = {(s.part, s.layer): s for s in scores}
    np.testing.assert_allclose(by["corner", "signs"].pairs, [0, 2 / 3, 2 / 3])
    np.testing.assert_allclose(by["corner", "flat"].pairs, [0, 4 / 16, 4 / 16])
    np.testing.assert_allclose(by["elsewhere", "signs"].pairs, 0)
    np.testing.assert_allclose(by["corner", "flat"].among_changed, [0, 1, 1])
    assert by["corner", "signs"].mean == pytest.approx(4 / 9)
    assert by["corner", "signs"].std == pytest.approx(np.std([0, 2 / 3, 2 / 3], ddof=1))
    assert len(by["random", "flat"].pairs) == 2 * 3


def test_correspondence_against_a_loop():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 9, 2)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(6, activation="relu", name="dense"),
        ]
    )
    rng = np.random.default_rng(2)
    images = rng.normal(size=(4, 8, 9, 2)).astype("float32")
    boxes = np.array([[0, 0, 3, 4], [5, 2, 8, 6], [6, 4, 9, 8], [2, 3, 5, 7]])
    scores = compare(model, images, {"part": boxes}, ["conv", "dense"], (0.1, -1))
    for score in scores[:2]:
        read = keras.Model(model.inputs[0], model.get_layer(score.layer).output)
        signs = []
        for image, (left, top, right, bottom) in zip(images, boxes, strict=True):
            masked = image.copy()
            masked[top:bottom, left:right] = (0.1, -1)
            both = read(np.stack([image, masked])).numpy()
            signs.append(np.vectorize(sign)(both[0] - both[1]).ravel())
        expected = [
            np.mean(signs[i] != signs[j]) for i in range(4) for j in range(i + 1, 4)
        ]
        np.testing.assert_allclose(score.pairs, expected)
    again = compare(model, images, {"part": boxes}, ["conv"], (0.1, -1), seed=0)
    np.testing.assert_array_equal(again[1].pairs, scores[2].pairs)


def test_a_single_pair_has_no_spread():
    images = np.ones((2, 4, 4, 1), "float32")
    boxes = np.tile([0, 0, 2, 2], (2, 1))
    score = compare(net_of_known_signs(), images, {"a": boxes}, ["signs"], 0)[0]
    assert score.mean == 0
    assert np.isnan(score.std)


@given(st.integers(0, 999))
@settings(deadline=None, max_examples=25)
def test_random_boxes_keep_sizes_and_stay_inside(seed):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 4, (5, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 5, (5, 2))], 1)
    found = random_boxes(boxes, 9, 7, rng)
    np.testing.assert_array_equal(
        found[:, 2:] - found[:, :2], boxes[:, 2:] - boxes[:, :2]
    )
    assert found.min() >= 0
    assert (found[:, 2] <= 7).all()
    assert (found[:, 3] <= 9).all()


def test_load_parts(tmp_path):
    path = tmp_path / "parts.json"
    parts = {
        "a.jpg": {"eye": [0, 1, 2, 3], "nose": [4, 4, 6, 9]},
        "b.jpg": {"nose": [1, 1, 2, 2], "eye": [5, 5, 7, 8]},
    }
    path.write_text(json.dumps({"parts": parts, "crop": "centre"}))
    loaded = load_parts(path)
    assert loaded.names == ("a.jpg", "b.jpg")
    np.testing.assert_array_equal(loaded.boxes["eye"], [[0, 1, 2, 3], [5, 5, 7, 8]])
    assert list(loaded.boxes) == ["eye", "nose"]


@pytest.mark.parametrize(
    "text, match",
    [
        ("{", "is not JSON"),
        ("[]", "should hold"),
        ('{"parts": {}}', "should hold"),
        ('{"parts": {"a": {"x": [0, 0, 1, 1]}, "b": {}}}', "the same parts"),
        ('{"parts": {"a": {"x": [0, 0, 1]}}}', "a, x"),
        ('{"parts": {"a": {"x": [0, 0, 1, true]}}}', "four integers"),
        ('{"parts": {"a": {"x": [3, 0, 1, 1]}}}', "left < right"),
        ('{"parts": {"a": {"x": [0, 0, 1, 1.5]}}}', "four integers"),
    ],
)
def test_bad_parts(tmp_path, text, match):
    path = tmp_path / "parts.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=match):
        load_parts(path)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"images": np.zeros((1, 4, 4, 1))}, "at least 2 images"),
        (
            {"parts": {"a": [[0, 0, 2, 2], [3, 3, 5, 4]]}},
            "is not inside image 1, 4 x 4",
        ),
        ({"parts": {"a": [[0, 0, 2, 2]]}}, "four for each of the 2 images"),
        ({"parts": {"a": [[0, 0, 2, 2.0]] * 2}}, "should be integers"),
        ({"parts": {}}, "at least one each"),
        ({"parts": {"random": [[0, 0, 2, 2]] * 2}}, "no part 'random'"),
        ({"draws": 0}, "draws"),
        ({"draws": 10**30}, "draws"),
        ({"layers": ["nowhere"]}, "has no layer"),
    ],
)
def test_bad_correspondence(arguments, match):
    arguments = {
        "images": np.zeros((2, 4, 4, 1)),
        "parts": {"a": [[0, 0, 2, 2]] * 2},
        "layers": ["signs"],
        "fill": 0,
        **arguments,
    }
    with pytest.raises(ValueError, match=match):
        compare(net_of_known_signs(), **arguments)


def test_features_that_are_not_finite_are_no_correspondence():
    model = net_of_known_signs()
    model.set_weights([np.nan * weight for weight in model.get_weights()])
    with pytest.raises(ValueError, match="'kernel' of the layer 'signs'"):
        compare(
            model, np.ones((2, 4, 4, 1)), {"a": [[0, 0, 2, 2]] * 2}, ["signs"], fill=0
        )


def test_mask_leaves_the_images_alone():
    images = np.ones((1, 3, 3, 2), "uint8")
    out = mask(images, np.array([[1, 0, 3, 1]]), (7, 8))
    expected = np.ones((1, 3, 3, 2))
    expected[0, 0, 1:] = (7, 8)
    np.testing.assert_array_equal(out, expected)
    assert images.max() == 1


def test_random_boxes_are_anywhere_alike():
    boxes = np.tile([0, 0, 2, 3], (4000, 1))
    found = random_boxes(boxes, 5, 4, np.random.default_rng(0))
    counts = np.zeros((3, 3))
    np.add.at(counts, (found[:, 1], found[:, 0]), 1)
    assert np.abs(counts / 4000 - 1 / 9).max() < 0.03


def test_masked_images_are_preprocessed():
    images = np.zeros((3, 4, 4, 1), "float32")
    images[0, :2, :2], images[1, :2, :2], images[2, :2, :2] = 1, 5, -1
    corner = {"corner": np.tile([0, 0, 2, 2], (3, 1))}
    score, _ = compare(
        net_of_known_signs(), images, corner, ["signs"], 0, preprocess=np.abs
    )
    np.testing.assert_array_equal(score.pairs, 0)
