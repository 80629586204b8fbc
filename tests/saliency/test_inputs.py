"""Several inputs: one is explained, the others are held as given."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from keras import layers

from allconv.saliency.cam import grad_cam
from allconv.saliency.explainer import Explainer, explain
from tests.nets import images

X = images(n=3, size=8)
AGE = np.array([[0.5, -1], [2, 0.25], [-0.5, 1]], "float32")
WORD = np.array([[0], [2], [1]], "int32")


@tf.custom_gradient
def guided_relu(x):
    y = tf.nn.relu(x)
    return y, lambda up: tf.nn.relu(up) * tf.cast(x > 0, x.dtype)


def net(pack=dict, relu="relu"):
    """An image, two numbers that scale and shift its features, and a word's place."""
    keras.utils.set_random_seed(0)
    names = "zam" if pack is dict else ("picture", "age", "word")  # z, last, is first
    picture = keras.Input((8, 8, 3), name=names[0])
    age = keras.Input((2,), name=names[1])
    word = keras.Input((1,), dtype="int32", name=names[2])
    x = layers.Conv2D(4, 3, activation=relu, name="conv")(picture)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Multiply()([x, layers.Dense(4, name="gate")(age)])
    x = layers.Concatenate()([x, layers.Flatten()(layers.Embedding(3, 5)(word)), age])
    x = layers.Dense(6, activation=relu)(x)
    outputs = layers.Dense(3, activation="softmax")(x)
    taken = [picture, age, word]
    return keras.Model({x.name: x for x in taken} if pack is dict else taken, outputs)


def everything(model, rows=slice(None)):
    parts = [X[rows], AGE[rows], WORD[rows]]
    if isinstance(model.input, dict):
        return dict(zip("zam", parts, strict=True))
    return parts


def held_in_a_layer(model, row):
    """The same function of the picture alone."""
    inputs = keras.Input((8, 8, 3))

    class Held(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = model

        def call(self, x):
            n = tf.shape(x)[0]
            held = (tf.repeat(part[row : row + 1], n, 0) for part in (AGE, WORD))
            parts = [x, *held]
            if isinstance(model.input, dict):
                parts = dict(zip("zam", parts, strict=True))
            return self.inner(parts)

    return keras.Model(inputs, Held()(inputs))


@pytest.mark.parametrize("pack", [dict, list])
@pytest.mark.parametrize("rule", ["backprop", "deconvnet", "guided"])
def test_the_map_is_that_of_the_model_with_the_others_held(pack, rule):
    model = net(pack)
    maps = explain(
        model, everything(model), rule, of={dict: "z", list: 0}[pack], target=1
    )
    for row in range(3):
        alone = explain(held_in_a_layer(model, row), X[row : row + 1], rule, target=1)
        np.testing.assert_allclose(maps[row], alone[0], rtol=1e-4, atol=1e-7)


def test_the_map_is_that_of_a_tape_with_the_rectifiers_swapped():
    model, swapped = net(list), net(list, guided_relu)
    swapped.set_weights(model.get_weights())
    swapped.layers[-1].activation = keras.activations.linear
    with tf.GradientTape() as tape:
        x = tf.constant(X)
        tape.watch(x)
        score = swapped([x, tf.constant(AGE), tf.constant(WORD)])[:, 2]
    expected = tape.gradient(score, x)
    assert np.any(expected)
    # Keras takes inputs by the names of its tensors too.
    given = {"picture": X, "age": AGE, "word": WORD}
    maps = explain(model, given, of="picture", target=2, batch_size=2)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-7)


def test_grad_cam_holds_the_others_too():
    model = net(list)
    maps = grad_cam(model, everything(model), "conv", of=0, target=1, rectify=False)
    for row in range(3):
        alone = grad_cam(
            held_in_a_layer(model, row),
            X[row : row + 1],
            "conv",
            target=1,
            rectify=False,
        )
        np.testing.assert_allclose(maps[row], alone[0], rtol=1e-4, atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(0, 3),
    lack=st.sampled_from([None, "z", "a", "m"]),
    more=st.booleans(),
    rows=st.integers(0, 4),
    of=st.sampled_from(["z", "a", "m", "age", 0, 1, 2, 3, None, True, 1.5]),
)
def test_what_does_not_fit_is_refused_in_a_line(n, lack, more, rows, of):
    explainers = test_what_does_not_fit_is_refused_in_a_line.__dict__
    model = explainers.setdefault("model", net(dict))
    parts = everything(model, slice(n))
    if lack:
        del parts[lack]
    if more:
        parts["other"] = AGE
    if "a" in parts:
        parts["a"] = np.resize(AGE, (rows, 2))
    fits = not lack and not more and rows == n and of == "z"
    # Dict inputs are numbered by their sorted names: z is the third.
    fits = fits or (not lack and not more and rows == n and of == 2 and of is not True)
    if fits:
        assert explain(model, parts, of=of, target=1).shape == (n, 8, 8, 3)
    else:
        with pytest.raises(ValueError, match=r"should|takes") as refusal:
            explain(model, parts, of=of, target=1)
        assert len(str(refusal.value)) < 300
        assert "\n" not in str(refusal.value)


def test_refusals_name_the_inputs():
    model = net(dict)
    with pytest.raises(
        ValueError, match=r"`of` should be one of 'a', 'm', 'z', 0, 1, 2"
    ):
        explain(model, everything(model))
    with pytest.raises(
        ValueError, match=r"hold all of .*'a', 'm', 'z': .* one ndarray"
    ):
        explain(model, X, of="z")
    with pytest.raises(ValueError, match=r"'a' should be of shape \(3, 2\)"):
        explain(model, everything(model) | {"a": AGE[:1]}, of="z")
    with pytest.raises(ValueError, match=r"'m' should be of dtype int32. .* float32"):
        explain(model, everything(model) | {"m": AGE[:, :1]}, of="z")
    with pytest.raises(ValueError, match="'a' should be finite"):
        explain(model, everything(model) | {"a": AGE * np.nan}, of="z")
    with pytest.raises(ValueError, match="dtype int32, through which no gradient"):
        explain(model, everything(model), of="m")
    one = keras.Sequential([keras.Input((8, 8, 3)), layers.ReLU()])
    with pytest.raises(
        ValueError, match=r"array for a model of one input.* dict of 'x'"
    ):
        explain(one, {"x": X})
    assert Explainer(model, of="z").image_shape == (8, 8, 3)
