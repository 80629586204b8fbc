"""Figures are the same whatever a reader's settings, and say names letter by letter."""

import io

import matplotlib
import numpy as np
import pytest

from allconv.figures import maps, probes, runs, segments, whitening
from allconv.probes.occlusion import Occlusion
from tests.figures.test_maps import smallest_text

READERS = {
    "image.origin": "lower",
    "axes.grid": True,
    "text.usetex": True,
    "image.cmap": "hot",
    "axes.facecolor": "black",
    "legend.loc": "lower left",
}
NAMES = ["_mine", "rate=$0.1 to $0.05", "cost $5_{ to $6", "plain"]


def figures():
    rng = np.random.default_rng(0)
    picture = rng.random((1, 8, 8, 3))
    signed = rng.normal(size=(1, 8, 8, 3))
    zeros = np.zeros((1, 8, 8), np.float32)
    occluded = Occlusion(
        np.zeros(1, int), zeros, zeros.astype(int), None, zeros[:, 0, 0],
        np.zeros(1, int), None, None,
    )  # fmt: skip
    yield maps.rule_comparison(picture, dict.fromkeys(NAMES, signed))[0]
    yield maps.sanity_strip(
        picture, NAMES, signed, np.stack([signed] * 4), {NAMES[0]: np.ones((1, 4, 1))}
    )[0]
    yield runs.learning_curves({n: ([1, 2], [40, 50]) for n in NAMES})
    yield runs.scatter({n: [(1, 2, n)] for n in NAMES}, xlabel="x", ylabel="y")
    yield runs.slopes({n: {n: (1, 2)} for n in NAMES}, ends=NAMES[:2], ylabel="y")
    yield runs.confusion_matrix(np.diag([3, 2, 1, 1]) + 1, NAMES)
    yield probes.occlusion_figure(picture, occluded, NAMES)
    yield whitening.descents({n: np.logspace(0, -5, 9) for n in NAMES})
    yield whitening.against_time({n: ([1, 2], [1, 2], [3, 4]) for n in NAMES})


def pixels(figure):
    file = io.BytesIO()
    figure.savefig(file, format="rgba")
    return file.getvalue()


def test_a_readers_settings_change_nothing():
    usual = [pixels(figure) for figure in figures()]
    with matplotlib.rc_context(READERS):
        drawn = list(figures())  # to be shown where the settings still hold
        theirs = [pixels(figure) for figure in drawn]
    assert usual == theirs


@pytest.fixture(scope="module")
def drawn():
    return list(figures())


def test_names_are_said_letter_by_letter(drawn):
    for figure in drawn:
        figure.canvas.draw()
        places = [figure, *figure.axes]
        legends = [x for place in places for x in getattr(place, "legends", [])]
        legends += [axes.get_legend() for axes in figure.axes if axes.get_legend()]
        for legend in legends:
            shown = [text.get_text() for text in legend.get_texts()]
            assert shown
            assert shown == NAMES[: len(shown)]
        for text in figure.findobj(matplotlib.text.Text):
            assert not text.get_parse_math() or "$" not in text.get_text()


def test_text_is_legible_on_a_projected_page(drawn):
    for figure in drawn:
        assert smallest_text(figure) >= 10


def test_text_grows_with_a_figure_that_has_many_columns():
    names = [f"a name {i}" for i in range(4)]
    images = np.zeros((9, 8, 8, 3), np.uint8)
    lines = {n: ([1, 2], 0.5, np.ones((1, 2))) for n in names}
    panels = {f"family {i}": {"a": (1, 2)} for i in range(6)}
    for figure in (
        segments.masks(images, {"found": images[..., 0]}, names),
        runs.slopes(panels, ends=("a", "b"), ylabel="y"),
        whitening.progress(dict.fromkeys(names, lines), ("steps", "seconds")),
    ):
        assert figure.get_figwidth() > 11.4  # at which 10 points are 10 pixels
        assert smallest_text(figure) >= 10


def test_curves_have_the_colours_of_the_classes(drawn):
    """Matplotlib's own have a green and a red that a deuteranope cannot tell."""
    for figure in (drawn[2], drawn[-2], drawn[-1]):  # curves, descents, against time
        for axes in figure.axes:
            colours = {line.get_color() for line in axes.lines}
            assert colours <= {*maps.COLOURS}
            assert len(colours) == len(NAMES)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_maps_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        maps.signed_limit(np.full((2, 4, 4, 3), bad))
