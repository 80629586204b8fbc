"""Relevance: as another library has it, as slow loops have it, and nothing is lost."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from keras import layers, ops

from allconv.layers.folding import fold
from allconv.layers.netdeconv import NetworkDeconvolution2D
from allconv.layers.zfnet_norms import LocalResponseNormalization
from allconv.saliency.explainer import Explainer
from allconv.saliency.lrp import propagate
from allconv.saliency.lrp_rules import (
    COMPOSITES,
    AlphaBeta,
    Box,
    Composite,
    Epsilon,
    Gamma,
    epsilon_gamma_box,
)
from tests import nets
from tests.saliency import lrp_zennit

ZENNIT = json.loads(lrp_zennit.FILE.read_text())
E = 1e-6  # zennit's
AS_ZENNIT = {
    "epsilon": Composite(Epsilon(E), Epsilon(E), None, E),
    "epsilon_plus": Composite(AlphaBeta(1, 0, E), Epsilon(E), None, E),
    "epsilon_alpha2_beta1": Composite(AlphaBeta(2, 1, E), Epsilon(E), None, E),
    "epsilon_gamma_box": Composite(
        Gamma(0.25, E), Epsilon(E), Box(lrp_zennit.LOW, lrp_zennit.HIGH, E), E
    ),
}


def chain():
    return [
        layers.Conv2D(5, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(3, 1),
        layers.Conv2D(6, 3),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Flatten(),
        layers.Dense(4, activation="softmax"),
    ]


def residual(x):
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = layers.Conv2D(4, 3, padding="same")(y)
    x = layers.AveragePooling2D(2)(layers.ReLU()(layers.Add()([x, y])))
    return layers.Dense(3)(layers.GlobalAveragePooling2D()(x))


def branches(x):
    x = layers.Conv2D(4, 3, strides=2)(layers.ZeroPadding2D(1)(x))
    x = ops.relu(x)
    x = [layers.Conv2D(4, 1)(x), layers.DepthwiseConv2D(3, padding="same")(x)]
    x = layers.Activation("relu")(layers.Concatenate()(x))
    x = layers.Conv2D(6, 3, padding="same", groups=2)(x)
    return layers.Softmax()(layers.GlobalAveragePooling2D()(x))


def functional(build, shape=lrp_zennit.IMAGE):
    inputs = keras.Input(shape)
    return keras.Model(inputs, build(inputs))


def keras_net(name):
    if name == "chain":
        model = keras.Sequential([keras.Input(lrp_zennit.IMAGE), *chain()])
    else:
        model = functional({"residual": residual, "branches": branches}[name])
    weights = lrp_zennit.weights(name)
    if name == "chain":
        weights[4:4] = lrp_zennit.normalisation()
    model.set_weights(weights)
    return model


@pytest.mark.parametrize("name", lrp_zennit.KERNELS)
@pytest.mark.parametrize("composite", AS_ZENNIT)
def test_relevance_is_that_of_zennit(name, composite):
    image = lrp_zennit.image().astype("float32")
    found = propagate(keras_net(name), image, AS_ZENNIT[composite])
    scores = ZENNIT[name]["scores"]
    assert found.target == np.argmax(scores)
    assert found.score == pytest.approx(max(scores), rel=1e-5)
    theirs = np.reshape(ZENNIT[name][composite], image.shape)
    limit = 1e-5 * np.abs(theirs).max()
    np.testing.assert_allclose(found.maps, theirs, rtol=0, atol=limit)


def without_biases(draw):
    """A random network with branches, and no layer that takes relevance."""
    seed = draw(st.integers(0, 2**16))
    kernel = keras.initializers.RandomNormal(0, 0.5, seed=seed)
    options = {"use_bias": False, "kernel_initializer": kernel}
    padding = draw(st.sampled_from(["same", "valid"]))
    strides = draw(st.integers(1, 2))
    x = inputs = keras.Input((9, 10, 3))
    x = layers.Conv2D(8, 3, strides, padding, activation="relu", **options)(x)
    match draw(st.sampled_from(["none", "add", "concatenate", "nested"])):
        case "add":
            y = layers.Conv2D(8, 3, padding="same", **options)(x)
            norm = {"center": False, "gamma_initializer": kernel}
            x = layers.Add()([layers.BatchNormalization(**norm)(y), x])
        case "concatenate":
            options_of_one = {k: options[k] for k in ["use_bias"]}
            y = layers.DepthwiseConv2D(3, padding="same", **options_of_one)(x)
            x = layers.Concatenate()([layers.LeakyReLU()(y), x])
        case "nested":
            rows = [layers.Conv2D(8, 2, groups=2, **options), layers.ReLU()]
            x = keras.Sequential(rows)(x)
    x = layers.Activation("relu")(x)
    match draw(st.sampled_from(["max", "average", "flatten", "mean"])):
        case "max":
            x = layers.Flatten()(layers.MaxPooling2D(3, 2, padding="same")(x))
        case "average":
            x = layers.Flatten()(layers.AveragePooling2D(2, padding="same")(x))
        case "flatten":
            x = layers.Flatten()(x)
        case "mean":
            x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, **options)(layers.Dropout(0.5)(x)))


@given(data=st.data(), composite=st.sampled_from([*COMPOSITES, "epsilon_gamma_box"]))
@settings(max_examples=25)
def test_without_biases_the_maps_add_up_to_the_score(data, composite):
    model = without_biases(data.draw)
    images = np.random.default_rng(data.draw(st.integers(0, 99))).normal(
        size=(3, 9, 10, 3)
    )
    found = propagate(
        model,
        images.astype("float32"),
        COMPOSITES.get(composite) or epsilon_gamma_box(-4, 4),
    )
    total = found.maps.sum((1, 2, 3), dtype=np.float64)
    assert (np.abs(found.score) > 1e-3).all()  # a score of 0 would show nothing
    handed = np.abs(found.maps).sum((1, 2, 3))  # the score or, with cancellation, more
    assert (np.abs(total - found.score) < 1e-5 * handed).all()
    assert (np.abs(total - found.score) < 1e-4 * np.abs(found.score)).all()


@given(st.data())
@settings(max_examples=5)
def test_the_epsilon_rule_everywhere_is_image_times_gradient(data):
    for model, size in ((without_biases(data.draw), 10), (nets.noticeable(), 8)):
        images = nets.images(n=2, size=size)[:, : model.input_shape[1]]
        gradient = Explainer(model, "backprop")(images)
        found = propagate(model, images, "epsilon").maps
        np.testing.assert_allclose(
            found, images * gradient, rtol=0, atol=1e-5 * np.abs(found).max()
        )


def test_what_biases_take_is_told_and_all_is_accounted_for():
    model = nets.noticeable()
    for composite in COMPOSITES:
        found = propagate(model, nets.images(n=3), composite)
        assert set(found.absorbed) == {"conv1", "conv2", "dense"}
        lost = found.score - found.maps.sum((1, 2, 3))
        np.testing.assert_allclose(
            found.absorbed_share, lost / found.score, rtol=1e-3, atol=1e-4
        )
        assert (np.abs(found.absorbed_share) > 0.01).all()


def test_a_bias_takes_what_it_contributed():
    """Of z = 3 * 1 + 1 * 2 - 4 = 1, the bias of -4 takes -4."""
    model = keras.Sequential(
        [keras.Input((1, 1, 2)), layers.Flatten(), layers.Dense(1)]
    )
    model.set_weights([np.array([[3.0], [1.0]]), np.array([-4.0])])
    found = propagate(model, np.array([1, 2], "float32").reshape(1, 1, 1, 2), "epsilon")
    assert found.maps.ravel() == pytest.approx([3, 2])
    assert found.absorbed[model.layers[-1].name] == pytest.approx(-4)
    assert found.absorbed_share == pytest.approx(-4)


def test_nested_and_shared_layers_are_the_flat_network():
    reference, images = nets.noticeable(), nets.images()
    flat = propagate(reference, images)
    for name in ("functional", "nested", "compiled"):
        found = propagate(nets.with_weights_of(nets.MODELS[name], reference), images)
        np.testing.assert_allclose(found.maps, flat.maps, atol=1e-6)
        np.testing.assert_allclose(found.score, flat.score, rtol=1e-5)

    twice = layers.Conv2D(3, 3, padding="same", activation="relu")
    rows = [twice, twice, layers.Flatten(), layers.Dense(2)]

    def shared(x):
        for row in rows:
            x = row(x)
        return x

    model = functional(shared, (8, 8, 3))
    copy = nets.chain(
        *(
            type(row).from_config(row.get_config() | {"name": f"r{i}"})
            for i, row in enumerate(rows)
        )
    )
    first, second, *top = *twice.get_weights(), *rows[3].get_weights()
    copy.set_weights([first, second, first, second, *top])
    found, apart = propagate(model, images), propagate(copy, images)
    np.testing.assert_allclose(found.maps, apart.maps, atol=1e-6)
    np.testing.assert_allclose(
        found.absorbed[twice.name],
        apart.absorbed["r0"] + apart.absorbed["r1"],
        rtol=1e-4,
    )


def test_layers_that_fold_away_are_explained_as_the_layers_they_are():
    """Whitening, and ZFNet's normalisation, through which relevance passes."""
    model = nets.chain(
        NetworkDeconvolution2D(4, 3, activation="relu"),
        LocalResponseNormalization(name="norm"),
        layers.Flatten(),
        layers.Dense(3, name="dense"),
    )
    images = nets.images(n=4)
    model(images, training=True)  # for statistics that are not those of white noise
    found, plain = propagate(model, images), propagate(fold(model), images)
    np.testing.assert_array_equal(found.maps, plain.maps)
    np.testing.assert_allclose(
        found.score, model(images).numpy().max(axis=1), rtol=1e-4, atol=1e-6
    )
    assert "norm" not in found.absorbed


def test_the_same_signal_added_to_itself_counts_twice():
    def build(x):
        x = layers.Conv2D(3, 3, use_bias=False)(x)
        return layers.GlobalAveragePooling2D()(layers.Add()([x, x]))

    model, images = functional(build), lrp_zennit.image().astype("float32")
    found = propagate(model, images)
    np.testing.assert_allclose(found.maps.sum(), found.score[0], rtol=1e-5)


def test_preprocessing_in_the_graph_and_padding_keep_the_box_in_place():
    """A padded layer of its own, and a scale, are those of the convolution."""
    box = epsilon_gamma_box(0, 4)
    conv = layers.Conv2D(4, 3, use_bias=False, padding="same")

    def direct(x):
        return layers.GlobalAveragePooling2D()(ops.relu(conv(x)))

    apart = layers.Conv2D(4, 3, use_bias=False)

    def steps(x):
        x = layers.ZeroPadding2D(1)(layers.Rescaling(2.0)(x) * 0.5)
        return layers.GlobalAveragePooling2D()(ops.relu(apart(x)))

    one, other = functional(direct), functional(steps)
    apart.set_weights(conv.get_weights())
    images = np.abs(lrp_zennit.image()).astype("float32")
    np.testing.assert_allclose(
        propagate(one, images, box).maps, propagate(other, images, box).maps, atol=1e-6
    )


def test_the_score_is_the_logit_of_the_class_that_was_asked_for():
    model, images = nets.noticeable(), nets.images(n=3)
    probabilities = model.predict(images, verbose=0)
    assert (propagate(model, images).target == probabilities.argmax(1)).all()
    found = propagate(model, images, target=[2, 0, 1], batch_size=2)
    each = [
        propagate(model, images[i : i + 1], target=c) for i, c in enumerate([2, 0, 1])
    ]
    np.testing.assert_allclose(found.maps, [one.maps[0] for one in each], atol=1e-6)
    scores = np.stack(
        [propagate(model, images, target=c).score for c in range(3)], axis=1
    )
    np.testing.assert_allclose(tf.nn.softmax(scores), probabilities, rtol=1e-4)


def test_the_model_is_left_as_it_was():
    model, images = nets.noticeable(), nets.images()
    before = model.predict(images, verbose=0), model.get_config()
    propagate(model, images)
    assert model.get_config() == before[1]
    np.testing.assert_array_equal(model.predict(images, verbose=0), before[0])


def test_half_precision_is_computed_in_full():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            *(
                type(r).from_config(r.get_config() | {"dtype": "mixed_float16"})
                for r in nets.sequential().layers
            ),
        ]
    )
    reference = nets.noticeable()
    model.set_weights(reference.get_weights())
    images = nets.images()
    np.testing.assert_allclose(
        propagate(model, images).maps, propagate(reference, images).maps, atol=1e-6
    )


class Twisted(layers.Dense):
    """A layer that is no dense layer, whatever it derives from."""

    def call(self, x):
        return super().call(x[:, ::-1])


def squeezed(x):
    x = layers.Conv2D(3, 3)(x)
    gate = layers.Dense(3, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    return layers.GlobalAveragePooling2D()(layers.Multiply(name="gate")([x, gate]))


def softmax_inside(x):
    x = layers.Dense(3, activation="softmax")(layers.Flatten()(x))
    return layers.Dense(2, name="after")(x)


def two_ends(x):
    inner = keras.Input(x.shape[1:])
    ends = [layers.Dense(2)(layers.Flatten()(inner)) for _ in range(2)]
    one, _ = keras.Model(inner, ends, name="two_ends")(x)
    return one


@pytest.mark.parametrize(
    "build, said",
    [
        (two_ends, "'two_ends"),
        (squeezed, r"'gate' \(Multiply"),
        (softmax_inside, "below the layer 'after'"),
        (
            lambda x: layers.Dense(2)(
                layers.Flatten()(layers.SeparableConv2D(2, 3, name="sep")(x))
            ),
            "'sep'",
        ),
        (
            lambda x: layers.Dense(2, activation="gelu", name="top")(
                layers.Flatten()(x)
            ),
            "gelu.*'top'",
        ),
        (lambda x: Twisted(2, name="twist")(layers.Flatten()(x)), "'twist'"),
        (lambda x: layers.Dense(2)(ops.tanh(layers.Flatten()(x))), "Tanh"),
        (
            lambda x: layers.Flatten()(
                layers.BatchNormalization(name="norm")(x, training=True)
            ),
            "'norm'.*train",
        ),
        (lambda x: layers.Dense(2)(x), "class scores"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(build, said):
    with pytest.raises(ValueError, match=said):
        propagate(functional(build), lrp_zennit.image().astype("float32"))


def test_arguments_are_refused():
    model, images = nets.noticeable(), nets.images()
    for arguments, said in [
        ({"composite": "gamma"}, "composite"),
        ({"composite": None}, "composite"),
        ({"composite": ["epsilon"]}, "composite"),
        ({"target": 3}, "target"),
        ({"target": [0, 1, 2]}, "target"),
        ({"images": images[:, :4]}, "images"),
        ({"images": images[:0]}, "images"),
        ({"batch_size": 0}, "batch_size"),
        ({"images": images * np.nan}, "finite"),
        ({"images": images.astype(int)}, "floating"),
        ({"model": nets.Subclassed()}, "functional"),
    ]:
        with pytest.raises(ValueError, match=said):
            propagate(**({"model": model, "images": images} | arguments))
    with pytest.raises(ValueError, match="alpha"):
        AlphaBeta(2, 0.5)
