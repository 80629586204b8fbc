"""The tables against the paper's, the layers against the tables."""

import keras
import numpy as np
import pytest

from allconv.layers import netdeconv
from allconv.networks import all_cnn, all_cnn_rows, builders
from allconv.results import paper

# Weights and biases by hand from the layer lists of the paper's Tables 1, 2, 5 and 6.
PARAMETERS = {
    **dict.fromkeys(("model_a", "strided_cnn_a"), 839_242),
    **dict.fromkeys(("conv_pool_cnn_a", "all_cnn_a"), 1_254_250),
    **dict.fromkeys(("model_b", "strided_cnn_b"), 885_610),
    **dict.fromkeys(("conv_pool_cnn_b", "all_cnn_b"), 1_300_618),
    **dict.fromkeys(("model_c", "strided_cnn_c"), 954_730),
    **dict.fromkeys(("conv_pool_cnn_c", "all_cnn_c"), 1_369_738),
    "large_all_cnn": 77_455_690,
    "all_cnn_b_imagenet": 9_372_840,
}
CIFAR = all_cnn_rows.TABLE_3


def test_every_network_has_a_golden_parameter_count():
    assert set(PARAMETERS) == set(all_cnn_rows.NAMES)


@pytest.mark.parametrize("name", all_cnn_rows.NAMES)
def test_parameters(name):
    assert all_cnn_rows.count_parameters(name) == PARAMETERS[name]
    if name != "large_all_cnn":  # 310 MB that the arithmetic makes unnecessary
        assert all_cnn.build(name).count_params() == PARAMETERS[name]


def test_all_cnn_c_with_100_classes():
    assert all_cnn.AllCNNC(classes=100).count_params() == 1_387_108


def test_table_3_is_complete():
    assert set(paper.TABLE_3) == set(CIFAR) == set(paper.TABLE_3_PARAMETERS)


@pytest.mark.parametrize("name", CIFAR)
def test_maps_are_32_16_8_6_wide_as_in_caffe(name):
    sizes = all_cnn_rows.map_sizes(name)
    assert sizes[-3:] == [6, 6, 6]
    assert set(sizes) <= {32, 16, 8, 6}
    assert {16, 8} <= set(sizes)
    built = [
        layer.output.shape[1]
        for layer in all_cnn.build(name).layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.MaxPooling2D)
    ]
    assert built == sizes


def test_imagenet_ends_in_6x6_and_large_in_1x1():
    assert all_cnn_rows.map_sizes("all_cnn_b_imagenet")[-1] == 6
    assert all_cnn_rows.map_sizes("large_all_cnn")[-1] == 1


def rows(name):
    """(filters, kernel, stride) of each convolution; 'pool' for each pooling layer."""
    return [
        "pool" if isinstance(r, all_cnn_rows.Pool) else (r.filters, r.kernel, r.stride)
        for r in all_cnn_rows.get(name).rows
    ]


HEAD = [(192, 3, 1), (192, 1, 1), (all_cnn_rows.CLASSES, 1, 1)]


def test_variants_of_c_are_table_2():
    assert rows("strided_cnn_c") == [
        *[(96, 3, 1), (96, 3, 2), (192, 3, 1), (192, 3, 2)],
        *HEAD,
    ]
    assert rows("conv_pool_cnn_c") == [
        *[(96, 3, 1), (96, 3, 1), (96, 3, 1), "pool"],
        *[(192, 3, 1), (192, 3, 1), (192, 3, 1), "pool"],
        *HEAD,
    ]
    assert rows("all_cnn_c") == [
        *[(96, 3, 1), (96, 3, 1), (96, 3, 2)],
        *[(192, 3, 1), (192, 3, 1), (192, 3, 2)],
        *HEAD,
    ]


def test_variants_of_a_and_b():
    assert rows("strided_cnn_a") == [(96, 5, 2), (192, 5, 2), *HEAD]
    assert rows("strided_cnn_b") == [
        *[(96, 5, 1), (96, 1, 2), (192, 5, 1), (192, 1, 2)],
        *HEAD,
    ]
    assert rows("all_cnn_b")[:3] == [(96, 5, 1), (96, 1, 1), (96, 3, 2)]


@pytest.mark.parametrize("name", CIFAR)
def test_dropout_is_20_percent_then_50_after_each_reduction(name):
    model = all_cnn.build(name)
    rates = [x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert rates == [0.2, 0.5, 0.5]
    plain = all_cnn.build(name, dropout=0)
    assert not any(isinstance(x, keras.layers.Dropout) for x in plain.layers)


def test_padding_of_strided_convolutions_is_on_all_sides():
    """Against a slow loop: Caffe pads left and top too, Keras' 'same' does not."""
    model = all_cnn.build("strided_cnn_a", input_shape=(9, 11, 3))
    layer = model.get_layer("conv1")
    image = np.random.default_rng(0).normal(size=(9, 11, 3)).astype("float32")
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    expected = np.zeros((5, 6, 96), "float32")
    kernel, bias = (np.asarray(w) for w in (layer.kernel, layer.bias))
    for i in range(5):
        for j in range(6):
            window = padded[2 * i : 2 * i + 5, 2 * j : 2 * j + 5]
            expected[i, j] = np.tensordot(window, kernel, 3) + bias
    expected = np.maximum(expected, 0)
    part = keras.Model(model.inputs[0], layer.output)
    np.testing.assert_allclose(part(image[None])[0], expected, atol=1e-5)


def test_fully_convolutional():
    model = all_cnn.AllCNNC(input_shape=(None, None, 3), weights=None)
    for shape in ((1, 32, 32, 3), (2, 40, 61, 3)):
        assert model(np.zeros(shape, "float32")).shape == (shape[0], 10)


def test_without_top():
    base = all_cnn.ModelC(include_top=False)
    assert base.output.shape == (None, 6, 6, 192)
    assert all_cnn.ModelC(include_top=False, pooling="avg").output.shape == (None, 192)
    assert all_cnn.ModelC(include_top=False, pooling="max").output.shape == (None, 192)


def test_softmax_is_of_the_averaged_last_map():
    model = all_cnn.AllCNNC()
    x = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype("float32")
    maps = keras.Model(model.inputs[0], model.get_layer("conv9").output)(x)
    logits = np.asarray(maps).mean(axis=(1, 2))
    powers = np.exp(logits)
    np.testing.assert_allclose(
        model(x), powers / powers.sum(1, keepdims=True), rtol=1e-5
    )
    same = all_cnn.AllCNNC(classifier_activation=None)
    same.set_weights(model.get_weights())
    np.testing.assert_allclose(same(x), logits, rtol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "vgg"}, "`name` should be a network that .*='vgg'"),
        ({"pooling": "avg"}, "`pooling` should be None, unless `include_top=False`"),
        ({"pooling": "sum", "include_top": False}, "Received: pooling='sum'"),
        ({"input_shape": (8, 8, 3)}, "at least 9 x 9 pixels"),
        ({"input_shape": (0, 0, 3)}, "at least 9 x 9 pixels"),
        ({"input_shape": (32, 32)}, "`input_shape` should be"),
        ({"classes": 0}, "`classes` should be an integer from 1"),
        ({"dropout": 2.0}, "`dropout` should be a finite number from 0 to 1"),
        ({"norm": "layer"}, "`norm` should be one of none, batch, deconv"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        all_cnn.build(**{"name": "all_cnn_c", **arguments})


@pytest.mark.parametrize("name", ["all_cnn_c", "zfnet_32", "resnet18_cifar"])
def test_channels_first_is_refused(name):
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match=r"'channels_last'.*'channels_first'"):
            builders.build(name)
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("name", CIFAR)
def test_folded_deconvolution_is_the_plain_network(name):
    """Same layers, same weights by name, same outputs."""
    whitened = all_cnn.build(name, norm="deconv", input_shape=(12, 12, 3))
    plain = all_cnn.build(name, input_shape=(12, 12, 3))
    folded = netdeconv.fold(whitened)
    for layer in plain.layers:
        if layer.weights and "dropout" not in layer.name:
            layer.set_weights(folded.get_layer(layer.name).get_weights())
    x = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    np.testing.assert_allclose(plain(x), whitened(x), atol=1e-5)


def test_batch_normalisation_follows_every_convolution_but_the_scores():
    model = all_cnn.AllCNNC(norm="batch")
    names = [x.name for x in model.layers if x.name.endswith("_norm")]
    assert names == [f"conv{i}_norm" for i in range(1, 9)]
    biases = [x.name for x in model.layers if getattr(x, "use_bias", False)]
    assert biases == ["conv9"]
    # Scale and offset of 8 layers in, their biases out; moving statistics besides.
    channels = 3 * 96 + 5 * 192
    assert model.count_params() == 1_369_738 - channels + 4 * channels


def test_an_initialiser_object_draws_anew_for_each_layer():
    model = all_cnn.AllCNNC(kernel_initializer=keras.initializers.HeNormal(seed=3))
    kernels = [model.get_layer(f"conv{i}").kernel for i in (5, 6)]
    assert kernels[0].shape == kernels[1].shape
    assert not np.array_equal(*kernels)
    assert np.std(kernels[0]) == pytest.approx((2 / (9 * 192)) ** 0.5, rel=0.05)


def test_large_all_cnn_drops_more_and_more():
    rates = [row.dropout for row in all_cnn_rows.get("large_all_cnn").rows]
    assert rates[3:6] == [0.1, 0.1, 0.0]
    assert rates[12:] == [0.4, 0.4, 0.0, 0.5, 0.5, 0.0]
