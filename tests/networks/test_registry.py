"""Families answer for their networks, and all builders are of one frame."""

import inspect
import runpy

import keras
import pytest

from allconv.layers.batch_norm import BatchNormalization
from allconv.layers.netdeconv import NetworkDeconvolution2D
from allconv.networks import (
    all_cnn,
    all_cnn_rows,
    builders,
    classics,
    classics_rows,
    registry,
    zfnet,
)
from allconv.presets import catalogue

BUILDERS = {
    **{
        name: getattr(all_cnn, all_cnn_rows.get(name).builder)
        for name in all_cnn_rows.NAMES
    },
    **{"zfnet": zfnet.ZFNet, "alexnet": zfnet.AlexNet},
    **{"zfnet_32": zfnet.ZFNet32, "alexnet_32": zfnet.AlexNet32},
    **{
        name: getattr(classics, classics_rows.get(name).builder)
        for name in classics_rows.NAMES + classics_rows.IMAGENET_NAMES
    },
}
# Seconds to build: their blocks are tried in small networks.
SLOW = ("large_all_cnn", "dpn92_cifar", "densenet121_cifar", "efficientnet_cifar")
SLOW += classics_rows.IMAGENET_NAMES


@pytest.mark.parametrize("name", BUILDERS)
def test_a_builder_shows_every_argument_and_describes_it(name):
    builder = BUILDERS[name]
    found = inspect.signature(builder).parameters
    assert {key: one.default for key, one in found.items()} == {
        "include_top": True,
        "weights": None,
        "input_shape": None,
        "pooling": None,
        "classes": None,
        "classifier_activation": "softmax",
        "name": name,
        "dropout": 1.0,
        "kernel_initializer": None,
        "norm": registry.family(name).norm,
        "norm_options": None,
    }
    assert all(one.kind is one.POSITIONAL_OR_KEYWORD for one in found.values())
    described = inspect.getdoc(builder)
    assert name.partition("_")[0] in described.lower().splitlines()[0]
    for key in found:
        assert f"\n    {key}: " in described


@pytest.mark.parametrize("name", [n for n in BUILDERS if n not in SLOW])
def test_the_least_images_leave_a_position_in_the_last_map(name):
    """By the sizes that Keras works out for itself."""
    family = registry.family(name)
    smallest = family.smallest_input(name)
    assert 1 <= smallest <= family.input_size(name)
    x = BUILDERS[name](include_top=False, input_shape=(smallest, smallest, 3))
    assert min(x.output.shape[1:3]) == 1
    with pytest.raises(ValueError, match=f"at least {smallest} x {smallest} pixels"):
        BUILDERS[name](input_shape=(smallest - 1, smallest, 3))


@pytest.mark.parametrize("name", [n for n in BUILDERS if n not in SLOW])
def test_a_network_is_built_with_the_norms_of_its_family_and_no_other(name):
    family, layer = (
        registry.family(name),
        {
            "batch": BatchNormalization,
            "deconv": NetworkDeconvolution2D,
        },
    )
    smallest = family.smallest_input(name)
    shape = (smallest, smallest, 3)
    for norm, kind in layer.items():
        arguments = {"include_top": False, "input_shape": shape, "norm": norm}
        if norm in family.norms:
            model = BUILDERS[name](**arguments)
            assert any(type(x) is kind for x in model.layers)
        else:
            with pytest.raises(ValueError, match=f"`norm` .* Received: norm='{norm}'"):
                BUILDERS[name](**arguments)


@pytest.mark.parametrize("name", ["all_cnn_c", "vgg16_cifar"])
def test_options_of_the_norm_reach_every_layer_of_it(name):
    chosen = {"iterations": 7, "block": 32, "freeze_after": None, "epsilon": 1e-3}
    model = builders.build(name, norm="deconv", norm_options=chosen)
    layers = [x for x in model.layers if type(x) is NetworkDeconvolution2D]
    assert len(layers) > 8
    for layer in layers:
        assert {key: getattr(layer, key) for key in chosen} == chosen
    chosen = {"momentum": 0.5, "epsilon": 0.25, "fused": False}
    model = builders.build(name, norm="batch", norm_options=chosen)
    layers = [x for x in model.layers if isinstance(x, BatchNormalization)]
    assert len(layers) >= 8
    for layer in layers:
        assert {key: getattr(layer, key) for key in chosen} == chosen


@pytest.mark.parametrize("norm", registry.NORM_OPTIONS)
def test_every_option_of_a_norm_is_an_argument_of_its_layer(norm):
    for key, (kind, low, high) in registry.NORM_OPTIONS[norm].items():
        for value in {kind(low), kind(high)} - {1000, 10**6}:
            builders.build(
                "resnet18_cifar" if key == "channel_block" else "strided_cnn_a",
                input_shape=(9, 9, 3),
                norm=norm,
                norm_options={key: value},
            )
        for value in (high + 1, low - 1, "1", None if key != "freeze_after" else []):
            with pytest.raises(ValueError, match=f"`norm_options` .* for '{key}'. Rec"):
                registry.check_norm("resnet18_cifar", norm, {key: value})
    with pytest.raises(ValueError, match=r"`norm_options` should be of block, .* Rec"):
        registry.check_norm("all_cnn_c", "deconv", {"channel_block": 8})


def test_a_further_row_of_a_table_changes_no_other(monkeypatch):
    row = all_cnn_rows.get("all_cnn_c")
    monkeypatch.setitem(all_cnn_rows.ARCHITECTURES, "another", row)
    monkeypatch.setattr(all_cnn_rows, "NAMES", (*all_cnn_rows.NAMES, "another"))
    table = runpy.run_path(catalogue.__file__)["PRESETS"]
    assert table.keys() == catalogue.PRESETS.keys()
    again = runpy.run_path(registry.__file__)
    assert again["family"]("another").module == "all_cnn"
    module = runpy.run_path(all_cnn.__file__)
    assert module["AllCNNBImageNet"].__name__ == "AllCNNBImageNet"


def test_every_row_of_all_cnn_has_its_builder():
    for name in all_cnn_rows.NAMES:
        assert BUILDERS[name].__name__ == all_cnn_rows.get(name).builder
    assert len(all_cnn_rows.TABLE_3) == 12


def test_no_other_network_is_known():
    for name in ("vgg", "", None, ["zfnet"]):
        with pytest.raises(ValueError, match=r"`name` should be a (network that|text)"):
            registry.family(name)


def test_a_network_of_dense_layers_says_that_its_size_is_fixed():
    assert not registry.family("zfnet_32").sizes_change
    with pytest.raises(ValueError, match="all known, for zfnet_32"):
        builders.build("zfnet_32", input_shape=(None, None, 3))
    for shape in ((32, 32, None), (32, 32, 0), (32.5, 32, 3), (32, 32), "abc"):
        with pytest.raises(
            ValueError, match=r"`input_shape` should be \(height, width"
        ):
            builders.build("all_cnn_c", input_shape=shape)
    assert isinstance(builders.build("all_cnn_c", input_shape=[16, 16, 1]), keras.Model)
