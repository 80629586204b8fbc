import keras
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from keras import layers

from allconv.probes.invariance import TRANSFORMS, measure, warp


def warp_loop(image, matrix, fill):
    """Bilinear interpolation, a pixel at a time; outside is `fill`."""
    height, width, _ = image.shape
    a0, a1, a2, b0, b1, b2 = (float(v) for v in matrix[:6])
    out = np.empty_like(image)

    def pixel(y, x):
        inside = 0 <= y < height and 0 <= x < width
        return image[y, x] if inside else np.full(image.shape[2], fill)

    for y in range(height):
        for x in range(width):
            u, v = a0 * x + a1 * y + a2, b0 * x + b1 * y + b2
            i, j = int(np.floor(v)), int(np.floor(u))
            s, t = v - i, u - j
            out[y, x] = (1 - s) * ((1 - t) * pixel(i, j) + t * pixel(i, j + 1)) + s * (
                (1 - t) * pixel(i + 1, j) + t * pixel(i + 1, j + 1)
            )
    return out


@given(st.integers(0, 999), st.sampled_from(list(TRANSFORMS)), st.floats(0.3, 40))
@settings(deadline=None, max_examples=25)
def test_warp_against_a_loop(seed, transform, value):
    if transform == "scale":
        value = 0.5 + value / 16
    rng = np.random.default_rng(seed)
    height, width = rng.integers(3, 8, 2)
    image = rng.normal(size=(height, width, 2)).astype("float32")
    matrix = TRANSFORMS[transform](value, height, width)
    out = warp(image[None], matrix, 0.25)[0]
    np.testing.assert_allclose(out, warp_loop(image, matrix, 0.25), atol=1e-3)


@pytest.mark.parametrize("turns", [-1, 0, 1, 2, 3])
def test_quarter_turns_are_exact_and_anticlockwise(turns):
    image = np.random.default_rng(0).normal(size=(1, 6, 6, 3)).astype("float32")
    out = warp(image, TRANSFORMS["rotation"](90 * turns, 6, 6), 0)
    np.testing.assert_allclose(out[0], np.rot90(image[0], turns), atol=1e-5)


def test_translation_moves_down_and_scale_keeps_the_centre():
    image = np.arange(25, dtype="float32").reshape(1, 5, 5, 1)
    down = warp(image, TRANSFORMS["translation"](2, 5, 5), -1)[0]
    np.testing.assert_allclose(down[2:], image[0, :3])
    np.testing.assert_allclose(down[:2], -1)
    large = warp(image, TRANSFORMS["scale"](2, 5, 5), 0)[0]
    assert large[2, 2] == image[0, 2, 2]
    np.testing.assert_allclose(large[::2, ::2], image[0, 1:4, 1:4])


@pytest.fixture(scope="module")
def equivariant():
    """A convolution, which moves with the image, and its sum, which does not."""
    inputs = keras.Input((12, 12, 1))
    maps = layers.Conv2D(2, 3, padding="same", use_bias=False, name="maps")(inputs)
    pooled = layers.GlobalAveragePooling2D(name="pooled")(maps)
    model = keras.Model(inputs, layers.Softmax(name="p")(pooled))
    model.get_layer("maps").set_weights(
        [np.arange(18).reshape(3, 3, 1, 2).astype("float32") / 10]
    )
    return model


def test_a_translation_equivariant_net(equivariant):
    """A spot moved by 3 or more no longer overlaps its 3x3 answer: sqrt(2) |f|."""
    images = np.zeros((2, 12, 12, 1), "float32")
    images[0, 4, 5], images[1, 5, 6] = 1, -2
    values = [-2.0, 0.0, 1.0, 3.0, 4.0]
    out = measure(
        equivariant, images, "translation", values, ["maps", "pooled"], batch_size=2
    )
    np.testing.assert_allclose(out.relative["pooled"], 0, atol=1e-5)
    np.testing.assert_allclose(out.relative["maps"][:, 1], 0, atol=1e-6)
    np.testing.assert_allclose(out.relative["maps"][:, 3:], np.sqrt(2), rtol=1e-5)
    norm = np.sqrt(((np.arange(18) / 10) ** 2).sum())
    np.testing.assert_allclose(
        out.distance["maps"][:, 4], np.sqrt(2) * norm * np.array([1, 2]), rtol=1e-5
    )
    clean = equivariant(images).numpy()
    np.testing.assert_array_equal(out.classes, clean.argmax(1))
    np.testing.assert_allclose(out.clean_probability, clean.max(1), rtol=1e-6)
    np.testing.assert_allclose(
        out.probability, [[p] * 5 for p in clean.max(1)], atol=1e-5
    )


@pytest.mark.parametrize(
    "transform, values, fill",
    [("scale", [0.8, 1.5], 100), ("rotation", [9], np.array([90, 120]))],
)
def test_invariance_against_a_loop(transform, values, fill):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((7, 8, 2)),
            layers.Conv2D(3, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(4, name="scores"),
        ]
    )
    rng = np.random.default_rng(0)
    images = rng.normal(100, 30, size=(3, 7, 8, 2)).astype("float32")

    def centre(x):
        return x / 50 - 2

    out = measure(
        model,
        images,
        transform,
        values,
        ["conv", "scores"],
        labels=np.array([3, 0, 1]),
        fill=fill,
        from_logits=True,
        preprocess=centre,
    )
    read = keras.Model(
        model.inputs[0], [model.get_layer("conv").output] + model.outputs
    )
    for i, image in enumerate(images):
        clean = [f.numpy()[0] for f in read(centre(image)[None])]
        for j, value in enumerate(values):
            moved = warp_loop(image, TRANSFORMS[transform](value, 7, 8), fill)
            after = [f.numpy()[0] for f in read(centre(moved)[None])]
            for name, a, b in zip(["conv", "scores"], clean, after, strict=True):
                d = np.sqrt(((a - b) ** 2).sum())
                np.testing.assert_allclose(out.distance[name][i, j], d, rtol=1e-3)
                np.testing.assert_allclose(
                    out.relative[name][i, j], d / np.sqrt((a**2).sum()), rtol=1e-3
                )
            p = np.exp(after[1]) / np.exp(after[1]).sum()
            np.testing.assert_allclose(
                out.probability[i, j], p[[3, 0, 1][i]], rtol=1e-3
            )


def test_features_of_zero_have_no_relative_distance(equivariant):
    images = np.zeros((1, 12, 12, 1), "float32")
    out = measure(equivariant, images, "rotation", [10.0], ["maps"])
    assert np.isnan(out.relative["maps"]).all()
    np.testing.assert_array_equal(out.distance["maps"], 0)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"transform": "shear"}, "translation, scale, rotation"),
        ({"values": []}, "at least one each"),
        ({"values": [1, np.nan]}, r"`values\[1\]` should be .* finite"),
        ({"fill": (1, 2, 3)}, "one per channel"),
        ({"layers": []}, "at least one each"),
        ({"layers": ["nowhere"]}, "has no layer 'nowhere'"),
        ({"transform": "scale", "values": [0.0]}, "above 0"),
        ({"images": np.zeros((12, 12, 1))}, "n, height, width, channels"),
    ],
)
def test_bad_invariance(equivariant, arguments, match):
    arguments = {
        "images": np.zeros((1, 12, 12, 1)),
        "transform": "rotation",
        "values": [1.0],
        "layers": ["maps"],
        **arguments,
    }
    with pytest.raises(ValueError, match=match):
        measure(equivariant, **arguments)
