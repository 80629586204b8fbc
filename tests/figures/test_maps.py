"""Scales, limits and layout of figures, read back from the pixels drawn."""

import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib import image as png
from matplotlib.figure import Figure
from matplotlib.text import Text

from allconv.figures.grid import BEYOND
from allconv.figures.maps import (
    SHARES,
    filters,
    rule_comparison,
    sanity_strip,
    shared_limits,
    signed_colours,
    signed_limit,
    top_patches,
)

finite = st.floats(-1e6, 1e6, width=32)
grids = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.just(2), st.just(2), st.just(3)),
    elements=finite,
)


def drawn(figure):
    """The picture in the first panel, before it is scaled to the page."""
    return figure.axes[0].images[0].get_array()


def smallest_text(figure):
    """Height in pixels where a figure is shown on a projected page, 820 pixels wide."""
    wide = figure.get_figwidth()
    scale = min(figure.dpi, 820 / wide) / 72
    texts = [text for text in figure.findobj(Text) if text.get_text().strip()]
    return min((round(scale * text.get_size(), 3) for text in texts), default=np.inf)


def tile(figure, row, column, size, block=1):
    """One tile of a picture whose tiles are square, enlarged to 48 pixels or more."""
    factor = -(-48 // size)
    gap = round(0.06 * size * factor)
    y = row * (size * factor + gap) + row // block * (block > 1) * gap
    x = column * (size * factor + gap)
    picture = np.asarray(drawn(figure))
    picture = picture[y : y + size * factor, x : x + size * factor]
    cells = picture.reshape(size, factor, size, factor, -1)
    assert np.all(cells == cells[:, :1, :, :1])
    return cells[:, 0, :, 0]


@given(grids, st.floats(0, 1e6))
def test_the_scale_keeps_zero_sign_and_order(maps, limit):
    before = maps.copy()
    colours = signed_colours(maps, limit)
    assert colours.min() >= 0
    assert colours.max() <= 1
    assert np.all(colours[maps == 0] == 0.5)
    assert np.all(np.sign(colours - 0.5) * np.sign(maps) >= 0)
    np.testing.assert_allclose(signed_colours(-maps, limit), 1 - colours)
    np.testing.assert_array_equal(maps, before)


def test_the_scale_by_hand():
    got = signed_colours(np.array([-9.0, -2, -1, 0, 1, 2, 9]), 2)
    assert got.tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1]


def test_what_is_beyond_an_image_has_no_colour_and_no_share_in_the_limits():
    maps = np.array([[np.nan, 2.0, -4.0]])
    np.testing.assert_array_equal(signed_colours(maps, 4.0), [[np.nan, 0.75, 0]])
    limits = shared_limits(maps[None, :, :, None, None], percentile=100)
    assert limits.tolist() == [[4.0]]


@given(grids)
def test_the_limit_is_a_percentile_of_the_magnitudes_that_are_not_zero(maps):
    magnitudes = sorted(abs(value) for value in maps.ravel().tolist() if value)
    assert signed_limit(maps, 100) == (magnitudes[-1] if magnitudes else 0)
    assert signed_limit(maps, 0) == (magnitudes[0] if magnitudes else 0)


def test_the_limit_leaves_zeros_and_nan_out():
    maps = np.array([0, 0, 0, np.nan, -3, 1, 2])
    assert signed_limit(maps, 50) == 2


@given(grids)
def test_shared_limits_against_a_loop(maps):
    rows, columns = maps.shape[:2]
    wanted = {
        "row": lambda i, j: maps[i],
        "column": lambda i, j: maps[:, j],
        "all": lambda i, j: maps,
        "none": lambda i, j: maps[i, j],
    }
    for share, group in wanted.items():
        limits = shared_limits(maps, share, 90)
        assert limits.shape == (rows, columns)
        for i, j in np.ndindex(rows, columns):
            assert limits[i, j] == signed_limit(group(i, j), 90)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)


def noise(*shape):
    return np.random.default_rng(1).normal(size=shape)


@pytest.mark.parametrize("share", SHARES)
def test_rule_comparison_draws_every_map_on_its_stated_scale(images, share):
    maps = {"backprop": noise(3, 8, 8, 3), "guided\nbackprop": 5 * noise(3, 8, 8, 3)}
    figure, limits = rule_comparison(
        images, maps, row_titles=["cat", "dog", "frog"], share=share, percentile=95
    )
    assert isinstance(figure, Figure)
    assert limits.shape == (3, 2)
    np.testing.assert_array_equal(
        limits, shared_limits(np.stack([*maps.values()], 1), share, 95)
    )
    for i in range(3):
        np.testing.assert_allclose(tile(figure, i, 0, 8), images[i] / 255)
        for j, array in enumerate(maps.values()):
            expected = 0.5 + 0.5 * np.clip(array[i] / limits[i, j], -1, 1)
            np.testing.assert_allclose(tile(figure, i, 1 + j, 8), expected)
    axes = figure.axes[0]
    titles = [label.get_text() for label in axes.get_xticklabels()]
    assert titles == ["image", "backprop", "guided\nbackprop"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("cat", "dog", "frog")
    ]
    beside, under = limits[:, 0], limits[0]
    notes = {"row": beside, "all": beside, "column": under, "none": []}[share]
    expected = [f"±{limit:.2g}" for limit in notes]
    if share == "none":
        ends = np.sort(limits, axis=0)[[0, -1]].T
        expected = [f"±{least:.2g}–{greatest:.2g}" for least, greatest in ends]
        flat = {title: np.stack([array[0]] * 3) for title, array in maps.items()}
        figure, same = rule_comparison(images, flat, share="none", percentile=95)
        notes = [text.get_text() for text in figure.axes[0].texts if text.get_text()]
        assert notes == [f"±{limit:.2g}" for limit in same[0]]
    written = [text.get_text() for text in axes.texts if text.get_text()]
    assert written == expected


@pytest.mark.parametrize("size, factor", [(32, 2), (19, 3), (64, 1)])
def test_pixels_are_squares_of_whole_dots(size, factor, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    figure, _ = rule_comparison(images, {"a map": np.ones(images.shape)})
    figure.savefig(tmp_path / "a.png")
    dots = png.imread(tmp_path / "a.png")[..., :3]
    dots = np.round(255 * dots).astype(np.uint8)
    side = 2 * factor
    enlarged = images[0].repeat(side, axis=0).repeat(side, axis=1)
    corners = np.argwhere((dots == enlarged[0, 0]).all(axis=-1))
    assert any(
        np.array_equal(dots[y : y + size * side, x : x + size * side], enlarged)
        for y, x in corners
    )


def test_float_and_grey_images_are_drawn_as_they_are(images):
    maps = {"guided": noise(3, 8, 8, 1)}
    grey = images[..., :1] / np.float32(255)
    figure, limits = rule_comparison(grey, maps)
    for channel in range(3):
        np.testing.assert_allclose(tile(figure, 1, 0, 8)[..., channel], grey[1, ..., 0])
    expected = signed_colours(maps["guided"][1], limits[1, 0])
    np.testing.assert_allclose(tile(figure, 1, 1, 8), np.repeat(expected, 3, -1))


def test_top_patches_has_two_rows_per_channel_on_one_scale():
    patches = np.random.default_rng(0).random((2, 4, 6, 6, 3))
    patches[0, 1, :2] = np.nan  # beyond the border
    maps = noise(2, 4, 6, 6, 3) * np.array([1, 100]).reshape(2, 1, 1, 1, 1)
    maps[0, 1, :2] = np.nan
    figure, limits = top_patches(patches, maps, row_titles=["c 0", "c 1"])
    assert limits.shape == (2,)
    for channel, hit in np.ndindex(2, 4):
        crop, limit = patches[channel, hit], limits[channel]
        assert limit == signed_limit(maps[channel])
        picture = tile(figure, 2 * channel, hit, 6, block=2)
        np.testing.assert_allclose(picture, np.where(np.isnan(crop), BEYOND, crop))
        colours = signed_colours(maps[channel, hit], limit)
        picture = tile(figure, 2 * channel + 1, hit, 6, block=2)
        np.testing.assert_allclose(
            picture, np.where(np.isnan(colours), BEYOND, colours)
        )


def test_sanity_strip_aligns_maps_and_curves(images):
    layers = ["top", "middle", "bottom"]
    trained, maps = noise(3, 8, 8, 3), noise(3, 3, 8, 8, 3)
    rank = np.random.default_rng(2).random((4, 3, 3))
    figure, limits = sanity_strip(
        images, layers, trained, maps, {"rank": rank, "ssim": rank / 2}
    )
    assert limits.shape == (3, 4)
    for i in range(3):
        expected = signed_colours(trained[i], limits[i, 0])
        np.testing.assert_allclose(tile(figure, i, 1, 8), expected)
        for step in range(3):
            expected = signed_colours(maps[step, i], limits[i, 1 + step])
            np.testing.assert_allclose(tile(figure, i, 2 + step, 8), expected)
    strip, curves = figure.axes
    lines = [container.lines[0] for container in curves.containers]
    for line, scale in zip(lines, (1, 0.5), strict=True):
        np.testing.assert_allclose(line.get_xdata(), strip.get_xticks()[2:])
        np.testing.assert_allclose(
            line.get_ydata(), scale * rank.mean(axis=(0, 2)), rtol=1e-6
        )
    assert curves.get_xlim() == strip.get_xlim()
    assert curves.get_position().x0 == pytest.approx(strip.get_position().x0)
    assert curves.get_position().y1 < strip.get_position().y0


def test_sanity_strip_of_one_seed_without_scores(images):
    trained, maps = noise(3, 8, 8, 3), noise(1, 3, 8, 8, 3)
    figure, _ = sanity_strip(images, ["top"], trained, maps)
    assert len(figure.axes) == 1
    one_seed = {"rank": np.ones((1, 1, 3))}
    figure, _ = sanity_strip(images, ["top"], trained, maps, one_seed)
    figure.savefig(BytesIO())  # a spread of one seed is 0, not a warning


def test_sanity_strip_skips_maps_whose_score_is_undefined(images):
    trained, maps = noise(3, 8, 8, 3), noise(2, 3, 8, 8, 3)
    rank = np.full((2, 2, 3), 0.5)
    rank[0, 0, 0] = rank[:, 1] = np.nan
    figure, _ = sanity_strip(images, ["b", "a"], trained, maps, {"rank": rank})
    heights = figure.axes[1].containers[0].lines[0].get_ydata()
    assert heights[0] == 0.5
    assert np.isnan(heights[1])
    notes = [text.get_text() for text in figure.axes[1].texts]
    assert notes == ["7 of 12 maps are constant and left out"]


@pytest.mark.parametrize("channels", [1, 3])
def test_filters_are_drawn_on_one_scale(channels):
    kernel = noise(5, 5, channels, 7)
    figure, limit = filters(kernel, columns=4)
    assert limit == np.abs(kernel).max()
    for i in range(7):
        expected = np.broadcast_to(0.5 + 0.5 * kernel[..., i] / limit, (5, 5, 3))
        np.testing.assert_allclose(tile(figure, i // 4, i % 4, 5), expected)
    assert np.all(tile(figure, 1, 3, 5) == 1)


def test_a_map_of_zeros_is_grey(images):
    figure, limits = rule_comparison(images, {"dead": np.zeros(images.shape)})
    assert np.all(limits == 0)
    assert np.all(tile(figure, 0, 1, 8) == 0.5)
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written.count("all 0") == len(images)


def test_a_map_that_is_nowhere_positive_says_so(images):
    maps = np.stack([noise(8, 8, 3)] * len(images))
    maps[1] = -np.abs(maps[1])
    figure, _ = rule_comparison(images, {"map": maps, "same": np.abs(maps)})
    (mark,) = [t for t in figure.axes[0].texts if t.get_text() == "none > 0"]
    grid = figure.axes[0].images[0].get_array()
    x, y = mark.xy
    column, row = x / grid.shape[1], y / grid.shape[0]
    assert 1 / 3 < column < 2 / 3  # of the image and two maps, the first
    assert 1 / len(images) < row <= 2 / len(images)


def test_figures_are_written_without_pyplot():
    """Nothing global: no window, no state that outlives the figure."""
    code = (
        "import sys, io, numpy as np\n"
        "from allconv.figures import maps\n"
        "figure, _ = maps.filters(np.ones((3, 3, 3, 4)))\n"
        "file = io.BytesIO()\n"
        "figure.savefig(file, format='png')\n"
        "assert file.getvalue().startswith(b'\\x89PNG')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


PICTURES = np.zeros((2, 4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    "draw, message",
    [
        (
            lambda: rule_comparison(PICTURES, {"guided": noise(2, 4, 5, 3)}),
            r"`maps\['guided'\]` should be shaped as `images`, \(2, 4, 4, 3\). Rec",
        ),
        (
            lambda: rule_comparison(PICTURES - 0.5, {"a": noise(2, 4, 4, 3)}),
            "`images` should be uint8, or floats from 0 to 1.*Received: -0.5 to -0.5",
        ),
        (
            lambda: rule_comparison(PICTURES, {"a": noise(2, 4, 4, 3)}, share="rows"),
            "`share` should be one of row, column, all, none. Received: share='rows'",
        ),
        (
            lambda: rule_comparison(
                PICTURES, {"a": noise(2, 4, 4, 3)}, row_titles=["cat"]
            ),
            "`row_titles` should be one per row, 2. Received: 1",
        ),
        (
            lambda: rule_comparison(PICTURES[..., :2], {"a": noise(2, 4, 4, 2)}),
            "Images have 1 or 3 channels",
        ),
        (
            lambda: top_patches(PICTURES[None], noise(1, 2, 4, 4, 1)),
            "`maps` should be shaped as `patches`",
        ),
        (
            lambda: sanity_strip(
                PICTURES, ["top"], noise(2, 4, 4, 3), noise(2, 2, 4, 4, 3)
            ),
            "one step per layer. Received: 2 steps and 1 layers",
        ),
        (
            lambda: filters(noise(3, 3, 96, 8)),
            r"1 or 3 channels, filters\). Received: .* \(3, 3, 96, 8\)",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(draw, message):
    with pytest.raises(ValueError, match=message) as error:
        draw()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("columns", [1, 4, 10, 14])
def test_text_is_legible_on_a_projected_page(columns):
    images = np.zeros((2, 32, 32, 3))
    maps = dict.fromkeys([f"class {i}" for i in range(columns)], images)
    rows = {"row_titles": ["deconvnet", "guided"]}
    for share in ("none", "row"):
        figure, _ = rule_comparison(images, maps, share=share, **rows)
        assert smallest_text(figure) >= 10
    steps = [f"conv{i}" for i in range(columns)]
    scores = {"rank": np.ones((2, columns, 2)), "ssim": np.zeros((2, columns, 2))}
    noise = np.ones((columns, 2, 32, 32, 3))
    assert smallest_text(sanity_strip(images, steps, images, noise, scores)[0]) >= 10


def test_enlarged_text_stays_on_the_page():
    titles = [f"a name {i}" for i in range(14)]
    images = np.zeros((1, 32, 32, 3))
    figure, _ = rule_comparison(
        images, dict.fromkeys(titles, images), share="row", row_titles=["a long title"]
    )
    figure.savefig(BytesIO(), format="png")
    page = figure.bbox
    for text in figure.findobj(Text):
        if text.get_text():
            box = text.get_window_extent()
            assert page.x0 <= box.x0 < box.x1 <= page.x1
            assert page.y0 <= box.y0 < box.y1 <= page.y1
