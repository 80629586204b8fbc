"""What many arguments are refused for, in the same words."""

from collections.abc import Collection


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Refuse what is none of the choices.

    Raises:
        ValueError: Naming the argument, what it should be and what it is.
    """
    if value not in choices:
        raise ValueError(
            f"`{name}` should be one of {', '.join(choices)}. "
            f"Received: {name}={value!r}"
        )
