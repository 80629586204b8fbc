"""What many arguments and files are refused for, in the same words."""

import difflib
import math
import types
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from typing_extensions import NotRequired, get_type_hints, is_typeddict


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


Count = Annotated[int, Span(0, 2**53)]
Percent = Annotated[float, Span(0, 100)]

_WORDS: dict[type, str] = {
    **{bool: "true or false", int: "an integer", float: "a finite number"},
    **{str: "a text", dict: "named values", list: "a list", type(None): "null"},
}


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Refuse what is none of the choices.

    Raises:
        ValueError: Naming the argument, what it should be and what it is.
    """
    if value not in [*choices]:  # not in a dict, which would hash it
        raise ValueError(
            f"`{name}` should be one of {', '.join(choices)}. "
            f"Received: {name}={value!r}{nearest(value, choices)}"
        )


def nearest(value: object, choices: Collection[str]) -> str:
    """`"; the nearest are a, b"`: the choices most like a mistyped one; or nothing."""
    close = difflib.get_close_matches(str(value), list(choices), n=3, cutoff=0.6)
    if not close:
        return ""
    return f"; the nearest {'is' if len(close) == 1 else 'are'} {', '.join(close)}"


def one_line(error: BaseException) -> str:
    """What an exception says, on one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def check_fields(value: object, kind: Any, name: str = "") -> None:
    """Refuse what JSON gave if it is not of a type, by the type's annotations.

    Args:
        value: What `json.loads` gave.
        kind: A `TypedDict`, or a type of what one can hold: numbers, texts, lists and
            tuples of one type, dicts by text, `Literal`, unions, and `Annotated`
            numbers with a `Span`. Further fields of a dict are passed over.
        name: Of the value, for the message.

    Raises:
        ValueError: Naming the field, what it should be and what it is.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Annotated, NotRequired):
        spans = [span for span in inner[1:] if isinstance(span, Span)]
        _check_number(value, inner[0], name, *spans)
        return
    if origin in (Union, types.UnionType):
        _check_union(value, inner, name)
    elif origin is Literal:
        if not any(type(value) is type(x) and value == x for x in inner):
            raise _refusal(name, f"one of {', '.join(map(str, inner))}", value)
    elif is_typeddict(kind):
        _check_dict(value, kind, name)
    elif origin is dict:
        if not isinstance(value, dict):
            raise _refusal(name, _WORDS[dict], value)
        for key, item in value.items():
            check_fields(item, inner[1], _below(name, key))
    elif origin in (list, tuple):
        _check_list(value, origin, inner, name)
    elif kind in (int, float):
        _check_number(value, kind, name)
    elif not isinstance(value, kind):
        raise _refusal(name, _WORDS[kind], value)


def _check_number(value: object, kind: Any, name: str, span: Span | None = None):
    if kind not in (int, float):
        check_fields(value, kind, name)
        return
    span = span or Span()
    number = isinstance(value, int if kind is int else int | float)
    if not number or isinstance(value, bool):
        raise _refusal(name, _WORDS[kind], value)
    if not span.finite:
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise _refusal(name, _WORDS[kind], value)
    if not span.holds(value):
        raise _refusal(name, f"{_WORDS[kind]}{span}", value)


def _check_union(value: object, kinds: tuple, name: str) -> None:
    failures = []
    for kind in kinds:
        try:
            check_fields(value, kind, name)
        except ValueError as error:
            failures.append(error)
        else:
            return
    raise failures[0]


def _check_dict(value: object, kind: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise _refusal(name, _WORDS[dict], value)
    if missing := sorted(kind.__required_keys__ - value.keys()):
        raise ValueError(f"`{_below(name, missing[0])}` is missing.")
    for key, inner in get_type_hints(kind, include_extras=True).items():
        if key in value:
            check_fields(value[key], inner, _below(name, key))


def _check_list(value: object, origin: type, inner: tuple, name: str) -> None:
    if not isinstance(value, list | tuple):
        raise _refusal(name, _WORDS[list], value)
    many = origin is list or inner[-1] is Ellipsis
    kinds = [inner[0]] * len(value) if many else list(inner)
    if len(kinds) != len(value):
        raise _refusal(name, f"{len(kinds)} values", value)
    for i, (item, each) in enumerate(zip(value, kinds, strict=True)):
        check_fields(item, each, f"{name}[{i}]")


def _below(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def _refusal(name: str, words: str, value: object) -> ValueError:
    text = repr(value)
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return ValueError(f"`{name or 'it'}` should be {words}. Received: {shown}")
