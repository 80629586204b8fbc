"""Arguments of public functions, refused by name where they are not of their type.

What the annotations say is what is checked: `@checked` stands on a function, and an
argument that cannot be what its annotation says ends in one ValueError, before anything
is computed.
"""

import collections.abc
import functools
import importlib
import inspect
import os
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union

import numpy as np

from allconv.core.checks import Span

_NUMBERS = (int, float, np.integer, np.floating)
LARGEST = 1e15  # a sum of squares of such numbers is finite in float32

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, repr=False)
class Axes:
    """The axes that an array should have, none of them empty; `whole`: of integers."""

    names: tuple[str, ...]
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Whether an array has them."""
        array = value if hasattr(value, "shape") else np.asarray(value)
        if self.whole and not np.issubdtype(np.asarray(array).dtype, np.integer):
            return False
        return len(array.shape) == len(self.names) and 0 not in tuple(array.shape)

    def __repr__(self) -> str:
        return f"({', '.join(self.names)})"

    def __str__(self) -> str:
        return f", {'integers ' if self.whole else ''}of shape {self!r}"


@dataclass(frozen=True, repr=False)
class Many:
    """An array of one element at least along its first axis."""

    def holds(self, value: Any) -> bool:
        """Whether an array has them."""
        return len(np.shape(value)) > 0 and len(value) > 0

    def __repr__(self) -> str:
        return "one at least"

    def __str__(self) -> str:
        return ", one at least"


Whole = Annotated[int, Span(1, 2**31 - 1)]
Count = Annotated[int, Span(0, 2**53)]
Seed = Annotated[int, Span(0, 2**31 - 1)]
Positive = Annotated[float, Span(0, above=True)]
NotNegative = Annotated[float, Span(0)]
Fraction = Annotated[float, Span(0, 1)]
Images = Annotated[np.ndarray, Axes(("n", "height", "width", "channels"))]
Labels = Annotated[np.ndarray, Axes(("n",), whole=True)]
Batch = Annotated[np.ndarray, Many()]
Maps = Annotated[np.ndarray, Axes(("n", "height", "width"))]
Matrix = Annotated[np.ndarray, Axes(("rows", "columns"))]

_WORDS: dict[Any, str] = {
    **{bool: "True or False", int: "an integer", float: "a finite number"},
    **{str: "a text", bytes: "bytes", type(None): "None", dict: "a dict"},
    **{np.ndarray: "an array of finite real numbers", np.random.Generator: "a NumPy"},
}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse arguments that are not of the types that a function's annotations name.

    Of an array every number should be real and finite; of a list each item is looked
    at. What has no annotation, or one that only a type checker knows, passes.

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
            if not fits(value, kind):
                raise _refusal(name, kind, value)
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
                if not fits(getattr(self, name), expected):
                    raise _refusal(name, expected, getattr(self, name))


def _refusal(name: str, kind: Any, value: object) -> ValueError:
    return ValueError(
        f"`{name}` should be {words(kind)}. Received: {name}={shown(value)}"
    )


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


def fits(value: object, kind: Any) -> bool:
    """Whether a value is what an annotation says."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or isinstance(kind, TypeVar | str):
        return True
    if origin is Annotated:
        if any(isinstance(one, Span) and not one.finite for one in inner[1:]):
            return isinstance(value, _NUMBERS) and not isinstance(value, bool)
        return fits(value, inner[0]) and all(
            one.holds(value) for one in inner[1:] if isinstance(one, Span | Axes | Many)
        )
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin is not None:
        return _fits_generic(value, origin, inner)
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind is int:
        whole = isinstance(value, int | np.integer)
        return whole and not isinstance(value, bool)
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, _NUMBERS):
            return False
        return bool(-LARGEST <= value <= LARGEST)  # false of NaN
    if kind is np.ndarray or getattr(kind, "__name__", "") in ("Tensor", "KerasTensor"):
        return _is_numeric(value)
    if isinstance(value, str | os.PathLike) and "\0" in os.fspath(value):
        return False  # no name of a file
    if typing.is_typeddict(kind):
        return isinstance(value, dict)
    return not isinstance(kind, type) or isinstance(value, kind)


def _fits_generic(value: object, origin: Any, inner: tuple) -> bool:
    if origin is collections.abc.Callable:
        return callable(value)
    if isinstance(value, str | bytes):
        return False  # a text is a sequence of texts, which is never meant
    # A list stands for a tuple and an array for both, as everywhere in NumPy and Keras.
    array = isinstance(value, np.ndarray) and value.ndim > 0
    stands = origin is tuple and isinstance(value, list)
    stands = stands or (array and origin in (tuple, collections.abc.Sequence))
    if not stands and not isinstance(value, origin):
        return False
    if isinstance(value, collections.abc.Mapping):
        return len(inner) < 2 or all(
            fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items()
        )
    if not isinstance(value, collections.abc.Collection) or not inner:
        return True  # an iterator is not looked into
    if origin is tuple and inner[-1] is not Ellipsis:
        return len(value) == len(inner) and all(map(fits, value, inner))
    return all(fits(one, inner[0]) for one in value)


def _is_numeric(value: object) -> bool:
    """An array, or what makes one, of finite real numbers; symbolic tensors are."""
    if value is None or isinstance(value, str | bytes | dict | set):
        return False
    if isinstance(value, np.memmap):
        return value.dtype.kind in "biuf"  # it may be larger than the memory
    if not isinstance(value, np.ndarray):
        if hasattr(value, "shape") and not hasattr(value, "__array__"):
            return (
                True  # a Keras tensor, or what reads its parts when they are asked for
            )
        try:
            value = np.asarray(value)
        except Exception:  # as of a ragged list, or of a tensor of a graph
            return hasattr(value, "graph")
    if value.dtype.name == "bfloat16":
        value = value.astype(np.float32)
    if value.dtype.kind not in "biuf":
        return False
    if value.dtype.kind != "f" or not value.size:
        return True
    low, high = float(value.min()), float(value.max())
    return low >= -LARGEST and high <= LARGEST  # false of NaN


def words(kind: Any) -> str:
    """What an annotation says, in words."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return words(inner[0]) + "".join(str(one) for one in inner[1:])
    if origin in (Union, types.UnionType):
        *most, last = dict.fromkeys(map(words, inner))
        return f"{', '.join(most)} or {last}" if most else last
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if origin is collections.abc.Callable or kind is Callable:
        return "a function"
    if origin is not None and isinstance(origin, type):
        each = [words(one) for one in inner if one is not Ellipsis]
        if issubclass(origin, collections.abc.Mapping):
            return f"a dict of {each[-1]} by name" if each else "a dict"
        if origin is tuple and Ellipsis not in inner:
            return f"({', '.join(each)})"
        return f"a list, each {each[0]}" if each and inner[0] is not Any else "a list"
    if kind in _WORDS:
        return _WORDS[kind]
    name = getattr(kind, "__name__", str(kind))
    if name in ("Path", "PathLike"):
        return "a path"
    return _WORDS[np.ndarray] if name == "Tensor" else f"a {name}"


def shown(value: object) -> str:
    """A value on a line: of an array its shape and type."""
    if isinstance(value, np.ndarray) and value.size > 4:
        odd = value.dtype.kind == "f" and not np.isfinite(value).all()
        return f"{value.dtype} {value.shape}{', some not finite' if odd else ''}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
