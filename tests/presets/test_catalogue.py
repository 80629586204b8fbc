"""Recipes are complete, can be followed and are what the papers say."""

from dataclasses import replace

import pytest

from allconv.data.augmentation import AUGMENTATIONS, Augmentation
from allconv.networks import all_cnn_rows
from allconv.presets import catalogue
from allconv.presets.limits import check
from allconv.presets.preset import shorten


def test_shortened_milestones_are_scaled():
    short = shorten(catalogue.get("all_cnn_c"), 35)
    assert short.milestones == (20, 25, 30)
    assert short.name == "all_cnn_c-35ep"
    assert shorten(short, 35) is short


@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 12, 40])
def test_a_shortened_recipe_ends_on_whole_images(epochs):
    for name in ("all_cnn_c_budget", "fast_augmented"):
        windows = shorten(catalogue.get(name), epochs).windows
        check(shorten(catalogue.get(name), epochs))
        starts = [start for start, _ in windows]
        assert starts == sorted(set(starts))
        assert starts[0] == 0
        assert starts[-1] < epochs
        assert windows[-1][1] == 32


def test_every_network_of_table_3_has_the_papers_recipe():
    for name in all_cnn_rows.TABLE_3:
        preset = catalogue.get(name)
        assert replace(preset, name="", architecture="") == replace(
            catalogue.PAPER, name="", architecture=""
        )
    assert catalogue.PAPER.momentum == 0.9
    assert catalogue.PAPER.weight_decay == 0.001
    assert catalogue.PAPER.epochs == 350
    assert catalogue.PAPER.milestones == (200, 250, 300)
    assert catalogue.PAPER.learning_rate == 0.05


def test_every_preset_can_be_followed():
    for preset in catalogue.PRESETS.values():
        check(preset)


def test_constants_are_those_of_the_papers():
    assert AUGMENTATIONS["paper"] == Augmentation(5, True, "CONSTANT")
    assert AUGMENTATIONS["crop"] == Augmentation(4, True, "CONSTANT")
    assert catalogue.PAPER.batch_size == 256  # of the public Caffe run
    assert catalogue.ZFNET.weight_decay == 5e-4


def test_windows_are_scaled_with_the_epochs():
    longer = shorten(catalogue.get("fast_augmented"), 28)
    assert longer.windows == ((0, 24), (20, 28), (26, 32))
