from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from allconv.layers.folding import fold
from allconv.layers.zfnet_norms import LocalResponseNormalization, MaxRMS
from allconv.networks import zfnet, zfnet_rows
from allconv.presets import catalogue
from allconv.training.inputs import Arrays
from allconv.training.setup import compiled

# AlexNet's 60,965,224 is Caffe's `bvlc_alexnet`. The others were counted once.
PARAMETERS = {
    "zfnet": 62_357_608,
    "zfnet_no_3_4": 59_850_088,
    "zfnet_no_7": 45_576_296,
    "zfnet_no_6_7": 12_943_464,
    "zfnet_no_3_4_6_7": 10_435_944,
    "zfnet_half_dense": 28_848_232,
    "zfnet_double_dense": 154_542_184,
    "zfnet_wide": 107_627_624,
    "zfnet_wide_double_dense": 237_560_936,
    "alexnet": 60_965_224,
    "alexnet_no_3_4": 59_268_712,
    "alexnet_no_7": 44_183_912,
    "alexnet_no_6_7": 11_551_080,
    "alexnet_no_3_4_6_7": 9_854_568,
    "alexnet_half_dense": 27_455_848,
    "alexnet_double_dense": 153_149_800,
    "alexnet_wide": 102_622_568,
    "alexnet_wide_double_dense": 232_555_880,
    "zfnet_32": 1_884_778,
    "zfnet_32_no_3_4": 1_727_914,
    "zfnet_32_no_7": 835_178,
    "zfnet_32_no_6_7": 239_850,
    "zfnet_32_no_3_4_6_7": 82_986,
    "zfnet_32_half_dense": 797_290,
    "zfnet_32_double_dense": 5_632_618,
    "zfnet_32_wide": 2_944_874,
    "zfnet_32_wide_double_dense": 7_282_538,
    "alexnet_32": 1_798_186,
    "alexnet_32_no_3_4": 1_692_010,
    "alexnet_32_no_7": 748_586,
    "alexnet_32_no_6_7": 153_258,
    "alexnet_32_no_3_4_6_7": 47_082,
    "alexnet_32_half_dense": 710_698,
    "alexnet_32_double_dense": 5_546_026,
    "alexnet_32_wide": 2_632_490,
    "alexnet_32_wide_double_dense": 6_970_154,
    "zfnet_32_unbounded": 1_884_778,
}
# The full-size ablations take gigabytes; their rows are counted, not built.
BUILT = [n for n in zfnet_rows.NAMES if "_32" in n or n in ("zfnet", "alexnet")]


def count_from_rows(name):
    """Weights and biases by hand, from the table and the map sizes."""
    network, total, channels = zfnet_rows.NETWORKS[name], 0, 3
    width = zfnet_rows.map_sizes(name)["pool5"]
    features = None
    for row in network.rows:
        if isinstance(row, zfnet_rows.Conv):
            taps = row.kernel**2 * channels // row.groups
            total += (taps + 1) * row.filters
            channels = row.filters
        elif isinstance(row, zfnet_rows.Dense):
            features = features or width**2 * channels
            total += (features + 1) * row.units
            features = row.units
    return total + ((features or width**2 * channels) + 1) * network.classes


def test_every_network_has_a_golden_count():
    assert tuple(PARAMETERS) == zfnet_rows.NAMES


@pytest.mark.parametrize("name", zfnet_rows.NAMES)
def test_parameters_from_the_rows(name):
    assert count_from_rows(name) == PARAMETERS[name]


@pytest.mark.parametrize("name", BUILT)
def test_built_networks(name):
    model = zfnet.build(name)
    assert model.count_params() == PARAMETERS[name]
    assert model.name == name
    for layer, size in zfnet_rows.map_sizes(name).items():
        shape = model.get_layer(layer).output.shape
        assert len(shape) == 2 or shape[1:3] == (size, size)


def test_map_sizes_of_the_papers():
    zf, alex = zfnet_rows.map_sizes("zfnet"), zfnet_rows.map_sizes("alexnet")
    assert [zf[k] for k in ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5")] == [
        *(110, 55, 26, 13, 13, 6)
    ]
    assert [alex[k] for k in ("conv1", "pool1", "conv2", "pool2", "pool5")] == [
        *(55, 27, 27, 13, 6)
    ]
    model = zfnet.ZFNet()
    assert model.get_layer("norm1").output.shape == (None, 55, 55, 96)
    assert model.get_layer("flatten").output.shape == (None, 9216)


@pytest.mark.parametrize("suffix", ["", "_32"])
def test_both_networks_have_equal_maps_from_layer_3_on(suffix):
    zf, alex = (zfnet_rows.map_sizes(n + suffix) for n in ("zfnet", "alexnet"))
    assert all(zf[k] == alex[k] for k in ("conv3", "conv4", "conv5", "pool5"))


def test_variants_change_what_table_3_says():
    def widths(name):
        return {
            r.name: getattr(r, "filters", None) or r.units
            for r in zfnet_rows.NETWORKS[name].rows
            if isinstance(r, zfnet_rows.Conv | zfnet_rows.Dense)
        }

    assert set(widths("zfnet_no_3_4_6_7")) == {"conv1", "conv2", "conv5"}
    assert widths("zfnet_half_dense")["fc6"] == 2048
    assert widths("alexnet_double_dense")["fc7"] == 8192
    both = widths("zfnet_wide_double_dense")
    assert [both[k] for k in ("conv3", "conv4", "conv5", "fc6")] == [
        *(512, 1024, 512, 8192)
    ]
    quarter = widths("zfnet_32_wide")
    assert [quarter[k] for k in ("conv3", "conv4", "conv5")] == [128, 256, 128]


def test_every_factor_names_a_layer():
    for factors in zfnet_rows.VARIANTS.values():
        for network in ("zfnet", "alexnet", "zfnet_32", "alexnet_32"):
            assert set(factors) <= set(zfnet_rows.map_sizes(network))


def lrn_loop(x, radius, bias, alpha, beta):
    y = np.zeros_like(x)
    for i in range(x.shape[-1]):
        around = x[..., max(0, i - radius) : i + radius + 1]
        y[..., i] = x[..., i] / (bias + alpha * (around**2).sum(-1)) ** beta
    return y


def test_response_normalisation_against_a_loop():
    x = np.random.default_rng(0).normal(0, 3, (2, 4, 5, 7)).astype("float32")
    layer = LocalResponseNormalization(2, 1.5, 0.2, 0.75)
    np.testing.assert_allclose(
        layer(x), lrn_loop(x, 2, 1.5, 0.2, 0.75), rtol=1e-5, atol=1e-6
    )


def test_response_normalisation_of_large_values_in_half_precision():
    x = np.array([[[[300.0, 0, 2000]]]])
    single, half, double = (
        LocalResponseNormalization(dtype=dtype)(x.astype(dtype))
        for dtype in ("float32", "float16", "float64")
    )
    np.testing.assert_allclose(half, single, rtol=1e-3)
    np.testing.assert_allclose(double, single, rtol=1e-6)
    assert (half.dtype, double.dtype) == ("float16", "float64")
    for wrong in ({"bias": 0.0}, {"depth_radius": -1}):
        with pytest.raises(ValueError, match="`bias` should be above 0 and"):
            LocalResponseNormalization(**wrong)


@given(st.integers(0, 999), st.floats(0.01, 10))
@settings(deadline=None, max_examples=20)
def test_max_rms(seed, scale):
    rng = np.random.default_rng(seed)
    kernel = (scale * rng.normal(size=(3, 3, 4, 6))).astype("float32")
    kernel[..., 0] = 0
    out = np.asarray(MaxRMS(0.1)(kernel))
    rms = np.sqrt((kernel**2).mean((0, 1, 2)))
    for f in range(6):
        expected = kernel[..., f] * (0.1 / rms[f] if rms[f] > 0.1 else 1)
        np.testing.assert_allclose(out[..., f], expected, rtol=1e-5)
    # Keras' MaxNorm bounds the norm, which is the RMS times the root of the size.
    norm = keras.constraints.MaxNorm(0.1 * np.sqrt(36), axis=[0, 1, 2])
    np.testing.assert_allclose(out, norm(kernel), rtol=1e-4, atol=1e-6)


def test_a_step_of_training_keeps_the_constraint_and_lowers_the_loss():
    keras.utils.set_random_seed(0)
    model = zfnet.ZFNet32()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 32, 32, 3)).astype("float32")
    y = rng.integers(0, 10, 32)
    model.compile(keras.optimizers.SGD(0.05, 0.9), "sparse_categorical_crossentropy")
    losses = model.fit(x, y, batch_size=32, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for layer in ("conv1", "conv3"):
        kernel = model.get_layer(layer).kernel.numpy()
        assert np.sqrt((kernel**2).mean((0, 1, 2))).max() <= 0.1 + 1e-6
    free = zfnet.build("zfnet_32_unbounded")
    assert free.get_layer("conv1").kernel_constraint is None


def test_a_saved_model_loads_alone(tmp_path):
    model = zfnet.build("alexnet_32_no_6_7")
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(model(x), loaded(x))
    assert loaded.get_layer("conv1").kernel_constraint.max_rms == 0.1
    assert loaded.get_layer("norm1").beta == 0.75


def test_groups_of_their_own_are_keras_groups():
    """The same maps and gradients as one grouped convolution with the same kernel."""
    model = zfnet.build("alexnet_32")
    assert model.get_layer("conv2").groups == 2
    for layer in ("conv2", "conv4"):
        mine = model.get_layer(layer)
        plain = keras.layers.Conv2D.from_config(mine.get_config())
        plain.build(mine.input.shape)
        plain.set_weights(mine.get_weights())
        shape = (2, *mine.input.shape[1:])
        x = tf.constant(np.random.default_rng(0).normal(size=shape).astype("float32"))
        found = []
        for convolution in (mine, plain):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = convolution(x)
                loss = tf.reduce_sum(y * y)
            found.append([y, *tape.gradient(loss, [x, convolution.kernel.value])])
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["zfnet_32", "alexnet_32"])
def test_batch_normalisation_folds_into_the_papers_network(name):
    rng = np.random.default_rng(0)
    model = zfnet.build(name, norm="batch")
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shapes = [w.shape for w in layer.get_weights()]
            layer.set_weights([rng.uniform(0.5, 2, shape) for shape in shapes])
    folded, plain = fold(model), zfnet.build(name)
    for layer in plain.layers:
        if layer.weights:
            layer.set_weights(folded.get_layer(layer.name).get_weights())
    x = rng.normal(size=(3, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(plain(x), model(x), atol=1e-5)


def test_the_short_presets_are_the_variants():
    names = {f"zfnet_32_{v}" if v else "zfnet_32" for v in zfnet_rows.VARIANTS}
    assert set(catalogue.ZFNET_32) == names | {"zfnet_32_unbounded", "alexnet_32"}


def test_weights_without_a_top(tmp_path):
    path = tmp_path / "zf.weights.h5"
    zfnet.ZFNet32(include_top=False).save_weights(path)
    with pytest.warns(UserWarning, match="does not say which network"):
        model = zfnet.ZFNet32(include_top=False, weights=path, pooling="max", name="zf")
    assert model.output.shape == (None, 64)
    assert model.name == "zf"
    assert zfnet.ZFNet32(include_top=False).output.shape == (None, 3, 3, 64)


def test_weights_that_do_not_exist():
    with pytest.raises(FileNotFoundError, match="which is neither"):
        zfnet.ZFNet32(weights="nowhere.weights.h5")


def test_logits_and_classes():
    model = zfnet.ZFNet32(classes=7, classifier_activation=None)
    out = model(np.ones((1, 32, 32, 3), "float32")).numpy()
    assert out.shape == (1, 7)
    assert abs(out.sum() - 1) > 1e-4
    assert zfnet.ZFNet.__name__ == "ZFNet"


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"name": "zf"}, "`name` should be a network that .*='zf'"),
        ({"input_shape": (32, 32)}, "height, width, channels"),
        ({"input_shape": (None, 32, 3)}, "all known"),
        ({"input_shape": (4, 32, 3)}, "at least 9 x 9 pixels for zfnet_32"),
        ({"pooling": "avg"}, "include_top=False"),
        ({"pooling": "sum", "include_top": False}, "None, 'avg' or 'max'"),
        ({"classes": 0}, "`classes` should be an integer from 1"),
        ({"norm": "deconv"}, "`norm` should be one of none, batch for zfnet_32"),
        ({"dropout": 2}, "`dropout` should be a finite number from 0 to 1"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        zfnet.build(**{"name": "zfnet_32", **arguments})


def test_layer_1_of_the_small_networks_starts_below_the_bound_and_the_rest_as_he():
    model = zfnet.build("zfnet_32")
    assert np.std(model.get_layer("conv1").kernel) == pytest.approx(0.02, rel=0.05)
    he = np.sqrt(2 / (3 * 3 * 96))
    assert np.std(model.get_layer("conv4").kernel) == pytest.approx(he, rel=0.02)
    same = zfnet.build("zfnet_32", kernel_initializer="zeros")
    assert not np.any(same.get_layer("conv1").kernel)


def test_constants_are_those_of_the_papers():
    config = LocalResponseNormalization().get_config()
    expected = {"depth_radius": 2, "bias": 2.0, "alpha": 1e-4, "beta": 0.75}
    assert config.items() >= expected.items()
    dropout = keras.layers.Dropout
    rates = [x.rate for x in zfnet.ZFNet32().layers if isinstance(x, dropout)]
    assert rates == [0.5, 0.5]
    assert (
        zfnet_rows.NETWORKS["zfnet"].std == zfnet_rows.NETWORKS["alexnet"].std == 1e-2
    )


def test_muon_turns_the_normalised_convolutions_alone():
    preset = replace(
        catalogue.get("zfnet_32"), norm="batch", muon=0.3, learning_rate=0.05
    )
    images = np.zeros((8, 32, 32, 3), "float32"), np.zeros(8, int)
    model = compiled(preset, Arrays(images, images, 10, 1))
    convolutions = [f"conv{i}/kernel" for i in range(1, 6)]
    assert list(model.optimizer.hidden) == convolutions
    decayed = {v.path for v in model.trainable_variables if v.regularizer}
    assert "fc6/kernel" in decayed
    assert not decayed & set(convolutions)
