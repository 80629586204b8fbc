"""What a value should be by an annotation, and in which words another is refused.

One reader for the arguments of functions, the fields of dataclasses and what JSON gave.
"""

import collections.abc
import functools
import math
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union

import numpy as np
from typing_extensions import NotRequired, get_type_hints, is_typeddict

from allconv.core.checks import nearest

_NUMBERS = (int, float, np.integer, np.floating)
LARGEST = 1e15  # a sum of squares of such numbers is finite in float32


@dataclass(frozen=True, repr=False)
class Span:
    """The numbers that a field may hold; of `finite=False` any, NaN too.

    `above` leaves out `low` itself.
    """

    low: float = -math.inf
    high: float = math.inf
    finite: bool = True
    above: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a finite number is one of these."""
        return self.low <= value <= self.high and not (self.above and value == self.low)

    def __repr__(self) -> str:  # as a documented signature shows it
        return str(self).strip() or "any"

    def __str__(self) -> str:
        text = "" if self.low == -math.inf else f" from {self.low:g}"
        if self.above:
            text = f" above {self.low:g}"
        # The largest int of a library is no limit that one would tell of.
        told = self.high < 2**31 - 1
        return f"{text} to {self.high:g}" if told else text


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
        """Whether it has one."""
        return len(np.shape(value)) > 0 and len(value) > 0

    def __repr__(self) -> str:
        return "one at least"

    def __str__(self) -> str:
        return ", one at least"


class Later:
    """Marks what the function itself looks at, since it knows more: a model, say."""

    def __repr__(self) -> str:
        return "..."


LATER = Later()

_WORDS: dict[Any, str] = {
    **{bool: "true or false", int: "an integer", float: "a finite number"},
    **{str: "a text", bytes: "bytes", type(None): "None", dict: "a dict"},
    **{np.ndarray: "an array of finite real numbers", np.random.Generator: "a NumPy"},
}


class Fault(NamedTuple):
    """Where a value is not what it should be, and what is said of it."""

    name: str
    message: str


def refuse(value: object, kind: Any, name: str = "") -> None:
    """Refuse a value that is not what an annotation says.

    Of an array every number should be real and finite; of a list each item is looked
    at, of a `TypedDict` each of its fields, and further ones are passed over. What only
    a type checker knows passes.

    Args:
        value: What a caller or `json.loads` gave.
        kind: A type, with `Annotated` what a number or an array should be besides.
        name: Of the value, for the message.

    Raises:
        ValueError: Naming the argument or field, what it should be and what it is.
    """
    if found := _fault(value, kind, name):
        raise ValueError(found.message)


def _fault(value: Any, kind: Any, name: str) -> Fault | None:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is NotRequired:
        return _fault(value, inner[0], name)
    if origin is Annotated:
        return _fault_besides(value, kind, name)
    if origin in (Union, types.UnionType):
        faults = [_fault(value, one, name) for one in inner]
        if None in faults:
            return None
        # One that is right but for an item tells more than all that it might be.
        inside = [found for found in faults if found and found.name != name]
        return inside[0] if len(inside) == 1 else _not_of(kind, name, value)
    if is_typeddict(kind):
        return _fault_of_fields(value, kind, name)
    if origin not in (None, Literal):
        return _fault_of_items(value, kind, name)
    return None if _is(value, kind) else _not_of(kind, name, value)


def _not_of(kind: Any, name: str, value: object) -> Fault:
    called, told = name or "it", words(kind)
    near = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    close = nearest(value, [one for one in near if isinstance(one, str)])
    return Fault(
        name, f"`{called}` should be {told}. Received: {called}={shown(value)}{close}"
    )


def _fault_besides(value: Any, kind: Any, name: str) -> Fault | None:
    inner, *besides = typing.get_args(kind)
    if LATER in besides:
        return None
    if any(isinstance(one, Span) and not one.finite for one in besides):
        number = isinstance(value, _NUMBERS) and not isinstance(value, bool)
        return None if number else _not_of(inner, name, value)
    if found := _fault(value, inner, name):
        return found if found.name != name else _not_of(kind, name, value)
    known = (one for one in besides if isinstance(one, Span | Axes | Many))
    return (
        None if all(one.holds(value) for one in known) else _not_of(kind, name, value)
    )


def _fault_of_fields(value: Any, kind: Any, name: str) -> Fault | None:
    if not isinstance(value, dict):
        return _not_of(dict, name, value)
    for field, inner in _fields(kind).items():
        below = f"{name}.{field}" if name else field
        if field not in value:
            if field in kind.__required_keys__:
                return Fault(below, f"`{below}` is missing.")
        elif found := _fault(value[field], inner, below):
            return found
    return None


@functools.cache
def _fields(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _fault_of_items(value: Any, kind: Any, name: str) -> Fault | None:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is collections.abc.Callable:
        return None if callable(value) else _not_of(kind, name, value)
    # A list stands for a tuple and an array for both, as everywhere in NumPy and Keras.
    # A text is a sequence of texts, which is never meant.
    array = isinstance(value, np.ndarray) and value.ndim > 0
    stands = origin is tuple and isinstance(value, list)
    stands = stands or (array and origin in (tuple, Sequence))
    if isinstance(value, str | bytes) or not (stands or isinstance(value, origin)):
        return _not_of(kind, name, value)
    if isinstance(value, Mapping):
        each = [(f"{name}.{k}" if name else str(k), v) for k, v in value.items()]
        if len(inner) < 2:
            return None
        if any(_fault(key, inner[0], name) for key in value):
            return _not_of(kind, name, value)
        kinds = [inner[1]] * len(each)
    elif not isinstance(value, collections.abc.Collection) or not inner:
        return None  # an iterator is not looked into
    else:
        each = [(f"{name}[{i}]", v) for i, v in enumerate(value)]
        fixed = origin is tuple and inner[-1] is not Ellipsis
        kinds = list(inner) if fixed else [inner[0]] * len(each)
        if len(kinds) != len(each):
            return _not_of(kind, name, value)
    for (below, item), one in zip(each, kinds, strict=True):
        if found := _fault(item, one, below):
            return found
    return None


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of a type without parts."""
    if kind is Any or isinstance(kind, TypeVar | str):
        return True
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        return any(type(value) is type(one) and value == one for one in choices)
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
    return not isinstance(kind, type) or isinstance(value, kind)


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
        return words(inner[0]) + "".join(
            str(one) for one in inner[1:] if isinstance(one, Span | Axes | Many)
        )
    if origin in (Union, types.UnionType):
        *most, last = dict.fromkeys(map(words, inner))
        return f"{', '.join(most)} or {last}" if most else last
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is collections.abc.Callable or kind is Callable:
        return "a function"
    if origin is not None and isinstance(origin, type):
        each = [words(one) for one in inner if one is not Ellipsis]
        if issubclass(origin, Mapping):
            return f"a dict of {each[-1]} by name" if each else "a dict"
        if origin is tuple and Ellipsis not in inner:
            return f"({', '.join(each)})"
        return f"a list, each {each[0]}" if each and inner[0] is not Any else "a list"
    if kind in _WORDS:
        return _WORDS[kind]
    name = getattr(kind, "__name__", str(kind))
    if name in ("Path", "PathLike"):
        return "a path"
    if name in ("Tensor", "KerasTensor"):
        return _WORDS[np.ndarray]
    return "a Keras model" if name == "Model" else f"a {name}"


def shown(value: object) -> str:
    """A value on a line: of an array its shape and type."""
    if isinstance(value, np.ndarray) and value.size > 4:
        odd = value.dtype.kind == "f" and not np.isfinite(value).all()
        return f"{value.dtype} {value.shape}{', some not finite' if odd else ''}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
