"""Class activation maps are the scores before the average; Grad-CAM as by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from allconv.networks import builders
from allconv.saliency.cam import (
    class_activation_map,
    enlarge,
    grad_cam,
    guided_grad_cam,
)
from allconv.saliency.explainer import guided_backprop
from tests import nets


def outputs(model, layer, images):
    return keras.Model(model.inputs[0], model.get_layer(layer).output)(images).numpy()


@pytest.fixture(scope="module")
def all_conv():
    keras.utils.set_random_seed(0)
    model = builders.build("all_cnn_c", classes=4, kernel_initializer="he_normal")
    return model, nets.images(n=3, size=32)


def test_in_an_all_convolutional_net_the_scores_before_the_average_are_the_map(
    all_conv,
):
    model, images = all_conv
    scores = outputs(model, "conv9", images)
    target = [3, 0, 2]
    maps = class_activation_map(model, images, target=target, batch_size=2)
    exact = np.stack([scores[i, ..., c] for i, c in enumerate(target)])
    np.testing.assert_allclose(maps, exact, rtol=1e-5, atol=1e-7)
    logits = outputs(model, "global_pool", images)
    np.testing.assert_allclose(maps.mean((1, 2)), logits[range(3), target], rtol=1e-5)
    best = class_activation_map(model, images)
    np.testing.assert_allclose(best.mean((1, 2)), logits.max(1), rtol=1e-5)


def test_with_a_dense_layer_the_map_is_that_of_zhou():
    model = nets.chain(
        layers.Conv2D(5, 3, activation="relu", name="conv"),
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.Flatten(),
        layers.Dense(3, activation="softmax", name="dense", bias_initializer="normal"),
    )
    images = nets.images()
    kernel, bias = model.get_layer("dense").get_weights()
    for c in range(3):
        maps = class_activation_map(model, images, target=c)
        np.testing.assert_allclose(
            maps, outputs(model, "conv", images) @ kernel[:, c], rtol=1e-4, atol=1e-6
        )
        score = np.log(model(images).numpy())
        logit = maps.mean((1, 2)) + bias[c]
        first = class_activation_map(model, images, target=0).mean((1, 2)) + bias[0]
        np.testing.assert_allclose(logit - first, score[:, c] - score[:, 0], atol=1e-5)


@pytest.mark.parametrize("name", nets.MODELS)
def test_grad_cam_is_what_a_tape_says_in_every_kind_of_model(name):
    reference, images = nets.noticeable(), nets.images()
    model = nets.with_weights_of(nets.MODELS[name], reference)
    layer = model.rest[0].name if name == "subclassed" else "conv2"
    conv1, pool, conv2, norm, relu, flatten, dense = reference.layers
    features = tf.constant(conv2(pool(conv1(images))))
    with tf.GradientTape() as tape:
        tape.watch(features)
        x = flatten(relu(norm(features, training=False)))
        score = (x @ dense.kernel + dense.bias)[:, 1]
    weight = tf.reduce_mean(tape.gradient(score, features), (1, 2), keepdims=True)
    expected = tf.reduce_sum(weight * features, -1)
    found = grad_cam(model, images, layer, target=1, rectify=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    rectified = grad_cam(model, images, layer, target=1)
    np.testing.assert_array_equal(rectified, np.maximum(found, 0))


def test_grad_cam_before_the_average_is_the_class_activation_map(all_conv):
    model, images = all_conv
    cam = class_activation_map(model, images, target=1)
    maps = grad_cam(model, images, "conv9", target=1, rectify=False)
    positions = cam.shape[1] * cam.shape[2]
    np.testing.assert_allclose(maps * positions, cam, rtol=1e-4, atol=1e-6)


def test_a_head_that_knows_positions_has_no_class_activation_map():
    model = nets.sequential()
    with pytest.raises(ValueError, match="no GlobalAveragePooling2D"):
        class_activation_map(model, nets.images())
    with pytest.raises(ValueError, match="does not average The layer 'relu2'"):
        class_activation_map(model, nets.images(), layer="relu2")


@pytest.mark.parametrize(
    "above", [layers.Dense(4, activation="relu"), layers.LayerNormalization()]
)
def test_a_head_that_is_not_linear_has_no_class_activation_map(above):
    """Positions count alike, but the map does not add up to the score."""
    above.name = "odd"
    conv = layers.Conv2D(5, 3, activation="relu", name="conv")
    rows = conv, layers.GlobalAveragePooling2D(), above, layers.Dense(3)
    model = nets.chain(*rows)
    with pytest.raises(ValueError, match=r"odd.* \(.* stands between"):
        class_activation_map(model, nets.images())
    assert grad_cam(model, nets.images(), "conv").shape == (2, 6, 6)


def test_what_overflows_is_refused():
    model = nets.chain(
        layers.Conv2D(2, 3, kernel_initializer="ones", name="conv"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2),
    )
    images = nets.images()
    images[1] = 1e38  # only the second: one is looked at in every layer
    for call in (
        lambda: grad_cam(model, images, "conv"),
        lambda: class_activation_map(model, images),
    ):
        with pytest.raises(ValueError, match="not finite at"):
            call()


def test_guided_grad_cam_is_the_product(all_conv):
    model, images = all_conv
    cam = grad_cam(model, images, "conv6", target=2)
    guided = guided_backprop(model, images, target=2)
    found = guided_grad_cam(model, images, "conv6", target=2)
    np.testing.assert_allclose(
        found, guided * enlarge(cam, (32, 32))[..., None], rtol=1e-4, atol=1e-9
    )


def test_enlarging_keeps_the_place_and_the_range():
    maps = np.zeros((1, 4, 4), "float32")
    maps[0, 1, 2] = 1
    large = enlarge(maps, (16, 16))[0]
    centre = np.average(
        np.indices((16, 16)).reshape(2, -1), axis=1, weights=large.ravel()
    )
    np.testing.assert_allclose(centre, [4 * 1 + 1.5, 4 * 2 + 1.5])
    assert large.max() <= 1
    np.testing.assert_allclose(enlarge(np.ones((1, 3, 3)), (7, 8)), 1)


def test_arguments_are_refused():
    model, images = nets.noticeable(), nets.images()
    for arguments, said in [
        ({"layer": "conv9"}, "no layer 'conv9'"),
        ({"layer": "dense"}, "no maps"),
        ({"target": 3}, "target"),
        ({"images": images[0]}, "shape"),
        ({"images": images * np.nan}, "finite"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": "all"}, "batch_size"),
        ({"model": nets.Subclassed()}, "no weights"),
    ]:
        given = {"model": model, "images": images, "layer": "conv2"} | arguments
        with pytest.raises(ValueError, match=said):
            grad_cam(**given)
