"""Recipes are complete, can be followed and are what the papers say."""

from dataclasses import replace

from allconv import architectures, presets, recipe


def test_shortened_milestones_are_scaled():
    short = recipe.shorten(presets.get("all_cnn_c"), 35)
    assert short.milestones == (20, 25, 30)
    assert short.name == "all_cnn_c-35ep"
    assert recipe.shorten(short, 35) is short


def test_every_network_of_table_3_has_the_papers_recipe():
    for name in architectures.NAMES[:12]:
        preset = presets.get(name)
        assert replace(preset, name="", architecture="") == replace(
            presets.PAPER, name="", architecture=""
        )
    assert presets.PAPER.momentum == 0.9
    assert presets.PAPER.weight_decay == 0.001
    assert presets.PAPER.epochs == 350
    assert presets.PAPER.milestones == (200, 250, 300)
    assert presets.PAPER.learning_rate in presets.LEARNING_RATES


def test_every_preset_can_be_followed():
    for preset in presets.PRESETS.values():
        recipe.check(preset)
