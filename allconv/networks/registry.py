"""Every network of the project by name, whichever paper's table it is a row of."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from allconv.networks import all_cnn_rows, classics_rows, zfnet_rows

if TYPE_CHECKING:
    import keras

NORMS = ("none", "batch", "deconv")
# name -> the module that builds it, which is imported when it is asked for.
BUILDERS = {
    name: module
    for module, rows in (
        ("all_cnn", all_cnn_rows),
        ("zfnet", zfnet_rows),
        ("classics", classics_rows),
    )
    for name in rows.NAMES
}
NAMES = tuple(BUILDERS)


def build(name: str, **kwargs) -> keras.Model:
    """Build a network by name; arguments as for its own table's `build`.

    Args:
        name: One of `NAMES`.
        **kwargs: Of `all_cnn.build`, `zfnet.build` or `classics.build`.

    Raises:
        ValueError: If there is no such network, or it cannot be built so.
    """
    module = importlib.import_module(f"allconv.networks.{BUILDERS[check(name)]}")
    return module.build(name, **kwargs)


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
