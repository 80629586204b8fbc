"""Receptive fields against the support of the gradient and published values."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from keras import layers

from allconv.layers.netdeconv import ChannelDeconvolution, NetworkDeconvolution2D
from allconv.networks import all_cnn
from allconv.probes import receptive_field

HEIGHT, WIDTH = 30, 27


def jacobian(model, layer):
    """Which pixels each unit of a layer sees, by brute force.

    With positive weights and no biases a net of convolutions and average pooling is
    linear and no two paths cancel: the responses to one lit pixel at a time are the
    columns of its Jacobian, that is, every unit's gradient at once.

    Returns:
        Boolean array `(rows, columns, height, width)`: unit, then pixel.
    """
    for weight in model.weights:
        low, high = (0.0, 0.0) if weight.name == "bias" else (0.5, 1.0)
        weight.assign(tf.random.uniform(weight.shape, low, high))
    height, width, channels = model.inputs[0].shape[1:]
    pixels = np.eye(height * width, dtype=np.float32)
    images = np.repeat(pixels.reshape(-1, height, width, 1), channels, axis=-1)
    outputs = keras.Model(model.inputs[0], model.get_layer(layer).output)
    response = outputs(images).numpy().sum(axis=-1)
    return np.moveaxis(response, 0, -1).reshape(*response.shape[1:], height, width) != 0


def assert_supported(model, layer):
    """Every unit's derived box holds all it sees; in the interior it is a tight fit.

    Returns the number of interior units, whose windows meet no padding.
    """
    seen = jacobian(model, layer)
    rows, columns, height, width = seen.shape
    y, x = np.mgrid[:rows, :columns]
    boxes = receptive_field.compute(model, layer).boxes(y, x)
    assert boxes.dtype == np.int32
    interior = 0
    for unit, (y0, x0, y1, x1) in zip(
        seen.reshape(-1, height, width), boxes.reshape(-1, 4), strict=True
    ):
        outside = unit.copy()
        outside[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = False
        assert not outside.any()
        if y0 >= 4 and x0 >= 4 and y1 <= height - 4 and x1 <= width - 4:
            ys, xs = np.flatnonzero(unit.any(1)), np.flatnonzero(unit.any(0))
            assert [ys[0], xs[0], ys[-1] + 1, xs[-1] + 1] == [y0, x0, y1, x1]
            interior += 1
    return interior


row = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["conv", "depthwise", "pool", "pad", "crop"]),
        "window": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "stride": st.integers(1, 3),
        "dilation": st.integers(1, 2),
        "padding": st.sampled_from(["same", "valid"]),
        "branch": st.sampled_from([None, "add", "concatenate"]),
    }
)


def add_row(x, row, i):
    """One random layer, or two parallel ones that are merged."""
    stride = row["stride"] if row["dilation"] == 1 else 1
    dilation = row["dilation"] if stride == 1 else 1
    options = {"strides": stride, "padding": row["padding"], "name": f"layer{i}"}
    if row["kind"] == "pad":
        return layers.ZeroPadding2D(((2, 0), (1, 3)), name=f"layer{i}")(x)
    if row["kind"] == "crop":
        return layers.Cropping2D(((1, 0), (0, 1)), name=f"layer{i}")(x)
    if row["kind"] == "pool":
        return layers.AveragePooling2D(row["window"], **options)(x)
    options["dilation_rate"] = dilation
    if row["kind"] == "depthwise":
        return layers.DepthwiseConv2D(row["window"][0], **options)(x)
    if row["branch"]:
        options |= {"padding": "same", "name": None}
        merge = layers.Add if row["branch"] == "add" else layers.Concatenate
        paths = [layers.Conv2D(2, window, **options)(x) for window in ((1, 2), (3, 1))]
        return merge(name=f"layer{i}")(paths)
    return layers.Conv2D(2, row["window"], **options)(x)


@settings(deadline=None, max_examples=100)
@given(rows=st.lists(row, min_size=1, max_size=3))
def test_boxes_are_the_support_of_the_gradient(rows):
    inputs = x = keras.Input((HEIGHT, WIDTH, 2))
    for i, spec in enumerate(rows):
        if min(x.shape[1:3]) < 8:  # keep windows smaller than their map
            break
        x = add_row(x, spec, i)
    assert_supported(keras.Model(inputs, x), x._keras_history.operation.name)


@pytest.mark.parametrize(
    "name, layer", [("all_cnn_c", "conv4"), ("strided_cnn_a", "conv2")]
)
def test_networks_of_the_paper(name, layer):
    model = all_cnn.build(name, dropout=0, input_shape=(HEIGHT, WIDTH, 3))
    assert assert_supported(model, layer) >= 4


def test_all_cnn_c_by_hand():
    model = all_cnn.build("all_cnn_c")
    field = receptive_field.compute(model, "conv3")  # 3x3, 3x3, 3x3 stride 2
    assert field == ((-3, -3), (7, 7), (2, 2))
    assert receptive_field.compute(model, "conv7").size == (27, 27)


def test_max_pooling_reaches_the_box_and_no_further():
    inputs = x = keras.Input((12, 12, 1))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    x = layers.MaxPooling2D(3, 1, padding="same", name="last")(x)
    model = keras.Model(inputs, x)
    y0, x0, y1, x1 = receptive_field.compute(model, "last").boxes(2, 3)
    clean = model(tf.zeros((1, 12, 12, 1)))[0, 2, 3, 0]
    for row in range(12):
        for column in range(12):
            image = np.zeros((1, 12, 12, 1), np.float32)
            image[0, row, column] = 1
            changed = bool(model(image)[0, 2, 3, 0] != clean)
            assert changed == (y0 <= row < y1 and x0 <= column < x1)


@pytest.mark.parametrize(
    "name, layer, size",
    # Araujo, Norris & Sim, 'Computing receptive fields of CNNs', Distill 2019.
    [("VGG16", "block5_pool", 212), ("ResNet50", "conv5_block3_out", 483)],
)
def test_published_sizes(name, layer, size):
    build = getattr(keras.applications, name)
    model = build(weights=None, include_top=False, input_shape=(64, 64, 3))
    field = receptive_field.compute(model, layer)
    assert (field.size, field.stride) == ((size, size), (32, 32))


def test_nested_models_and_operations_are_followed():
    inner_inputs = x = keras.Input((None, None, 4))
    x = layers.Conv2D(4, 3, padding="same", name="deep")(x)
    x = keras.ops.relu(x) * 2.0
    inner = keras.Model(inner_inputs, x, name="inner")
    outer = keras.Sequential(
        [
            keras.Input((26, 26, 3)),
            layers.Conv2D(4, 2, strides=2, name="first"),
            inner,
            layers.AveragePooling2D(2, name="last"),
        ]
    )
    deeper = keras.Sequential([keras.Input((26, 26, 3)), outer])
    assert receptive_field.compute(deeper, "inner/deep").size == (6, 6)
    for layer in ("deep", "inner/deep", "inner"):
        assert receptive_field.compute(outer, layer) == (
            (-2, -2),
            (6, 6),
            (2, 2),
        )
    assert assert_supported(outer, "last")


def test_calls_of_a_shared_layer_are_numbered():
    for call, size in enumerate((3, 5)):
        field = receptive_field.compute(shared(), f"twice#{call}")
        assert field.size == (size, size)


def test_padding_in_pixels_is_that_of_a_padding_layer():
    padded = chain(layers.ZeroPadding2D(1), layers.Conv2D(2, 3, 2, name="c"))
    whitened = chain(
        ChannelDeconvolution(block=3),
        NetworkDeconvolution2D(2, 3, 2, padding=1, name="c"),
    )
    expected = receptive_field.compute(padded, "c")
    assert expected == ((-1, -1), (3, 3), (2, 2))
    assert receptive_field.compute(whitened, "c") == expected


def test_a_branch_that_sees_the_whole_image():
    inputs = x = keras.Input((9, 8, 3))
    x = layers.Conv2D(4, 3)(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="sigmoid")(gate)
    x = layers.Multiply()([x, gate])
    model = keras.Model(inputs, layers.Conv2D(2, 3, name="last")(x))
    field = receptive_field.compute(model, "last")
    assert (
        field.boxes(np.array([0, 2]), np.array([1, 3])).tolist() == [[0, 0, 9, 8]] * 2
    )


def shared():
    inputs = keras.Input((8, 8, 3))
    conv = layers.Conv2D(3, 3, padding="same", name="twice")
    return keras.Model(inputs, conv(conv(inputs)))


def unequal():
    inputs = keras.Input((8, 8, 1))
    paths = [layers.Conv2D(1, 5)(inputs), layers.Conv2D(1, 2, strides=2)(inputs)]
    return keras.Model(inputs, layers.Add(name="sum")(paths))


def spread():
    inputs = keras.Input((8, 8, 3))
    mean = layers.AveragePooling2D(8, strides=1)(inputs)  # one cell, added to every one
    return keras.Model(inputs, layers.Add(name="sum")([inputs, mean]))


def chain(*rows, shape=(8, 8, 3)):
    return keras.Sequential([keras.Input(shape), *rows])


class Subclassed(keras.Model):
    pass


def pooled_by_ops():
    inputs = keras.Input((8, 8, 3))
    pool = keras.src.ops.nn.MaxPool(2)
    pool.name = "max_pool"
    return keras.Model(inputs, pool(inputs))


@pytest.mark.parametrize(
    "model, layer, message",
    [
        (shared, "twice", "'twice' is called 2 times. Use one of twice#0, tw"),
        (shared, "twice#2", "should be one of twice#0, twice#1. Received: 'twice#2'"),
        (shared, "twice#x", "in 'twice#0'. Received: 'twice#x'"),
        (unequal, "sum", r"'sum' branches of unequal strides \(1, 1\) and \(2, 2\)"),
        (spread, "sum", "'sum' maps of unequal sizes meet"),
        (
            lambda: all_cnn.build("all_cnn_c"),
            "conv10",
            "No layer is called 'conv10'. L",
        ),
        (Subclassed, "x", "Functional or a built Sequential model.*Subclassed"),
        (lambda: keras.Sequential([layers.Conv2D(1, 1)]), "x", "built Sequential"),
        (lambda: chain(layers.Dense(2), shape=(5,)), "x", "one input of shape"),
        (
            lambda: chain(layers.UpSampling2D(2, name="up")),
            "up",
            "at 'up' units lie closer together than pixels",
        ),
        (pooled_by_ops, "max_pool", "'max_pool' .* has no rule"),
        (
            lambda: chain(layers.Softmax(axis=1, name="s")),
            "s",
            r"'s' \(Softmax\) has no rule",
        ),
        (
            lambda: chain(
                layers.Conv2D(2, 3, 2, "same", name="c"), shape=(None, None, 3)
            ),
            "c",
            "'c' pads 'same' with a stride; give the model a fixed input size",
        ),
        (
            lambda: chain(layers.GlobalMaxPooling2D(name="g"), shape=(None, None, 3)),
            "g",
            "'g' sees the whole image; give the model a fixed input size",
        ),
    ],
)
def test_what_has_no_field_is_refused_in_one_line(model, layer, message):
    with pytest.raises(ValueError, match=message) as error:
        receptive_field.compute(model(), layer)
    assert "\n" not in str(error.value)


def test_a_refused_layer_does_not_hide_the_layers_before_it():
    model = chain(layers.Conv2D(2, 3, name="c"), layers.UpSampling2D(name="up"))
    assert receptive_field.compute(model, "c").size == (3, 3)


@pytest.mark.parametrize(
    "enlarge, tight",
    [
        (layers.UpSampling2D(2), True),
        (layers.UpSampling2D((2, 1), interpolation="bilinear"), False),
        (layers.Conv2DTranspose(2, 3, strides=2), True),
        (layers.Conv2DTranspose(2, 4, strides=2, padding="same"), True),
        (layers.Conv2DTranspose(2, (2, 3), strides=(2, 1), padding="same"), True),
    ],
)
def test_boxes_behind_layers_that_enlarge_hold_what_units_see(enlarge, tight):
    enlarge.name = "up"
    ones = {"kernel_initializer": "ones"}
    if hasattr(enlarge, "kernel_initializer"):
        enlarge.kernel_initializer = keras.initializers.Ones()
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Conv2D(2, 3, strides=2, padding="same", **ones),
            enlarge,
            layers.Conv2D(1, 1, name="last", **ones),
        ]
    )
    field = receptive_field.compute(model, "last")
    x = tf.zeros((1, 16, 16, 1))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        units = model(x)[0, 4:12, 4:12, 0]
        each = [units[i, j] for i in range(4) for j in range(4)]
    starts, ends = [], []
    for n, unit in enumerate(each):
        seen = np.argwhere(tape.gradient(unit, x)[0, :, :, 0].numpy())
        box = field.boxes(4 + n // 4, 4 + n % 4)
        starts.append(seen.min(0) - box[:2])
        ends.append(box[2:] - 1 - seen.max(0))
    assert np.min(starts) >= 0
    assert np.min(ends) >= 0
    if tight:
        np.testing.assert_array_equal(np.min(starts, 0), 0)
        np.testing.assert_array_equal(np.min(ends, 0), 0)
