"""What a unit responds to is what patches and saliency say of it, one by one."""

import keras
import numpy as np
import pytest

from allconv.data import shapes
from allconv.data.preprocessing import GCNZCA, MeanStd
from allconv.figures.maps import top_patches
from allconv.layers.netdeconv import NetworkDeconvolution2D
from allconv.networks.classifier import Classifier
from allconv.probes import patches
from allconv.reports.units import RULES, convolutions, look
from allconv.saliency import explainer

IMAGES = shapes.draw(40)[0]


def classifier(kind=MeanStd):
    """A small random network; `conv3` sees more than the 32 pixels of an image."""
    keras.utils.set_random_seed(5)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(3, 5, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(
                35, 5, strides=4, padding="same", activation="relu", name="conv2"
            ),
            layers.Conv2D(10, 7, padding="same", activation="relu", name="conv3"),
            layers.GlobalAveragePooling2D(name="global_pool"),
            layers.Activation("softmax", name="predictions"),
        ]
    )
    if kind is GCNZCA:  # any matrix will do; fitting one takes seconds
        near = np.eye(3072) + np.random.default_rng(0).normal(0, 0.01, (3072, 3072))
        arrays = {"mean": np.zeros(3072), "matrix": near + near.T}
        arrays = {name: array.astype("float32") for name, array in arrays.items()}
        return Classifier(model, GCNZCA.from_arrays(arrays), {"dataset": "shapes"})
    return Classifier(model, MeanStd().fit(IMAGES), {"dataset": "shapes"})


@pytest.mark.parametrize("kind", [MeanStd, GCNZCA])
def test_each_map_is_the_explanation_of_its_neuron(kind):
    net = classifier(kind)
    inputs = net.preprocessor(IMAGES)
    found = list(look(net, IMAGES, ["conv1", "conv2"], k=3, progress=False))
    tops = patches.top_activations(
        net.model, inputs, ["conv1", "conv2"], 3, progress=False
    )
    assert [units.layer for units in found] == ["conv1", "conv2"]
    for units, size in zip(found, (5, 9), strict=True):
        assert units.pictures.shape == (len(units.top.index), 3, size, size, 3)
        np.testing.assert_array_equal(units.top.index, tops[units.layer].index)
    top, maps = found[1].top, found[1].maps
    for unit, hit in [(0, 0), (31, 2), (32, 0), (34, 1)]:  # across two chunks
        image = IMAGES[top.index[unit, hit]][None]
        y0, x0, y1, x1 = top.box[unit, hit]
        rows, columns = np.arange(y0, y1), np.arange(x0, x1)
        inside = np.ix_((rows >= 0) & (rows < 32), (columns >= 0) & (columns < 32))
        window = np.ix_(rows[(rows >= 0) & (rows < 32)], columns[inside[1][0]])
        for rule in RULES:
            at_inputs = explainer.explain(
                net.model,
                net.preprocessor(image),
                rule,
                layer="conv2",
                channel=unit,
                position=(int(top.y[unit, hit]), int(top.x[unit, hit])),
            )
            whole = net.preprocessor.pullback(image, at_inputs)[0]
            cut = maps[rule][unit, hit]
            np.testing.assert_allclose(cut[inside], whole[window], atol=1e-6)
            assert np.isfinite(cut).sum() == whole[window].size
        picture = found[1].pictures[unit, hit]
        np.testing.assert_allclose(picture[inside] * 255, image[0][window], atol=1e-4)


def test_a_field_larger_than_the_image_is_the_whole_image():
    (units,) = look(classifier(), IMAGES, ["conv3"], k=2, progress=False)
    assert units.top.box[0, 0, 2] - units.top.box[0, 0, 0] > 32
    np.testing.assert_allclose(units.pictures * 255, IMAGES[units.top.index], atol=1e-4)
    assert np.isfinite(units.maps["guided"]).all()


def test_all_convolutions_are_shown_and_can_be_drawn():
    found = list(look(classifier(), IMAGES, progress=False))
    assert [units.layer for units in found] == ["conv1", "conv2", "conv3"]
    figure, limits = top_patches(found[0].pictures, found[0].maps["guided"])
    assert limits.shape == (3,)
    assert figure.axes


def test_bad_input():
    with pytest.raises(ValueError, match="No layer is called"):
        list(look(classifier(), IMAGES, ["conv9"], progress=False))
    with pytest.raises(ValueError, match="should be raw: uint8"):
        list(look(classifier(), IMAGES / 255, ["conv3"], progress=False))
    with pytest.raises(ValueError, match="k=41 is more than"):
        list(look(classifier(), IMAGES, ["conv3"], k=41, progress=False))


def test_depthwise_and_whitening_convolutions_are_looked_at_too():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(4, 3, name="plain"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            NetworkDeconvolution2D(4, 3, name="whitened"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    assert list(convolutions(model)) == ["plain", "depthwise", "whitened"]
    outer = keras.Sequential([keras.Input((32, 32, 3)), model])
    assert list(convolutions(outer)) == [
        f"{model.name}/{name}" for name in ("plain", "depthwise", "whitened")
    ]


def test_sampled_units_are_those_of_all(tmp_path):
    net = classifier()
    labels = np.arange(len(IMAGES)) % 3
    (whole,) = look(net, IMAGES, ["conv2"], k=2, labels=labels, progress=False)
    file = np.lib.format.open_memmap(
        tmp_path / "images.npy", "w+", np.uint8, IMAGES.shape
    )
    file[:] = IMAGES  # a memory map is as good
    (some,) = look(
        net, file, ["conv2"], k=2, labels=labels, units=5, side=4, progress=False
    )
    assert some.channels.tolist() == [0, 8, 17, 26, 34]
    np.testing.assert_array_equal(some.top.index, whole.top.index[some.channels])
    counts = whole.activity.counts[some.channels]
    np.testing.assert_array_equal(some.activity.counts, counts)
    chosen = whole.activity.selectivity()[some.channels]
    np.testing.assert_allclose(some.activity.selectivity(), chosen)
    assert whole.maps["backprop"].shape[2:] == (9, 9, 3)
    assert some.maps["backprop"].shape[2:] == (4, 4, 3)
    for small, large, fill in [
        (some.pictures, whole.pictures[some.channels], 0.5),
        (some.maps["guided"], whole.maps["guided"][some.channels], 0),
    ]:
        means = np.nan_to_num(large, nan=fill).mean((2, 3))
        np.testing.assert_allclose(small.mean((2, 3)), means, rtol=1e-4, atol=1e-6)
