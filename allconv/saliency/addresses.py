"""How a layer is addressed: its name, the models around it, the number of the call.

`"conv1"`, `"block/conv1"` where the name alone is that of several layers, `"conv1#2"`
for the third call of a layer that is called more than once.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

Call = TypeVar("Call")


def parse(address: str) -> tuple[str, int | None]:
    """The name or path in an address, and the number of the call, if it has one.

    Raises:
        ValueError: If it is no text, or what follows a `#` is no number.
    """
    if not isinstance(address, str):
        raise ValueError(
            f"A layer is addressed by its name, as in 'conv1'. Received: {address!r}"
        )
    name, mark, number = address.partition("#")
    if mark and not number.isdigit():
        raise ValueError(
            f"After # stands the number of a call, as in '{name}#0'. "
            f"Received: {address!r}"
        )
    return name, int(number) if mark else None


def find(name: str, paths: Iterable[str]) -> list[str]:
    """The paths that a name fits, each once: whole, or else at their end."""
    paths = list(dict.fromkeys(paths))
    whole = [path for path in paths if path == name]
    return whole or [path for path in paths if path.endswith(f"/{name}")]


def pick(address: str, calls: Sequence[Call]) -> Call:
    """Of all calls of the addressed layer, in order, the one that is meant.

    Raises:
        ValueError: If that needs a number, or there is no call of that number.
    """
    name, number = parse(address)
    choices = ", ".join(f"{name}#{i}" for i in range(len(calls)))
    if number is None and len(calls) > 1:
        raise ValueError(
            f"The layer {name!r} is called {len(calls)} times. Use one of {choices}"
        )
    if number is not None and number >= len(calls):
        raise ValueError(f"`layer` should be one of {choices}. Received: {address!r}")
    return calls[number or 0]
