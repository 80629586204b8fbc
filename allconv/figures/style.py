"""The context that figures are drawn in: matplotlib's defaults, whatever the
reader's own settings are, and every name as plain text.

A reader's `image.origin: lower` would turn pictures upside down, `axes.grid` draw lines
over them; a `$` in a name would be set as mathematics.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

P = ParamSpec("P")
R = TypeVar("R")


@contextlib.contextmanager
def defaults() -> Iterator[None]:
    """Matplotlib's default settings, without mathematics in text; then one's own."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.parse_math"] = False
        yield


def in_defaults(draw: Callable[P, R]) -> Callable[P, R]:
    """Let a function that returns a figure, alone or first, draw in `defaults`."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with defaults():
            result = draw(*args, **kwargs)
            figure: Any = result[0] if isinstance(result, tuple) else result
            figure.draw_without_rendering()  # which makes the ticks, in these settings
        return result

    return drawn


def legend(place: Axes | Figure, entries: Mapping[str, Any], **options) -> Legend:
    """A legend with every name letter by letter: Matplotlib leaves out `_names`."""
    drawn = place.legend([*entries.values()], ["x"] * len(entries), **options)
    for text, name in zip(drawn.get_texts(), entries, strict=True):
        text.set_text(name)
    return drawn
