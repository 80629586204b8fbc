"""Arguments of public functions, refused by name where they are not of their type.

What the annotations say is what is checked: `@checked` stands on a function, and an
argument that cannot be what its annotation says ends in one ValueError, before anything
is computed.
"""

import functools
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar

import numpy as np

from allconv.core.annotations import Axes, Many, Span, refuse

P = ParamSpec("P")
R = TypeVar("R")

Whole = Annotated[int, Span(1, 2**31 - 1)]
Count = Annotated[int, Span(0, 2**53)]
Seed = Annotated[int, Span(0, 2**31 - 1)]
Positive = Annotated[float, Span(0, above=True)]
NotNegative = Annotated[float, Span(0)]
Fraction = Annotated[float, Span(0, 1)]
Percent = Annotated[float, Span(0, 100)]
Images = Annotated[np.ndarray, Axes(("n", "height", "width", "channels"))]
Labels = Annotated[np.ndarray, Axes(("n",), whole=True)]
Batch = Annotated[np.ndarray, Many()]
Maps = Annotated[np.ndarray, Axes(("n", "height", "width"))]
Matrix = Annotated[np.ndarray, Axes(("rows", "columns"))]


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse arguments that are not of the types that a function's annotations name.

    As `annotations.refuse` has it. What has no annotation passes.

    Raises:
        ValueError: Naming the argument, what it should be and what it is.
    """
    signature = inspect.signature(function)
    kinds: dict[str, Any] | None = None

    @functools.wraps(function)
    def checking(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal kinds
        if kinds is None:
            kinds = _annotations(function)
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:  # Python's own words name what is missing or too much
            return function(*args, **kwargs)
        for name, value in bound.arguments.items():
            kind = kinds.get(name, Any)
            shape = signature.parameters[name].kind
            if shape is inspect.Parameter.VAR_POSITIONAL:
                kind = types.GenericAlias(tuple, (kind, ...))
            elif shape is inspect.Parameter.VAR_KEYWORD:
                kind = types.GenericAlias(dict, (str, kind))
            refuse(value, kind, name)
        return function(*args, **kwargs)

    return checking


class Checked:
    """A dataclass whose fields are looked at when one is made."""

    def __post_init__(self) -> None:
        """Refuse fields that are not of their types.

        Raises:
            ValueError: Naming the field, what it should be and what it is.
        """
        for kind in reversed(type(self).__mro__):
            for name, expected in _annotations(kind).items():
                refuse(getattr(self, name), expected, name)


def _annotations(of: Any) -> dict[str, Any]:
    """The types of arguments or fields, but for those not known as it runs."""
    found: dict[str, Any] = {}
    space = getattr(of, "__globals__", None) or vars(sys.modules[of.__module__])
    for name, kind in inspect.get_annotations(of).items():
        one = types.SimpleNamespace(__annotations__={name: kind})
        try:
            found |= typing.get_type_hints(one, space, include_extras=True)
        except NameError as error:  # imported for the type checker alone
            if error.name == "keras":  # where a model is handed over
                found[name] = importlib.import_module("keras").Model
    return found
