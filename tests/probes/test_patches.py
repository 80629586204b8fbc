"""Top activations against a sort of all activations; crops against a loop."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from keras import layers

from allconv.probes import patches


@pytest.fixture(scope="module")
def net():
    """Two branches, a stride and a pool; small integers, so that values tie."""
    inputs = x = keras.Input((9, 8, 3))
    a = layers.Conv2D(4, 3, padding="same", activation="relu", name="a")(x)
    b = layers.Conv2D(4, 3, strides=2, name="b")(layers.ZeroPadding2D(1)(a))
    c = layers.MaxPooling2D(2, padding="same", name="c")(a)
    d = layers.Conv2D(5, 2, name="d")(layers.Add()([b, c]))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="e")(d))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.integers(-2, 3, weight.shape))
    return model


def pictures(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, (n, 9, 8, 3)).astype(np.float32)


def slow_top(model, images, layer, k, one_per_image):
    """Sort every activation by value, then image, row and column."""
    maps = keras.Model(model.inputs[0], model.get_layer(layer).output)(images).numpy()
    hits = []
    for channel in range(maps.shape[-1]):
        ranked = sorted(
            (-value, *place) for place, value in np.ndenumerate(maps[..., channel])
        )
        if one_per_image:
            first = {}
            for hit in ranked:
                first.setdefault(hit[1], hit)
            ranked = list(first.values())
        hits.append(ranked[:k])
    value, index, y, x = np.moveaxis(np.array(hits), -1, 0)
    return -value, index, y, x


def assert_equal_to_slow(top, expected):
    value, index, y, x = expected
    np.testing.assert_array_equal(top.value, value)
    np.testing.assert_array_equal(top.index, index)
    np.testing.assert_array_equal(top.y, y)
    np.testing.assert_array_equal(top.x, x)


@settings(deadline=None, max_examples=15)
@given(
    n=st.integers(1, 13),
    k=st.integers(1, 5),
    batch_size=st.integers(1, 6),
    one_per_image=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equals_a_sort_of_all_activations(net, n, k, batch_size, one_per_image, seed):
    images = pictures(n, seed)
    k = min(k, n)
    tops = patches.top_activations(
        net,
        images,
        ["d", "a", "c"],
        k,
        one_per_image=one_per_image,
        batch_size=batch_size,
        progress=False,
    )
    assert list(tops) == ["d", "a", "c"]
    for layer, top in tops.items():
        assert_equal_to_slow(top, slow_top(net, images, layer, k, one_per_image))


@pytest.mark.parametrize("one_per_image", [True, False])
def test_an_image_may_hold_several_hits_only_when_asked(net, one_per_image):
    images = pictures(8)
    images[5] *= 10
    top = patches.top_activations(
        net, images, "a", 4, one_per_image=one_per_image, progress=False
    )["a"]
    repeated = any(len(set(row)) < 4 for row in top.index.tolist())
    assert repeated != one_per_image


def test_dtypes_and_boxes(net):
    top = patches.top_activations(net, pictures(9), "d", progress=False)["d"]
    assert top.value.shape == top.index.shape == (5, 9)
    assert top.box.shape == (5, 9, 4)
    assert [a.dtype for a in top] == [np.int32] * 3 + [np.float32, np.int32]
    # The wider branch, b, sees 5 rows; d sees two of its units, 2 rows apart.
    assert np.all(top.box[..., 2:] - top.box[..., :2] == 7)
    assert np.all(top.box[..., 0] == 2 * top.y - 2)


def test_the_patch_alone_gives_the_activation(net):
    """Whatever lies outside the box does not matter: the proof that boxes are right."""
    images = pictures(12)
    top = patches.top_activations(net, images, "d", 3, progress=False)["d"]
    maps = keras.Model(net.inputs[0], net.get_layer("d").output)
    for channel, hit in np.ndindex(top.index.shape):
        y0, x0, y1, x1 = top.box[channel, hit].clip(0)
        alone = pictures(1, seed=99)
        alone[0, y0:y1, x0:x1] = images[top.index[channel, hit], y0:y1, x0:x1]
        y, x = top.y[channel, hit], top.x[channel, hit]
        assert maps(alone)[0, y, x, channel] == top.value[channel, hit]


def test_data_sets_give_the_same_as_arrays(net):
    images = pictures(11)
    expected = patches.top_activations(net, images, ["a", "d"], 4, progress=False)
    alone = tf.data.Dataset.from_tensor_slices(images).batch(3)
    labelled = tf.data.Dataset.from_tensor_slices((images, np.arange(11))).batch(4)
    for dataset in (alone, labelled):
        tops = patches.top_activations(net, dataset, ["a", "d"], 4, progress=False)
        for layer in tops:
            for got, wanted in zip(tops[layer], expected[layer], strict=True):
                np.testing.assert_array_equal(got, wanted)


def test_integer_images_are_cast_to_the_models_dtype(net):
    images = pictures(5)
    for dtype in (np.uint8, np.float64):
        top = patches.top_activations(
            net, images.astype(dtype), "a", 2, progress=False
        )["a"]
        assert_equal_to_slow(top, slow_top(net, images, "a", 2, True))


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_models_that_take_other_dtypes(dtype):
    inputs = keras.Input((9, 8, 3), dtype=dtype)
    x = keras.layers.Rescaling(1 / 255, dtype="float32")(inputs)
    x = keras.layers.Conv2D(2, 3, name="conv")(x)
    images = pictures(5).astype("uint8")
    top = patches.top_activations(keras.Model(inputs, x), images, "conv", 2)["conv"]
    maps = np.asarray(keras.Model(inputs, x)(images))
    expected = np.sort(maps.max((1, 2)), axis=0)[:-3:-1].T
    np.testing.assert_allclose(top.value, expected, rtol=1e-4, atol=1e-6)


def test_layers_of_nested_models():
    inner = keras.Sequential(
        [
            keras.Input((None, None, 2)),
            layers.Conv2D(3, 3, name="one"),
            layers.Conv2D(4, 2, name="two"),
        ],
        name="inner",
    )
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(2, 1, name="zero"), inner]
    )
    flat = keras.Sequential([keras.Input((8, 8, 3)), model.layers[0], *inner.layers])
    images = np.random.default_rng(1).random((6, 8, 8, 3), np.float32)
    names = ["two", "zero", "inner/one"]
    nested = patches.top_activations(model, images, names, 2, progress=False)
    for name, top in nested.items():
        plain = name.rpartition("/")[2]
        expected = patches.top_activations(flat, images, plain, 2, progress=False)
        np.testing.assert_array_equal(top.index, expected[plain].index)
        np.testing.assert_array_equal(top.box, expected[plain].box)
        np.testing.assert_allclose(top.value, expected[plain].value, rtol=1e-5)


def test_mixed_precision_is_ranked_in_float32():
    keras.utils.set_random_seed(0)
    conv = layers.Conv2D(2, 3, name="conv", dtype="mixed_bfloat16")
    model = keras.Sequential([keras.Input((9, 8, 3)), conv])
    top = patches.top_activations(model, pictures(4), "conv", 2, progress=False)["conv"]
    assert top.value.dtype == np.float32


def test_the_pass_is_traced_once_and_memory_does_not_grow(net, monkeypatch):
    """One trace, ragged last batch included; the ranking is all that is carried."""
    steps = []
    tracker = patches._tracker

    def spy(*arguments):
        steps.append(tracker(*arguments))
        return steps[-1]

    monkeypatch.setattr(patches, "_tracker", spy)
    patches.top_activations(net, pictures(10), "a", 2, batch_size=4, progress=False)
    assert len(steps) == 1
    assert steps[0].experimental_get_tracing_count() == 1
    rankings = steps[0].get_concrete_function().structured_outputs[0]
    assert [tuple(t.shape) for t in rankings[0]] == [(4, 2)] * 4


def test_progress_bar(net, capsys):
    for progress in (True, False):
        patches.top_activations(net, pictures(6), "a", 2, progress=progress)
        assert ("6/6" in capsys.readouterr().err) == progress


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"layers": "z"}, "No layer is called 'z'. Layers: a, "),
        ({"layers": []}, "`layers` should name a layer"),
        ({"layers": "e"}, r"'e' has no map: its output has shape \(None, 5\)"),
        ({"k": 0}, "`k` should be an integer from 1. Received: k=0"),
        ({"k": 4}, "k=4 is more than layer 'a' has to rank in 3 images, one position"),
        ({"k": 217, "one_per_image": False}, "k=217 is more than .* in 3 images.$"),
        ({"images": pictures(0)}, "`images` is empty"),
        ({"images": pictures(3)[0]}, r"batches of shape \(None, 9, 8, 3\). Received"),
        ({"images": pictures(3)[:, :8]}, r"Received: a batch of shape \(2, 8, 8, 3\)"),
        (
            {"images": tf.data.Dataset.from_tensor_slices(pictures(3))},
            r"Received: a batch of shape \(9, 8, 3\)",
        ),
        (
            {"images": tf.data.Dataset.from_tensor_slices(pictures(0)).batch(2)},
            "`images` is empty",
        ),
        (
            {"images": np.where(np.arange(3) == 1, np.nan, pictures(3))},
            r"`images\[0\]` should be an array of finite",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(net, arguments, message):
    given = {"images": pictures(3), "layers": "a", "k": 2, "batch_size": 2}
    with pytest.raises(ValueError, match=message) as error:
        patches.top_activations(net, progress=False, **(given | arguments))
    assert "\n" not in str(error.value)


def test_a_diverged_model_is_refused_by_the_name_of_the_weight(net):
    model = keras.models.clone_model(net)
    model.get_layer("b").bias.assign([0, np.nan, 0, 0])
    with pytest.raises(ValueError, match="'bias' of the layer 'b'"):
        patches.top_activations(model, pictures(2), "a", 1, progress=False)


def test_nan_activations_of_finite_weights_are_found():
    overflow = keras.layers.Rescaling(3e38, name="big")
    undefined = keras.layers.Subtract(name="nan")
    inputs = keras.Input((4, 4, 1))
    x = overflow(inputs)
    model = keras.Model(inputs, undefined([x, x]))
    images = np.full((2, 4, 4, 1), 9, np.float32)
    with pytest.raises(ValueError, match="first in the layer 'big'"):
        patches.top_activations(model, images, "nan", 1, progress=False)


def test_a_layer_behind_an_unknown_one_is_refused():
    rows = [
        keras.Input((4, 4, 1)),
        layers.UpSampling2D(),
        layers.Conv2D(1, 1, name="c"),
    ]
    with pytest.raises(ValueError, match="closer together than pixels"):
        patches.top_activations(keras.Sequential(rows), np.ones((2, 4, 4, 1)), "c", 1)


def slow_crop(image, box, fill):
    y0, x0, y1, x1 = box
    out = np.full((y1 - y0, x1 - x0, image.shape[-1]), fill, image.dtype)
    for i in range(y1 - y0):
        for j in range(x1 - x0):
            if 0 <= y0 + i < image.shape[0] and 0 <= x0 + j < image.shape[1]:
                out[i, j] = image[y0 + i, x0 + j]
    return out


@settings(deadline=None, max_examples=50)
@given(
    images=hnp.arrays(
        np.uint8,
        st.tuples(*map(st.just, (2, 3)), st.integers(1, 6), st.just(5), st.just(2)),
    ),
    corner=hnp.arrays(np.int32, (2, 3, 2), elements=st.integers(-9, 9)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_crops_equal_a_loop_over_pixels(images, corner, size):
    box = np.concatenate([corner, corner + np.int32(size)], axis=-1)
    before = images.copy()
    crops = patches.crop(images, box, fill=7)
    assert crops.dtype == np.uint8
    assert crops.shape == (2, 3, *size, 2)
    for place in np.ndindex(2, 3):
        np.testing.assert_array_equal(
            crops[place], slow_crop(images[place], box[place], 7)
        )
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    "shape, box, message",
    [
        ((2, 4, 4, 1), [[0, 0, 2, 2]], "one box .* per image"),
        ((2, 4, 4, 1), [[0, 0, 2, 2], [0, 0, 2, 3]], "same positive height and width"),
        ((1, 4, 4, 1), [[2, 2, 2, 4]], "same positive height and width"),
    ],
)
def test_bad_boxes(shape, box, message):
    with pytest.raises(ValueError, match=message):
        patches.crop(np.zeros(shape), np.array(box))


def test_what_sees_more_than_the_image_is_shown_the_image():
    box = np.array([[[-3, -5, 37, 35], [0, 1, 40, 41]]])
    assert patches.visible(box, (32, 32)).tolist() == [[[0, 0, 32, 32]] * 2]
    assert patches.visible(box, (48, 32)) is box  # lower than the image
    assert patches.visible(box[:, :0], (32, 32)).shape == (1, 0, 4)


def test_gather_from_an_array_and_a_data_set():
    images = pictures(10)
    index = np.array([[9, 0, 3], [3, 3, 8]])
    dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(10))).batch(4)
    for source in (images, dataset):
        np.testing.assert_array_equal(patches.gather(source, index), images[index])
        for outside in (10, -1):
            with pytest.raises(ValueError, match="within 0 to 9"):
                patches.gather(source, np.array([outside, 2]))


def test_activations_that_overflow_in_a_later_batch_are_found():
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, keras.layers.Rescaling(3e38, name="big")(inputs))
    images = np.zeros((4, 4, 4, 1), np.float32)
    images[3] = 9
    with pytest.raises(ValueError, match="activation of layer 'big', image 2 to 3, is"):
        patches.top_activations(model, images, "big", 1, batch_size=2, progress=False)
