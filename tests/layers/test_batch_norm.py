"""The fused batch normalisation is Keras' own, number for number; and folds away."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from allconv.layers.batch_norm import BatchNormalization
from allconv.layers.folding import fold


def maps(seed=0, shape=(8, 5, 6, 4)):
    return np.random.default_rng(seed).normal(2, 3, shape).astype("float32")


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "epsilon": 0.1}])
@pytest.mark.parametrize("scale, center", [(True, True), (False, False)])
def test_it_is_keras_in_training_and_inference(options, scale, center):
    options = options | {"scale": scale, "center": center}
    mine, keras_own = (
        BatchNormalization(**options),
        keras.layers.BatchNormalization(**options),
    )
    for seed in range(3):
        x, weights = tf.constant(maps(seed)), maps(9 + seed)
        results = []
        for layer in (mine, keras_own):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True)
                loss = tf.reduce_sum(y * y * weights)
            sources = [x, *(v.value for v in layer.trainable_variables)]
            results.append([y, *tape.gradient(loss, sources), *layer.get_weights()])
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(mine(x), keras_own(x), atol=1e-5)


def test_without_the_fused_kernel_it_is_keras_to_the_last_bit():
    mine = BatchNormalization(fused=False)
    again = BatchNormalization.from_config(mine.get_config())
    assert not again.fused
    expected = keras.layers.BatchNormalization()(maps(), training=True)
    np.testing.assert_array_equal(again(maps(), training=True), expected)
    old = {k: v for k, v in mine.get_config().items() if k != "fused"}
    assert BatchNormalization.from_config(old).fused  # of a file from before it


def test_frozen_it_uses_its_running_statistics():
    layer = BatchNormalization()
    layer(maps(), training=True)
    layer.trainable = False
    before = layer.get_weights()
    y = layer(maps(1), training=True)
    np.testing.assert_allclose(y, layer(maps(1), training=False))
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_mixed_precision_keeps_statistics_in_float32():
    layer = BatchNormalization(dtype="mixed_bfloat16")
    x = maps()
    assert layer(x, training=True).dtype == "bfloat16"
    mean = x.astype(tf.bfloat16.as_numpy_dtype).astype("float32").mean(axis=(0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean, 0.01 * mean, rtol=1e-5)


def test_it_survives_a_file(tmp_path):
    model = keras.Sequential([keras.Input((5, 6, 4)), BatchNormalization(name="norm")])
    model.layers[0](maps(), training=True)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.get_layer("norm")) is BatchNormalization
    np.testing.assert_array_equal(model(maps(1)), again(maps(1)))


@pytest.mark.parametrize("options", [{"synchronized": True}, {"dtype": "float64"}])
def test_what_the_kernel_cannot_do_is_keras_own(options):
    ours, theirs = BatchNormalization(**options), keras.layers.BatchNormalization()
    got, expected = (layer(maps(), training=True) for layer in (ours, theirs))
    assert got.dtype == options.get("dtype", "float32")
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_what_it_does_not_take_is_named():
    with pytest.raises(ValueError, match=r"takes maps.*Received: shape \(8, 4\)"):
        BatchNormalization()(np.zeros((8, 4), "float32"))
    with pytest.raises(ValueError, match="axis 1"):
        BatchNormalization(axis=1)(maps())


def randomised(model):
    """The model with all its weights drawn, variances positive."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "seed" not in variable.path:
            variable.assign(rng.uniform(0.2, 1, variable.shape))
    return model


def branched():
    """Norms behind plain, depthwise, biased, shared and activated convolutions."""
    x = inputs = keras.Input((9, 9, 3))
    x = keras.layers.Conv2D(4, 3, use_bias=False, name="plain")(x)
    x = keras.layers.ReLU()(BatchNormalization(name="in1")(x))
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="depth")(x)
    x = BatchNormalization(name="in2", scale=False)(x)
    y = keras.layers.Conv2D(8, 1, activation="relu", name="active")(x)
    y = keras.layers.BatchNormalization(name="stays1")(y)
    both = keras.layers.Conv2D(8, 1, name="twice")
    z = keras.layers.BatchNormalization(name="stays2")(both(y))
    x = keras.layers.Add()([x, z, both(x)])
    return randomised(keras.Model(inputs, x))


def test_fold_takes_in_the_norms_that_follow_a_convolution_alone():
    model = branched()
    folded = fold(model)
    kept = [x.name for x in folded.layers if "BatchNorm" in type(x).__name__]
    assert sorted(kept) == ["stays1", "stays2"]
    np.testing.assert_allclose(
        folded(maps(2, (2, 9, 9, 3))), model(maps(2, (2, 9, 9, 3))), rtol=2e-5
    )


def test_fold_takes_in_the_norms_of_a_sequential_model():
    model = keras.Sequential(
        [
            keras.Input((9, 9, 3)),
            keras.layers.Conv2D(4, 3),
            BatchNormalization(center=False),
            keras.layers.ReLU(),
            keras.layers.BatchNormalization(name="stays"),
        ]
    )
    randomised(model)
    x = maps(2, (2, 9, 9, 3))
    folded = fold(model)
    assert [type(layer).__name__ for layer in folded.layers] == [
        "Conv2D",
        "ReLU",
        "BatchNormalization",
    ]
    np.testing.assert_allclose(folded(x), model(x), rtol=2e-5)


def test_an_output_of_the_model_is_not_folded_away():
    inputs = keras.Input((9, 9, 3))
    before = keras.layers.Conv2D(4, 3)(inputs)
    model = keras.Model(inputs, [before, BatchNormalization()(before)])
    x = maps(2, (2, 9, 9, 3))
    for a, b in zip(fold(randomised(model))(x), model(x), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5)
