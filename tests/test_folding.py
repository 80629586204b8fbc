"""Whitened networks become plain ones with the same outputs."""

import keras
import numpy as np
import pytest

from allconv.netdeconv import (
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
