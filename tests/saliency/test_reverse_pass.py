"""The explicit reverse pass, against loops over single cells and typed-in numbers."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from keras import layers

from allconv.saliency import explainer, reverse_pass, reverse_steps

RULES = ("backprop", "deconvnet", "guided")

# The network of captum's tests: a 3x3 convolution with two filters of ones, biases -50
# and -75, a rectifier, and a dense unit that adds five and subtracts three of its
# inputs in channel-major order. Backprop was worked out by hand.
GOLD = {
    "backprop": [[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]],
    "guided": [[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]],
    "deconvnet": [[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1]],
}


def gold_network():
    """The network of `GOLD`, and its one image."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Conv2D(2, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(2, name="dense"),
        ]
    )
    unit = np.array([1, 1, 1, 1, 1, -1, -1, -1], "float32")
    unit = unit.reshape(2, 2, 2).transpose(1, 2, 0).reshape(8)  # channels last
    model.set_weights(
        [
            np.ones((3, 3, 1, 2), "float32"),
            np.array([-50, -75], "float32"),
            np.stack([unit, -unit], axis=1),
            np.zeros(2, "float32"),
        ]
    )
    return model, np.arange(16, dtype="float32").reshape(1, 4, 4, 1)


@pytest.mark.parametrize("rule", RULES)
def test_gold(rule):
    model, image = gold_network()
    maps = reverse_pass.reverse(model, image, rule, channel=0)
    np.testing.assert_array_equal(maps[0, ..., 0], GOLD[rule])


def slow_rule(rule, x, signal):
    """What one rectifier passes down, cell by cell."""
    out = np.zeros_like(signal)
    for index in np.ndindex(x.shape):
        active, speaks = x[index] > 0, signal[index] > 0
        passes = {
            "backprop": active,
            "deconvnet": speaks,
            "guided": active and speaks,
        }[rule]
        out[index] = signal[index] if passes else 0
    return out


@pytest.mark.parametrize("rule", RULES)
def test_rules_against_cell_by_cell(rule):
    rng = np.random.default_rng(0)
    x, signal = rng.integers(-3, 4, (2, 2, 5, 4, 3)).astype("float32")
    rectifier = reverse_steps.Rectifier(reverse_pass.MASKS[rule])
    np.testing.assert_array_equal(rectifier.up(x), np.maximum(x, 0))
    np.testing.assert_array_equal(rectifier.down(signal), slow_rule(rule, x, signal))


def matrix_of(model, shape):
    """A linear model as a matrix and a constant, one basis image at a time."""
    zero = np.zeros((1, *shape), "float32")
    constant = model(zero).numpy().ravel()
    columns = []
    for i in range(zero.size):
        basis = zero.copy()
        basis.flat[i] = 1
        columns.append(model(basis).numpy().ravel() - constant)
    return np.array(columns).T, constant


@pytest.mark.parametrize("rule", RULES)
def test_two_layers_against_matrices(rule):
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    first = keras.Sequential(
        [keras.Input((5, 5, 2)), layers.Conv2D(3, 3, strides=2, padding="same")]
    )
    second = keras.Sequential([keras.Input((3, 3, 3)), layers.Conv2D(4, 2)])
    for layer in (first.layers[0], second.layers[0]):
        layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    model = keras.Sequential([keras.Input((5, 5, 2)), first, layers.ReLU(), second])
    image = rng.normal(size=(1, 5, 5, 2)).astype("float32")

    A, a = matrix_of(first, (5, 5, 2))
    B, _ = matrix_of(second, (3, 3, 3))
    unit = np.ravel_multi_index((1, 0, 2), (2, 2, 4))
    expected = A.T @ slow_rule(rule, A @ image.ravel() + a, B[unit])
    maps = reverse_pass.reverse(model, image, rule, channel=2, position=(1, 0))
    np.testing.assert_allclose(maps.ravel(), expected, rtol=1e-5, atol=1e-6)


windows = st.fixed_dictionaries(
    {
        "kernel": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "strides": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "padding": st.sampled_from(["same", "valid"]),
    }
)
sizes = st.tuples(st.integers(3, 8), st.integers(3, 8))


def slow_windows(size, kernel, strides, padding):
    """The cells of each pooling window in reading order, TensorFlow's geometry."""
    if padding == "same":
        out = [-(-n // s) for n, s in zip(size, strides, strict=True)]
        pads = [
            max((o - 1) * s + k - n, 0) // 2
            for n, k, s, o in zip(size, kernel, strides, out, strict=True)
        ]
    else:
        out = [(n - k) // s + 1 for n, k, s in zip(size, kernel, strides, strict=True)]
        pads = [0, 0]
    for row, column in np.ndindex(*out):
        corner = row * strides[0] - pads[0], column * strides[1] - pads[1]
        cells = [(corner[0] + i, corner[1] + j) for i, j in np.ndindex(*kernel)]
        inside = [(i, j) for i, j in cells if 0 <= i < size[0] and 0 <= j < size[1]]
        middle = (kernel[0] - 1) // 2 * kernel[1] + (kernel[1] - 1) // 2
        yield (row, column), inside, cells[middle]


@settings(deadline=None, max_examples=60)
@given(window=windows, size=sizes, seed=st.integers(0, 99), data=st.data())
def test_pooling_against_cell_by_cell(window, size, seed, data):
    route = data.draw(st.sampled_from(["switch", "centre", "spread"]))
    dead = data.draw(st.sampled_from(["keep", "drop"]))
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.integers(-2, 3, (1, *size, 1)), 0).astype("float32")  # ties
    pool = reverse_steps.MaxPool(
        reverse_steps.Window(
            window["kernel"], window["strides"], (1, 1), window["padding"]
        ),
        route,
        dead,
    )
    y = pool.up(x)
    signal = rng.integers(-4, 5, y.shape).astype("float32")
    expected_y, expected = np.zeros_like(y), np.zeros_like(x)
    for (row, column), cells, middle in slow_windows(size, **window):
        values = [x[0, i, j, 0] for i, j in cells]
        expected_y[0, row, column, 0] = max(values)
        if dead == "drop" and max(values) <= 0:
            continue
        first = cells[values.index(max(values))]
        to = {"switch": [first], "centre": [middle], "spread": cells}[route]
        for i, j in to:
            expected[0, i, j, 0] += signal[0, row, column, 0] / len(to)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_allclose(pool.down(signal), expected, atol=1e-5)


def linear_steps():
    """Steps for which <up(x) - up(0), s> = <x, down(s)>, with Keras' layer for each."""
    common = {"kernel_size": 3, "bias_initializer": "normal"}
    return [
        layers.Conv2D(4, strides=2, padding="same", **common),
        layers.Conv2D(4, strides=(1, 2), padding="valid", **common),
        layers.Conv2D(4, dilation_rate=2, padding="same", **common),
        layers.Conv2D(6, groups=2, **common),
        layers.DepthwiseConv2D(depth_multiplier=2, strides=2, padding="same", **common),
        layers.AveragePooling2D(3, 2, padding="same"),
        layers.AveragePooling2D(2, 1, padding="valid"),
        layers.GlobalAveragePooling2D(),
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.ZeroPadding2D(((1, 0), (2, 3))),
        layers.BatchNormalization(
            gamma_initializer="normal",
            beta_initializer="normal",
            moving_mean_initializer="normal",
        ),
        layers.Flatten(),
        layers.Dense(3, bias_initializer="normal"),
    ]


@pytest.mark.parametrize("layer", linear_steps(), ids=lambda layer: layer.name)
def test_linear_steps_are_keras_up_and_its_adjoint_down(layer):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 7, 6, 4)).astype("float32")
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    (_, step), *rest = reverse_pass._rows(
        model, reverse_pass.MASKS["backprop"], "switch", ""
    )
    assert not rest
    y = step.up(x)
    np.testing.assert_allclose(y, model(x), rtol=1e-4, atol=1e-5)
    signal = rng.normal(size=y.shape).astype("float32")
    down = step.down(signal)
    assert down.shape == x.shape
    assert down.dtype == np.float32
    up = np.sum((y - step.up(0 * x)) * signal, dtype="float64")
    step.up(x)
    np.testing.assert_allclose(up, np.sum(x * down, dtype="float64"), rtol=1e-4)


def test_dead_window_speaks_from_its_first_cell_or_not_at_all():
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.ReLU(), layers.MaxPooling2D(2, name="pool")]
    )
    image = np.full((1, 4, 4, 1), -1, "float32")
    at = {"layer": "pool", "channel": 0, "position": (1, 1)}
    kept = reverse_pass.reverse(model, image, **at)
    assert np.argwhere(kept[0, ..., 0]).tolist() == [[2, 2]]
    assert not reverse_pass.reverse(model, image, dead_windows="drop", **at).any()


def plain_network(padding="same"):
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((24, 24, 3)),
            layers.Conv2D(4, 3, padding=padding, name="conv1"),
            layers.BatchNormalization(gamma_initializer="normal"),
            layers.ReLU(),
            layers.ZeroPadding2D(1),
            layers.Conv2D(5, 3, strides=2, activation="relu", name="conv2"),
            layers.DepthwiseConv2D(2, dilation_rate=2, activation="relu", name="conv3"),
            layers.MaxPooling2D(),
            layers.Conv2D(2, 1, name="conv4"),
        ]
    )


@pytest.mark.parametrize(
    "layer, size, unit, corner",
    [("conv1", 3, 12, 11), ("conv2", 5, 4, 6), ("conv3", 9, 4, 6)],
)
def test_projection_needs_no_image(layer, size, unit, corner):
    model = plain_network()
    pictures = reverse_pass.project(model, layer)
    assert pictures.shape[1:] == (size, size, 3)
    for seed in (0, 1):  # whatever the image, a unit far from its border says the same
        image = np.random.default_rng(seed).normal(size=(1, 24, 24, 3))
        neuron = {"layer": layer, "channel": 1, "position": (unit, unit)}
        maps = reverse_pass.reverse(model, image, **neuron)[0]
        field = slice(corner, corner + size)
        np.testing.assert_allclose(maps[field, field], pictures[1], atol=1e-6)
        assert np.count_nonzero(maps) == np.count_nonzero(pictures[1])
    np.testing.assert_array_equal(reverse_pass.project(model, layer, 1), pictures[1])
    np.testing.assert_array_equal(
        reverse_pass.project(model, layer, [2, 0]), pictures[[2, 0]]
    )


def test_projection_refuses_switches():
    with pytest.raises(ValueError, match="MaxPool below the layer 'conv4' depends on"):
        reverse_pass.project(plain_network(), "conv4")


def test_first_layer_shows_its_filters():
    model = plain_network("valid")
    kernel = model.get_layer("conv1").kernel.numpy()
    np.testing.assert_allclose(
        reverse_pass.project(model, "conv1"), kernel.transpose(3, 0, 1, 2)
    )


def test_seeds():
    model, image = gold_network()
    neuron = {"layer": "conv", "channel": 0, "position": (1, 0)}
    one = reverse_pass.reverse(model, image, **neuron)
    activation = reverse_pass.reverse(model, image, seed="activation", **neuron)
    value = image[0, 1:4, 0:3].sum() - 50
    np.testing.assert_allclose(activation, value * one)
    everywhere = reverse_pass.reverse(model, image, **(neuron | {"position": "all"}))
    each = [
        reverse_pass.reverse(model, image, **(neuron | {"position": p}))
        for p in np.ndindex(2, 2)
    ]
    np.testing.assert_allclose(everywhere, sum(each))


class Odd(layers.Conv2D):
    """A convolution that does something else with its kernel."""

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel - keras.ops.mean(kernel))


def test_an_adapted_convolution_is_its_kernel_with_the_adapter():
    model, image = plain_network(), np.ones((1, 24, 24, 3), np.float32)
    model.get_layer("conv2").enable_lora(2)
    for weight in model.get_layer("conv2").weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    maps = reverse_pass.reverse(model, image, "backprop", layer="conv2", channel=0)
    expected = explainer.backprop(model, image, layer="conv2", channel=0)
    np.testing.assert_allclose(maps, expected, atol=1e-4)


def test_bad_input():
    model, image = gold_network()
    for argument in ("rule", "seed", "pool", "dead_windows"):
        with pytest.raises(ValueError, match=f"`{argument}` should be one of"):
            reverse_pass.reverse(model, image, **{argument: "nonsense"})
    for wrong, received in (
        (image[0], r"float32, \(4, 4, 1\)"),
        (image[..., [0, 0]], r"float32, \(1, 4, 4, 2\)"),
        (image.astype("uint8"), r"uint8, \(1, 4, 4, 1\)"),
    ):
        with pytest.raises(ValueError, match=rf"of shape \(None, .*: {received}"):
            reverse_pass.reverse(model, wrong)
    assert reverse_pass.reverse(model, image[:0]).shape == (0, 4, 4, 1)
    with pytest.raises(ValueError, match="should be finite"):
        reverse_pass.reverse(model, image * np.nan)
    for neuron, message in (
        ({"channel": -1}, "integer from 0 to .* Received: channel=-1"),
        ({"layer": "conv", "channel": 99}, "integer from 0 to .* channel=99"),
        ({"layer": "conv", "channel": True}, "integer from 0 to .* channel=True"),
        ({"layer": "conv", "channel": 1.0}, "integer from 0 to .* channel=1.0"),
        (
            {"layer": "conv", "position": (0.0, 0.0)},
            r"`position\[0\]` should be an int",
        ),
        ({"layer": "conv", "position": "centre"}, "one of max, all"),
        ({"layer": "conv", "position": (9, 9)}, r"\(row, column\) of a map.*=\(9, 9\)"),
        ({"layer": "conv", "position": (-1, 0)}, r"\(row, column\) of a map"),
        ({"position": (0, 0)}, r"\(row, column\) of a map"),
    ):
        with pytest.raises(ValueError, match=message):
            reverse_pass.reverse(model, image, **neuron)
    with pytest.raises(ValueError, match="channel=99"):
        reverse_pass.project(model, "conv", 99)
    with pytest.raises(ValueError, match="one at least"):
        reverse_pass.project(model, "conv", [])
    with pytest.raises(ValueError, match=r"0 layers 'conv9'.*conv, flatten"):
        reverse_pass.reverse(model, image, layer="conv9")
    with pytest.raises(ValueError, match="'dense' does not end in a rectifier"):
        reverse_pass.reverse(model, image, layer="dense", before_rectifier=True)
    with pytest.raises(ValueError, match="The model's output does not end in a rect"):
        reverse_pass.reverse(model, image, before_rectifier=True)

    def network(*rows):
        return keras.Sequential([keras.Input((4, 4, 1)), *rows])

    with pytest.raises(ValueError, match="no step for 'up', a UpSampling2D"):
        reverse_pass.reverse(network(layers.UpSampling2D(name="up")), image)
    with pytest.raises(ValueError, match="no step for the activation gelu of 'c'"):
        reverse_pass.reverse(
            network(layers.Conv2D(1, 1, activation="gelu", name="c")), image
        )
    x = inputs = keras.Input((4, 4, 1))
    shared = layers.ReLU(name="shared")
    with pytest.raises(ValueError, match="calls a layer twice"):
        reverse_pass.reverse(keras.Model(inputs, shared(shared(x))), image)
    heads = [layers.Conv2D(1, 1, name=name)(x) for name in ("left", "right")]
    several = keras.Model(inputs, [heads[0], layers.ReLU()(heads[0])])
    with pytest.raises(ValueError, match="has several outputs"):
        reverse_pass.reverse(several, image, layer="left")
    with pytest.raises(ValueError, match="has no weights yet"):
        reverse_pass.reverse(keras.Sequential([layers.Conv2D(1, 1)]), image)
    flat = keras.Sequential([keras.Input((8,)), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"of shape \(None, 8\).*Received: float32"):
        reverse_pass.reverse(flat, image)
    with pytest.raises(ValueError, match="no step for 'odd', a Odd"):
        reverse_pass.reverse(network(Odd(1, 3, name="odd")), image)
    with pytest.raises(ValueError, match="has branches"):
        reverse_pass.reverse(keras.Model(inputs, heads), image, layer="right")
    halves = [
        keras.Sequential([keras.Input((4, 4, 1)), layers.ReLU(name="same")], name=name)
        for name in ("one", "two")
    ]
    twins = keras.Sequential([keras.Input((4, 4, 1)), *halves])
    with pytest.raises(ValueError, match=r"2 layers 'same'.*one/same, two/same"):
        reverse_pass.reverse(twins, image, layer="same")
    assert reverse_pass.reverse(twins, image, layer="one/same").any()
    with pytest.raises(ValueError, match="There is no convolution up to the layer"):
        reverse_pass.project(twins, "one/same")
    with pytest.raises(ValueError, match="no step for 'add', a Add"):
        reverse_pass.reverse(keras.Model(inputs, layers.Add(name="add")([x, x])), image)


def test_leaky_relu_by_name_has_keras_slope():
    conv = layers.Conv2D(4, 3, activation="leaky_relu", name="c")
    model = keras.Sequential([keras.Input((6, 6, 2)), conv, layers.Conv2D(2, 1)])
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 2)).astype("float32")
    ours = reverse_pass.reverse(model, x, "backprop", channel=0, position="all")
    expected = explainer.backprop(model, x, channel=0, position="all")
    np.testing.assert_allclose(ours, expected, atol=1e-5)
