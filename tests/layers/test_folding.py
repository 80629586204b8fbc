"""Whitened networks become plain ones with the same outputs."""

import keras
import numpy as np
import pytest

from allconv.layers.netdeconv import (
    NetworkDeconvolution2D,
    NetworkDeconvolutionDense,
    fold,
)
from tests.deconvolution import (
    batches,
    every_layer,
    near,
    trained,
)


def test_fold_gives_plain_layers_and_the_same_outputs():
    model = trained(every_layer())
    folded = fold(model)
    layers = folded._flatten_layers()
    assert not any(type(layer).__module__.startswith("allconv") for layer in layers)
    assert folded.get_layer("shared").__class__ is keras.layers.Conv2D
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds.count("Conv2D") == 5
    assert kinds.count("DepthwiseConv2D") == 1
    assert kinds.count("ZeroPadding2D") == 2
    for size in (12, 9):
        x = batches(1, size)[0].astype("float32")
        near(folded(x), model(x), 1e-5)
    before = model.get_weights()
    folded.set_weights([0 * weight for weight in folded.get_weights()])
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_fold_sequential():
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            keras.layers.Dropout(0.2),
            NetworkDeconvolution2D(6, 3, strides=2, padding=1, activation="relu"),
            keras.layers.Flatten(),
            NetworkDeconvolutionDense(4, activation="softmax"),
        ]
    )
    trained(model)
    x = batches()[0].astype("float32")
    near(fold(model)(x), model(x), 1e-5)
    assert [type(layer).__name__ for layer in fold(model).layers] == [
        "Dropout",
        "ZeroPadding2D",
        "Conv2D",
        "Flatten",
        "Dense",
    ]


class Standardised(keras.layers.Conv2D):
    """A convolution that does something else with its weights."""

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel - keras.ops.mean(kernel))


def test_adapted_statistics_are_kept():
    x = batches()[0].astype("float32")
    adapted = keras.layers.Normalization()
    adapted.adapt(3 * x + 5)
    rows = [adapted, NetworkDeconvolution2D(6, 3), keras.layers.ReLU()]
    model = trained(keras.Sequential([keras.Input((12, 12, 3)), *rows]))
    near(fold(model)(x), model(x), 1e-5)


def norms_that_are_not_taken_in():
    """By name: models in which batch normalisation is more than a scale and a shift."""
    BatchNormalization = keras.layers.BatchNormalization

    def odd(x):
        return BatchNormalization()(Standardised(4, 3)(x))

    def shared(x):  # normalised inside the inner model only
        conv = keras.layers.Conv2D(4, 3)
        inner_input = keras.Input((12, 12, 3))
        inner = keras.Model(inner_input, BatchNormalization()(conv(inner_input)))
        return keras.layers.Concatenate()([inner(x), conv(x)])

    def in_training(x):
        return BatchNormalization()(keras.layers.Conv2D(4, 3)(x), training=True)

    def in_a_model_in_training(x):
        start = keras.Input((12, 12, 3))
        inner = keras.Model(
            start, BatchNormalization()(keras.layers.Conv2D(4, 3)(start))
        )
        return inner(x, training=True)

    def read_twice(x):
        y = keras.layers.Conv2D(4, 3)(x)
        return [BatchNormalization()(y), y]

    kinds = (odd, shared, in_training, in_a_model_in_training, read_twice)
    return {f.__name__: f for f in kinds}


@pytest.mark.parametrize("kind", norms_that_are_not_taken_in())
def test_batch_normalisation_is_taken_in_only_where_that_is_the_same(kind):
    inputs = keras.Input((12, 12, 3))
    model = keras.Model(inputs, norms_that_are_not_taken_in()[kind](inputs))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 2, w.shape) for w in model.get_weights()])
    x = batches()[0].astype("float32")
    for now, before in zip(
        keras.tree.flatten(fold(model)(x)), keras.tree.flatten(model(x)), strict=True
    ):
        near(now, before, 1e-5)


def test_fold_refuses_what_it_cannot_take_apart():
    class Closed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = NetworkDeconvolutionDense(2)

        def call(self, x):
            return self.inner(x)

    closed = Closed()
    closed(np.ones((2, 3), "float32"))
    with pytest.raises(ValueError, match="Only Sequential and functional"):
        fold(closed)
    with pytest.raises(ValueError, match="Only a built model"):
        fold(keras.Sequential([NetworkDeconvolutionDense(2)]))
    inputs = keras.Input((5, 3))
    wrapped = keras.layers.TimeDistributed(NetworkDeconvolutionDense(2, name="deep"))
    with pytest.raises(ValueError, match="which wraps deep"):
        fold(keras.Model(inputs, wrapped(inputs)))
