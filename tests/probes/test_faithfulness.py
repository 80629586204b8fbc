"""Deletion and insertion: as slow loops have them, on scores that are known."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from allconv.probes.faithfulness import curves, ranks


def slowly(predict, image, importance, target, fill, steps):
    """One image, pixel by pixel; all importances differ."""
    places = sorted(np.ndindex(importance.shape), key=lambda p: -importance[p])
    away, back = image.copy(), np.full_like(image, fill)
    deletion, insertion, done = [], [], 0
    for k in range(steps + 1):
        while done < round(k * len(places) / steps):
            away[places[done]], back[places[done]] = fill, image[places[done]]
            done += 1
        deletion.append(predict(away[None])[0, target])
        insertion.append(predict(back[None])[0, target])
    return deletion, insertion


@given(st.integers(0, 2**16), st.sampled_from([1, 5, 20]))
def test_curves_are_those_of_a_slow_loop(seed, steps):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(2, 4, 5, 3)).astype("float32")
    importance = rng.permutation(40).reshape(2, 4, 5)
    mix = rng.normal(size=(60, 3))

    def predict(x):
        return np.tanh(x.reshape(len(x), -1) @ mix)

    found = curves(predict, images, importance, [2, 0], fill=0.5, steps=steps)
    for i, target in enumerate([2, 0]):
        slow = slowly(predict, images[i], importance[i], target, 0.5, steps)
        np.testing.assert_allclose([found.deletion[i], found.insertion[i]], slow)
    np.testing.assert_allclose(found.deletion[:, 0], found.insertion[:, -1])
    np.testing.assert_allclose(found.deletion[:, -1], found.insertion[:, 0])


def test_areas_of_a_score_that_is_one_pixel():
    """Found first, it is gone, or there, after one step; found last, at the last."""
    images = np.ones((1, 2, 5, 1), "float32")
    importance = np.zeros((1, 2, 5))

    def predict(x):
        return x[:, 0, 0]

    importance[0, 0, 0] = 1
    first = curves(predict, images, importance, 0, fill=0, steps=10)
    assert first.deletion_area == pytest.approx(0.05)
    assert first.insertion_area == pytest.approx(0.95)
    last = curves(predict, images, -importance, 0, fill=0, steps=10)
    assert last.deletion_area == pytest.approx(0.95)
    assert last.insertion_area == pytest.approx(0.05)


def test_equal_pixels_go_in_an_order_that_is_drawn():
    importance = np.zeros((1, 10, 10))
    importance[0, 9, 9] = 1
    rank = ranks(importance)
    assert rank[0, 9, 9] == 0
    assert sorted(rank.ravel()) == list(range(100))
    assert abs(np.corrcoef(rank.ravel(), np.arange(100))[0, 1]) < 0.3
    assert (ranks(importance, seed=1) != rank).any()


def test_a_fill_may_be_a_colour_or_an_image():
    images = np.ones((1, 2, 2, 3), "float32")
    importance = np.arange(4).reshape(1, 2, 2)
    colour = [0.0, 1.0, 2.0]

    def predict(x):
        return x.mean((1, 2))

    one = curves(predict, images, importance, 2, colour, steps=4)
    np.testing.assert_allclose(one.deletion[0], [1, 1.25, 1.5, 1.75, 2])
    other = curves(predict, images, importance, 2, images * colour, steps=4)
    np.testing.assert_array_equal(one.deletion, other.deletion)


def test_arguments_are_refused():
    images, importance = np.ones((2, 3, 3, 1), "float32"), np.zeros((2, 3, 3))
    good = {"predict": lambda x: x[:, 0, 0], "images": images, "fill": 0}
    good |= {"importance": importance, "target": 0, "steps": 4}
    for arguments, said in [
        ({"importance": importance[..., None]}, "importance"),
        ({"importance": importance * np.nan}, "importance"),
        ({"target": 1}, "target"),
        ({"target": [0, 0, 0]}, "target"),
        ({"target": 0.5}, "target"),
        ({"steps": 10}, "steps"),
        ({"fill": [0, 1]}, "fill"),
        ({"predict": lambda x: x.mean((1, 2, 3))}, "predict"),
        ({"predict": lambda x: x[:, 0, 0] * np.nan}, "predict"),
    ]:
        with pytest.raises(ValueError, match=said):
            curves(**(good | arguments))
