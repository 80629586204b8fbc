"""Models that cannot be read rightly are refused once, in every tool, by the layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from allconv.probes import (
    correspondence,
    invariance,
    occlusion,
    patches,
    receptive_field,
)
from allconv.results.evaluation import evaluate
from allconv.saliency import reverse_pass
from allconv.saliency.cam import grad_cam
from allconv.saliency.explainer import Explainer, explain
from allconv.saliency.lrp import propagate
from tests.nets import chain, images

X = images(n=2, size=8)
BOX = np.array([[1, 1, 4, 4]] * 2)
TOOLS = {
    "explain": lambda m: explain(m, X, layer="conv", channel=1),
    "grad_cam": lambda m: grad_cam(m, X, "conv"),
    "lrp": lambda m: propagate(m, X),
    "reverse": lambda m: reverse_pass.reverse(m, X, "guided"),
    "occlusion": lambda m: occlusion.occlude(m, X, 3, 3, 0.0),
    "invariance": lambda m: invariance.measure(m, X, "scale", [1.1], ["conv"]),
    "correspondence": lambda m: correspondence.compare(m, X, {"a": BOX}, ["conv"], 0),
    "patches": lambda m: patches.top_activations(m, X, "conv", k=1, progress=False),
    "evaluate": lambda m: evaluate(m, X, np.array([0, 1])),
}


def net(pool=True):
    return chain(
        layers.Conv2D(4, 3, name="conv"),
        *([layers.ReLU(), layers.MaxPooling2D(2)] if pool else []),
        layers.Conv2D(4, 2, activation="relu", name="upper"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax", name="dense"),
    )


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("layer", ["conv", "dense"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_named(tool, layer, bad):
    model = net()
    kernel = model.get_layer(layer).kernel
    values = kernel.numpy()
    values[..., 0] = bad
    kernel.assign(values)
    with pytest.raises(ValueError, match=f"'kernel' of the layer '{layer}'"):
        TOOLS[tool](model)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_layer_that_overflows_is_named(tool):
    model = net()
    for name in ("conv", "upper"):  # finite weights whose product is not
        model.get_layer(name).kernel.assign(
            np.full(model.get_layer(name).kernel.shape, 3e38)
        )
    what = "its Convolution 0" if tool == "reverse" else "first in the layer 'conv'"
    with pytest.raises(ValueError, match=what):
        TOOLS[tool](model)


def test_nan_that_pooling_and_rectifiers_hide_is_found():
    hide = layers.Lambda(lambda x: x + 0 * keras.ops.log(x - 1e9), name="odd")
    model = chain(hide, layers.ReLU(), layers.MaxPooling2D(2), layers.Flatten())
    with pytest.raises(ValueError, match="first in the layer 'odd'"):
        explain(model, X, strict=False)


def test_channels_first_is_refused_for_the_model():
    first = {"data_format": "channels_first"}
    inputs = keras.Input((8, 8, 3))  # 8 channels, were they not first
    x = layers.Conv2D(4, 3, name="inner", **first)(inputs)
    x = layers.ReLU(name="conv")(layers.BatchNormalization(axis=1)(x))
    x = layers.GlobalAveragePooling2D(**first)(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    for name, tool in TOOLS.items():
        if name != "evaluate":
            with pytest.raises(ValueError, match="channels first"):
                tool(model)
    with pytest.raises(ValueError, match="channels first"):
        receptive_field.compute(model, "conv")
    # A class has no axes that could be mistaken, and the map is the images' own.
    assert explain(model, X).shape == X.shape
    normed = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.BatchNormalization(axis=1), layers.ReLU()]
    )
    with pytest.raises(ValueError, match="channels first"):
        explain(normed, X, layer=normed.layers[-1].name)


def test_a_class_behind_a_reshape_is_the_one_that_is_numbered():
    keras.utils.set_random_seed(0)
    conv = layers.Conv2D(5, 3, activation="relu")
    top = layers.Conv2D(3, 1, name="top")
    model = chain(conv, top, layers.Softmax(), layers.Flatten())
    explainer = Explainer(model, "guided")
    assert explainer.neurons == (108,)
    row, column, channel = 2, 3, 1
    np.testing.assert_allclose(
        explainer(X, target=(row * 6 + column) * 3 + channel),
        explain(model, X, layer="top", channel=channel, position=(row, column)),
        rtol=1e-5,
    )
    one = chain(layers.Conv2D(3, 8), layers.ReLU(), layers.Softmax(), layers.Flatten())
    assert Explainer(one).neurons == (3,)


@pytest.mark.parametrize("cell", [layers.LSTM, layers.GRU])
def test_the_audit_goes_on_past_recurrent_layers(cell):
    model = chain(
        layers.Conv2D(4, 3, activation="relu", name="conv"),
        layers.Reshape((6, 24)),
        cell(5),
        layers.Dense(2),
    )
    with pytest.raises(ValueError, match="says nothing of"):
        explain(model, X)
    audit = Explainer(model, strict=False).audit
    assert audit.rectifiers == ("conv (Relu)",)
    assert audit.treated == audit.rectifiers
    assert any("While" in name for name in audit.untouched)


@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_quantised_kernels_are_refused_by_the_explicit_pass(mode):
    model = net()
    model.get_layer("dense").quantize(mode)
    with pytest.raises(ValueError, match=f"'dense' is quantised .{mode}"):
        reverse_pass.reverse(model, X)


def test_what_half_precision_would_lose_on_the_way_down():
    keras.utils.set_random_seed(0)

    def deep(policy):
        scale = keras.initializers.VarianceScaling(0.02)
        rows = [
            layers.Conv2D(
                8, 3, padding="same", activation="relu", kernel_initializer=scale
            )
            for _ in range(6)
        ]
        top = layers.GlobalAveragePooling2D(), layers.Dense(2)
        whole = [r.get_config() | {"dtype": policy} for r in (*rows, *top)]
        kinds = [type(r) for r in (*rows, *top)]
        return chain(*(k.from_config(c) for k, c in zip(kinds, whole, strict=True)))

    full, half = deep("float32"), deep("mixed_float16")
    half.set_weights(full.get_weights())
    wanted, found = (explain(m, X, "backprop", target=0) for m in (full, half))
    assert np.abs(wanted).max() < 6e-8  # which float16 takes for 0
    assert np.corrcoef(wanted.ravel(), found.ravel())[0, 1] > 0.95


def test_a_fixed_batch():
    keras.utils.set_random_seed(0)
    free = net()
    inputs = keras.Input(batch_shape=(4, 8, 8, 3))
    fixed = keras.Model(inputs, free(inputs))
    many = images(n=7, size=8)
    np.testing.assert_allclose(
        explain(fixed, many), explain(free, many), rtol=1e-5, atol=1e-7
    )


def test_units_at_their_ceiling_are_ranked_by_what_is_below_it():
    keras.utils.set_random_seed(0)
    many = images(n=9, size=8)
    for rectify in (layers.ReLU(6.0), layers.ReLU(0.5), layers.Activation("relu6")):
        rectify.name = "capped"
        conv = layers.Conv2D(3, 3, name="conv")
        model = chain(conv, rectify)
        conv.kernel.assign(conv.kernel * 20)
        top = patches.top_activations(model, many, "capped", k=4, progress=False)
        peaks = np.maximum(conv(many), 0).max((1, 2))
        order = np.argsort(-peaks, axis=0, kind="stable")[:4].T
        np.testing.assert_array_equal(top["capped"].index, order)
        assert top["capped"].value.max() > 6


def test_patches_of_lists_generators_and_dicts():
    model = net()
    many = images(n=9, size=8)
    expected = patches.top_activations(model, many, "conv", k=2, progress=False)
    data = tf.data.Dataset.from_tensor_slices(
        {"image": many, "label": np.arange(9)}
    ).batch(4)
    for given in (list(many), (image for image in many), data, tf.constant(many)):
        found = patches.top_activations(
            model, given, "conv", k=2, batch_size=4, progress=False
        )
        np.testing.assert_array_equal(found["conv"].index, expected["conv"].index)


@pytest.mark.parametrize("rule", ["backprop", "deconvnet", "guided"])
def test_signals_and_volumes(rule):
    """A signal is an image of width 1, a volume of depth 1 an image."""
    keras.utils.set_random_seed(0)
    signal = keras.Sequential(
        [
            keras.Input((12, 2)),
            layers.Conv1D(4, 3, activation="relu", name="conv"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3),
        ]
    )
    line = keras.Sequential(
        [
            keras.Input((12, 1, 2)),
            layers.Conv2D(4, (3, 1), activation="relu", name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    line.set_weights(
        [
            w.reshape(v.shape)
            for w, v in zip(signal.get_weights(), line.weights, strict=True)
        ]
    )
    x = np.random.default_rng(0).normal(size=(2, 12, 2)).astype("float32")
    for a, b in (
        ({}, {}),
        (
            {"layer": "conv", "channel": 1, "position": (4,)},
            {"layer": "conv", "channel": 1, "position": (4, 0)},
        ),
    ):
        np.testing.assert_allclose(
            explain(signal, x, rule, **a),
            explain(line, x[:, :, None], rule, **b)[:, :, 0],
            rtol=1e-5,
        )
    volume = keras.Sequential(
        [
            keras.Input((1, 8, 8, 3)),
            layers.Conv3D(4, (1, 3, 3), activation="relu", name="conv"),
            layers.GlobalAveragePooling3D(),
            layers.Dense(3),
        ]
    )
    flat = chain(
        layers.Conv2D(4, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    )
    flat.set_weights(
        [
            w.reshape(v.shape)
            for w, v in zip(volume.get_weights(), flat.weights, strict=True)
        ]
    )
    np.testing.assert_allclose(
        explain(volume, X[:, None], rule)[:, 0], explain(flat, X, rule), rtol=1e-5
    )
    with pytest.raises(ValueError, match=r"shape \(n, steps, channels\)"):
        explain(signal, x[0])


@pytest.mark.parametrize("pack", [list, dict])
def test_one_of_several_outputs_is_explained_at_its_logit(pack):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    heads = {
        "kind": layers.Dense(4, activation="softmax", name="kind")(x),
        "sure": layers.Dense(1, activation="sigmoid", name="sure")(x),
    }
    model = keras.Model(inputs, heads if pack is dict else [*heads.values()])
    for number, name in enumerate(heads):
        alone = keras.Model(inputs, heads[name])
        for which in (name, number):
            np.testing.assert_allclose(
                explain(model, X, output=which, target=1),
                explain(alone, X, target=1),
                rtol=1e-5,
            )
    with pytest.raises(ValueError, match="should be one of 'kind', 'sure', 0, 1, or"):
        explain(model, X)
    with pytest.raises(ValueError, match="Received: output='age'"):
        explain(model, X, output="age")
    for name in heads:
        way_out = f"The layer '{name}' ends in {name} .* leave `layer` out and use"
        with pytest.raises(ValueError, match=way_out):
            explain(model, X, layer=name)


def test_functions_with_loops_are_explained_by_their_gradient():
    class Loop(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = layers.Conv2D(3, 3, padding="same")
            self.dense = layers.Dense(3)

        @tf.function
        def call(self, x):
            for _ in tf.range(2):
                x = tf.nn.relu(self.conv(x))
            return self.dense(tf.reduce_mean(x, [1, 2]))

    keras.utils.set_random_seed(0)
    model = Loop()
    model.conv.build((None, 8, 8, 3))
    model.dense.build((None, 3))
    model(X)
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = model(x)[:, 1]
    np.testing.assert_allclose(
        Explainer(model, "backprop", image_shape=(8, 8, 3))(X, target=1),
        tape.gradient(score, x),
        rtol=1e-4,
        atol=1e-6,
    )
    with pytest.raises(ValueError, match="says nothing of"):
        Explainer(model, "guided", image_shape=(8, 8, 3))
