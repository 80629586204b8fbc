"""Randomisation against the weights themselves and a rule written out."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from allconv.saliency import explainer, sanity, similarity


def build():
    """A net with a nested block, batch normalisation and telling initialisers."""
    block_in = x = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, padding="same", bias_initializer="ones", name="conv")(x)
    x = layers.BatchNormalization(
        gamma_initializer=keras.initializers.Constant(2.0),
        moving_mean_initializer=keras.initializers.Constant(3.0),
        name="bn",
    )(x)
    block = keras.Model(block_in, x, name="block")
    inputs = x = keras.Input((8, 8, 3))
    fixed = keras.initializers.HeNormal(seed=7)
    x = layers.Conv2D(
        4, 3, padding="same", activation="relu", kernel_initializer=fixed, name="first"
    )(x)
    x = layers.ReLU()(layers.Dropout(0.5)(block(x)))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, name="top")(x))
    rng = np.random.default_rng(0)
    for weight in model.weights:  # 'trained': far from any initialiser
        weight.assign(rng.normal(5, 1, weight.shape))
    return model


PATHS = ["first", "block/conv", "block/bn", "top"]


@pytest.fixture(scope="module")
def trained():
    return build()


def weights(model):
    return {path: layer.get_weights() for path, layer in sanity.weighted_layers(model)}


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_weighted_layers_in_order(trained):
    assert [path for path, _ in sanity.weighted_layers(trained)] == PATHS


@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_step_k_changes_exactly_the_layers_it_should(trained, order):
    before = weights(trained)
    seen = []
    for path, twin in sanity.randomisations(trained, order=order):
        seen.append(path)
        changed = seen if order == "cascading" else [path]
        for name, values in weights(twin).items():
            assert same(values, before[name]) == (name not in changed)
    assert seen == PATHS[::-1]
    assert all(same(weights(trained)[path], before[path]) for path in PATHS)


def test_every_weight_is_drawn_by_its_own_initialiser(trained):
    twin = sanity.randomise(trained, PATHS)
    new = weights(twin)
    gamma, beta, mean, variance = new["block/bn"]
    assert np.all(gamma == 2)
    assert np.all(beta == 0)
    assert np.all(mean == 3)
    assert np.all(variance == 1)
    assert np.all(new["block/conv"][1] == 1)  # bias_initializer="ones"
    assert np.all(new["top"][1] == 0)
    limit = np.sqrt(6 / (4 * 9 + 4 * 9))  # Glorot's uniform: 4 maps in, 4 out, 3x3
    kernel = new["block/conv"][0]
    assert 0.8 * limit < np.abs(kernel).max() <= limit
    assert kernel.min() < 0 < kernel.max()
    assert 0.7 < new["first"][0].std() / np.sqrt(2 / 27) < 1.3  # He's normal


def test_the_seed_decides_even_over_a_seed_in_the_initialiser(trained):
    first, again, other = (
        weights(sanity.randomise(trained, ["first", "top"], seed)) for seed in (1, 1, 2)
    )
    for path in ("first", "top"):
        assert same(first[path], again[path])
        assert not same(first[path][:1], other[path][:1])


def test_steps_draw_what_randomise_draws(trained):
    for path, twin in sanity.randomisations(trained, seed=4):
        alone = sanity.randomise(trained, [path], seed=4)
        assert same(weights(twin)[path], weights(alone)[path])


def test_the_worlds_random_numbers_are_left_alone(trained):
    random.seed(3)
    expected = random.random()
    random.seed(3)
    sanity.randomise(trained, ["top"])
    assert random.random() == expected


def test_a_compiled_model_with_a_custom_loss_is_copied_and_left_alone():
    model = build()
    model.compile("adam", loss=lambda y, p: tf.reduce_sum(p))
    model.optimizer.build(model.trainable_variables)
    twin = sanity.randomise(model, ["top"])
    assert not twin.compiled
    assert model.compiled
    # The same function, but for the weights that changed.
    twin.get_layer("top").set_weights(model.get_layer("top").get_weights())
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(twin(images), model(images))


def test_adapted_statistics_are_kept_and_randomised():
    norm = layers.Normalization(name="norm")
    norm.adapt(np.random.default_rng(0).normal(50, 9, (20, 8, 8, 3)))
    model = keras.Sequential([keras.Input((8, 8, 3)), norm, layers.Conv2D(2, 3)])
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(sanity.randomise(model, [])(images), model(images))
    assert np.abs(sanity.randomise(model, ["norm"])(images) - model(images)).max() > 1
    *_, (_, twin) = sanity.randomisations(model, order="independent")
    twin.get_layer("norm").set_weights(norm.get_weights())
    twin.get_layer("norm").finalize_state()
    np.testing.assert_array_equal(twin(images), model(images))


def test_a_layer_in_two_inner_models_is_refused():
    conv, start = layers.Conv2D(3, 3, padding="same"), keras.Input((8, 8, 3))
    one, two = (keras.Model(start, conv(start), name=name) for name in "ab")
    model = keras.Model(start, two(one(start)))
    with pytest.raises(ValueError, match="has a layer in two of the models inside it"):
        sanity.randomise(model, [])


def hand_guided(model, image, target):
    """Guided backprop of conv, relu, conv, relu, mean, dense, written out."""
    one, two, top = (model.get_layer(name) for name in ("one", "two", "top"))
    a = tf.nn.conv2d(image, one.kernel, 1, "SAME") + one.bias
    b = tf.nn.conv2d(tf.nn.relu(a), two.kernel, 1, "SAME") + two.bias
    signal = tf.ones_like(b) * top.kernel[:, target] / (b.shape[1] * b.shape[2])
    signal = tf.where((b > 0) & (signal > 0), signal, 0)
    signal = tf.nn.conv2d_transpose(signal, two.kernel, a.shape, 1, "SAME")
    signal = tf.where((a > 0) & (signal > 0), signal, 0)
    return tf.nn.conv2d_transpose(signal, one.kernel, image.shape, 1, "SAME").numpy()


@pytest.fixture(scope="module")
def small():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(5, 3, padding="same", activation="relu", name="one"),
            layers.Conv2D(6, 3, padding="same", name="two"),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, name="top"),
        ]
    )
    return model


def test_the_rule_is_at_work_on_every_randomised_network(small):
    """Each step's map equals the rule written out for that step's weights."""
    images = np.random.default_rng(1).random((2, 12, 12, 3), np.float32)

    def maps(model):
        return explainer.explain(model, images, "guided", target=1)

    result = sanity.randomisation_test(small, maps, seeds=(0, 5), progress=False)
    assert result.layers == ("top", "two", "one")
    np.testing.assert_allclose(result.trained, hand_guided(small, images, 1), atol=1e-6)
    plain = explainer.explain(small, images, "backprop", target=1)
    assert np.abs(plain - result.trained).max() > 1e-4  # the rule does something
    for step in range(3):
        broken = sanity.randomise(small, result.layers[: step + 1], seed=0)
        expected = hand_guided(broken, images, 1)
        np.testing.assert_allclose(result.maps[step], expected, atol=1e-6)
        for name, score in similarity.compare(
            result.trained, result.maps[step]
        ).items():
            np.testing.assert_array_equal(result.scores[name][0, step], score)
    assert {score.shape for score in result.scores.values()} == {(2, 3, 2)}
    assert not np.allclose(result.scores["rank"][0, -1], result.scores["rank"][1, -1])


def test_a_function_traced_on_the_copy_serves_all_steps(small):
    images = np.random.default_rng(1).random((1, 12, 12, 3), np.float32)
    explainers = {}

    def traced_once(model):
        if id(model) not in explainers:
            explainers[id(model)] = explainer.Explainer(model, "guided")
        return explainers[id(model)](images, target=0)

    quick = sanity.randomisation_test(small, traced_once, seeds=[3], progress=False)
    assert len(explainers) == 2  # the trained model and one copy
    slow = sanity.randomisation_test(
        small,
        lambda model: explainer.explain(model, images, target=0),
        seeds=[3],
        progress=False,
    )
    np.testing.assert_allclose(quick.maps, slow.maps, atol=1e-6)


def test_maps_that_ignore_the_network_score_one_and_those_of_noise_none(small):
    rng = np.random.default_rng(0)
    edges = similarity.edge_maps(rng.random((3, 12, 12, 3)))
    blind = sanity.randomisation_test(small, lambda _: edges, progress=False)
    for name, score in blind.scores.items():
        np.testing.assert_allclose(score, 1, rtol=1e-6, err_msg=name)
    noise = sanity.randomisation_test(
        small, lambda _: rng.normal(size=(3, 12, 12, 3)), progress=False
    )
    assert abs(noise.scores["rank"].mean()) < 0.1
    assert abs(noise.scores["absolute rank"].mean()) < 0.1
    assert noise.scores["ssim"].mean() < 0.5


class Lonely(keras.layers.Layer):
    """Its weights depend on something its configuration leaves out."""

    size = 1

    def build(self, _):
        self.add_weight(shape=(self.size,), name="w")


class Scale(keras.Model):
    """A model with a weight that is in no layer."""

    def build(self, _):
        self.factor = self.add_weight(shape=(), name="factor")
        self.built = True

    def call(self, x):
        return x * self.factor


@pytest.mark.parametrize(
    "act, message",
    [
        (
            lambda m: sanity.weighted_layers(
                keras.Sequential([keras.Input((3,)), Scale(name="scale")])
            ),
            r"scale has weights that belong to none of its layers: .*scale/factor",
        ),
        (
            lambda m: sanity.randomisation_test(m, lambda _: None, seeds=()),
            "`seeds` should hold at least one",
        ),
        (
            lambda m: sanity.randomisation_test(m, lambda _: 1 / 0, order="random"),
            "`order` should be one of cascading, independent. Received: order='random'",
        ),
        (
            lambda _: sanity.randomisation_test(
                keras.Sequential([keras.Input((2,)), layers.ReLU()], name="bare"), id
            ),
            "bare has no weights that could be randomised",
        ),
        (
            lambda m: sanity.randomise(m, ["bn"]),
            "No layer with weights is called 'bn'. Layers: first, block/conv",
        ),
        (
            lambda m: list(sanity.randomisations(m, order="random")),
            "`order` should be one of cascading, independent. Received: order='random'",
        ),
        (
            lambda m: sanity.randomise(keras.Sequential([layers.Dense(1)]), []),
            "Only a Functional or a built Sequential model can be copied",
        ),
        (
            lambda m: sanity.randomisation_test(m, lambda _: np.ones((2, 3))),
            r"`maps` should return an array \(n, height, .* shape \(2, 3\)",
        ),
        (
            lambda m: sanity.randomisation_test(
                m, lambda _: np.full((1, 2, 2, 1), np.nan)
            ),
            "`maps` returned values that are not finite",
        ),
        (
            lambda m: sanity.fresh_weights(grown(Lonely(name="lonely")), 0),
            r"Layer 'lonely' \(Lonely\) is not rebuilt by its configuration",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(trained, act, message):
    with pytest.raises(ValueError, match=message) as error:
        act(trained)
    assert "\n" not in str(error.value)


def grown(layer):
    layer.size = 5
    layer.build((None, 3))
    return layer


def test_maps_must_keep_their_shape(small):
    shapes = iter([(1, 3, 3, 1), (2, 3, 3, 1)])
    with pytest.raises(ValueError, match=r"\(1, 3, 3, 1\). Received: .*\(2, 3, 3, 1\)"):
        sanity.randomisation_test(
            small, lambda _: np.ones(next(shapes)), progress=False
        )


def test_progress_bar(small, capsys):
    rng = np.random.default_rng(0)
    for progress in (True, False):
        sanity.randomisation_test(
            small, lambda _: rng.random((1, 3, 3, 1)), seeds=[0], progress=progress
        )
        assert ("3/3" in capsys.readouterr().err) == progress
