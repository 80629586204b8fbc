"""The planted evidence is the evidence, and the scores of a map are what they say."""

import keras
import numpy as np
import pytest
from hypothesis import given, strategies as st

from experiments import planted, trust


def test_each_image_holds_the_patterns_it_says_and_decoys_that_look_alike():
    data, patterns = planted.draw(50, seed=3, part=1), planted.patterns(3)
    assert (data.where.sum((2, 3)) == planted.PATCH**2).all()
    assert data.where.sum(1).max() == 1  # no two patches overlap
    assert 0.4 < data.present.mean() < 0.6
    for i, c in np.ndindex(data.present.shape):
        patch = data.images[i][data.where[i, c]].reshape(patterns[c].shape)
        assert (np.abs(patch - patterns[c]).max() < 0.6) == data.present[i, c]
        assert (np.sign(patch).sum((0, 1)) == 0).all()  # of a decoy as of a pattern


def test_draws_differ_by_part_and_some_classes_are_sure():
    one, other = (planted.draw(20, 0, part) for part in (0, 1))
    assert (one.images != other.images).any((1, 2, 3)).all()
    assert (planted.draw(20, 0, 0, sure=2).present.sum(1) >= 2).all()


def test_the_built_network_sees_nothing_but_the_patch():
    """A score is the same with all of the image but its patch exchanged."""
    data = planted.draw(30, seed=1, part=1)
    model = planted.built(1)
    logits = keras.Model(model.inputs[0], model.layers[-2].output)
    scores = logits(data.images).numpy()
    assert ((scores > 0) == data.present).all()
    for c in range(planted.CLASSES):
        there = np.flatnonzero(data.present[:, c])
        empty = np.flatnonzero(~data.present[:, c])[: len(there)]
        there = there[: len(empty)]
        kept = data.where[there, c][..., None]
        swapped = np.where(kept, data.images[there], data.images[empty])
        np.testing.assert_allclose(
            logits(swapped).numpy()[:, c], scores[there, c], rtol=1e-4
        )


@given(st.integers(0, 2**16), st.integers(1, 3))
def test_auc_counts_pairs(seed, levels):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels + 1, (1, 4, 4)) / levels
    mask = np.arange(16).reshape(1, 4, 4) < 5
    pairs = [
        (inside > outside) + (inside == outside) / 2
        for inside in values[mask]
        for outside in values[~mask]
    ]
    assert trust.auc(values, mask) == pytest.approx(np.mean(pairs))


def test_shares_in_a_patch():
    patch = np.zeros((3, 4, 4), bool)
    patch[:, :2, :2] = True
    maps = np.stack([patch[0] * 1.0, np.ones((4, 4)), np.zeros((4, 4))])
    np.testing.assert_array_equal(trust.in_patch(maps, patch), [1, 0.25, 0])


def test_a_map_that_ignores_the_class_gets_half():
    patches = np.zeros((2, 5, 4, 4))
    patches[0, :, 0], patches[1, :, 3] = 1, 1
    same = np.random.default_rng(0).random((1, 5, 4, 4)).repeat(2, axis=0)
    assert trust.own_class(same, patches).mean() == 0.5
    assert trust.own_class(patches, patches).mean() == 1
    assert trust.own_class(patches[::-1], patches).mean() == 0
    assert trust.own_class(np.zeros_like(same), patches).mean() == 0.5


def test_gradients_of_a_linear_network_need_no_mean(monkeypatch):
    """All filters are on everywhere: SmoothGrad is backprop, the path is straight."""
    model = planted.built(0)
    kernel, bias, *top = model.get_weights()
    model.set_weights([kernel, bias + 50, *top])
    images = planted.draw(3, 0, 1).images
    monkeypatch.setattr(trust, "SAMPLES", 3)
    every = trust.methods(model, np.random.default_rng(0))
    maps = {name: method(images, [0, 1, 2]) for name, method in every.items()}
    for one, other in [
        (trust.SMOOTH, "backprop"),
        (trust.INTEGRATED, "input x gradient"),
        ("LRP epsilon", "input x gradient"),
    ]:
        np.testing.assert_allclose(
            maps[one], maps[other], rtol=1e-3, atol=1e-4 * maps[other].max()
        )
    for values in maps.values():
        assert values.shape == images.shape[:3]
        assert (values >= 0).all()


def test_maps_of_any_size_lie_where_the_network_looked():
    cell = np.zeros((1, 19, 19), "float32")
    cell[0, 0, 18] = 1
    placed = trust.placed(cell)
    assert placed.shape == (1, 24, 24)
    assert placed[0, 2, 20] == placed.sum() == 1  # the middle of its 6 x 6 pixels
    assert trust.placed(np.ones((1, 12, 12), "float32")).min() == 1


def test_the_whole_script_on_one_small_network(monkeypatch, tmp_path, capsys):
    for name in ("SAMPLES", "POINTS"):
        monkeypatch.setattr(trust, name, 2)
    for name in ("TABLE", "FIGURE"):
        monkeypatch.setattr(trust, name, tmp_path / name)
    monkeypatch.setattr(planted, "NETWORKS", {"built": planted.built})
    trust.main(["--seeds", "1", "--images", "3"])
    said = capsys.readouterr().out
    assert not list(tmp_path.iterdir())  # a trial is no table
    rows = {line.split(" | ")[0][2:]: line for line in said.splitlines() if "|" in line}
    for name in ("backprop", "guided", "CAM", "LRP epsilon-plus"):
        assert rows[name].startswith(f"| {name} | 100 |")
    assert " | 1.00 | 1.00 | " in rows["Sobel edges"]  # whatever the weights


def test_the_figure_shows_every_method_for_two_classes():
    subject = trust.case("built", 0, 2)
    maps = {name: np.random.default_rng(0).random((2, 2, 24, 24)) for name in "abc"}
    figure = trust.figure({"built": (subject, maps)})
    assert len(figure.axes) == 2 * 4
    assert [ax.get_title() for ax in figure.axes[:4]] == ["image", "a", "b", "c"]
    drawn = [ax.images[0].get_array() for ax in figure.axes]
    np.testing.assert_array_equal(drawn[5], maps["a"][1, 0])


def test_the_table_has_every_network_and_method():
    text = trust.TABLE.read_text()
    for title in trust.TITLES.values():
        assert title in text
    every = trust.methods(planted.built(0), np.random.default_rng(0))
    for name in every:
        assert text.count(f"\n| {name} |") == len(planted.NETWORKS) == len(trust.TITLES)
