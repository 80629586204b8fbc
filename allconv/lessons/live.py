"""A figure with sliders, which is a plain picture where no kernel runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from IPython.display import display


def show(
    draw: Callable[..., Any], controls: Mapping[str, Sequence], **start: Any
) -> list:
    """Draw a figure, and draw it anew when its reader moves a control.

    The figure is an output of its own, so it is kept in the notebook's file and seen by
    who reads that file. The controls need a running kernel and `ipywidgets`.

    Args:
        draw: Returns what to display. It takes each control's value by its name.
        controls: By name, the values to choose from. Numbers get a slider, and texts a
            menu.
        **start: Where controls begin; the others begin at their first value.

    Returns:
        The controls, one widget each; none where there is no `ipywidgets`.
    """
    values = {name: start.get(name, one_of[0]) for name, one_of in controls.items()}
    widgets = []
    try:
        import ipywidgets
    except ImportError:
        print("For sliders here: pip install ipywidgets")
    else:
        for name, one_of in controls.items():
            kind = ipywidgets.Dropdown
            if not isinstance(one_of[0], str):
                kind = ipywidgets.SelectionSlider
            options = {"options": list(one_of), "value": values[name]}
            # Else every value on the way of a moved slider would be drawn.
            late = {"continuous_update": False} if kind.__name__ != "Dropdown" else {}
            widgets.append(kind(description=name, **options, **late))
        display(ipywidgets.VBox(widgets))
    picture = display(draw(**values), display_id=True)

    def changed(change) -> None:
        values[change["owner"].description] = change["new"]
        picture.update(draw(**values))

    for widget in widgets:
        widget.observe(changed, names="value")
    return widgets
