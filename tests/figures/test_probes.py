import io

import numpy as np
import pytest
from hypothesis import given, strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from allconv.figures import probes
from allconv.probes.correspondence import Score
from allconv.probes.evolution import Evolution
from allconv.probes.filters import filter_statistics
from allconv.probes.invariance import Invariance
from allconv.probes.occlusion import Occlusion
from tests.figures.test_maps import smallest_text

RNG = np.random.default_rng(0)


def drawn(figure):
    """Draw the figure, which raises what only drawing finds, and return it.

    Its pixels are squares: blended ones would show classes that were not predicted.
    """
    assert isinstance(figure, Figure)
    pictures = [image for axis in figure.axes for image in axis.images]
    assert {image.get_interpolation() for image in pictures} <= {"nearest"}
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    assert smallest_text(figure) >= 10
    return figure


def titles(axes):
    return [axis.get_title().replace("\n", " ") for axis in axes]


@pytest.mark.parametrize("layer", [False, True])
def test_occlusion_figure(layer):
    label = np.zeros((2, 6, 5), int)
    label[0, 3:] = 2
    maps = RNG.random((2, 6, 5))
    result = Occlusion(
        np.array([1, 0]),
        maps,
        label,
        3 * maps if layer else None,
        np.array([0.9, 0.8]),
        np.array([1, 0]),
        np.array([2.0, 3.0]) if layer else None,
        np.array([7, 8]) if layer else None,
    )
    projections = RNG.normal(size=(2, 6, 5, 3)) if layer else None
    figure = drawn(
        probes.occlusion_figure(
            RNG.random((2, 6, 5, 3)),
            result,
            ["cat", "dog", "ship"],
            projections,
            "guided",
        )
    )
    shown = [axis for axis in figure.axes if axis.get_title()]
    expected = ["image", "probability of the class", "predicted class"]
    if layer:
        expected[1:1] = ["activation of the strongest feature map", "guided"]
    assert titles(shown) == expected
    assert shown[0].get_ylabel() == "dog"
    legends = [axis.get_legend() for axis in figure.axes if axis.get_legend()]
    named = [[text.get_text() for text in legend.get_texts()] for legend in legends]
    assert named == [["cat", "ship"], ["cat"]]
    cat = [legend.get_patches()[0].get_facecolor() for legend in legends]
    assert cat[0] == cat[1]


@pytest.mark.parametrize("n", [1, 4])
def test_invariance_figure(n):
    curves = RNG.random((n, 5))
    result = Invariance(
        np.arange(5),
        {"conv1": 3 * curves, "fc7": curves},
        {"conv1": curves, "fc7": curves},
        curves,
        curves[:, 0],
        np.zeros(n, int),
    )
    figure = drawn(
        probes.invariance_figure({"scale": result, "rotation": result}, relative=True)
    )
    assert titles(figure.axes[:3]) == [
        "relative distance at conv1",
        "relative distance at fc7",
        "p(class)",
    ]
    mean = figure.axes[0].lines[-1].get_ydata()
    np.testing.assert_allclose(mean, curves.mean(0))
    assert figure.axes[3].get_xlabel() == "rotation (degrees)"


def test_images_without_a_distance_are_left_out_and_counted():
    curves = RNG.random((3, 5))
    holed = curves.copy()
    holed[1] = np.nan  # its features are all 0
    result = Invariance(
        np.arange(5),
        {"a": curves},
        {"a": holed},
        curves,
        curves[:, 0],
        np.zeros(3, int),
    )
    figure = drawn(probes.invariance_figure({"scale": result}, relative=True))
    mean = figure.axes[0].lines[-1].get_ydata()
    np.testing.assert_allclose(mean, curves[[0, 2]].mean(0))
    assert titles(figure.axes[:1]) == ["relative distance at a (1 of 3 left out)"]


def test_correspondence_figure():
    scores = [
        Score(part, layer, RNG.random(3) * scale, RNG.random(3))
        for part in ("eye", "random")
        for layer, scale in (("conv5", 0.1), ("fc7", 1))
    ]
    figure = drawn(probes.correspondence_figure(scores))
    above, below = figure.axes[:2], figure.axes[2:]
    for row, measure in ((above, "pairs"), (below, "among_changed")):
        for axis, layer in zip(row, ("conv5", "fc7"), strict=True):
            heights = [bar.get_height() for bar in axis.patches]
            expected = [getattr(s, measure).mean() for s in scores if s.layer == layer]
            np.testing.assert_allclose(heights, expected)
            assert axis.get_ylim()[0] == 0
    assert above[0].get_ylim()[1] > scores[3].mean


def test_masks_figure_paints_each_part_and_leaves_the_images():
    pictures = RNG.integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    boxes = np.array([[0, 0, 2, 2], [1, 2, 4, 5], [6, 6, 8, 8]])
    axes = drawn(probes.masks_figure(pictures, {"eye": boxes})).axes
    for axis, picture in zip(axes[:3], pictures, strict=True):
        np.testing.assert_allclose(axis.images[0].get_array(), picture / 255)
    for axis, (left, top, right, bottom) in zip(axes[3:], boxes, strict=True):
        shown = axis.images[0].get_array()
        assert (shown[top:bottom, left:right] == 0.5).all()


def test_a_picture_of_one_channel_is_grey():
    picture = np.linspace(0.25, 0.75, 64).reshape(1, 8, 8, 1)
    boxes = np.array([[0, 0, 2, 2]])
    axes = drawn(probes.masks_figure(picture, {"eye": boxes})).axes
    shown = axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, np.repeat(picture[0], 3, axis=-1), atol=1e-6)


def test_strongest_figure_sets_nine_in_reading_order_on_one_scale():
    patches = RNG.random((2, 9, 5, 4, 3))
    patches[1, 3, 0] = np.nan
    maps = RNG.normal(size=patches.shape)
    panel = probes.Panel(np.array([7, 2]), patches, maps)
    small = probes.Panel(np.array([1]), patches[:1, :4], maps[:1, :4])
    axes = drawn(probes.strongest_figure({"conv1": panel, "conv2": small})).axes
    named = ["map 7, projected", "map 2, projected", "map 1, projected", ""]
    assert titles(axes[::2]) == named
    assert titles(axes[1::2]) == ["what it saw"] * 3 + [""]
    shown = axes[3].images[0].get_array()
    assert shown.shape == (3 * 5 + 2, 3 * 4 + 2, 3)
    for i in (0, 4, 8):
        y, x = 6 * (i // 3), 5 * (i % 3)
        np.testing.assert_allclose(shown[y : y + 5, x : x + 4], patches[1, i])
    assert (shown[6, :4] == 0.87).all()  # beyond the border
    signed = axes[0].images[0].get_array()
    limit = np.percentile(np.abs(maps[0]), 99.5)
    expected = 0.5 + 0.5 * np.clip(maps[0, 8] / limit, -1, 1)
    np.testing.assert_allclose(signed[12:, 10:], expected)


@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_evolution_figure(projected, dtype):
    pictures = RNG.random((6, 8, 8, 3))
    pictures = (pictures * (255 if dtype == "uint8" else 1)).astype(dtype)
    corner = RNG.integers(-2, 6, (3, 2, 2))
    result = Evolution(
        np.array([1, 2, 5]),
        np.array([4, 0]),
        RNG.integers(0, 6, (3, 2)),
        corner[..., 0],
        corner[..., 1],
        RNG.random((3, 2)),
        np.concatenate([corner, corner + 4], -1),
        RNG.normal(size=(3, 2, 8, 8, 3)) if projected else None,
    )
    figure = drawn(probes.evolution_figure(pictures, result))
    assert len(figure.axes) == 3 * 2 * (2 if projected else 1)
    assert titles(figure.axes[:3]) == ["epoch 1", "epoch 2", "epoch 5"]
    assert figure.axes[0].images[0].get_array().max() <= 1


def test_a_unit_that_sees_more_than_the_image_is_shown_no_border():
    pictures = RNG.random((2, 8, 8, 3))
    one = np.zeros((1, 1), int)
    box = np.array([[[-2, 1, 10, 13]]])
    arguments = (np.array([1]), np.array([4]), one, one, one, one + 0.5, box, None)
    figure = drawn(probes.evolution_figure(pictures, Evolution(*arguments)))
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), pictures[0])


def test_filters_figure():
    kernel = RNG.normal(size=(5, 5, 3, 7))
    kernel[..., 2] *= 0.01
    kernels = {"a": kernel, "b": kernel[..., :4]}
    statistics = {k: filter_statistics(v, 2) for k, v in kernels.items()}
    figure = drawn(probes.filters_figure(kernels, statistics))
    first = figure.subfigs[0]
    assert first.get_suptitle().startswith("a: 1 dead")
    assert [len(panel.axes) for panel in figure.subfigs] == [9, 4]
    dead = next(axis for axis in figure.subfigs[1].axes[3:4])
    assert dead.spines["left"].get_edgecolor() == (0, 0, 0, 1)


def seen_without_green(colours):
    """How a deuteranope sees colours (Machado et al. 2009, severity 1), in CIELAB."""
    gamma = ((colours + 0.055) / 1.055) ** 2.4
    linear = np.where(colours > 0.04045, gamma, colours / 12.92)
    machado = [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
    to_xyz = [
        [0.4124, 0.3576, 0.1805],
        [0.2126, 0.7152, 0.0722],
        [0.0193, 0.1192, 0.9505],
    ]
    xyz = np.clip(linear @ np.transpose(machado), 0, 1) @ np.transpose(to_xyz)
    x, y, z = np.cbrt(xyz / [0.9505, 1, 1.089]).T  # no colour here is near black
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def test_a_deuteranope_tells_the_classes_and_the_frames_apart():
    seen = seen_without_green(np.array(probes.COLOURS))
    apart = np.linalg.norm(seen[:, None] - seen, axis=-1)[np.triu_indices(10, 1)]
    assert apart.min() > 10  # 2.3 is just noticeable, in patches side by side
    frame, grey = seen_without_green(np.array([to_rgb(probes.ALIASED), [0.5] * 3]))
    assert np.linalg.norm(frame - grey) > 40


@given(st.sets(st.integers(0, 999), min_size=1, max_size=10))
def test_a_class_has_one_colour(classes):
    colours = probes.class_colours([*classes, *classes])
    assert set(colours) == classes
    assert len({tuple(colour) for colour in colours.values()}) == len(classes)
    for label in classes:
        if label < 10 and max(classes) < 10:
            assert np.all(colours[label] == probes.COLOURS[label])


def test_more_classes_than_colours_still_have_one_each():
    assert set(probes.class_colours(range(30))) == {*range(30)}
