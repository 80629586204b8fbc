"""A network as data: what the engine takes, and what is refused in a line."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from allconv.networks import builders
from allconv.reports.microscope.steps import describe


def test_all_networks_of_the_paper_are_described():
    for name in ("all_cnn_a", "strided_cnn_b", "conv_pool_cnn_c", "model_c"):
        model = builders.build(name)
        network, values = describe(model)
        assert len(values) == model.count_params()
        ops = [step["op"] for step in network["steps"]]
        assert ops[-2:] == ["relu", "global_average"]
        assert ops.count("max_pool") == (2 if "pool" in name or "model" in name else 0)
        assert network["softmax"]
        json.dumps(network)


def test_weights_are_in_the_order_of_the_steps():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.ZeroPadding2D(((1, 0), (2, 1))),
            layers.Conv2D(3, 2, strides=2, name="a"),
            layers.LeakyReLU(negative_slope=0.25),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(4, use_bias=False, activation="softmax", name="b"),
        ]
    )
    network, values = describe(model)
    a, b = model.get_layer("a"), model.get_layer("b")
    expected = [np.ravel(w) for w in (a.kernel, a.bias, b.kernel)]
    np.testing.assert_array_equal(values, np.concatenate(expected))
    window = {"kernel": (2, 2), "strides": (2, 2), "pads": (1, 2, 0, 1)}
    assert network["steps"] == [
        {"op": "conv", "layer": "a", "filters": 3, "bias": True} | window,
        {"op": "relu", "layer": network["steps"][1]["layer"], "slope": 0.25},
        {"op": "flatten", "layer": network["steps"][2]["layer"]},
        {"op": "conv", "layer": "b", "filters": 4, "bias": False}
        | {"kernel": (1, 1), "strides": (1, 1), "pads": (0, 0, 0, 0)},
    ]
    assert network["layers"] == [{"name": "a", "step": 1}, {"name": "b", "step": 3}]


INPUT = keras.Input((8, 8, 4))


@pytest.mark.parametrize(
    "output, message",
    [
        (layers.Conv2D(4, 3, groups=2, name="g")(INPUT), "'g', a Conv2D"),
        (layers.Conv2D(4, 3, dilation_rate=2, name="d")(INPUT), "'d', a Conv2D"),
        (layers.Conv2D(4, 3, activation="elu", name="e")(INPUT), "elu of 'e'"),
        (layers.BatchNormalization(name="n")(INPUT), "'n', a BatchNormalization"),
        (layers.ReLU(6.0, name="r")(INPUT), "'r', a ReLU"),
        (layers.MaxPooling2D()(layers.ZeroPadding2D(1)(INPUT)), "a MaxPooling2D"),
        (layers.Add(name="s")([INPUT, layers.ReLU()(INPUT)]), "'s' takes several"),
        (layers.Conv2D(4, 3)(layers.Softmax(name="m")(INPUT)), "'m', a Softmax"),
    ],
)
def test_others_are_refused_in_a_line(output, message):
    with pytest.raises(ValueError, match=message) as refusal:
        describe(keras.Model(INPUT, output))
    assert "\n" not in str(refusal.value)


def test_an_input_of_unknown_size_is_refused():
    model = builders.build("all_cnn_c", input_shape=(None, None, 3))
    with pytest.raises(ValueError, match="known size"):
        describe(model)
