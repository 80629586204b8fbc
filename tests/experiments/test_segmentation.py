"""Segmentation: the network, its loss and its measures, against slow loops."""

import json
import math
from dataclasses import replace

import keras
import numpy as np
import pytest

from allconv.data import segmentation as data
from allconv.data.preprocessing import MeanStd
from allconv.figures import segments
from allconv.layers.batch_norm import BatchNormalization
from allconv.layers.folding import fold
from allconv.layers.netdeconv import NetworkDeconvolution2D
from allconv.networks.segmentation import fcn
from experiments import TABLES, segmentation

RNG = np.random.default_rng(0)


def test_measures_are_those_of_a_slow_count():
    masks = RNG.integers(0, 4, (3, 5, 6)).astype(np.uint8)
    masks[RNG.random(masks.shape) < 0.2] = 255
    found = RNG.integers(0, 3, masks.shape)  # class 3 is never found; 4 occurs nowhere
    counts = segmentation.confusion(masks, found, 5)
    right = total = 0
    ious = []
    for k in range(4):
        both = either = 0
        for true, guess in zip(masks.ravel(), found.ravel(), strict=True):
            if true != 255:
                both += true == guess == k
                either += k in (true, guess)
        ious.append(both / either)
    for true, guess in zip(masks.ravel(), found.ravel(), strict=True):
        if true != 255:
            right, total = right + (true == guess), total + 1
    assert segmentation.mean_iou(counts) == pytest.approx(100 * np.mean(ious))
    assert segmentation.pixel_accuracy(counts) == pytest.approx(100 * right / total)
    assert counts.sum() == total


def test_the_loss_passes_over_what_has_no_class():
    masks = np.array([[[0, 2], [255, 1]]], np.uint8)
    logits = RNG.normal(size=(1, 2, 2, 3)).astype(np.float32)
    each = [
        math.log(np.exp(logits[0, y, x]).sum()) - logits[0, y, x, k]
        for y, x, k in ((0, 0, 0), (0, 1, 2), (1, 1, 1))
    ]
    assert float(segmentation.loss(masks, logits)) == pytest.approx(np.mean(each))
    assert float(segmentation.loss(masks * 0 + 255, logits)) == 0


@pytest.mark.parametrize("norm", ["none", "batch", "deconv"])
def test_the_network_scores_every_pixel(norm, same_weights):
    model = fcn(5, norm=norm, input_shape=(None, None, 3), widths=(4, 4, 8))
    images = RNG.normal(size=(2, 16, 24, 3)).astype(np.float32)
    assert model(images).shape == (2, 16, 24, 5)
    kinds = [type(layer) for layer in model.layers]
    convolutions = 8  # two at each of three resolutions, and two that score
    assert kinds.count(NetworkDeconvolution2D) == convolutions * (norm == "deconv")
    assert kinds.count(BatchNormalization) == 6 * (norm == "batch")
    model(images, training=True)
    folded = fold(model)
    np.testing.assert_allclose(folded(images), model(images), atol=2e-4)
    plain = {keras.layers.Conv2D, keras.layers.ZeroPadding2D, keras.layers.ReLU}
    assert {type(layer) for layer in folded.layers} <= plain | {
        *(keras.layers.InputLayer, keras.layers.UpSampling2D, keras.layers.Add),
        keras.layers.Activation,
    }


def test_scores_of_two_resolutions_are_added(same_weights):
    """By hand, from the maps that the scores are made of."""
    model = fcn(3, widths=(4, 4, 8), input_shape=(16, 16, 3))
    images = RNG.normal(size=(1, 16, 16, 3)).astype(np.float32)
    outputs = [model.get_layer(f"score{i}").output for i in (2, 3)]
    fine, coarse = keras.Model(model.inputs, outputs)(images)
    enlarge = keras.layers.UpSampling2D(2, interpolation="bilinear")
    expected = enlarge(fine + enlarge(coarse))
    np.testing.assert_allclose(model(images), expected, atol=1e-6)
    assert (fine.shape, coarse.shape) == ((1, 8, 8, 3), (1, 4, 4, 3))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"norm": "group"}, "`norm` should be one of none, batch, deconv for a segm"),
        ({"norm_options": {"block": 8}}, "should be of nothing with norm='none'"),
        ({"input_shape": (36, 32, 3)}, "`input_shape` should be .* multiples of 8"),
        ({"widths": (4,)}, "`widths` should be two or more"),
        ({"classes": 0}, "`classes` should be an integer"),
    ],
)
def test_what_the_network_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        fcn(**({"classes": 2} | arguments))


def test_a_training_learns_and_a_wild_one_is_told(monkeypatch):
    recipe = replace(segmentation.RECIPE, epochs=1)
    monkeypatch.setattr(segmentation, "RECIPE", recipe)

    def smallest(classes, **options):
        images = keras.Input((None, None, 3))
        return keras.Model(images, keras.layers.Conv2D(classes, 1)(images))

    monkeypatch.setattr(segmentation, "fcn", smallest)
    images, masks = data.draw(40, 0)
    split = (MeanStd().fit(images)(images)[:, ::4, ::4], masks[:, ::4, ::4])
    record, model = segmentation.train("none", 0.1, 0, [split] * 3, 6)
    assert record["epochs"] == [0, 1]
    counts = segmentation.confusion(split[1], segmentation.predict(model, split[0]), 6)
    for name, measure in segmentation.MEASURES.items():
        assert record[name][-1] == measure(counts)
    assert record["held"] == record["mean IoU in %"][-1]
    assert record["pixel accuracy in %"][-1] > record["pixel accuracy in %"][0]
    lost, _ = segmentation.train("none", 1e30, 0, [split] * 3, 6)
    assert lost["held"] is None


def test_the_figure_of_masks_has_a_colour_for_each_class():
    images, masks = data.draw(2, 0)
    masks[0, 0, 0] = 255
    figure = segments.masks(images, {"truth": masks}, ["ground", *data.SHAPES])
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), images[0])
    drawn = np.asarray(figure.axes[2].images[0].get_array())
    assert drawn[0, 0].tolist() == [1, 1, 1]
    colours = {tuple(drawn[masks[0] == k][0]) for k in np.unique(masks[0])}
    assert len(colours) == len(np.unique(masks[0]))
    assert len(figure.legends[0].get_texts()) == 6


def test_table_and_figure_are_of_what_was_measured():
    found = json.loads((TABLES / "segmentation.json").read_text())
    kept = (TABLES / "segmentation.md").read_text(encoding="utf-8")
    assert segmentation.table(found) + "\n" == kept
    assert "synthetic" in kept
    drawn = segmentation.figure(found).axes[0].lines[2].get_ydata()
    runs = [run["mean IoU in %"] for run in found["deconv"]["runs"]]
    np.testing.assert_allclose(drawn, np.mean(runs, axis=0))
