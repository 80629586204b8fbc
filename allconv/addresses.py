"""How a layer is addressed: its name, the models around it, the number of the call.

`"conv1"`, `"block/conv1"` where the name alone is that of several layers, `"conv1#2"`
for the third call of a layer that is called more than once.
"""

from collections.abc import Iterable


def parse(address: str) -> tuple[str, int | None]:
    """The name or path in an address, and the number of the call, if it has one.

    Raises:
        ValueError: If what follows a `#` is no number.
    """
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
