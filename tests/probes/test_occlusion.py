import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from keras import layers

from allconv.probes.occlusion import occlude, pixel_map, starts


@pytest.fixture(scope="module")
def net():
    """A small random network with a layer of maps and one without."""
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((9, 7, 2)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(name="flatten"),
            layers.Dense(5, activation="softmax", name="scores"),
        ]
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(3, 9, 7, 2)).astype("float32")


def one_pixel_net(shape, y, x):
    """P(class 1) is the value of pixel (y, x), which should be in [0, 1]."""
    inputs = keras.Input(shape)
    value = inputs[:, y, x, :]
    return keras.Model(inputs, layers.Concatenate()([1 - value, value]))


def occlusion_loop(net, image, label, size, stride, fill, layer, channel):
    """One window at a time, painted by slices, summed into the pixels it covers."""
    height, width = image.shape[:2]
    reader = keras.Model(net.inputs[0], [net.get_layer(layer).output, net.outputs[0]])
    total, active, count = (np.zeros((height, width)) for _ in range(3))
    labels, distance = np.zeros((height, width), int), np.full((height, width), np.inf)
    for top in range(stride - size, height, stride):
        for left in range(stride - size, width, stride):
            part = np.s_[
                max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)
            ]
            occluded = image.copy()
            occluded[part] = fill
            maps, p = reader(occluded[None], training=False)
            p = p.numpy()[0]
            total[part] += p[label]
            active[part] += maps.numpy()[0, :, :, channel].sum()
            count[part] += 1
            for y in range(height):
                for x in range(width):
                    d = (y - top - (size - 1) / 2) ** 2 + (
                        x - left - (size - 1) / 2
                    ) ** 2
                    if d < distance[y, x]:
                        distance[y, x], labels[y, x] = d, p.argmax()
    return total / count, labels, active / count


@pytest.mark.parametrize("size, stride, batch", [(3, 1, 64), (4, 3, 7), (2, 2, 1)])
def test_occlusion_against_a_loop(net, images, size, stride, batch):
    fill = (0.5, -0.25)
    out = occlude(
        net,
        images,
        size,
        stride,
        fill,
        labels=[0, 4, 2],
        layer="conv",
        batch_size=batch,
    )
    for i, image in enumerate(images):
        p, labels, activation = occlusion_loop(
            net, image, [0, 4, 2][i], size, stride, fill, "conv", out.channel[i]
        )
        np.testing.assert_allclose(out.probability[i], p, atol=1e-5)
        np.testing.assert_allclose(out.activation[i], activation, rtol=1e-4)
        np.testing.assert_array_equal(out.label[i], labels)
    clean = net(images).numpy()
    np.testing.assert_allclose(
        out.clean_probability, clean[[0, 1, 2], [0, 4, 2]], atol=1e-6
    )
    np.testing.assert_array_equal(out.clean_label, clean.argmax(1))
    sums = (
        keras.Model(net.inputs[0], net.get_layer("conv").output)(images)
        .numpy()
        .sum((1, 2))
    )
    np.testing.assert_array_equal(out.channel, sums.argmax(1))
    np.testing.assert_allclose(out.clean_activation, sums.max(1), rtol=1e-5)


@pytest.mark.parametrize("y, x", [(0, 0), (0, 5), (3, 2), (7, 5)])
def test_a_net_that_looks_at_one_pixel(y, x):
    """A pixel's drop is the share of its windows that also cover the pixel (y, x)."""
    size = 3
    model = one_pixel_net((8, 6, 1), y, x)
    image = np.full((8, 6, 1), 0.75, "float32")
    out = occlude(model, image, size, 1, 0, labels=np.array([1]))

    def shared(n, at):
        return np.maximum(0, size - np.abs(np.arange(n) - at)) / size

    np.testing.assert_allclose(
        out.drop[0], 0.75 * np.outer(shared(8, y), shared(6, x)), atol=1e-6
    )
    # Where the square is centred within one pixel of (y, x), class 0 wins.
    covered = np.maximum.outer(np.abs(np.arange(8) - y), np.abs(np.arange(6) - x)) < 2
    np.testing.assert_array_equal(out.label[0], np.where(covered, 0, 1))


@given(st.integers(1, 12), st.integers(1, 12), st.data())
@settings(deadline=None, max_examples=50)
def test_coverage(height, width, data):
    """A constant gives a constant map, and borders are covered like the middle."""
    size = data.draw(st.integers(1, min(height, width)))
    stride = data.draw(st.integers(1, size))
    grid = (1, len(starts(height, size, stride)), len(starts(width, size, stride)))
    out = pixel_map(np.full(grid, 0.3), height, width, size, stride)
    np.testing.assert_allclose(out, 0.3, rtol=1e-6)
    tops = starts(height, size, stride)
    for y in range(height):
        covering = sum(top <= y < top + size for top in tops)
        assert covering in (size // stride, -(-size // stride))


def test_occlusion_of_logits_and_of_raw_pixels(net, images):
    logits = keras.Sequential([*net.layers[:-1], layers.Dense(5)])
    logits(images)
    logits.layers[-1].set_weights(net.layers[-1].get_weights())
    expected = occlude(net, images, 4, 2, 0.0)
    out = occlude(logits, images, 4, 2, 0.0, from_logits=True)
    np.testing.assert_allclose(out.probability, expected.probability, atol=1e-6)
    assert out.activation is None

    def scale(pixels):
        return (pixels.astype("float32") - 128) / 64

    pixels = np.random.default_rng(1).integers(0, 256, (2, 9, 7, 2), "uint8")
    raw = occlude(net, pixels, 4, 2, 128, preprocess=scale, layer="conv")
    ready = occlude(net, scale(pixels), 4, 2, 0, layer="conv")
    np.testing.assert_array_equal(raw.probability, ready.probability)


def test_occlusion_of_a_subclassed_model(net, images):
    class Wrapped(keras.Model):
        def call(self, x):
            return net(x)

    out = occlude(Wrapped(), images[0], 3, 3, 0)
    np.testing.assert_allclose(
        out.probability, occlude(net, images[:1], 3, 3, 0).probability, atol=1e-6
    )


def test_occlusion_traces_once(images):
    traces = []

    class Counting(keras.Model):
        def call(self, x):
            traces.append(x.shape)
            return tf.nn.softmax(tf.reduce_sum(x, (1, 2)))

    model = Counting()
    model(images)
    traces.clear()
    occlude(model, images, 2, 1, 0, batch_size=16)
    assert [n for n, *_ in traces] == [1, None]  # one look at finiteness, one trace


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"size": 8}, "`size` should be from 1 to the image's 7 pixels"),
        ({"stride": 4}, "pixels are never covered"),
        ({"fill": (1, 2, 3)}, "one per channel"),
        ({"fill": np.nan}, "`fill` should be a finite number"),
        (
            {"images": np.full((3, 9, 7, 2), np.nan)},
            "`images` should be an array of finite",
        ),
        ({"layer": "scores"}, "has no map"),
        ({"layer": "nowhere"}, "has no layer 'nowhere'. Its layers: "),
        ({"labels": [0, 1]}, "one integer per image, 3"),
        ({"labels": [0, 1, 5]}, "classes from 0 to 4"),
        ({"images": np.zeros((9, 7))}, "n, height, width, channels"),
        ({"batch_size": 0}, "at least 1"),
    ],
)
def test_bad_occlusion(net, images, arguments, match):
    arguments = {"images": images, "size": 3, "stride": 2, "fill": 0, **arguments}
    with pytest.raises(ValueError, match=match) as error:
        occlude(net, **arguments)
    assert "\n" not in str(error.value)
