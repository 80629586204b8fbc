"""The CIFAR classics against the authors' layer lists, written out again."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from allconv.layers import netdeconv
from allconv.layers.netdeconv import NetworkDeconvolution2D, NetworkDeconvolutionDense
from allconv.networks import classics, classics_rows
from allconv.results import paper

# Weights that are trained, counted by hand from the authors' layer lists: with scale
# and offset of every channel, or with a bias.
BATCH = {
    "vgg16_cifar": 14_724_042,
    "resnet18_cifar": 11_173_962,
    "mobilenet_v2_cifar": 2_296_922,
}
CHANNELS = {"vgg16_cifar": 4_224, "resnet18_cifar": 4_800, "mobilenet_v2_cifar": 17_544}
CONVOLUTIONS = {"vgg16_cifar": 13, "resnet18_cifar": 20, "mobilenet_v2_cifar": 57}
# Of the whitened networks, as the authors' code counts them; and the features that the
# classifier whitens together.
WHITENED = {
    "preact18_cifar": (11_169_162, 512),
    "densenet121_cifar": (6_883_018, 512),
    "resnext29_cifar": (4_761_610, 512),
    "dpn92_cifar": (34_179_970, 512),
    "pnasnet_a_cifar": (128_226, 176),
    "senet18_cifar": (11_258_242, 512),
    "efficientnet_cifar": (2_912_057, 320),
}


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def layers_of(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("name", WHITENED)
def test_parameters_of_the_whitened_networks(name):
    model = classics.build(name, norm="deconv", input_shape=(32, 32, 3))
    expected, block = WHITENED[name]
    assert count(model.trainable_variables) == expected
    assert model.get_layer("predictions").running_mean.shape == (block,)
    millions = paper.WHITENING_MILLIONS[classics_rows.get(name).published]
    assert expected / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize("name", BATCH)
@pytest.mark.parametrize("norm", ["none", "batch", "deconv"])
def test_parameters_and_kinds_of_layers(name, norm):
    model = classics.build(name, norm=norm, input_shape=(32, 32, 3))
    bias_only = BATCH[name] - CHANNELS[name]
    expected = {"none": bias_only, "batch": BATCH[name], "deconv": bias_only}
    assert count(model.trainable_variables) == expected[norm]
    assert model.output.shape == (None, 10)
    plain = layers_of(model, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
    whitened = layers_of(model, NetworkDeconvolution2D)
    norms = layers_of(model, keras.layers.BatchNormalization)
    n = CONVOLUTIONS[name]
    lengths = {"none": (n, 0, 0), "batch": (n, 0, n), "deconv": (0, n, 0)}
    assert (len(plain), len(whitened), len(norms)) == lengths[norm]
    dense = NetworkDeconvolutionDense if norm == "deconv" else keras.layers.Dense
    assert isinstance(model.get_layer("predictions"), dense)


@pytest.mark.parametrize("name", BATCH)
def test_parameters_are_about_those_of_table_1(name):
    printed = paper.WHITENING_MILLIONS[classics_rows.get(name).published]
    assert (BATCH[name] - CHANNELS[name]) / 1e6 == pytest.approx(printed, abs=0.01)


def test_every_row_of_table_1_has_its_network():
    found = {
        (net.published, dataset)
        for net in classics_rows.NETWORKS.values()
        for dataset in ("cifar10", "cifar100")
    }
    assert found == set(paper.WHITENING)
    assert len(found) == 20
    assert {x for x, _ in found} == set(paper.WHITENING_MILLIONS)


# Of torchvision's documentation; VGG-11's without the biases of convolutions, which
# batch normalisation takes away again, and without its dense layers.
TORCHVISION = {"vgg11": 132_868_840 - 2752 - 123_642_856}
TORCHVISION |= {"resnet18": 11_689_512, "densenet121": 7_978_856}


@pytest.mark.parametrize("name", TORCHVISION)
def test_networks_for_imagenet_are_torchvisions(name):
    shape, dense = (224, 224, 3), name == "vgg11"
    model = classics.build(name, include_top=not dense, input_shape=shape)
    assert count(model.trainable_variables) == TORCHVISION[name]
    maps = [layer.output for layer in model.layers if len(layer.output.shape) == 4]
    assert maps[-1].shape[1:3] == (7, 7)
    assert set(classics_rows.IMAGENET) == set(TORCHVISION)


def test_vgg_11_ends_in_dense_layers_which_are_whitened_with_the_rest():
    for norm in ("batch", "deconv"):
        model = classics.VGG11(norm=norm, input_shape=(32, 32, 3), classes=10)
        kind = NetworkDeconvolutionDense if norm == "deconv" else keras.layers.Dense
        found = layers_of(model, kind)
        assert [layer.units for layer in found] == [4096, 4096, 10]
        rates = [layer.rate for layer in layers_of(model, keras.layers.Dropout)]
        assert rates == [0.5, 0.5]
    assert {layer.block for layer in found} == {64}
    assert model.get_layer("conv1").iterations == 15
    assert model.get_layer("conv2").iterations == 5


def test_100_classes():
    model = classics.VGG16CIFAR(classes=100)
    assert model.output.shape == (None, 100)
    assert count(model.trainable_variables) == BATCH["vgg16_cifar"] + 90 * 513


def weigh(model, x, label, stride=1, relu=True):
    """A convolution by its name: a pixel of padding on all sides of a 3x3 kernel."""
    layer = model.get_layer(label)
    kernel, bias = layer.kernel, layer.bias
    side = kernel.shape[0] // 2
    x = tf.pad(x, [(0, 0), (side, side), (side, side), (0, 0)])
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    convolve = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d
    x = convolve(x, kernel, [1, stride, stride, 1], "VALID") + bias
    return tf.nn.relu(x) if relu else x


def vgg16(model, x):
    label = 0
    for convolutions in (2, 2, 3, 3, 3):
        for _ in range(convolutions):
            label += 1
            x = weigh(model, x, f"conv{label}")
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    return x


def resnet18_imagenet(model, x):
    layer = model.get_layer("conv1")
    x = tf.pad(x, [(0, 0), (3, 3), (3, 3), (0, 0)])
    x = tf.nn.relu(tf.nn.conv2d(x, layer.kernel, 2, "VALID") + layer.bias)
    edge = [(0, 0), (1, 1), (1, 1), (0, 0)]
    x = tf.nn.max_pool2d(tf.pad(x, edge, constant_values=-1e9), 3, 2, "VALID")
    return blocks(model, x)


def resnet18(model, x):
    return blocks(model, weigh(model, x, "conv1"))


def blocks(model, x):
    for block in range(1, 9):
        stride = 2 if block in (3, 5, 7) else 1
        y = weigh(model, x, f"block{block}_conv1", stride)
        y = weigh(model, y, f"block{block}_conv2", relu=False)
        if stride == 2:
            x = weigh(model, x, f"block{block}_shortcut", 2, relu=False)
        x = tf.nn.relu(x + y)
    return x


def mobilenet_v2(model, x):
    x = weigh(model, x, "conv1")
    for block in range(1, 18):
        stride = 2 if block in (4, 7, 14) else 1
        y = weigh(model, x, f"block{block}_expand")
        y = weigh(model, y, f"block{block}_depthwise", stride)
        y = weigh(model, y, f"block{block}_project", relu=False)
        if stride == 1 and x.shape[-1] != y.shape[-1]:
            x = weigh(model, x, f"block{block}_shortcut", relu=False)
        x = x + y if stride == 1 else y
    return weigh(model, x, "conv2")


@pytest.mark.parametrize(
    "name, reference, shape, last",
    [
        ("vgg16_cifar", vgg16, (32, 33, 3), (1, 1, 512)),
        ("resnet18_cifar", resnet18, (16, 11, 3), (2, 2, 512)),
        ("mobilenet_v2_cifar", mobilenet_v2, (16, 11, 3), (2, 2, 1280)),
        ("resnet18", resnet18_imagenet, (33, 40, 3), (2, 2, 512)),
    ],
)
def test_forward_pass_is_the_layer_list(name, reference, shape, last):
    keras.utils.set_random_seed(0)
    model = classics.build(
        name,
        norm="none",
        input_shape=shape,
        kernel_initializer="he_normal",
        classifier_activation=None,
    )
    x = images(2, *shape)
    maps = reference(model, x)
    assert maps.shape[1:] == last
    dense = model.get_layer("predictions")
    expected = tf.reduce_mean(maps, (1, 2)) @ dense.kernel + dense.bias
    scale = float(tf.reduce_max(tf.abs(expected)))
    np.testing.assert_allclose(model(x), expected, atol=1e-4 * scale)


@pytest.mark.parametrize("name", ["resnet18_cifar", "mobilenet_v2_cifar"])
def test_folded_deconvolution_gives_the_same_outputs(name):
    keras.utils.set_random_seed(0)
    model = classics.build(name, norm="deconv", input_shape=(16, 16, 3))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if hasattr(layer, "running_mean"):  # as if it had been trained
            size = layer.running_deconv.shape
            noise = rng.normal(size=size) / size[-1]
            layer.running_deconv.assign(2 * np.eye(size[-1]) + noise)
            layer.running_mean.assign(0.1 * rng.normal(size=layer.running_mean.shape))
    folded = netdeconv.fold(model)
    assert not any(hasattr(layer, "running_mean") for layer in folded.layers)
    plain = classics.build(name, norm="none", input_shape=(16, 16, 3))
    assert count(folded.variables) == count(plain.variables)
    x = images(4, 16, 16, 3)
    expected = model(x, training=False).numpy()
    assert np.ptp(expected, axis=0).max() > 1e-3
    np.testing.assert_allclose(folded(x), expected, atol=1e-5)


@pytest.mark.parametrize("norm", ["none", "batch", "deconv"])
def test_a_step_of_training_lowers_the_loss(norm):
    keras.utils.set_random_seed(0)
    model = classics.MobileNetV2CIFAR(
        norm=norm, input_shape=(16, 16, 3), classifier_activation=None
    )
    x, y = images(8, 16, 16, 3), np.arange(8)
    # Whitened by so few images, the loss bends soon.
    optimizer = keras.optimizers.SGD(1e-5 if norm == "deconv" else 1e-2)
    averages = [v.numpy() for v in model.non_trainable_variables]

    def loss():
        scores = model(x, training=True)
        return tf.reduce_mean(
            keras.ops.sparse_categorical_crossentropy(y, scores, True)
        )

    with tf.GradientTape() as tape:
        before = loss()
    gradients = tape.gradient(before, model.trainable_variables)
    assert all(np.isfinite(g).all() for g in gradients)
    optimizer.apply(gradients, model.trainable_variables)
    assert float(loss()) < float(before)
    moved = [
        not np.array_equal(v, old)
        for v, old in zip(model.non_trainable_variables, averages, strict=True)
    ]
    assert all(moved)


def test_whitening_is_set_layer_by_layer_as_the_authors_do():
    def settings(layer):
        return layer.iterations, layer.freeze_after, layer.shares, layer.groups

    vgg = classics.VGG16CIFAR(norm="deconv")
    assert settings(vgg.get_layer("conv1")) == (15, 100, 1, 1)
    assert settings(vgg.get_layer("conv13")) == (5, None, 8, 1)
    mobile = classics.MobileNetV2CIFAR(norm="deconv")
    assert settings(mobile.get_layer("conv1")) == (10, 100, 1, 1)
    assert settings(mobile.get_layer("block3_expand")) == (5, None, 1, 1)
    assert settings(mobile.get_layer("block3_depthwise")) == (1, None, 1, 144)
    assert settings(mobile.get_layer("block3_project")) == (1, None, 6, 1)
    resnet = classics.ResNet18CIFAR(norm="deconv")
    kinds = {settings(x)[:2] for x in layers_of(resnet, NetworkDeconvolution2D)}
    assert kinds == {(5, None)}
    for model, block in ((vgg, 512), (mobile, 640), (resnet, 512)):
        assert model.get_layer("predictions").running_mean.shape == (block,)


@pytest.mark.parametrize(
    ("builder", "size"),
    [(classics.ResNet18CIFAR, 8), (classics.ResNet18, 32), (classics.VGG11, 32)],
)
def test_the_last_map_may_be_whitened_in_place_of_the_classifier(builder, size):
    options = {"channel_block": 256, "iterations": 7}
    model = builder(
        classes=10,
        norm="deconv",
        norm_options=options,
        input_shape=(size, size, 3),
    )
    channels = model.get_layer("channels")
    assert isinstance(channels, netdeconv.ChannelDeconvolution)
    assert (channels.block, channels.epsilon, channels.iterations) == (256, 1e-5, 5)
    assert type(model.get_layer("predictions")) is keras.layers.Dense
    assert {x.iterations for x in layers_of(model, NetworkDeconvolution2D)} == {7}
    x = images(4, size, size, 3)
    assert model(x, training=True).shape == (4, 10)


@pytest.mark.parametrize("norm", ["none", "deconv"])
def test_kernels_start_within_one_over_the_root_of_a_filters_inputs(norm):
    keras.utils.set_random_seed(0)
    model = classics.MobileNetV2CIFAR(norm=norm)
    for label, inputs in (("conv2", 320), ("block17_depthwise", 9), ("conv1", 27)):
        largest = np.abs(model.get_layer(label).kernel).max()
        assert 0.9 < largest * np.sqrt(inputs) <= 1
    wide = model.get_layer("block15_expand").kernel, model.get_layer("block16_expand")
    assert not np.array_equal(wide[0], wide[1].kernel)


def test_a_saved_model_loads_alone(tmp_path):
    model = classics.MobileNetV2CIFAR(norm="none", input_shape=(8, 8, 3), name="net")
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    x = images(2, 8, 8, 3)
    np.testing.assert_array_equal(model(x), loaded(x))
    start = loaded.get_layer("block1_depthwise").depthwise_initializer
    assert isinstance(start.initializer, keras.initializers.VarianceScaling)
    assert loaded.name == "net"


def test_any_size_of_image_and_no_top():
    model = classics.ResNet18CIFAR(input_shape=(None, None, 3))
    assert model(images(1, 40, 24, 3)).shape == (1, 10)
    base = classics.MobileNetV2CIFAR(include_top=False, input_shape=(None, 32, 1))
    assert base.output.shape == (None, None, 4, 1280)
    pooled = classics.VGG16CIFAR(include_top=False, pooling="max")
    assert pooled.output.shape == (None, 512)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "vgg16"}, "`name` should be a network that .*='vgg16'"),
        ({"input_shape": (31, 32, 3)}, "at least 32 x 32 pixels"),
        ({"input_shape": (32, 32)}, "height, width, channels"),
        ({"pooling": "avg"}, "`pooling` should be None, unless `include_top=False`"),
        ({"classes": 0}, "`classes` should be an integer from 1"),
        ({"dropout": -1.0}, "`dropout` should be a finite number from 0 to 1"),
        ({"norm": "layer"}, "`norm` should be one of none, batch, deconv"),
        ({"weights": "cifar10"}, "No weights of vgg16_cifar"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        classics.build(**{"name": "vgg16_cifar", **arguments})


def test_batch_normalisation_has_the_constants_of_the_authors_framework():
    norm = classics.ResNet18CIFAR().get_layer("conv1_norm")
    assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)
