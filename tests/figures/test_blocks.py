"""A block diagram shows the layers that the model has."""

import keras
import pytest
from keras import layers

from allconv.figures.blocks import block_diagram, blocks


@pytest.fixture(scope="module")
def model():
    inner = keras.Sequential(
        [keras.Input((8, 8, 4)), layers.MaxPooling2D(2), layers.ReLU()]
    )
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.ZeroPadding2D(1),
            layers.Conv2D(4, 3, strides=2, activation="relu"),
            layers.BatchNormalization(),
            inner,
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )


def test_each_layer_that_computes_with_neighbours_is_a_block(model):
    assert blocks(model) == [
        ("convolution", "3x3\n4", 2, 8),
        ("pooling", "2x2\npool", 2, 4),
        ("pooling", "mean", 1, 1),
        ("dense", "dense\n10", 1, 1),
    ]


def test_boxes_are_as_high_as_maps_are_wide_and_strides_have_thick_frames(model):
    figure = block_diagram({"one": model, "two": model})
    one, two = figure.axes
    assert [axes.get_title() for axes in (one, two)] == ["one", "two"]
    heights = [box.get_height() for box in one.patches]
    assert heights == sorted(heights, reverse=True)
    assert [box.get_linewidth() > 1 for box in one.patches] == [1, 1, 0, 0]
    texts = [text.get_text() for text in one.texts]
    assert texts == ["3x3\n4", "/2  8", "2x2\npool", "/2  4", *texts[4:]]
