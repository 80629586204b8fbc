"""What many arguments and files are refused for, in the same words."""

import difflib
from collections.abc import Collection


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
