"""Every network of the project by name, whichever paper's table it is a row of."""

import keras

from allconv import classics, models, zfnet

BUILDERS = {
    name: module.build for module in (models, zfnet, classics) for name in module.NAMES
}
NAMES = tuple(BUILDERS)


def build(name: str, **kwargs) -> keras.Model:
    """Build a network by name; arguments as for its own table's `build`.

    Args:
        name: One of `NAMES`.
        **kwargs: Of `models.build`, `zfnet.build` or `classics.build`.

    Raises:
        ValueError: If there is no such network, or it cannot be built so.
    """
    return BUILDERS[check(name)](name, **kwargs)


def check(name: str) -> str:
    """The name, if it is a network's.

    Raises:
        ValueError: If there is no such network.
    """
    if name not in BUILDERS:
        raise ValueError(
            f"There is no network {name!r}. `python -m allconv list` shows them all."
        )
    return name
